"""HPKE (RFC 9180), written from the RFC a second time: base mode, single shot, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-GCM.

What the gateway seals with a library is opened with this, so that the format is the RFC's and not the library's.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_KEM = b"KEM" + (0x0020).to_bytes(2)
#: AEAD identifier to key length: AES-128-GCM and AES-256-GCM (§7.3).
_KEY_BYTES = {1: 16, 2: 32}


def _extract(salt: bytes, suite: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + material, hashlib.sha256)


def _expand(key: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2) + b"HPKE-v1" + suite + label + info
    out, block = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + labelled + bytes([number]), hashlib.sha256)
        out += block
    return out[:length]


def shared_secret(private: bytes, encapsulated: bytes) -> bytes:
    """``Decap`` (§4.1)."""
    own = X25519PrivateKey.from_private_bytes(private)
    dh = own.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    context = encapsulated + own.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _expand(_extract(b"", _KEM, b"eae_prk", dh), _KEM, b"shared_secret", context, 32)


def schedule(secret: bytes, info: bytes, aead: int) -> tuple[bytes, bytes]:
    """``KeySchedule`` in base mode (§5.1): the key and the base nonce."""
    suite = b"HPKE" + (0x0020).to_bytes(2) + (0x0001).to_bytes(2) + aead.to_bytes(2)
    context = b"\0" + _extract(b"", suite, b"psk_id_hash", b"") + _extract(b"", suite, b"info_hash", info)
    secret = _extract(secret, suite, b"secret", b"")
    return _expand(secret, suite, b"key", context, _KEY_BYTES[aead]), _expand(secret, suite, b"base_nonce", context, 12)


def opened(private: bytes, sealed: bytes, info: bytes, aad: bytes = b"", aead: int = 2) -> bytes:
    """``Open`` of a single shot (§6.1): ``sealed`` is the encapsulated key and the ciphertext."""
    key, nonce = schedule(shared_secret(private, sealed[:32]), info, aead)
    return AESGCM(key).decrypt(nonce, sealed[32:], aad)
