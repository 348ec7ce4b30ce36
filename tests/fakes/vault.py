"""The vault in memory: real X25519 and HPKE by other code than the adapter's, wrapped by nothing but a dictionary."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from chalicelib.ports import OriginalsKey, Unavailable
from tests.fakes import hpke


class FakeVault:
    """Implements ``chalicelib.ports.Vault``."""

    def __init__(self) -> None:
        self.wrapped: dict[tuple[bytes, str, str], bytes] = {}
        self.away = False
        self.opened = 0
        """How often a key was used."""

    def make(self, target: str, month: str) -> tuple[bytes, bytes]:
        if self.away:
            raise Unavailable("away")
        private = X25519PrivateKey.generate()
        name = b"wrapped %d" % len(self.wrapped)
        self.wrapped[name, target, month] = private.private_bytes_raw()
        return private.public_key().public_bytes_raw(), name

    def open(self, key: OriginalsKey, sealed: bytes, info: bytes) -> bytes:
        if self.away:
            raise Unavailable("away")
        private = self.wrapped.get((key.wrapped, key.target, key.month))
        if private is None or X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw() != key.public:
            raise ValueError("not wrapped for this")
        self.opened += 1
        try:
            return hpke.opened(private, sealed, info)
        except InvalidTag:
            raise ValueError("does not open") from None
