"""The evidence bucket: presigned links. The control plane signs; it never carries recording bytes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from chalicelib.contracts.recording import CONTENT_TYPE, Chunk
from chalicelib.contracts.retention import Lock

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ADDED_BY_THE_CLIENT: Final = frozenset({"host"})


class S3Blobs:
    """Implements ``ports.Blobs``. The client must sign with SigV4, which binds headers."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def presign_put(self, key: str, chunk: Chunk, lock: Lock, expires_s: int) -> tuple[str, dict[str, str]]:
        """Return a URL and the exact headers for one upload."""
        checksum = base64.b64encode(bytes.fromhex(chunk.sha256)).decode("ascii")
        url = self._client.generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self._bucket,
                "Key": key,
                "ContentType": CONTENT_TYPE,
                "ContentLength": chunk.size,
                "ChecksumSHA256": checksum,
                "ChecksumAlgorithm": "SHA256",
                # An object that exists, under whatever version, is never written again by an agent.
                "IfNoneMatch": "*",
                **lock_parameters(lock),
            },
            ExpiresIn=expires_s,
        )
        headers = {
            "content-length": str(chunk.size),
            "content-type": CONTENT_TYPE,
            "if-none-match": "*",
            "x-amz-checksum-sha256": checksum,
            "x-amz-sdk-checksum-algorithm": "SHA256",
            **lock.headers,
        }
        signed = set(parse_qs(urlsplit(url).query).get("X-Amz-SignedHeaders", [""])[0].split(";")) - _ADDED_BY_THE_CLIENT
        if signed != set(headers):
            # A header that is not signed binds nothing; a link like that must not leave.
            raise RuntimeError(f"the upload link binds {sorted(signed)}, not {sorted(headers)}")
        return url, headers

    def presign_get(self, key: str, expires_s: int) -> str:
        """Return a URL that reads one object for a short while."""
        return self._client.generate_presigned_url("get_object", Params={"Bucket": self._bucket, "Key": key}, ExpiresIn=expires_s)


def lock_parameters(lock: Lock) -> dict[str, Any]:
    """Return the Object Lock part of a PutObject call."""
    found: dict[str, Any] = {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": lock.until}
    return found | ({"ObjectLockLegalHoldStatus": "ON"} if lock.legal_hold else {})
