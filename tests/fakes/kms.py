"""The gateway's keys in memory: real P-256 keys and real signatures, made by other code than the adapter's."""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey

from chalicelib.domain.ssh_wire import ECDSA, mpint, string


class FakeSigner:
    """Implements ``chalicelib.ports.Signer``."""

    def __init__(self) -> None:
        self._token = ECKey.generate_key("P-256", auto_kid=True)
        self._ssh = ec.generate_private_key(ec.SECP256R1())

    def sign_token(self, typ: str, claims: dict[str, Any]) -> str:
        header = {"alg": "ES256", "typ": typ, "kid": self._token.kid}
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._token, algorithms=["ES256"])

    def verify_token(self, typ: str, token: str) -> dict[str, Any]:
        try:
            found = jws.deserialize_compact(token, self._token, algorithms=["ES256"])
        except Exception as error:
            raise ValueError("the token's signature is wrong") from error
        if found.headers().get("typ") != typ:
            raise ValueError(f"the token is not of type {typ}")
        return msgspec.json.decode(found.payload, type=dict[str, Any])

    def token_key(self) -> dict[str, str]:
        public: dict[str, str] = {name: str(value) for name, value in self._token.as_dict(private=False).items()}
        return public | {"alg": "ES256", "use": "sig"}

    def ssh_ca(self) -> str:
        return self._ssh.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()

    def sign_ssh(self, blob: bytes) -> bytes:
        r, s = decode_dss_signature(self._ssh.sign(blob, ec.ECDSA(SHA256())))
        return string(ECDSA) + string(mpint(r) + mpint(s))
