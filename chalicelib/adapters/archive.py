"""What the gateway itself writes into the evidence bucket: manifests, and the transparency log.

Every write is conditional (``If-None-Match: *`` or ``If-Match``): the bucket's policy refuses any other, and so does this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from chalicelib.ports import StoredObject, Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING: Final = frozenset({"NoSuchKey", "404"})
#: Somebody else's object is there; or somebody else's write was going on, and theirs may be there now.
_THERE: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"})


class S3Archive:
    """Implements ``ports.Archive``."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def read(self, key: str) -> StoredObject | None:
        """Return the newest version of an object, or None."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return StoredObject(body=found["Body"].read(), etag=found["ETag"], metadata=dict(found["Metadata"]))

    def create(self, key: str, body: bytes, content_type: str, metadata: dict[str, str] | None = None) -> bool:
        """Write an object that does not exist; False where one does."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                Metadata=metadata or {},
                IfNoneMatch="*",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise
        return True

    def replace(self, key: str, body: bytes, content_type: str, etag: str) -> bool:
        """Write over the object that has ``etag``; False where another one is there."""
        if not etag:
            return self.create(key, body, content_type)
        try:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, ChecksumAlgorithm="SHA256", IfMatch=etag
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise
        return True

    def versions(self, prefix: str) -> list[Version]:
        """Return every version of every object below ``prefix``, by key, oldest first."""
        found: dict[str, list[Version]] = {}
        for page in self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix):
            rows = [
                (each["LastModified"], each["Key"], each["VersionId"], each["Size"], False) for each in page.get("Versions", [])
            ]
            rows += [(each["LastModified"], each["Key"], each["VersionId"], 0, True) for each in page.get("DeleteMarkers", [])]
            # S3 lists a key's newest version first and knows seconds only: ties keep its order, turned round.
            rows.reverse()
            rows.sort(key=lambda row: row[0])
            for _, key, version, size, deleted in rows:
                found.setdefault(key, []).append(Version(key=key, version=version, size=size, deleted=deleted))
        return [version for key in sorted(found) for version in found[key]]
