"""Types what the person types, as far as the shell that has the terminal may read it; the rest waits. Pure."""

from __future__ import annotations

from typing import Final

from agent.core.shell.guard.ahead import ahead
from agent.core.shell.guard.keys import ENTER, Keys
from agent.core.shell.guard.layer import Layer
from agent.core.shell.guard.pace import PER_ENTER, Pace
from agent.core.shell.guard.starter import Starter

INTERRUPT: Final = b"\x03"


class Typist:
    """Keys that wait, what they pay for, and what starts a shell, which gets answers and nothing else."""

    def __init__(self) -> None:
        self.keys: Final = Keys()
        self.pace: Final = Pace()
        self.starter = Starter()
        self.unread = False
        """Keys have gone that nobody may have read: the shell says with its next verdict which."""

    def released(self, top: Layer) -> bytes:
        """Return the keys that go to ``top`` now. Behind an Enter at its prompt it has *entered* a line."""
        if top.state in ("running", "opaque"):
            return self._ahead(self.take(top, len(self.keys)))
        if top.state == "starting" and top.outer is not None:
            return self._ahead(self._answer(top))
        if top.state != "prompt":
            return b""
        entered = self.keys.line
        if not entered:
            return self.take(top, len(self.keys))
        # What follows Enter may belong to the shell or to the program that the line starts; it waits to see which.
        top.state = "entered"
        return self.take(top, entered)

    def guessed(self, top: Layer) -> bytes:
        """Return the keys that go to ``top``, which says nothing behind an Enter: that may be a key like others to it."""
        return self._ahead(self.released(top))

    def _ahead(self, keys: bytes) -> bytes:
        self.unread = self.unread or bool(keys)
        return keys

    def interrupted(self, top: Layer) -> bytes:
        """Return the last Ctrl-C that waits, without what was typed before it; nothing where none does."""
        return self.take(top, 1) if self.keys.from_last(INTERRUPT) else b""

    def take(self, top: Layer, size: int) -> bytes:
        """Return ``size`` bytes of keys, which go to ``top``."""
        data = self.keys.take(size)
        top.note(data)
        self.pace.grant(PER_ENTER * sum(data.count(key) for key in ENTER))
        return data

    def behind_verdict(self, top: Layer) -> bytes:
        """Return the keys that go to ``top`` right behind a verdict, with which its line runs: the next line that was typed.

        It may be the answer to a question that the program has yet to ask. The terminal shows nothing of what comes while the
        shell reads verdicts, and would show what comes between that and the question. A line with keys that mean something
        to a terminal, or without its Enter, waits for the program; and what may stand unread in the terminal comes first.
        """
        if top.dialect.AHEAD and not self.unread and (line := self.keys.plain_line()):
            self.pace.grant(PER_ENTER)
            top.early = line
            return line
        return b""

    def give_back(self, layer: Layer, keys: bytes) -> None:
        """Have what had been typed ahead typed again.

        A shell in another one may be somebody else's machine, and what it says was typed could end up in the one around it. So it
        gets back what went to it behind the line's Enter, or nothing, and loses it where it ends first.
        """
        inside = layer.outer is not None
        if inside and not ahead(layer.sent, keys):
            keys = b""
        layer.sent.clear()
        early, layer.early = layer.early, b""
        self.unread = bool(early)
        layer.note(early)
        self.keys.give_back(keys, owned=inside)

    def _answer(self, top: Layer) -> bytes:
        """Answers to what starts a shell, one for each of its questions; and Ctrl-C, which drops what was typed before it."""
        if interrupt := self.interrupted(top):
            return interrupt
        if not self.starter.patient:
            return b""
        entered = self.keys.line
        if entered:
            self.starter.answered()
        return self.take(top, entered or len(self.keys))
