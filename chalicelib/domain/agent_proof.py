"""Agents' proofs: a JWS over one request, made with the Ed25519 key that the agent enrolled with (RFC 7515, RFC 8037).

``peek`` says who claims to speak, so that the key can be looked up; only ``verify`` makes it true. A proof may be used once
within its minute. That is remembered per container, not in a table: another container could accept a copy in those seconds,
but a copy proves the same method, path and body, and no agent request does more when it is repeated.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chalicelib.contracts import ids
from chalicelib.contracts.capability import PROOF_S, PROOF_TYP, ProofClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain.base64url import decode

_LIMIT: Final = 4_096
_JTI: Final = re.compile(r"[A-Za-z0-9_-]{8,128}")
#: RFC 8037 calls it EdDSA; RFC 9864 calls it Ed25519.
_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519"})
_REMEMBERED: Final = 50_000


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    typ: str
    kid: str


def peek(token: str) -> str:
    """Return the agent identifier that the proof names, unverified. Raises Fault for anything else."""
    return _open(token)[0].kid


def verify(token: str, public_key: bytes) -> ProofClaims:
    """Return the claims of a proof that ``public_key`` (32 raw bytes) signed. Raises Fault; nothing in them is checked."""
    _, body, signature, signed = _open(token)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise _invalid("signature") from None
    try:
        claims = msgspec.json.decode(body, type=ProofClaims)
    except msgspec.DecodeError:
        raise _invalid("claims") from None
    if not _JTI.fullmatch(claims.jti):
        raise _invalid("jti")
    return claims


def _open(token: str) -> tuple[_Header, bytes, bytes, bytes]:
    parts = token.split(".")
    if len(token) > _LIMIT or len(parts) != 3:
        raise _invalid("shape")
    try:
        header = msgspec.json.decode(decode(parts[0]), type=_Header)
        body, signature = decode(parts[1]), decode(parts[2])
    except ValueError:
        raise _invalid("encoding") from None
    if header.typ != PROOF_TYP or header.alg not in _ALGORITHMS or not ids.is_id(ids.AGENT, header.kid):
        raise _invalid("header")
    return header, body, signature, f"{parts[0]}.{parts[1]}".encode()


def _invalid(detail: str) -> Fault:
    return Fault("agent_proof_invalid", "The agent's proof is not valid.", detail=detail)


class Replays:
    """The proofs that this container has seen within their lifetime."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[int]] = {}

    def first(self, agent_id: str, jti: str, now_ms: int) -> bool:
        """Tell whether this is the first time."""
        if len(self._seen) >= _REMEMBERED:
            self._forget(now_ms)
        # A list of its own has an identity of its own, so setdefault decides between threads.
        mine = [now_ms + 2 * PROOF_S * 1000]
        return self._seen.setdefault((agent_id, jti), mine) is mine

    def _forget(self, now_ms: int) -> None:
        for key, until in list(self._seen.items()):
            if until[0] < now_ms:
                self._seen.pop(key, None)
