"""What a forwarded connection seems to speak, by its first bytes: a word for whoever reads the record, and no proof. Pure.

Only words of this page are ever told, so nothing of the bytes themselves comes into a recording. Whoever wants to look like
another protocol can; policy never sees the word.
"""

from __future__ import annotations

import re
from typing import Final

#: First bytes of either direction that are looked at.
HEAD: Final = 24

#: What whoever opens the connection begins with, or whoever answers, where that is told by one side's bytes alone.
_BEGINNINGS: Final[tuple[tuple[str, re.Pattern[bytes]], ...]] = (
    ("ssh", re.compile(rb"SSH-")),  # RFC 4253 §4.2
    ("tls", re.compile(rb"\x16\x03[\x00-\x04]..\x01", re.DOTALL)),  # RFC 8446 §5.1: a handshake, and a ClientHello in it
    ("http", re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) [^ \r\n]|PRI \* HTTP/2")),
    # A length, and version 3.x or a request for TLS, GSSAPI or a cancel (PostgreSQL, "Message Formats").
    ("postgresql", re.compile(rb"\0\0..(?:\0\x03\0[\0-\x0f]|\x04\xd2\x16[\x2e-\x30])", re.DOTALL)),
    ("mysql", re.compile(rb"..\0\0\x0a[0-9]", re.DOTALL)),  # the server's greeting: length, number 0, protocol 10, its version
    ("redis", re.compile(rb"\*[0-9]{1,4}\r\n\$")),  # RESP: an array of strings
    ("rdp", re.compile(rb"\x03\0..[\x06-\xff]\xe0", re.DOTALL)),  # TPKT, and X.224's connection request
    ("ldap", re.compile(rb"\x30[\x05-\x7f]\x02\x01[\x01-\x7f]\x60")),  # RFC 4511 §4.2: a bind request
    ("mongodb", re.compile(rb".{12}(?:\xdd\x07|\xd4\x07)\0\0", re.DOTALL)),  # OP_MSG, OP_QUERY
    ("vnc", re.compile(rb"RFB 00[0-9]\.")),  # RFC 6143 §7.1.1
)

WORDS: Final = frozenset(word for word, _ in _BEGINNINGS)


def guess(*beginnings: bytes) -> str:
    """Return what connections with these ``beginnings``, one of each direction, mostly are; nothing where that cannot be told."""
    return next((word for word, begins in _BEGINNINGS if any(begins.match(each) for each in beginnings)), "")
