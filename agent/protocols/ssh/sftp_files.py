"""What moved through an open file: how many bytes, which ones, and their hash where that is honest."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal, NamedTuple

#: Ranges remembered per file and direction, and copies.
RANGES_LIMIT: Final = 64

Direction = Literal["download", "upload"]


class Flow:
    """The bytes that moved in one direction.

    A hash says something about a file only when its bytes came in order. Where they did not, the ranges are listed instead.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.failed = 0
        self.waiting = 0
        """Writes, and copies of its own, that the target has not answered."""
        self.end: int | None = None
        """Where the target said that the file ends."""
        self._ranges: list[list[int]] = []
        self._more_ranges = False
        self._hash: Any = hashlib.sha256()

    def move(self, offset: int, data: memoryview) -> None:
        """Count ``data``, which starts at ``offset`` of the file."""
        size = len(data)
        self.bytes += size
        if self._ranges and self._ranges[-1][1] == offset:
            self._ranges[-1][1] = offset + size
        elif not self._ranges:
            self._ranges.append([offset, offset + size])
        else:
            self._hash = None
            if len(self._ranges) < RANGES_LIMIT:
                self._ranges.append([offset, offset + size])
            else:
                self._more_ranges = True
        if self._hash is not None:
            self._hash.update(data)

    def disorder(self) -> None:
        """The server copies bytes that are never seen here."""
        self._hash = None

    def ends(self, offset: int) -> None:
        """The target says that nothing is left at ``offset``."""
        self.end = offset if self.end is None else min(self.end, offset)

    def send(self, offset: int, data: memoryview) -> None:
        """Count ``data``, which was sent and is not answered."""
        self.waiting += 1
        self.move(offset, data)

    def settle(self, *, taken: bool) -> None:
        """The server answered what was sent."""
        self.waiting -= 1
        if not taken:
            self.fail()

    def fail(self) -> None:
        """The server did not take some bytes: what it has is not what was sent."""
        self.failed += 1
        self._hash = None

    def summary(self) -> dict[str, Any]:
        """``bytes`` with ``sha256`` and the ``offset`` it starts at; or with ``ranges`` as pairs of start and end.

        ``whole`` where everything was read from the first byte to the end that the target told. ``unconfirmed`` are writes that
        the target has not answered: they may be in the file or not.
        """
        entry: dict[str, Any] = {"bytes": self.bytes}
        if self._hash is not None:
            entry |= {"offset": self._ranges[0][0] if self._ranges else 0, "sha256": self._hash.hexdigest()}
        else:
            entry["ranges"] = self._ranges
            if self._more_ranges:
                entry["more_ranges"] = True
        if self.end is not None and self._ranges == ([[0, self.end]] if self.end else []):
            entry["whole"] = True
        if self.failed:
            entry["failed"] = self.failed
        if self.waiting:
            entry["unconfirmed"] = self.waiting
        return entry


class Copy(NamedTuple):
    """Bytes that the target was asked to copy by itself, from one open file into another."""

    source: OpenFile
    offset: int
    size: int
    """How many bytes; 0 is all that follow."""
    destination: OpenFile
    at: int

    def begin(self) -> None:
        """The target is asked. Its bytes are never seen here, so neither file has a hash."""
        self.source.read.disorder()
        self.source.note_copy("copied_to", {"path": self.destination.path})
        self.destination.written.disorder()
        self.destination.written.waiting += 1
        count = {"bytes": self.size} if self.size else {}
        self.destination.note_copy("copied_from", {"path": self.source.path, "offset": self.offset, **count, "at": self.at})


class OpenFile:
    """A handle that the target gave out, and what it was permitted for."""

    def __init__(
        self, path: str, *, reads: bool = False, writes: bool = False, directory: bool = False, limit: int | None = None
    ) -> None:
        self.path: Final = path
        self.limit: Final = limit
        """The size that the client announced, which policy believed: nothing is written past it."""
        self.asked_as = path
        """The name that was asked for, which may have led here through links."""
        self.reads: Final = reads
        self.writes: Final = writes
        self.directory: Final = directory
        self.read = Flow()
        self.written = Flow()
        self._copies: dict[str, list[dict[str, Any]]] = {}

    def has_room(self, offset: int, size: int) -> bool:
        """Tell whether ``size`` bytes at ``offset`` (which a file that is appended to ignores) stay within what was announced."""
        return self.limit is None or max(offset, self.written.bytes) + size <= self.limit

    def note_copy(self, name: str, about: dict[str, Any]) -> None:
        """Remember a copy that the target made, to or from this file."""
        copies = self._copies.setdefault(name, [])
        if len(copies) < RANGES_LIMIT:
            copies.append(about)

    def entries(self, *, closed: bool) -> list[dict[str, Any]]:
        """One entry per direction, for the transcript."""
        if self.directory:
            return []
        copies = {"download": "copied_to", "upload": "copied_from"}
        flows: list[tuple[Direction, Flow, bool]] = [("download", self.read, self.reads), ("upload", self.written, self.writes)]
        names = {"path": self.path} if self.asked_as == self.path else {"path": self.path, "asked_as": self.asked_as}
        return [
            {
                "event": "file",
                **names,
                "direction": direction,
                **flow.summary(),
                **self._copied(copies[direction]),
                "closed": closed,
            }
            for direction, flow, permitted in flows
            if permitted
        ]

    def _copied(self, name: str) -> dict[str, Any]:
        return {name: self._copies[name]} if name in self._copies else {}
