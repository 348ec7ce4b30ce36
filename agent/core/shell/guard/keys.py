"""Keys that wait for a shell to read them. Pure."""

from __future__ import annotations

import re
from typing import Final

#: Bytes of keys that may wait; more than that is left to SSH's window.
KEYS_LIMIT: Final = 64 * 1024
ENTER: Final = (b"\r", b"\n", b"\x0f")
#: A line of which no key means anything to a terminal but its Enter.
PLAIN_LINE: Final = re.compile(rb"[^\x00-\x1f\x7f]*[\r\n]")


class Keys:
    """Keys in the order in which they are to be read. Some may have come back from a shell that had not read them."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._returned = 0

    def __len__(self) -> int:
        """How many bytes wait."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """True where no more can wait."""
        return len(self._waiting) >= KEYS_LIMIT

    @property
    def line(self) -> int:
        """How many bytes stand up to the first Enter. 0 where there is none."""
        found = [at for at in (self._waiting.find(key) for key in ENTER) if at >= 0]
        return min(found) + 1 if found else 0

    def add(self, data: bytes) -> None:
        """Take what is typed."""
        self._waiting += data

    def take(self, size: int) -> bytes:
        """Return the first ``size`` bytes, which wait no longer."""
        data = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._returned = max(0, self._returned - size)
        return data

    def plain_line(self) -> bytes:
        """Take the next line with its Enter; nothing where a key in it is no character."""
        line = PLAIN_LINE.match(self._waiting)
        return self.take(line.end()) if line is not None else b""

    def has(self, key: bytes) -> bool:
        """True where ``key`` waits."""
        return key in self._waiting

    def from_last(self, key: bytes) -> bool:
        """Drop what was typed before the last ``key``. False where there is none."""
        at = self._waiting.rfind(key)
        if at >= 0:
            del self._waiting[:at]
        return at >= 0

    def give_back(self, data: bytes, *, owned: bool) -> None:
        """Put what a shell had not read before everything else. Where it is ``owned``, it is for that shell and no other."""
        if owned:
            self._returned = len(data)
        self._waiting[:0] = data

    def disown(self) -> None:
        """Another shell reads now: drop what is left of the keys that the last one had and gave back."""
        del self._waiting[: self._returned]
        self._returned = 0
