"""Versions of objects, listed by prefix in pages, as moto lists them and without its copies of everything else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra.local.cloud import EmbeddedCloud

pytestmark = pytest.mark.servers


def test_versions_and_markers_in_pages_and_nothing_else_is_copied(cloud: EmbeddedCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    s3, bucket = cloud.boto("s3"), "versions-of-one"
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key, body in [("a/1", b"x"), ("a/1", b"y"), ("a/2", b"z"), ("b/1", b"other"), ("a/3", b"gone")]:
        s3.put_object(Bucket=bucket, Key=key, Body=body)
    s3.delete_object(Bucket=bucket, Key="a/3")
    copied: list[str] = []
    deep = copy.deepcopy

    def watched(value: Any, memo: Any = None) -> Any:
        copied.extend(each.name for each in value if hasattr(each, "name")) if isinstance(value, list) else None
        return deep(value, memo)

    monkeypatch.setattr("moto.s3.models.copy.deepcopy", watched)
    pages = list(s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix="a/", PaginationConfig={"PageSize": 2}))
    monkeypatch.undo()
    assert len(pages) == 3
    versions = [(each["Key"], each["IsLatest"]) for page in pages for each in page.get("Versions", [])]
    assert sorted(versions) == [("a/1", False), ("a/1", True), ("a/2", True), ("a/3", False)]
    assert [each["Key"] for page in pages for each in page.get("DeleteMarkers", [])] == ["a/3"]
    assert "a/1" in copied
    assert "b/1" not in copied
    body = s3.get_object(Bucket=bucket, Key="a/1")["Body"].read()
    assert body == b"y", "what was listed is still there"
