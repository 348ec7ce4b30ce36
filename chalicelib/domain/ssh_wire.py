"""The few SSH encodings that keys and certificates are made of (RFC 4251 §5), and the strict reading of public keys.

A public key that somebody hands in is decoded and encoded again, so nothing but a key survives: no options, no comments, no
second line that would become a line of its own in a file that is generated later.
"""

from __future__ import annotations

import binascii
import struct
from typing import Final

ED25519: Final = "ssh-ed25519"
ECDSA: Final = "ecdsa-sha2-nistp256"
_LINE_LIMIT: Final = 16_384


def string(value: bytes | str) -> bytes:
    """Encode a ``string``."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(raw)) + raw


def mpint(value: int) -> bytes:
    """Encode a non-negative ``mpint``."""
    return string(value.to_bytes(value.bit_length() // 8 + 1, "big") if value else b"")


def u32(value: int) -> bytes:
    """Encode a ``uint32``."""
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    """Encode a ``uint64``."""
    return struct.pack(">Q", value)


class Wire:
    """Reads encoded values one after another. Raises ValueError when they do not fit."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._at

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        found = self._data[self._at : self._at + count]
        if len(found) != count:
            raise ValueError("the data ends too early")
        self._at += count
        return found

    def string(self) -> bytes:
        """Return the next ``string``."""
        return self.take(self.u32())

    def text(self) -> str:
        """Return the next ``string`` as UTF-8."""
        return self.string().decode()

    def u32(self) -> int:
        """Return the next ``uint32``."""
        return int(struct.unpack(">I", self.take(4))[0])

    def u64(self) -> int:
        """Return the next ``uint64``."""
        return int(struct.unpack(">Q", self.take(8))[0])

    def done(self) -> bool:
        """True when everything was read."""
        return self._at == len(self._data)

    def end(self) -> None:
        """Raise ValueError unless everything was read."""
        if not self.done():
            raise ValueError("there is data behind the end")


def blob_of_line(line: str, kind: str) -> bytes:
    """Return the decoded blob of one OpenSSH line of ``kind``. A comment may follow and is dropped. Raises ValueError."""
    if len(line) > _LINE_LIMIT or "\n" in line.strip("\n") or "\r" in line:
        raise ValueError("expected one line")
    parts = line.strip().split(" ", 2)
    if len(parts) < 2 or parts[0] != kind:
        raise ValueError(f"expected a key of type {kind}")
    try:
        blob = binascii.a2b_base64(parts[1], strict_mode=True)
    except ValueError:
        raise ValueError("the key is not base64") from None
    if Wire(blob).text() != kind:
        raise ValueError(f"expected a key of type {kind}")
    return blob


def ed25519_of_line(line: str) -> bytes:
    """Return the 32 raw bytes of an ``ssh-ed25519 AAAA…`` line. Raises ValueError."""
    wire = Wire(blob_of_line(line, ED25519))
    wire.string()
    raw = wire.string()
    wire.end()
    if len(raw) != 32:
        raise ValueError("an Ed25519 key has 32 bytes")
    return raw


def ed25519_line(raw: bytes) -> str:
    """Return ``ssh-ed25519 AAAA…`` for 32 raw bytes."""
    return line_of_blob(ED25519, string(ED25519) + string(raw))


def p256_blob(point: bytes) -> bytes:
    """Return the blob of a P-256 public key given as an uncompressed point (65 bytes)."""
    return string(ECDSA) + string("nistp256") + string(point)


def line_of_blob(kind: str, blob: bytes) -> str:
    """Return one OpenSSH line."""
    return f"{kind} {binascii.b2a_base64(blob, newline=False).decode('ascii')}"
