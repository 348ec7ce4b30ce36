"""A person with a home of her own, a control plane on loopback, and a clock that stands still."""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from chalicelib.contracts import api, ids
from chalicelib.contracts.session import Session, State
from cli import moments
from cli.__main__ import main
from cli.home import Home, SavedLogin, SavedTrust
from cli.login_flow import _new_key
from tests.fakes.http_control_plane import PRINCIPAL, FakeControlPlane

#: 2026-11-20 10:03:00 UTC
NOW_MS = 1_795_168_980_000


class Ran(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _still_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(moments, "time", types.SimpleNamespace(time_ns=lambda: NOW_MS * 1_000_000))
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    for name in (
        "SALLYPORT_URL",
        "SALLYPORT_REASON",
        "SALLYPORT_DEBUG",
        "XDG_CONFIG_HOME",
        "NO_COLOR",
        "https_proxy",
        "HTTPS_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SALLYPORT_HOME", str(tmp_path / "sallyport"))
    monkeypatch.setenv("SALLYPORT_SSH_DIR", str(tmp_path / "ssh"))
    return Home.find()


@pytest.fixture
def plane() -> Iterator[FakeControlPlane]:
    with FakeControlPlane(NOW_MS) as plane:
        yield plane


@pytest.fixture
def logged_in(plane: FakeControlPlane, home: Home) -> FakeControlPlane:
    """A control plane that the person is already logged in to."""
    private, public = _new_key()
    trust = SavedTrust(url=plane.url, issuer=plane.url, ssh_ca=plane.ssh_ca, token_key={}, websocket_url="")
    login = SavedLogin(url=plane.url, token=plane.token, principal=PRINCIPAL, groups=["sre"], expires_ms=NOW_MS + 28_740_000)
    home.save(trust, login, private, plane.certify(public))
    return plane


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        status = main(arguments)
        return Ran(status, *capsys.readouterr())

    return run


def target(name: str = "prod-web", **changes: object) -> api.TargetView:
    """Return a target as its user sees it."""
    facts: dict[str, object] = {
        "name": name,
        "protocol": "ssh",
        "description": "The shop's web server",
        "tags": ["prod"],
        "logins": ["deploy", "root"],
        "agent": "edge-1",
        "online": True,
        "hint": f"ssh {name}",
        "host_alias": f"{name}.sallyport",
    }
    return api.TargetView(**(facts | changes))  # type: ignore[arg-type]


def session(number: int, *, age_ms: int = 0, **changes: object) -> Session:
    """Return session ``number``, opened ``age_ms`` before now."""
    opened = NOW_MS - age_ms
    facts: dict[str, object] = {
        "sid": ids.mint(ids.SESSION, opened, number.to_bytes(10, "big")),
        "state": State.ENDED,
        "principal": PRINCIPAL,
        "groups": ["engineering", "sre"],
        "target": "prod-web",
        "protocol": "ssh",
        "agent": "edge-1",
        "login": "deploy",
        "reason": "INC-4711",
        "source_ip": "192.0.2.7",
        "path": "relay",
        "policy_version": 3,
        "verdict": "sre-may-connect",
        "opened_ms": opened,
        "started_ms": opened + 400,
        "ended_ms": opened + 200_400,
        "deadline_ms": opened + 28_800_000,
        "recording": f"recordings/2026/11/20/prod-web/{PRINCIPAL}/100300Z_x",
        "operations": 4,
    }
    return Session(**(facts | changes))  # type: ignore[arg-type]
