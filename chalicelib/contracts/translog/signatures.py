"""Whether a signature is good. Only that: making one takes a private key, which is an adapter's affair.

The one file of the contracts that needs a cryptography library: both planes and the auditor must agree on what is good, and three
copies of this would not stay the same (ADR 0009).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from chalicelib.contracts.translog import notes


def check(kind: int, public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether ``signature`` over ``message`` is good under a key of ``kind`` (``notes``). Never raises for bad input."""
    try:
        if kind in (notes.ED25519, notes.COSIGNATURE):
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            return True
        if kind == notes.ECDSA:
            key = load_der_public_key(public)
            if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
                key.verify(signature, message, ECDSA(SHA256()))
                return True
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return False
