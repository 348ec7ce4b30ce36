"""Marks: what a guard says in the middle of terminal output, and how the two are told apart again.

    mark = ESC ] 7701 ; nonce ; kind *( ; field ) BEL

An operating system command that no terminal knows. The guard quotes its fields, so a mark holds no control characters. Each shell
of a session has a nonce of its own. Marks with any other are somebody's forgery: they are dropped like the real ones, and
counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from agent.core.shell.guard.quoting import fields

BEGIN: Final = b"\x1b]7701;"
_END: Final = b"\x07"
#: The longest mark, in bytes: a line of 64 KiB in which every byte is quoted fits.
LONGEST: Final = 512 * 1024
_STATUS: Final = re.compile(rb"-?[0-9]{1,10}")
#: A nonce and the semicolon behind it are found in so many bytes.
_NONCE: Final = 65


class Mark(msgspec.Struct, frozen=True):
    """One thing that the guard said."""

    kind: str
    fields: tuple[bytes, ...] = ()
    """Their values, unquoted."""
    nonce: str = ""
    """Whose it is."""


class EndlessError(ValueError):
    """A mark has begun that does not end."""


class Splitter:
    """Takes terminal output apart. Feeding it in other pieces gives the same text and the same marks."""

    def __init__(self, *nonces: str) -> None:
        self.nonces: Final = set(nonces)
        """Whose marks are passed on."""
        self._held = b""
        self.forged = 0
        """Marks without the nonce."""

    @property
    def waits(self) -> bool:
        """True where the beginning of what may be a mark is held back."""
        return bool(self._held)

    def feed(self, data: bytes) -> Iterator[bytes | Mark]:
        """Yield text and marks in their order; to be read to the end. Raises EndlessError or quoting.UnquotableError.

        One by one, because a mark may be the reason why those of somebody else behind it count.
        """
        data, self._held = self._held + data, b""
        at = 0
        while (begin := data.find(BEGIN, at)) >= 0:
            if begin > at:
                yield data[at:begin]
            end = data.find(_END, begin)
            if end < 0:
                if len(data) - begin > LONGEST:
                    raise EndlessError
                self._held = data[begin:]
                return
            # A mark holds no other: what has begun before one is somebody's, who would have it swallowed.
            inner = data.rfind(BEGIN, begin + len(BEGIN), end)
            if inner >= 0:
                self.forged += 1
                begin = inner
            mark = self._mark(data[begin + len(BEGIN) : end])
            if mark is not None:
                yield mark
            at = end + 1
        rest = data[at:]
        begun = _begun(rest)
        if begun:
            rest, self._held = rest[:-begun], rest[-begun:]
        if rest:
            yield rest

    def flush(self) -> bytes:
        """Give up what is held back, where it is not a mark yet: nothing came behind it, so it is shown."""
        if len(self._held) >= len(BEGIN):
            return b""
        held, self._held = self._held, b""
        return held

    def end(self) -> None:
        """Nothing comes any more: what has begun as somebody else's mark counts as one, so that what it hid is told of."""
        body, self._held = self._held[len(BEGIN) :], b""
        if body and not any(body.startswith(nonce.encode()) for nonce in self.nonces):
            self.forged += 1

    def _mark(self, body: bytes) -> Mark | None:
        nonce, _, _ = body[:_NONCE].decode("ascii", "replace").partition(";")
        if nonce not in self.nonces:
            self.forged += 1
            return None
        kind, *values = fields(body[len(nonce) + 1 :])
        return Mark(kind.decode("ascii", "replace"), tuple(values), nonce)


def status(field: bytes) -> int:
    """Return the exit status that ``field`` tells (zsh knows negative ones). Raises ValueError for what no shell has."""
    if not _STATUS.fullmatch(field):
        raise ValueError("no exit status")
    return int(field)


def _begun(data: bytes) -> int:
    """Return how many bytes at the end of ``data`` may begin a mark."""
    for size in range(min(len(BEGIN) - 1, len(data)), 0, -1):
        if BEGIN.startswith(data[-size:]):
            return size
    return 0
