"""Bytes of a terminal as keys: text, control keys, escape sequences (ECMA-48, xterm) and bracketed pastes.

Keys are taken out one by one, because what follows Enter may belong to a program, which gets it as it came. How the bytes were
cut into reads changes nothing: a sequence that has only begun waits for the rest of it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from agent.core.shell.guard.keys import PLAIN_LINE

#: Bytes of a paste; a longer one is swallowed whole.
PASTE_LIMIT: Final = 128 * 1024

_PASTE: Final = b"\x1b[200~"
_PASTE_END: Final = b"\x1b[201~"
_RUN: Final = re.compile(rb"[\x20-\x7e\x80-\xff]+")
_SEQUENCE: Final = re.compile(rb"\x1b(?:\[([0-?]*)[ -/]*([@-~])|O([@-~])|([^\[O\x1b]))")
#: Longest sequence that is waited for.
_SEQUENCE_LIMIT: Final = 32
_FINALS: Final = {
    b"A": "up", b"B": "down", b"C": "right", b"D": "left", b"H": "home", b"F": "end", b"Z": "backtab",
}  # fmt: skip
_NUMBERS: Final = {b"1": "home", b"7": "home", b"4": "end", b"8": "end", b"3": "delete", b"99": "overlong"}
_WORDWISE: Final = (b"1;5", b"1;3", b"5", b"3")
_NAMED: Final = {0x0D: "enter", 0x0A: "enter", 0x7F: "backspace", 0x08: "backspace", 0x09: "tab"}


class Key(NamedTuple):
    """A key that was pressed, or text: typed (``text``), quoted (``text``) or pasted (``paste``)."""

    name: str
    text: str = ""


class Keys:
    """What was typed and not taken yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._quoted = False
        self._swallowing = False

    def __len__(self) -> int:
        return len(self._data)

    def push(self, data: bytes) -> None:
        """Add what was typed last."""
        self._data += data

    def unread(self, data: bytes) -> None:
        """Put back what was taken, before everything else."""
        self._data[:0] = data

    def rest(self) -> bytes:
        """Take everything, as it came."""
        data = bytes(self._data)
        self._data.clear()
        self._quoted = False
        return data

    def plain_line(self) -> bytes:
        """Take the next line with its Enter, as it came; nothing where a key in it is no character."""
        line = PLAIN_LINE.match(self._data) if not (self._quoted or self._swallowing) else None
        return self._take(line.end()) if line is not None else b""

    def pop(self) -> Key | None:
        """Take the next key, or None where it has not arrived whole."""
        if self._swallowing and not self._swallowed():
            return None
        if not self._data:
            return None
        if self._quoted:
            return self._character()
        byte = self._data[0]
        if byte == 0x1B:
            return self._sequence()
        if byte < 0x20 or byte == 0x7F:
            del self._data[0]
            if byte == 0x16:
                self._quoted = True
                return self.pop()
            return Key(_NAMED.get(byte, f"ctrl-{chr(byte | 0x60)}"))
        run = _RUN.match(self._data)
        assert run is not None
        return self._text(run.group())

    def _take(self, size: int) -> bytes:
        data = bytes(self._data[:size])
        del self._data[:size]
        return data

    def _text(self, run: bytes) -> Key | None:
        """Take characters. What is no UTF-8 is a key that means nothing, and never part of a line."""
        try:
            text = run.decode()
        except UnicodeDecodeError as error:
            if error.start:
                return Key("text", self._take(error.start).decode())
            if error.reason == "unexpected end of data" and len(run) == len(self._data):
                return None
            self._take(error.end - error.start)
            return Key("undecodable")
        self._take(len(run))
        return Key("text", text)

    def _character(self) -> Key | None:
        """Take one character, whatever it is."""
        first = self._data[0]
        size = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        if len(self._data) < size:
            return None
        self._quoted = False
        try:
            return Key("text", self._take(size).decode())
        except UnicodeDecodeError:
            return Key("undecodable")

    def _sequence(self) -> Key | None:
        if self._data.startswith(_PASTE):
            return self._paste()
        found = _SEQUENCE.match(self._data)
        if found is None:
            if len(self._data) > 1 and (self._data[1] == 0x1B or len(self._data) > _SEQUENCE_LIMIT):
                del self._data[0]
                return Key("escape")
            return None
        parameters, final, single, meta = found.groups()
        self._take(found.end())
        if meta is not None:
            return Key("alt-backspace" if meta in (b"\x7f", b"\x08") else f"alt-{meta.decode('latin-1')}")
        if single is not None:
            return Key(_FINALS.get(single, "unknown"))
        if final == b"~":
            return Key(_NUMBERS.get(parameters, "unknown"))
        name = _FINALS.get(final, "unknown")
        return Key(f"word-{name}" if parameters in _WORDWISE and name in ("left", "right") else name)

    def _paste(self) -> Key | None:
        end = self._data.find(_PASTE_END)
        if end < 0:
            if len(self._data) > PASTE_LIMIT:
                self._swallowing = True
                return self.pop()
            return None
        data = self._take(end)[len(_PASTE) :]
        self._take(len(_PASTE_END))
        if len(data) > PASTE_LIMIT:
            return Key("overlong")
        try:
            return Key("paste", data.decode())
        except UnicodeDecodeError:
            return Key("undecodable")

    def _swallowed(self) -> bool:
        """Drop a paste that is too long. True where its end has come, which is told as a key."""
        end = self._data.find(_PASTE_END)
        if end < 0:
            del self._data[: -len(_PASTE_END)]
            return False
        self._swallowing = False
        # What is left of it is a key that says so; nobody's keyboard has it.
        self._data[: end + len(_PASTE_END)] = b"\x1b[99~"
        return True
