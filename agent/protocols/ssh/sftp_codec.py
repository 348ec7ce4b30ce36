"""SFTP version 3 packets (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL), read and written without a socket.

A packet is ``u32 length, u8 type, body``. Lengths are checked before anything is kept. A body must be read to its last byte: a
reader that stops early and a server that goes on would disagree about what was asked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from chalicelib.contracts.faults import Fault

#: OpenSSH's own limit for a packet (SFTP_MAX_MSG_LENGTH).
PACKET_LIMIT: Final = 256 * 1024
#: Longest path (PATH_MAX), and longest handle (the draft's limit).
PATH_LIMIT: Final = 4096
HANDLE_LIMIT: Final = 256
EXTENSIONS_LIMIT: Final = 64

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
LSTAT, FSTAT, SETSTAT, FSETSTAT = 7, 8, 9, 10
OPENDIR, READDIR, REMOVE, MKDIR, RMDIR = 11, 12, 13, 14, 15
REALPATH, STAT, RENAME, READLINK, SYMLINK = 16, 17, 18, 19, 20
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, BAD_MESSAGE = 0, 1, 2, 3, 4, 5
OP_UNSUPPORTED: Final = 8
#: What the record calls a status that is not OK. Others stand there by their number.
STATUS_NAMES: Final = {
    EOF: "eof",
    NO_SUCH_FILE: "no_such_file",
    PERMISSION_DENIED: "permission_denied",
    FAILURE: "failure",
    BAD_MESSAGE: "bad_message",
    OP_UNSUPPORTED: "not_supported",
}

FLAG_READ, FLAG_WRITE, FLAG_APPEND, FLAG_CREATE, FLAG_TRUNCATE, FLAG_EXCLUSIVE = 1, 2, 4, 8, 16, 32
ALL_FLAGS: Final = 63

_SIZE, _OWNER, _PERMISSIONS, _TIMES = 1, 2, 4, 8
_U32: Final = struct.Struct(">I")
_U64: Final = struct.Struct(">Q")


class Attributes(msgspec.Struct, frozen=True):
    """File attributes of a request; None where the client did not set them."""

    size: int | None = None
    owner: tuple[int, int] | None = None
    permissions: int | None = None
    times: tuple[int, int] | None = None

    def __str__(self) -> str:
        parts = []
        if self.size is not None:
            parts.append(f"size={self.size}")
        if self.owner is not None:
            parts.append(f"owner={self.owner[0]}:{self.owner[1]}")
        if self.permissions is not None:
            parts.append(f"mode={self.permissions & 0o7777:04o}")
        if self.times is not None:
            parts.append(f"mtime={self.times[1]}")
        return " ".join(parts)


class Splitter:
    """Cuts a stream into packets. ``feed`` raises Fault(protocol_error) for a length no packet may have."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every packet that ``data`` completes, each with its length in front, exactly as it came."""
        kept = self._kept
        kept += data
        start = 0
        try:
            while len(kept) - start >= 4:
                (size,) = _U32.unpack_from(kept, start)
                if not 1 <= size <= PACKET_LIMIT:
                    raise Fault("protocol_error", "The file transfer sent a packet of an impossible length.")
                end = start + 4 + size
                if len(kept) < end:
                    break
                yield bytes(memoryview(kept)[start:end])
                start = end
        finally:
            del kept[:start]


class Reader:
    """Reads the body of one packet. Every method raises ValueError where the packet ends too early."""

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._at = 5

    @property
    def type(self) -> int:
        """The packet's type."""
        return self._packet[4]

    def u32(self) -> int:
        """An unsigned 32-bit number."""
        return int(_U32.unpack(self._take(4))[0])

    def u64(self) -> int:
        """An unsigned 64-bit number."""
        return int(_U64.unpack(self._take(8))[0])

    def string(self, limit: int = PACKET_LIMIT) -> bytes:
        """A counted string of at most ``limit`` bytes."""
        size = self.u32()
        if size > limit:
            raise ValueError("string too long")
        return self._take(size)

    def string_size(self) -> int:
        """Skip a counted string and return its length."""
        size = self.u32()
        if self._at + size > len(self._packet):
            raise ValueError("packet too short")
        self._at += size
        return size

    def view(self) -> memoryview:
        """A counted string without copying it."""
        size = self.u32()
        start = self._at
        self._at += size
        if self._at > len(self._packet):
            raise ValueError("packet too short")
        return memoryview(self._packet)[start : self._at]

    def path(self) -> bytes:
        """A path: bounded, and without the NUL at which a server written in C would stop to read."""
        path = self.string(PATH_LIMIT)
        if b"\0" in path:
            raise ValueError("NUL in a path")
        return path

    def attributes(self) -> Attributes:
        """File attributes. Extended ones and unknown flags are refused: nobody here could say what they mean."""
        flags = self.u32()
        if flags & ~(_SIZE | _OWNER | _PERMISSIONS | _TIMES):
            raise ValueError("unknown attributes")
        return Attributes(
            size=self.u64() if flags & _SIZE else None,
            owner=(self.u32(), self.u32()) if flags & _OWNER else None,
            permissions=self.u32() if flags & _PERMISSIONS else None,
            times=(self.u32(), self.u32()) if flags & _TIMES else None,
        )

    def rest(self) -> bytes:
        """Everything that was not read yet."""
        start, self._at = self._at, len(self._packet)
        return self._packet[start:]

    def more(self) -> bool:
        """True while something is left."""
        return self._at < len(self._packet)

    def end(self) -> None:
        """Raise ValueError unless everything was read."""
        if self._at != len(self._packet):
            raise ValueError("something is left in the packet")

    def _take(self, size: int) -> bytes:
        start = self._at
        self._at += size
        if self._at > len(self._packet):
            raise ValueError("packet too short")
        return self._packet[start : self._at]


def string(data: bytes) -> bytes:
    """Write a counted string."""
    return _U32.pack(len(data)) + data


def packet(kind: int, *parts: bytes) -> bytes:
    """Write a packet."""
    body = b"".join(parts)
    return _U32.pack(len(body) + 1) + bytes((kind,)) + body


def request(kind: int, number: int, *parts: bytes) -> bytes:
    """Write a request or an answer, which starts with its number."""
    return packet(kind, _U32.pack(number), *parts)


def status(number: int, code: int, message: str) -> bytes:
    """Write a STATUS answer."""
    return request(STATUS, number, _U32.pack(code), string(message.encode()), string(b""))


def version(number: int, extensions: list[tuple[bytes, bytes]]) -> bytes:
    """Write a VERSION packet."""
    return packet(VERSION, _U32.pack(number), *(string(each) for pair in extensions for each in pair))


def read_version(data: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
    """Read an INIT or VERSION packet. Raises ValueError."""
    reader = Reader(data)
    number = reader.u32()
    extensions = []
    while reader.more():
        extensions.append((reader.string(HANDLE_LIMIT), reader.string()))
        if len(extensions) > EXTENSIONS_LIMIT:
            raise ValueError("too many extensions")
    return number, extensions
