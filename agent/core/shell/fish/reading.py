"""`classify_fish`: the meaning of one line of fish, found without running it."""

from __future__ import annotations

import msgspec

from agent.core.shell.classify import Reading, classify
from agent.core.shell.fish.builtins import BUILTINS, HELPFUL
from agent.core.shell.fish.statements import render
from agent.core.shell.fish.words import UnreadableError
from agent.core.shell.model import DEFAULT, Classification, Command, Redirection
from agent.core.shell.options import has_option
from agent.core.shell.screen import screen
from agent.core.shell.words import Word


class FishReading(Reading):
    """What is known of a line of fish, which was written for a POSIX shell.

    A command of the line itself may be one that only fish has. What another program starts (``sudo string``) never is.
    """

    def __init__(self) -> None:
        super().__init__(DEFAULT, carried=True)
        self._started = 0

    def command(self, words: list[Word], redirections: list[Redirection]) -> None:
        """Report one simple command, and whatever it starts in turn."""
        name = words[0].text if words and not words[0].glob else None
        if name in HELPFUL and not self._started and has_option(words[1:], "h", ("help",)):
            self.flags.add("pager")
        own = BUILTINS.get(name or "") if not self._started else None
        if name is None or own is None or len(self.commands) >= self.limits.max_commands or not own(self, words[1:]):
            self._started += 1
            super().command(words, redirections)
            self._started -= 1
            return
        self.commands.append(Command(tuple(word.text for word in words), name, tuple(redirections)))
        self.verbs |= {name} - {"["}  # which is no program's name in other shells either
        if any(word.glob for word in words):
            self.flags.add("glob")


def classify_fish(line: str) -> Classification:
    """What ``line`` means to fish, in a shell that has run others before. Never raises.

    What is not read with certainty is read as bash would, and is `unknown` whatever that says.
    """
    try:
        rendered = render(line)
    except UnreadableError:
        found = classify(line, carried=True)
        return msgspec.structs.replace(found, effects=found.effects | {"unknown"}, flags=found.flags | {"parse_error"})
    reading = FishReading()
    # Blanks that are none, and the rest of what is not to be seen, may have been in a comment.
    reading.flags |= rendered.flags | (screen(line, DEFAULT)[0] & {"control_characters", "too_long"})
    for name in rendered.functions:
        reading.function(name)
    reading.text(rendered.text)
    return reading.result()
