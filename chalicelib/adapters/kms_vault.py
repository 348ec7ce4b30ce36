"""Keys of sealed originals: made here, wrapped by KMS, and opened by it (HPKE, RFC 9180; see ``contracts.originals``).

KMS binds what it wraps to the target and the month (encryption context), refuses to unwrap it for any other, and writes both into
its own audit trail with every call. A private half is plain in this process between two lines, and never stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from chalicelib.contracts import originals
from chalicelib.ports import OriginalsKey, Unavailable

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
#: KMS says these where what it is given was not wrapped by it, or not for this target and month.
_FOREIGN: Final = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KmsVault:
    """Implements ``ports.Vault`` with a symmetric KMS key."""

    def __init__(self, client: KMSClient, key_id: str) -> None:
        self._client, self._key_id = client, key_id

    def make(self, target: str, month: str) -> tuple[bytes, bytes]:
        """Return a new public key and its wrapped private half."""
        private = X25519PrivateKey.generate()
        try:
            answer = self._client.encrypt(
                KeyId=self._key_id,
                Plaintext=private.private_bytes_raw(),
                EncryptionContext=originals.context(target, month),
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(str(error)) from None
        return private.public_key().public_bytes_raw(), answer["CiphertextBlob"]

    def open(self, key: OriginalsKey, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to ``key`` with ``info``."""
        private = self._unwrapped(key)
        if private.public_key().public_bytes_raw() != key.public:
            raise ValueError("the wrapped key is another one's")
        try:
            return _SUITE.decrypt(sealed, private, info=info)
        except (InvalidTag, ValueError):
            raise ValueError("what was sealed does not open with this key, for this session") from None

    def _unwrapped(self, key: OriginalsKey) -> X25519PrivateKey:
        try:
            answer = self._client.decrypt(
                KeyId=self._key_id,
                CiphertextBlob=key.wrapped,
                EncryptionContext=originals.context(key.target, key.month),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _FOREIGN:
                raise ValueError("KMS did not wrap this for this target and month") from None
            raise Unavailable(str(error)) from None
        except BotoCoreError as error:
            raise Unavailable(str(error)) from None
        return X25519PrivateKey.from_private_bytes(answer["Plaintext"])
