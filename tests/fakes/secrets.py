"""Sealed routes with a key of their own."""

from __future__ import annotations

import hashlib
import hmac
import json


class FakeRoutes:
    """Implements ``chalicelib.ports.Routes``."""

    def __init__(self, key: bytes = b"a key that only this fake has") -> None:
        self._key = key

    def seal(self, kind: str, *parts: str) -> str:
        body = json.dumps(parts).encode().hex()
        return f"{body}.{self._mac(kind, body)}"

    def unseal(self, kind: str, text: str) -> tuple[str, ...]:
        body, _, mac = text.partition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(kind, body).encode()):
            raise ValueError("not sealed here")
        return tuple(json.loads(bytes.fromhex(body)))

    def _mac(self, kind: str, body: str) -> str:
        return hmac.new(self._key, f"{kind} {body}".encode(), hashlib.sha256).hexdigest()
