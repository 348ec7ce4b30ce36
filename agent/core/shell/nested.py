"""Reporting what is found inside arguments: code for a shell, a command, NAME=value words."""

from __future__ import annotations

import re

from agent.core.shell.environment import is_tamper
from agent.core.shell.reading import Reading
from agent.core.shell.words import Word

#: How a word that assigns begins.
ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:=|\+=)", re.ASCII)


def code(reading: Reading, word: Word | None) -> None:
    """A word that some shell will parse again."""
    if word is None or word.text is None:
        reading.flags.add("dynamic_code")
    else:
        reading.text(word.text)


def joined(reading: Reading, words: list[Word]) -> None:
    """Words that a program joins with blanks and gives to a shell (ssh, watch, at the far end of `su`)."""
    known = [word.text for word in words if word.text is not None]
    if len(known) < len(words) or any(word.glob for word in words):
        reading.flags.add("dynamic_code")
    reading.text(" ".join(known))


def inner(reading: Reading, words: list[Word]) -> None:
    """The rest of the words is a command."""
    if words:
        reading.command(words, [])


def starts_shell(reading: Reading) -> None:
    """An interactive shell, or one that reads what is piped to it."""
    reading.flags.update({"code_from_stdin", "opaque"})
    reading.effects.add("execute")


def assignments(reading: Reading, words: list[Word]) -> list[Word]:
    """Consume NAME=value words as env and sudo do."""
    at = 0
    while at < len(words):
        match = ASSIGNMENT.match(words[at].prefix if words[at].text is None else words[at].text or "")
        if not match:
            # env takes any word with `=` as an assignment; a name that no shell could set stays suspicious.
            if "=" not in (words[at].text or ""):
                break
            reading.flags.add("tamper")
        elif is_tamper(match[1], None if words[at].text is None else (words[at].text or "").partition("=")[2]):
            reading.flags.add("tamper")
        at += 1
    return words[at:]
