"""`classify`: the meaning of one command line, found without running it.

A `Reading` collects what one line means while texts, substitutions and wrappers are taken apart. It is the only
mutable thing here, lives for one call, and knows the limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import tree_sitter_bash
from tree_sitter import Language, Parser

from agent.core.shell import judgement
from agent.core.shell.environment import ARRAYS, INTEGERS, SPECIAL, ZSH_INTEGERS, is_tamper
from agent.core.shell.model import DEFAULT, UNKNOWN_FLAGS, Classification, Command, Limits, Redirection
from agent.core.shell.screen import screen, tokens
from agent.core.shell.walk import Walk
from agent.core.shell.words import Word, sleeps

_BASH = Language(tree_sitter_bash.language())
# Paths under which a program's base name says what it is.
_SYSTEM = re.compile(r"/(?:usr/(?:local/)?)?s?bin/[^/]+")
_DEVICE = re.compile(r"/dev/(?!null$|zero$|full$|tty$|stdin$|stdout$|stderr$|fd/|pts/|shm/|u?random$|tcp/|udp/)")
# Nobody can set these.
_FIXED = frozenset({"UID", "EUID", "PPID"})
_NUMERIC = re.compile(r"-?\d*")


class Reading:
    """What is known of the line so far."""

    def __init__(self, limits: Limits, *, carried: bool = False, zsh: bool = False) -> None:
        self.limits = limits
        self.carried = carried
        self.zsh = zsh
        self.commands: list[Command] = []
        self.effects: set[str] = set()
        self.verbs: set[str] = set()
        self.objects: set[str] = set()
        self.flags: set[str] = set()
        self.variables: dict[str, str] = {}
        self.tainted: set[str] = set()
        self.assigned: set[str] = set()
        self.settled: set[str] = set()
        self.arithmetic: set[str] = set()
        self.bare_arithmetic: set[str] = set()
        self.arrays: set[str] = set(ARRAYS)
        self.piped = False
        self.stdin_moved = False
        self.depth = 0
        self.tokens = 0

    def enter(self) -> bool:
        """Go one level deeper; False (and a flag) at the limit. Pair each True with `leave`."""
        if self.depth >= self.limits.max_depth:
            self.flags.add("too_deep")
            return False
        self.depth += 1
        return True

    def leave(self) -> None:
        """Undo `enter`."""
        self.depth -= 1

    def text(self, text: str) -> None:
        """Read a text as shell code: the line itself, or code found inside it."""
        flags, source = screen(text, self.limits)
        self.flags |= flags
        if source is None or not self.enter():
            return
        self.tokens += tokens(text)
        if self.tokens > self.limits.max_tokens:
            self.flags.add("too_long")
        else:
            before = len(self.commands)
            variables, self.variables = self.variables, {}
            root = Parser(_BASH).parse(source).root_node
            if root.has_error:
                self.flags.add("parse_error")
            Walk(source, self).statements(root)
            self.variables = variables
            if len(self.commands) == before and any(child.type != "comment" for child in root.children):
                self.flags.add("parse_error")
        self.leave()

    def command(self, words: list[Word], redirections: list[Redirection]) -> None:
        """Report one simple command, and whatever it starts in turn."""
        if len(self.commands) >= self.limits.max_commands:
            self.flags.add("too_long")
            return
        if not self.enter():
            return
        argv = tuple(word.text for word in words)
        program = self._program(words[0]) if words else None
        self.commands.append(Command(argv, program, tuple(redirections)))
        if any(word.glob for word in words):
            self.flags.add("glob")
        if program is not None:
            self.verbs.add(program)
            piped = self.piped
            self.piped = piped or any(redirection.feeds for redirection in redirections)
            judgement.judge(self, program, words[1:])
            self.stdin_moved |= program == "exec" and self.piped  # `exec < file` is for everything after it
            self.piped = piped
        elif not words and not redirections:
            self.effects.add("read")
        self.leave()

    def _program(self, word: Word) -> str | None:
        if word.text is None or word.glob or not word.text or word.text.startswith("~"):
            self.flags.add("dynamic_command")
            if word.text is None or word.glob or not word.text:
                return None
        name = word.text.rsplit("/", 1)[-1]
        if "/" in word.text:
            self.objects.add(word.text)
            if not _SYSTEM.fullmatch(re.sub(r"/+", "/", word.text)) or name in {".", ".."}:
                self.flags.add("outside_path")
        return name or None

    def assign(self, name: str, value: Word | None, *, straight: bool) -> None:
        """`name=value`, by whatever road. `straight`: runs exactly once, before what follows it."""
        text = "" if value is None else value.text
        if is_tamper(name, text):
            self.flags.add("tamper")
        if text and (sleeps(text) or (text[0] == "(" and sleeps(text, "("))):
            self.flags.add("dynamic_code")
        if not (text is not None and _NUMERIC.fullmatch(text)) and not (value is not None and value.inert):
            self.tainted.add(name)
            if self.integer(name):
                self.flags.add("dynamic_code")
        if straight and text and _NUMERIC.fullmatch(text):
            self.settled.add(name)
        else:
            self.settled.discard(name)
        if straight and text and name not in self.variables and name not in SPECIAL and name not in self.assigned:
            self.variables[name] = text
        else:
            self.variables.pop(name, None)
        self.assigned.add(name)

    def integer(self, name: str) -> bool:
        """True where what is assigned to `name` is evaluated as arithmetic."""
        return name in INTEGERS or (self.zsh and name in ZSH_INTEGERS)

    def evaluates(self, names: Iterable[str]) -> None:
        """Variables that arithmetic evaluates, here: what their values say may be code."""
        names = set(names)
        self.arithmetic |= names
        if self.carried and names - self.settled - _FIXED:
            self.flags.add("dynamic_code")

    def redirect(self, redirection: Redirection) -> None:
        """Effects of a redirection."""
        operator, target = redirection.operator, redirection.target
        if operator.endswith("&-") or operator == "<<<":
            return
        if operator in {">&", "<&"} and target is not None and re.fullmatch(r"\d*-?", target):
            return
        writes = ">" in operator
        if target is None:
            self.effects.add("write" if writes else "read")
            return
        self.path(target, writes=writes)
        if writes and target in {"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty"}:
            return
        self.effects.add("write" if writes else "read")

    def path(self, path: str, *, writes: bool) -> None:
        """A path that is literally named."""
        self.objects.add(path)
        clean = re.sub(r"/(?:\./)*/*", "/", path)
        if clean.startswith(("/dev/tcp/", "/dev/udp/")):
            self.flags.add("network")
        elif writes and _DEVICE.match(clean):
            self.flags.add("writes_device")

    def function(self, name: str | None) -> None:
        """A function definition: its body is read where it stands, its calls are not."""
        self.flags.add("function_definition")
        if name is None or judgement.is_known(name):
            self.flags.add("shadowing")

    def result(self) -> Classification:
        """The finished classification."""
        if any(name not in self.assigned or judgement.is_known(name) for name in self.bare_arithmetic):
            self.flags.add("parse_error")
        if self.arithmetic & self.tainted:
            self.flags.add("dynamic_code")
        if not self.commands and not self.flags & UNKNOWN_FLAGS:
            self.flags.add("empty")
        if self.flags & UNKNOWN_FLAGS:
            self.effects.add("unknown")
        return Classification(
            tuple(self.commands), frozenset(self.effects), frozenset(self.verbs), frozenset(self.objects),
            frozenset(self.flags),
        )  # fmt: skip


def classify(text: str, limits: Limits = DEFAULT, *, carried: bool = False, zsh: bool = False) -> Classification:
    """What `text` means as a command line for a POSIX shell or bash. Never raises, never runs or changes the text.

    Deterministic; work is bounded by `limits`. Whatever cannot be known adds the effect `unknown`. With `carried`, the shell has
    run other lines before, so that a variable may hold anything unless the text itself sets it. With `zsh`, it
    is one, or may be.
    """
    reading = Reading(limits, carried=carried, zsh=zsh)
    reading.text(text)
    return reading.result()
