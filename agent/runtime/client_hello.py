"""What a TLS client says it will speak: the ALPN of its ClientHello, read before any TLS begins (RFC 8446 §4.1.2, RFC 7301 §3.1).

Only read to choose who serves the connection; the TLS library reads the same bytes again and trusts nothing of this. One that is
cut into several records is not read: no client does that, since a record has room for many.
"""

from __future__ import annotations

from typing import Final

from agent.runtime.serving import More

HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 1
_ALPN: Final = 16
#: The record's header, and a ClientHello's header and fixed fields (version and random).
_RECORD, _HEADER, _FIXED = 5, 4, 34
_RECORD_LIMIT: Final = 16 * 1024
#: Extensions of one hello; clients send two dozen. A record of empty ones would cost more to read than a handshake.
_EXTENSIONS: Final = 100


def protocols(first: bytes) -> list[bytes] | More:
    """Return the protocols that a TLS client offers, best first; none where it offers none or this is no ClientHello."""
    if first[0] != HANDSHAKE or (len(first) > 1 and first[1] != 3):
        return []
    if len(first) < _RECORD + _HEADER:
        return More(_RECORD + _HEADER)
    record = int.from_bytes(first[3:5])
    size = int.from_bytes(first[6:9])
    if first[5] != _CLIENT_HELLO or record > _RECORD_LIMIT or size + _HEADER > record or size < _FIXED:
        return []
    end = _RECORD + _HEADER + size
    if len(first) < end:
        return More(end)
    try:
        return _alpn(_Reader(first[_RECORD + _HEADER + _FIXED : end]))
    except ValueError:
        return []


def _alpn(hello: _Reader) -> list[bytes]:
    hello.block(1)  # legacy_session_id
    hello.block(2)  # cipher_suites
    hello.block(1)  # legacy_compression_methods
    extensions = _Reader(hello.block(2))
    for _ in range(_EXTENSIONS):
        if not extensions.left:
            break
        kind, body = extensions.number(2), extensions.block(2)
        if kind == _ALPN:
            names, found = _Reader(_Reader(body).block(2)), []
            while names.left:
                found.append(names.block(1))
            return found
    return []


class _Reader:
    """Reads vectors (RFC 8446 §3.4); every step is checked against the end. Raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise ValueError
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width))

    def block(self, width: int) -> bytes:
        """A vector whose length is a number of ``width`` bytes."""
        return self.take(self.number(width))
