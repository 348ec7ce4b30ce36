"""The keys that the spool is sealed with, so that a copy of it alone tells nobody what was recorded.

    secret = HKDF(the agent's private key)        never on disk besides ``agent.key``
    key    = HKDF(secret, salt, purpose)          a fresh salt for each process; it is kept in clear beside what it sealed

Whoever has the state directory with ``agent.key`` can read the spool, as the agent can after a restart. What this answers is a
copy of the spool without it: a backup of that folder, a disk that it was moved to, a damaged file that somebody is sent.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32


class SpoolKeys:
    """The keys of one agent's spool. ``salt`` is this process's own, so no nonce can have been used before."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.salt: Final = os.urandom(SALT_BYTES)

    def log(self, salt: bytes) -> AESGCM:
        """Return the cipher of a log's heads and checkpoints."""
        return self._derive(salt, b"log")

    def lines(self, salt: bytes, sid: str) -> AESGCM:
        """Return the cipher of one session's frames."""
        return self._derive(salt, b"lines " + sid.encode())

    def chunks(self, salt: bytes, sid: str) -> AESGCM:
        """Return the cipher of one session's chunks."""
        return self._derive(salt, b"chunks " + sid.encode())

    def _derive(self, salt: bytes, purpose: bytes) -> AESGCM:
        return AESGCM(HKDF(SHA256(), _KEY_BYTES, salt, b"sallyport spool 1 " + purpose).derive(self._secret))


def spool_secret(private_key: bytes) -> bytes:
    """Return the secret of the agent whose raw private key is given."""
    return HKDF(SHA256(), _KEY_BYTES, None, b"sallyport spool 1").derive(private_key)
