"""The evidence bucket: links that say what they bind."""

from __future__ import annotations

import base64

from chalicelib.contracts.recording import CONTENT_TYPE, Chunk
from chalicelib.contracts.retention import Lock


class FakeBlobs:
    """Implements ``chalicelib.ports.Blobs``."""

    def presign_put(self, key: str, chunk: Chunk, lock: Lock, expires_s: int) -> tuple[str, dict[str, str]]:
        headers = {
            "content-length": str(chunk.size),
            "content-type": CONTENT_TYPE,
            "if-none-match": "*",
            "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(chunk.sha256)).decode("ascii"),
            "x-amz-sdk-checksum-algorithm": "SHA256",
            **lock.headers,
        }
        return f"https://bucket.invalid/{key}?expires={expires_s}", headers

    def presign_get(self, key: str, expires_s: int) -> str:
        return f"https://bucket.invalid/{key}?expires={expires_s}"
