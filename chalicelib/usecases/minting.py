"""Identifiers are minted here and nowhere else, from the control plane's own clock and chance."""

from __future__ import annotations

import hashlib

from chalicelib.contracts import ids
from chalicelib.domain import base64url
from chalicelib.ports import Clock

_SECRET_BYTES = 32


def mint(clock: Clock, kind: str) -> str:
    """Return a new identifier of ``kind`` for now."""
    return ids.mint(kind, clock.now_ms(), clock.entropy(ids.ENTROPY_BYTES))


def secret(clock: Clock) -> str:
    """Return a text of 256 bits that nobody can guess."""
    return base64url.encode(clock.entropy(_SECRET_BYTES))


def digest(text: str) -> str:
    """Return the hash under which a one-time secret is stored."""
    return hashlib.sha256(text.encode()).hexdigest()
