"""Sealing: originals on their way into the recording. This process cannot read what it has sealed; see ``contracts.originals``.

There is a content key for each session. It is made here, leaves only under HPKE, and ends with this object: not even the process
that made it can open what an earlier one sealed. Plain text comes in as bytes in memory and goes out sealed, so neither the
write-ahead log nor a chunk on this disk ever holds it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from chalicelib.contracts import originals
from chalicelib.contracts.faults import Fault

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Sealer:
    """Seals the originals of one session. There is no way back."""

    def __init__(self, sid: str, key: originals.SealingKey) -> None:
        """Raises Fault(recording_failed) for a key that is none: what must be kept and cannot be is not served."""
        content = AESGCM.generate_key(256)
        bound = (sid, key.target, key.month, key.key)
        try:
            public = X25519PublicKey.from_public_bytes(key.public)
            sealed = _SUITE.encrypt(content, public, info=originals.info(*bound))
        except (ValueError, TypeError) as error:
            raise Fault("recording_failed", "The key for this session's originals is not one.", detail=str(error)) from None
        self._bound: Final = bound
        self._cipher: Final = AESGCM(content)
        self._next = 0
        header = originals.Header(sid=sid, target=key.target, month=key.month, key=key.key, content=sealed)
        self._heading = msgspec.json.encode(header) + b"\n"

    def seal(self, lines: Sequence[bytes]) -> bytes:
        """Return whole lines of originals as whole lines of the channel ``originals.CHANNEL``."""
        plain = b"".join(lines)
        made = [self._heading]
        self._heading = b""
        for at in range(0, len(plain), originals.RECORD_BYTES):
            n, self._next = self._next, self._next + 1
            sealed = self._cipher.encrypt(
                originals.nonce(n), plain[at : at + originals.RECORD_BYTES], originals.aad(*self._bound, n)
            )
            made.append(b'{"n":%d,"sealed":"%b"}\n' % (n, base64.b64encode(sealed)))
        return b"".join(made)
