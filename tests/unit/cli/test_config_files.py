from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contracts.api import BODY_LIMIT
from chalicelib.contracts.faults import Fault
from cli.config_files import read_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text("version: 1\n")
    return tmp_path


def test_the_files_beside_each_other(folder: Path) -> None:
    (folder / "b.cedar").write_text("b")
    (folder / "a.cedar").write_text("a\r\n", newline="")
    (folder / "notes.txt").write_text("no")
    (folder / "sub").mkdir()
    (folder / "sub/c.cedar").write_text("no")
    assert read_folder(folder) == {"gateway.yaml": "version: 1\n", "a.cedar": "a\r\n", "b.cedar": "b"}


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"There is no gateway\.yaml"):
        read_folder(tmp_path)
    with pytest.raises(Fault, match="is not a folder"):
        read_folder(tmp_path / "nowhere")


def test_what_is_not_text_is_told_by_line(folder: Path) -> None:
    (folder / "a.cedar").write_bytes(b"// one\n// two \xff\n")
    with pytest.raises(Fault, match=r"a\.cedar:2: the file is not UTF-8"):
        read_folder(folder)


def test_what_is_too_large_is_not_read(folder: Path) -> None:
    with (folder / "a.cedar").open("wb") as file:
        file.truncate(BODY_LIMIT)
    with pytest.raises(Fault, match="too_large"):
        read_folder(folder)
