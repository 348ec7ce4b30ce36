"""A copy of the bucket on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contracts.faults import Fault
from cli.verification.sources import Folder, Object


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    for name in ("recordings/b/2", "recordings/b/1", "recordings/a/1", "log/checkpoint"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Folder(tmp_path)


def test_objects_are_listed_by_key(folder: Folder) -> None:
    assert list(folder.objects("recordings/")) == [
        Object("recordings/a/1", 14),
        Object("recordings/b/1", 14),
        Object("recordings/b/2", 14),
    ]
    assert list(folder.objects("nothing/here/")) == []
    assert folder.versions("log/") is None


def test_what_is_not_there_is_none(folder: Folder) -> None:
    assert folder.read("log/checkpoint") == b"log/checkpoint"
    for key in ("log/other", "log", "log/checkpoint/below"):
        assert folder.read(key) is None


def test_links_and_places_that_are_no_folders_are_refused(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "recordings" / "link").symlink_to("/etc")
    with pytest.raises(Fault, match="symbolic link"):
        list(folder.objects("recordings/"))
    with pytest.raises(Fault, match="not a folder"):
        Folder(tmp_path / "nowhere")
