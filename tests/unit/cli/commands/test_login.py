from __future__ import annotations

import threading
import urllib.request
import webbrowser

import pytest

from cli.home import Home
from tests.fakes.http_control_plane import FakeControlPlane, Reply
from tests.patience import HANG_S
from tests.unit.cli.conftest import Run


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A browser that follows every link in the background; the pages that it showed."""
    pages: list[str] = []

    def fetch(url: str) -> None:
        with urllib.request.urlopen(url, timeout=HANG_S) as response:
            pages.append(response.read().decode())

    def open_tab(url: str) -> bool:
        threading.Thread(target=fetch, args=(url,), daemon=True).start()
        return True

    monkeypatch.setattr(webbrowser, "open", open_tab)
    return pages


def test_the_first_login_and_the_next(run: Run, plane: FakeControlPlane, home: Home, browser: list[str]) -> None:
    first = run("login", "--url", plane.url + "/")
    assert first.status == 0
    assert first.out.startswith("Logged in as alice@example.com until 18:02 (in 7 h 59 min).\nNext: ")
    assert "Opening your browser" in first.err
    before = home.key_file.read_bytes()
    assert run("login").status == 0
    assert home.key_file.read_bytes() != before
    assert home.login().url == plane.url


def test_which_gateway(run: Run, plane: FakeControlPlane, browser: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("login").err.startswith("sallyport: Which gateway? [bad_request]")
    monkeypatch.setenv("SALLYPORT_URL", plane.url)
    assert run("login").status == 0


def test_a_machine_without_a_browser(run: Run, plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(url: str) -> bool:
        threading.Thread(target=lambda: urllib.request.urlopen(url, timeout=HANG_S).close(), daemon=True).start()
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", none)
    ran = run("login", "--url", plane.url)
    assert ran.status == 0
    assert f"  {plane.url}/authorize?login=" in ran.err
    assert "(no browser was found on this machine)" in ran.err


def test_a_failed_login_keeps_the_old_one(run: Run, plane: FakeControlPlane, home: Home, browser: list[str]) -> None:
    run("login", "--url", plane.url)
    plane.login_error = "identity_unverified"
    ran = run("login")
    assert (ran.status, ran.err.splitlines()[-2:]) == (
        3,
        [
            "sallyport: Your identity provider has not verified your e-mail address. [identity_unverified]",
            "  Try again: sallyport login",
        ],
    )
    assert home.login().token == plane.token


def test_another_key_of_the_same_gateway_is_told(run: Run, plane: FakeControlPlane, browser: list[str]) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    run("login", "--url", plane.url)
    assert "another one" not in run("login").err
    plane._ca = ec.generate_private_key(ec.SECP256R1())
    assert "warning: the gateway's SSH key is another one than at your last login." in run("login").err


def test_logging_out_without_the_gateway(run: Run, logged_in: FakeControlPlane, home: Home) -> None:
    logged_in.overrides["POST", "/logout"] = Reply(503, b"")
    ran = run("logout")
    assert ran.status == 0
    assert "removed from this machine" in ran.out
    assert "could not be told" in ran.err
    assert not home.session_file.exists()
    assert not home.key_file.exists()


def test_logging_out_of_a_broken_login(run: Run, logged_in: FakeControlPlane, home: Home) -> None:
    home.session_file.chmod(0o644)
    assert run("whoami").status == 3
    assert run("logout").status == 0
    assert not home.session_file.exists()


def test_status_as_json(run: Run, logged_in: FakeControlPlane) -> None:
    import json

    ran = run("status", "--json")
    assert json.loads(ran.out)["login"]["principal"] == "alice@example.com"
    logged_in.token = "revoked"
    ran = run("status", "--json")
    assert ran.status == 3
    assert json.loads(ran.out)["problem"]["code"] == "token_invalid"
    assert json.loads(ran.out)["login"] is None
