"""Credentials on disk: read when needed, and not at all where others could read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.runtime.credentials import CredentialFolder
from chalicelib.contracts.faults import Fault


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "credentials"
    path.mkdir(mode=0o700)
    for name, text in {"web.key": "PRIVATE\n", "web.password": "unused", "db.password": "s3cret\r\n", "notes.txt": "x"}.items():
        (path / name).write_text(text)
        (path / name).chmod(0o600)
    return path


def test_names_are_what_is_announced(folder: Path) -> None:
    assert CredentialFolder(folder).names() == ["db", "web"]
    assert CredentialFolder(folder / "none").names() == []


def test_a_key_is_read_as_it_is_and_a_password_without_its_line_end(folder: Path) -> None:
    credentials = CredentialFolder(folder)
    assert (credentials.read("web").kind, credentials.read("web").secret) == ("ssh-key", b"PRIVATE\n")
    assert (credentials.read("db").kind, credentials.read("db").secret) == ("password", b"s3cret")
    assert "s3cret" not in repr(credentials.read("db"))


def test_a_replaced_file_is_used_at_once(folder: Path) -> None:
    credentials = CredentialFolder(folder)
    credentials.read("db")
    (folder / "db.password").write_text("rotated")
    assert credentials.read("db").secret == b"rotated"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_can_use_is_refused(folder: Path, mode: int) -> None:
    (folder / "db.password").chmod(mode)
    with pytest.raises(Fault) as told:
        CredentialFolder(folder).names()
    assert (told.value.code, told.value.hint) == ("config_invalid", f"chmod 600 {folder / 'db.password'}")
    with pytest.raises(Fault) as caught:
        CredentialFolder(folder).read("db")
    # The client is told that there is none; the path is for the log.
    assert caught.value.code == "credential_missing"
    assert str(folder) not in caught.value.message


def test_a_directory_that_others_can_use_is_refused(folder: Path) -> None:
    folder.chmod(0o750)
    with pytest.raises(Fault, match="may be used by others"):
        CredentialFolder(folder).names()
    with pytest.raises(Fault, match="cannot use"):
        CredentialFolder(folder).read("db")
    folder.chmod(0o700)


@pytest.mark.parametrize(
    "name", ["none", "", ".", "..", "../web", "/etc/passwd", "a/b", "web.key\0", ".hidden", "w\u00e9b", "a" * 200]
)
def test_a_name_that_is_no_credential(folder: Path, name: str) -> None:
    (folder.parent / "web.key").write_text("outside")
    (folder.parent / "web.key").chmod(0o600)
    with pytest.raises(Fault) as caught:
        CredentialFolder(folder).read(name)
    assert caught.value.code == "credential_missing"
