"""Lines on their way to disk, packed once: the write-ahead log and the chunk hold the same zstd frame of them.

What floods is gathered to :data:`GATHERED` bytes and packed by the log's thread, just before it is sealed there; a chunk is made
of these frames as they are, and of one more for each stretch of lines between them that came in small pieces. zstd frames in a
row are one stream. So the log seals and writes what is left of the text, and nothing is packed twice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from threading import Lock
from typing import Final

import zstandard

#: Lines of fewer bytes than this are kept as they are until their chunk is cut: a frame of their own would be mostly overhead.
LEAST: Final = 4 * 1024
#: So much is packed together. What zstd finds again is within one frame.
GATHERED: Final = 1024 * 1024
_LEVEL: Final = 1

_local: Final = threading.local()


class Gathering:
    """Lines on their way into one frame."""

    __slots__ = ("_parts", "_room", "size")

    def __init__(self, *, flood: bool = False) -> None:
        """In a ``flood`` lines are copied into one place that was used before: memory that is warm costs less than new memory."""
        self.size = 0
        self._parts: list[bytes] = []
        self._room = _spare() if flood else None

    def add(self, lines: bytes) -> None:
        """Take lines. Together they are :data:`GATHERED` bytes at the most."""
        end = self.size + len(lines)
        if self._room is None:
            self._parts.append(lines)
        else:
            self._room[self.size : end] = lines
        self.size = end

    def lines(self) -> Lines:
        """Return what was added, to be packed where it is not too little for that."""
        if self._room is not None:
            return Packed((), self._room, self.size)
        return Packed(self._parts) if self.size >= LEAST else b"".join(self._parts)


class Packed:
    """Whole lines, to be packed by whoever needs them packed first. ``len`` is that of the text."""

    __slots__ = ("_body", "_lines", "_lock", "_room", "_size")

    def __init__(self, lines: Sequence[bytes], room: memoryview | None = None, size: int = 0) -> None:
        """``lines``, or the first ``size`` bytes of ``room``, which is given back once it is packed."""
        self._lines: Sequence[bytes] | None = lines
        self._room = room
        self._size = size or sum(map(len, lines))
        self._body = b""
        self._lock = Lock()

    @classmethod
    def read(cls, body: bytes) -> Packed:
        """Return what was read as ``body`` from where only this agent can have written it."""
        made = cls(())
        made._lines, made._body = None, body
        made._size = zstandard.get_frame_parameters(body).content_size
        return made

    def __len__(self) -> int:
        return self._size

    @property
    def saved(self) -> int | None:
        """How many bytes fewer it takes now that it is packed; None while it is not."""
        return self._size - len(self._body) if self._lines is None else None

    def body(self) -> bytes:
        """Return the zstd frame. The first call packs; others wait for it."""
        if self._lines is not None:
            with self._lock:
                if self._lines is not None:
                    self._body = packed(self._text())
                    self._lines = None
                    if self._room is not None:
                        _spares.append(self._room)
                        self._room = None
        return self._body

    def text(self) -> bytes:
        """Return the lines."""
        with self._lock:
            return bytes(self._text()) if self._lines is not None else zstandard.ZstdDecompressor().decompress(self._body)

    def _text(self) -> bytes | memoryview:
        return b"".join(self._lines or ()) if self._room is None else self._room[: self._size]


#: Memory that a flood was gathered in; what is more goes back to the system.
_spares: Final[deque[memoryview]] = deque(maxlen=8)


def _spare() -> memoryview:
    try:
        return _spares.pop()
    except IndexError:
        return memoryview(bytearray(GATHERED))


#: Lines as the recording's parts pass them on.
Lines = bytes | Packed


def text(lines: Lines) -> bytes:
    """Return ``lines`` as they were written."""
    return lines if isinstance(lines, bytes) else lines.text()


def frames(parts: Iterable[Lines]) -> bytes:
    """Return ``parts`` as zstd frames in a row: one for each that is packed, and for each stretch of others."""
    made: list[bytes] = []
    for kind, stretch in groupby(parts, type):
        if kind is bytes:
            made.append(packed(b"".join(stretch)))  # type: ignore[arg-type]
        else:
            made += [part.body() for part in stretch]  # type: ignore[union-attr]
    return b"".join(made)


def packed(data: bytes | memoryview) -> bytes:
    """Return ``data`` as one zstd frame, whose checksum lets plain ``zstd -t`` test a recording."""
    packer: zstandard.ZstdCompressor | None = getattr(_local, "packer", None)
    if packer is None:
        packer = _local.packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    return packer.compress(data)
