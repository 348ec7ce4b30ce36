"""What the gateway itself writes into the evidence bucket: manifests, and the transparency log.

Every write is conditional (``If-None-Match: *`` or ``If-Match``): the bucket's policy refuses any other, and so does this file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from chalicelib.adapters.s3 import lock_parameters
from chalicelib.contracts.retention import Lock
from chalicelib.ports import StoredObject, Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: How many further listings a page takes to see one key whole.
_MORE: Final = 3
_MISSING: Final = frozenset({"NoSuchKey", "404"})
#: Somebody else's object is there; or somebody else's write was going on, and theirs may be there now.
_THERE: Final = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchKey", "404"})


class S3Archive:
    """Implements ``ports.Archive``."""

    def __init__(self, client: S3Client, bucket: str, page: int = 1000) -> None:
        """``page`` is how many versions one listing of :meth:`page` asks for."""
        self._client, self._bucket, self._page = client, bucket, page

    def read(self, key: str) -> StoredObject | None:
        """Return the newest version of an object, or None."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return None
            raise
        return StoredObject(body=found["Body"].read(), etag=found["ETag"], metadata=dict(found["Metadata"]))

    def create(self, key: str, body: bytes, content_type: str, lock: Lock, metadata: dict[str, str] | None = None) -> bool:
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
                **lock_parameters(lock),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise
        return True

    def replace(self, key: str, body: bytes, content_type: str, lock: Lock, etag: str) -> bool:
        """Write over the object that has ``etag``; False where another one is there."""
        if not etag:
            return self.create(key, body, content_type, lock)
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                ChecksumAlgorithm="SHA256",
                IfMatch=etag,
                **lock_parameters(lock),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise
        return True

    def versions(self, prefix: str) -> list[Version]:
        """Return every version of every object below ``prefix``, by key, oldest first."""
        return _sorted(self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix))

    def page(self, prefix: str, after: str) -> tuple[list[Version], str]:
        """Return the versions of about a thousand objects below ``prefix`` with keys behind ``after``."""
        where: dict[str, Any] = {"Bucket": self._bucket, "Prefix": prefix, "MaxKeys": self._page}
        if after not in ("", prefix):  # where a listing of the prefix begins anyway
            where["KeyMarker"] = after
        pages = [self._client.list_object_versions(**where)]
        # A page may end between two versions of one key; then the rest of that key is on the next. The newest checkpoint has a
        # version for every batch there ever was: of such a key the first thousands are enough, and the next page is behind it.
        while pages[-1].get("IsTruncated") and pages[-1].get("NextVersionIdMarker") and len(pages) <= _MORE:
            last = pages[-1]["NextKeyMarker"]
            more = self._client.list_object_versions(
                **where | {"KeyMarker": last, "VersionIdMarker": pages[-1]["NextVersionIdMarker"]}
            )
            pages.append(more)
            if any(each["Key"] != last for each in [*more.get("Versions", []), *more.get("DeleteMarkers", [])]):
                break
        found = _sorted(pages)
        if not pages[-1].get("IsTruncated"):
            return found, ""
        # What follows the key that is whole for sure is read again by the next page.
        end = str(pages[0]["NextKeyMarker"])
        return [version for version in found if version.key <= end], end


def _sorted(pages: Iterable[Any]) -> list[Version]:
    """Return the versions of some pages by key, oldest first."""
    rows: list[tuple[Any, Version]] = []
    for page in pages:
        rows += [(each["LastModified"], _version(each)) for each in page.get("Versions", [])]
        rows += [(each["LastModified"], _version(each, deleted=True)) for each in page.get("DeleteMarkers", [])]
    # S3 lists a key's newest version first and knows seconds only: ties keep its order, turned round.
    rows.reverse()
    rows.sort(key=lambda row: (row[1].key, row[0]))
    return [version for _, version in rows]


def _version(each: Any, *, deleted: bool = False) -> Version:
    return Version(key=each["Key"], version=each["VersionId"], size=each.get("Size", 0), deleted=deleted)
