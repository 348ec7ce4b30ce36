"""S3's list of versions, without copying the bucket.

moto copies every object of the bucket, bodies included, for each page of ``ListObjectVersions``, whatever its prefix. A
transparency log asks for versions of single keys all the time, so a gateway that runs for an hour would want gigabytes. Here only
keys under the prefix are looked at, and nothing else is copied. Order and pages are moto's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, Final

from moto.s3.models import S3Backend

_original: Final = S3Backend.list_object_versions


class _Shallow(list[Any]):
    """The versions of one key. moto sets ``is_latest`` on its copies, so each is one, but no deeper."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        return [copy.copy(version) for version in self]


class _Narrow:
    """A bucket, and a backend, in which there is nothing but what begins with ``prefix``."""

    def __init__(self, bucket: Any, prefix: str) -> None:
        self.keys: Final = self
        self._bucket = bucket
        self._prefix = prefix

    def get_bucket(self, bucket_name: str) -> _Narrow:
        return self

    def iterlists(self) -> Iterator[tuple[str, _Shallow]]:
        for key, versions in self._bucket.keys.iterlists():
            if key.startswith(self._prefix):
                yield key, _Shallow(versions)


def install() -> None:
    """Make moto's listing cheap in this process. Doing it twice changes nothing."""
    setattr(S3Backend, "list_object_versions", _list_object_versions)  # noqa: B010 - mypy would want moto's own signature


def _list_object_versions(backend: S3Backend, bucket_name: str, **names: Any) -> Any:
    narrow: Any = _Narrow(backend.get_bucket(bucket_name), names.get("prefix") or "")
    return _original(narrow, bucket_name, **names)
