"""A person who is logged in to a control plane on loopback, for commands that run in processes of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.home import Home, SavedLogin, SavedTrust
from cli.login_flow import _new_key
from tests.fakes.http_control_plane import PRINCIPAL, FakeControlPlane


@pytest.fixture
def plane() -> Iterator[FakeControlPlane]:
    with FakeControlPlane(time.time_ns() // 1_000_000) as plane:
        yield plane


@pytest.fixture
def home(plane: FakeControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "my sallyport"))
    monkeypatch.setenv("SALLYPORT_SSH_DIR", str(tmp_path / "ssh"))
    home = Home.find()
    private, public = _new_key()
    trust = SavedTrust(url=plane.url, issuer=plane.url, ssh_ca=plane.ssh_ca, token_key={}, websocket_url="")
    login = SavedLogin(url=plane.url, token=plane.token, principal=PRINCIPAL, groups=[], expires_ms=plane.now_ms + 3_600_000)
    home.save(trust, login, private, plane.certify(public))
    return home
