"""What was typed at a program, and whether what comes back of it may have been typed.

A terminal's line discipline stands between: it turns CR into LF, and while a program reads whole lines it erases characters,
words and lines, and forgets everything at Ctrl-C. What a program leaves is the end of what was typed, as the terminal kept it.
Anything else somebody at the target has made up, who would type in the person's name.
"""

from __future__ import annotations

from typing import Final

#: Bytes that are remembered, the last ones. More is not told back.
KEPT: Final = 192 * 1024
#: How many of the last ones may have come after the program changed how its terminal reads.
_MIXED: Final = 4096

#: Flow control, which terminals take out whatever they are set to, and NUL, which shells cannot read.
_NEVER: Final = b"\x00\x11\x13"
_QUOTE: Final = 0x16
_FORGET: Final = b"\x03\x1a\x1c"
_EDITING: Final = frozenset(b"\x04\x08\x12\x15\x16\x17\x7f" + _FORGET)


class Ahead:
    """Keys that were passed on while one line ran."""

    def __init__(self) -> None:
        self._typed = bytearray()

    def add(self, keys: bytes) -> None:
        """``keys`` were passed on."""
        self._typed += keys
        del self._typed[:-KEPT]

    def left(self, keys: bytes) -> bytes | None:
        """Return ``keys``, as an editor reads them, where a terminal may have kept just these; None where it cannot have.

        Up to any key that edits they may be edited, and from there on as they came: the program may have changed that.
        """
        typed, keys = _read(bytes(self._typed)), _read(keys)
        if typed.endswith(keys):
            return keys
        kept = bytearray()
        quoted = False
        for at, byte in enumerate(typed, 1):
            if quoted or byte not in _EDITING:
                kept.append(byte)
                quoted = False
                continue
            quoted = byte == _QUOTE
            _edit(kept, byte)
            rest = len(typed) - at
            if rest <= min(len(keys), _MIXED) and keys.endswith(typed[at:]) and kept.endswith(keys[: len(keys) - rest]):
                return keys
        return keys if kept.endswith(keys) else None


def _read(keys: bytes) -> bytes:
    return keys.replace(b"\r", b"\n").translate(None, _NEVER)


def _edit(kept: bytearray, byte: int) -> None:
    if byte in _FORGET:
        kept.clear()
    elif byte in b"\x08\x7f":
        _erase(kept)
    elif byte == 0x15:
        del kept[kept.rfind(b"\n") + 1 :]
    elif byte == 0x17:
        _erase_word(kept)


def _erase(kept: bytearray) -> None:
    """Take the last character of the line, in UTF-8."""
    while kept and kept[-1] != 0x0A:
        if kept.pop() & 0xC0 != 0x80:
            return


def _erase_word(kept: bytearray) -> None:
    """Take the last word of the line, as Linux does: back over what is none, and then over what is one."""
    seen = False
    while kept and kept[-1] != 0x0A:
        word = kept[-1] == 0x5F or chr(kept[-1]).isalnum() or kept[-1] >= 0x80
        if seen and not word:
            return
        seen = seen or word
        kept.pop()
