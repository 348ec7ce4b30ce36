"""Sealed originals: what masking kept out of a recording, encrypted so that whoever recorded it cannot read it again.

A target may keep originals (``originals: sealed`` in gateway.yaml). Then there is one more channel in its recordings, of the kind
``ch00.sealed``: JSON lines in the same chunks, the same chain and the same manifest as everything else.

    {"format":"sallyport-sealed","version":1,"sid":…,"target":…,"month":…,"key":…,"content":…}     once, first
    {"n":0,"sealed":…}                                                                             any number

``content`` is the session's content key under HPKE (RFC 9180: base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM;
the encapsulated key ‖ the ciphertext) to the public key of the target and the month in which the session was opened, with
:func:`info` as its info. ``sealed`` is AES-256-GCM under the content key, nonce ``n`` (96 bits, big-endian), with :func:`aad`.
Both bind session, target, month and key, and a record its number too, so that nothing can be put in another's place. A record is
sealed before anybody knows which chunk it will be in; the chunk's place is bound by the chain.

What is inside, one record behind the other, is JSON lines again: one object per line of a transcript in which something was
replaced, as it would have been without, with ``ch``, the channel, and ``t``, milliseconds since the session's recording began.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final, Literal

import msgspec

FORMAT: Final = "sallyport-sealed"
VERSION: Final = 1
#: The channel of sealed originals. Programs of a session have channels from 1.
CHANNEL: Final = 0
KIND: Final = "ch00.sealed"
#: Plain bytes of one record: sealed and in base 64 it is a line of a recording, which has at most 1 MiB.
RECORD_BYTES: Final = 512 * 1024
KEY_BYTES: Final = 32

_MONTH: Final = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")


class SealingKey(msgspec.Struct, kw_only=True, frozen=True):
    """What an agent seals with: the public half of the key of a target and a month."""

    target: str
    month: str
    public: bytes
    """The raw X25519 public key."""

    @property
    def key(self) -> str:
        """The key's name: hex SHA-256 of its public half."""
        return hashlib.sha256(self.public).hexdigest()


class Header(msgspec.Struct, kw_only=True, frozen=True):
    """The first line of sealed originals."""

    format: Literal["sallyport-sealed"] = FORMAT
    version: Literal[1] = VERSION
    sid: str
    target: str
    month: str
    key: str
    content: bytes
    """The session's content key under HPKE."""


class Record(msgspec.Struct, kw_only=True, frozen=True):
    """Every further line."""

    n: Annotated[int, msgspec.Meta(ge=0, le=(1 << 62))]
    sealed: bytes


def info(sid: str, target: str, month: str, key: str) -> bytes:
    """Return what the content key of session ``sid`` is bound to."""
    return msgspec.json.encode(["sallyport-originals-v1", sid, target, month, key])


def aad(sid: str, target: str, month: str, key: str, n: int) -> bytes:
    """Return what record ``n`` of session ``sid`` is bound to."""
    return msgspec.json.encode(["sallyport-original-v1", sid, target, month, key, n])


def nonce(n: int) -> bytes:
    """Return the nonce of record ``n``."""
    return n.to_bytes(12)


def context(target: str, month: str) -> dict[str, str]:
    """Return the KMS encryption context under which the private half is wrapped."""
    return {"purpose": "sallyport-originals", "target": target, "month": month}


def is_month(text: str) -> bool:
    """Tell whether ``text`` reads like ``2026-11``."""
    return bool(_MONTH.fullmatch(text))


def read_header(line: bytes) -> Header:
    """Return the first line of sealed originals. Raises ValueError."""
    try:
        return msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise ValueError(f"sealed originals begin with a heading: {error}") from None


def read_record(line: bytes) -> Record:
    """Return a further line. Raises ValueError."""
    try:
        return msgspec.json.decode(line, type=Record)
    except msgspec.DecodeError as error:
        raise ValueError(f"this is no sealed record: {error}") from None
