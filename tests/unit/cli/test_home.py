from __future__ import annotations

from pathlib import Path

import pytest

from chalicelib.contracts.faults import Fault
from cli.home import Home, known_hosts_line, public_key, read_private, write_atomically
from tests.fakes.http_control_plane import FakeControlPlane
from tests.unit.cli.conftest import NOW_MS

CA = "ecdsa-sha2-nistp256 " + "A" * 60 + "="


def test_everything_is_for_its_owner_only(logged_in: FakeControlPlane, home: Home) -> None:
    assert home.path.stat().st_mode & 0o777 == 0o700
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in home.path.iterdir()} == dict.fromkeys(
        ["id_ed25519", "id_ed25519-cert.pub", "known_hosts", "session.json", "trust.json"], "0o600"
    )


def test_the_login_comes_back(logged_in: FakeControlPlane, home: Home) -> None:
    assert home.login().token == logged_in.token
    trust = home.trust()
    assert trust is not None
    assert trust.url == logged_in.url


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SALLYPORT_HOME")
    assert Home.find().path == tmp_path / ".config/sallyport"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert Home.find().path == Path("/x/sallyport")
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative/is/ignored")
    assert Home.find().path == tmp_path / ".config/sallyport"


def test_nobody_is_logged_in_at_first(home: Home) -> None:
    with pytest.raises(Fault, match="login_required"):
        home.login()
    assert home.trust() is None


def test_a_login_ends(logged_in: FakeControlPlane, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.home.now_ms", lambda: NOW_MS + 28_740_000)
    with pytest.raises(Fault, match="token_expired"):
        home.login()
    assert home.saved_login() is not None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_token_that_others_can_use_is_refused(logged_in: FakeControlPlane, home: Home, mode: int) -> None:
    home.session_file.chmod(mode)
    with pytest.raises(Fault, match=r"token_invalid.*others"):
        home.login()


def test_a_linked_token_is_refused(logged_in: FakeControlPlane, home: Home, tmp_path: Path) -> None:
    home.session_file.rename(tmp_path / "elsewhere")
    home.session_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fault, match="token_invalid"):
        home.login()


def test_a_token_in_a_pipe_is_refused(home: Home) -> None:
    import os

    home.path.mkdir()
    os.mkfifo(home.session_file, 0o600)
    with pytest.raises(Fault, match="not a regular file"):
        home.login()


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"url": 3}'])
def test_a_broken_token_file_is_refused(home: Home, text: bytes) -> None:
    home.path.mkdir()
    write_atomically(home.session_file, text)
    with pytest.raises(Fault, match="cannot be read as a login"):
        home.login()


def test_forgetting_keeps_what_is_public(logged_in: FakeControlPlane, home: Home) -> None:
    home.forget()
    assert sorted(file.name for file in home.path.iterdir()) == ["known_hosts", "trust.json"]
    home.forget()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    write_atomically(file, b"old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, b"new")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"old"]


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    assert read_private(tmp_path / "nothing") is None


def test_known_hosts() -> None:
    assert known_hosts_line(f"{CA} comment\n") == f"@cert-authority *.sallyport {CA}\n"


@pytest.mark.parametrize("line", ["", "ssh-rsa AAAA", f"{CA}\n* {CA}", "ecdsa-sha2-nistp256 not base64!", f"cert-authority {CA}"])
def test_a_strange_key_is_refused(line: str) -> None:
    with pytest.raises(Fault, match="login_failed"):
        public_key(line)
