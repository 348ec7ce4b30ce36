"""The gateway's keys, in KMS: tokens (JWS, ES256) and the SSH authority. Private halves stay there; public ones are read once.

KMS signs ECDSA in DER; JOSE wants r ‖ s (RFC 7518 §3.4) and SSH wants two mpints (RFC 5656 §3.1.2). ``RAW`` mode takes messages
of up to 4096 bytes and hashes them itself; a longer one is hashed here. Every signature is verified before it is used, so a
wrong one is our fault now and not somebody's riddle later.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from chalicelib.contracts.translog import notes, signatures
from chalicelib.domain import base64url
from chalicelib.domain.ssh_wire import ECDSA, line_of_blob, mpint, p256_blob, string

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_RAW_LIMIT: Final = 4_096
_TOKEN_LIMIT: Final = 16_384


class _Key:
    """One asymmetric KMS key (ECC_NIST_P256, SIGN_VERIFY)."""

    def __init__(self, client: KMSClient, key_id: str) -> None:
        self._client, self._key_id = client, key_id
        self._public: ec.EllipticCurvePublicKey | None = None

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        if self._public is None:
            found = load_der_public_key(self._client.get_public_key(KeyId=self._key_id)["PublicKey"])
            if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
                raise RuntimeError("the KMS key is not ECC_NIST_P256")
            self._public = found
        return self._public

    @property
    def point(self) -> bytes:
        return self.public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def sign(self, message: bytes) -> tuple[int, int]:
        short = len(message) <= _RAW_LIMIT
        der = self._client.sign(
            KeyId=self._key_id,
            Message=message if short else hashlib.sha256(message).digest(),
            MessageType="RAW" if short else "DIGEST",
            SigningAlgorithm="ECDSA_SHA_256",
        )["Signature"]
        self.public.verify(der, message, ec.ECDSA(SHA256()))
        r, s = decode_dss_signature(der)
        return r, s


class KmsSigner:
    """Implements ``ports.Signer``."""

    def __init__(self, client: KMSClient, token_key: str, ssh_key: str) -> None:
        self._token, self._ssh = _Key(client, token_key), _Key(client, ssh_key)
        self._jwk: dict[str, str] = {}
        self._verifier: ECKey | None = None

    def sign_token(self, typ: str, claims: dict[str, Any]) -> str:
        """Return a compact JWS (ES256)."""
        header = {"alg": "ES256", "kid": self.token_key()["kid"], "typ": typ}
        message = ".".join(base64url.encode(msgspec.json.encode(part)) for part in (header, claims))
        r, s = self._token.sign(message.encode())
        return f"{message}.{base64url.encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def verify_token(self, typ: str, token: str) -> dict[str, Any]:
        """Return the claims of a JWS of exactly this ``typ``."""
        if len(token) > _TOKEN_LIMIT:
            raise ValueError("the token is too long")
        if self._verifier is None:
            self._verifier = ECKey.import_key({**self.token_key()})
        try:
            found = jws.deserialize_compact(token, self._verifier, algorithms=["ES256"])
        except (JoseError, ValueError):
            raise ValueError("the token's signature is wrong") from None
        if found.headers().get("typ") != typ:
            raise ValueError(f"the token is not of type {typ}")
        return msgspec.json.decode(found.payload, type=dict[str, Any])

    def token_key(self) -> dict[str, str]:
        """Return the public JWK; its ``kid`` is the RFC 7638 thumbprint."""
        if not self._jwk:
            numbers = self._token.public.public_numbers()
            x, y = (base64url.encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
            required = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
            thumbprint = hashlib.sha256(msgspec.json.encode(required)).digest()
            self._jwk = required | {"alg": "ES256", "use": "sig", "kid": base64url.encode(thumbprint)}
        return self._jwk

    def ssh_ca(self) -> str:
        """Return the SSH CA's public key as one OpenSSH line."""
        return line_of_blob(ECDSA, p256_blob(self._ssh.point))

    def sign_ssh(self, blob: bytes) -> bytes:
        """Return the SSH signature blob of the CA over ``blob``."""
        r, s = self._ssh.sign(blob)
        return string(ECDSA) + string(mpint(r) + mpint(s))


class KmsNotary:
    """Implements ``ports.Notary`` with a key of ECC_NIST_EDWARDS25519 (which public witnesses want) or ECC_NIST_P256."""

    def __init__(self, client: KMSClient, key_id: str, name: str) -> None:
        self._client, self._key_id, self._name = client, key_id, notes.check_name(name)
        self._key: notes.Key | None = None

    def key(self) -> notes.Key:
        """Return the public key."""
        if self._key is None:
            der = self._client.get_public_key(KeyId=self._key_id)["PublicKey"]
            found = load_der_public_key(der)
            if isinstance(found, ed25519.Ed25519PublicKey):
                self._key = notes.Key(self._name, notes.ED25519, found.public_bytes(Encoding.Raw, PublicFormat.Raw))
            elif isinstance(found, ec.EllipticCurvePublicKey) and isinstance(found.curve, ec.SECP256R1):
                self._key = notes.Key(self._name, notes.ECDSA, der)
            else:
                raise RuntimeError("the KMS key is neither ECC_NIST_EDWARDS25519 nor ECC_NIST_P256")
        return self._key

    def sign(self, text: str) -> notes.Note:
        """Return ``text`` as a signed note. RAW: KMS sees the text itself, and its audit trail the call."""
        key, message = self.key(), text.encode()
        if len(message) > _RAW_LIMIT:
            raise ValueError(f"a note that KMS signs has at most {_RAW_LIMIT} bytes")
        made = self._client.sign(
            KeyId=self._key_id,
            Message=message,
            MessageType="RAW",
            SigningAlgorithm="ED25519_SHA_512" if key.kind == notes.ED25519 else "ECDSA_SHA_256",
        )["Signature"]
        if not signatures.check(key.kind, key.public, message, made):
            raise RuntimeError("KMS returned a signature that its own public key refuses")
        return notes.signed(text, [(key, made)])
