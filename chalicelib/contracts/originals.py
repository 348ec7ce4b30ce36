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

import datetime as dt
import hashlib
import re
from typing import Annotated, Final, Literal

import msgspec

#: The JWT type of :class:`SealingClaims`.
SEALING_TYP: Final = "sallyport-originals+jwt"
FORMAT: Final = "sallyport-sealed"
VERSION: Final = 1
#: The channel of sealed originals. Programs of a session have channels from 1.
CHANNEL: Final = 0
KIND: Final = "ch00.sealed"
#: Plain bytes of one record: sealed and in base 64 it is a line of a recording, which has at most 1 MiB.
RECORD_BYTES: Final = 512 * 1024
KEY_BYTES: Final = 32

_KEY: Final = re.compile(r"[0-9a-f]{64}")
_MONTH: Final = re.compile(r"20[0-9]{2}-(?:0[1-9]|1[0-2])")


class SealingKey(msgspec.Struct, kw_only=True, frozen=True):
    """What an agent seals with: the public half of the key of a target and a month."""

    target: str
    month: str
    public: bytes
    """The raw X25519 public key."""

    @property
    def key(self) -> str:
        """The key's name."""
        return key_name(self.public)


class SealingClaims(msgspec.Struct, kw_only=True, frozen=True):
    """The same as the gateway signs it once, when it makes the key: nobody who can only write the table can exchange it."""

    iss: str
    target: str
    month: str
    public: str
    """Base64 of the raw X25519 public key."""


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


def key_name(public: bytes) -> str:
    """Return what a key is called: hex SHA-256 of its raw public half."""
    return hashlib.sha256(public).hexdigest()


def is_key_name(text: str) -> bool:
    """Tell whether ``text`` could be what a key is called."""
    return bool(_KEY.fullmatch(text))


def erasure_path(key: str) -> str:
    """Return where the bucket holds the proof that ``key`` was erased (a c2sp.org/tlog-proof, like those of sessions)."""
    return f"log/originals/{key}.tlog-proof"


def month_of(time_ms: int) -> str:
    """Return the month (UTC) of Unix milliseconds, as ``2026-11``."""
    return f"{dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC):%Y-%m}"


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
