"""Secrets Manager: the relay's route key and the identity provider's client secret, each read once per container."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import msgspec

from chalicelib.domain import base64url

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

_KEY_BYTES: Final = 32
_TEXT_LIMIT: Final = 1_024


class Secrets:
    """Reads secrets by name."""

    def __init__(self, client: SecretsManagerClient) -> None:
        self._client = client

    def text(self, name: str) -> str:
        """Return a secret that is text."""
        return self._client.get_secret_value(SecretId=name)["SecretString"]

    def key(self, name: str) -> bytes:
        """Return a secret of exactly 32 bytes: binary, or text in base64url."""
        found = self._client.get_secret_value(SecretId=name)
        raw = found["SecretBinary"] if "SecretBinary" in found else _key_of_text(found["SecretString"])
        if len(raw) != _KEY_BYTES:
            raise RuntimeError(f"secret {name} must hold {_KEY_BYTES} bytes")
        return raw


def _key_of_text(text: str) -> bytes:
    # CloudFormation generates text, not bytes: 64 random characters make a key of their hash.
    if len(text) < 43:
        raise RuntimeError("the route secret is too short")
    return hashlib.sha256(text.encode()).digest()


class SealedRoutes:
    """Implements ``ports.Routes``: base64url(JSON parts) ``.`` base64url(HMAC-SHA-256 over kind and parts)."""

    def __init__(self, secrets: Secrets, name: str) -> None:
        self._secrets, self._name = secrets, name
        self._key = b""

    def seal(self, kind: str, *parts: str) -> str:
        """Return a text that names ``parts`` and cannot be made by anybody else."""
        body = base64url.encode(msgspec.json.encode(parts))
        return f"{body}.{base64url.encode(self._mac(kind, body))}"

    def unseal(self, kind: str, text: str) -> tuple[str, ...]:
        """Return the parts. Raises ValueError for anything that was not sealed as ``kind``."""
        body, _, mac = text.partition(".")
        if len(text) > _TEXT_LIMIT or not hmac.compare_digest(base64url.decode(mac), self._mac(kind, body)):
            raise ValueError("not sealed by this gateway")
        return msgspec.json.decode(base64url.decode(body), type=tuple[str, ...])

    def _mac(self, kind: str, body: str) -> bytes:
        if not self._key:
            self._key = self._secrets.key(self._name)
        return hmac.digest(self._key, f"sallyport-{kind}\0{body}".encode(), "sha256")
