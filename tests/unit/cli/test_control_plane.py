from __future__ import annotations

import socket

import pytest

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli import control_plane
from cli.control_plane import ControlPlane, Refusal, checked_url
from tests.fakes.http_control_plane import FakeControlPlane, Reply, failure


@pytest.mark.parametrize(
    "url",
    ["https://gateway.example.com", "https://x.example/api/", "http://127.0.0.1:80", "http://localhost:1/a", "http://[::1]:8"],
)
def test_good_addresses(url: str) -> None:
    assert checked_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "ftp://localhost",
        "file:///etc/passwd",
        "gateway.example.com",
        "https://",
        "https://user:secret@host",
        "https://@host",
        "https://host/?a=b",
        "https://host/#x",
        "https://host\n.evil",
        "https://host name",
        "https://h\u00f6st",
        "https://host:99999",
        "https://[::1",
    ],
)
def test_bad_addresses(url: str) -> None:
    with pytest.raises(Fault, match="bad_request"):
        checked_url(url)


def test_the_token_travels_in_a_header(logged_in: FakeControlPlane) -> None:
    assert ControlPlane(logged_in.url, logged_in.token).get("/whoami", api.WhoAmI).groups == ["engineering", "sre"]
    assert logged_in.requests[-1].headers["authorization"] == f"Bearer {logged_in.token}"


def test_a_refusal_keeps_its_words(plane: FakeControlPlane) -> None:
    plane.overrides["GET", "/whoami"] = failure("denied", "Not on Fridays.", "Come back on Monday.")
    with pytest.raises(Refusal) as caught:
        ControlPlane(plane.url, "t").get("/whoami", api.WhoAmI)
    assert (caught.value.notice.message, caught.value.exit_status) == ("Not on Fridays.", 126)


def test_a_code_of_the_future_is_understood(plane: FakeControlPlane) -> None:
    plane.overrides["GET", "/whoami"] = failure("moon_phase", "Wrong moon.")
    with pytest.raises(Refusal) as caught:
        ControlPlane(plane.url, "t").get("/whoami", api.WhoAmI)
    assert caught.value.exit_status == 70


def test_an_old_token_says_what_to_do(plane: FakeControlPlane) -> None:
    with pytest.raises(Refusal) as caught:
        ControlPlane(plane.url, "old").get("/whoami", api.WhoAmI)
    assert caught.value.notice.hint == "Run: sallyport login"


@pytest.mark.parametrize("to", ["http://evil.example/", "https://evil.example/whoami", "/elsewhere"])
def test_a_redirect_is_not_followed(plane: FakeControlPlane, to: str) -> None:
    plane.overrides["GET", "/whoami"] = Reply(307, b"", {"Location": to})
    with pytest.raises(Fault, match="not followed"):
        ControlPlane(plane.url, "secret").get("/whoami", api.WhoAmI)
    assert len(plane.requests) == 1


def test_a_reply_has_a_limit(plane: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane, "REPLY_LIMIT", 1000)
    plane.overrides["GET", "/whoami"] = Reply(200, b" " * 1001)
    with pytest.raises(Fault, match="too_large"):
        ControlPlane(plane.url, "t").get("/whoami", api.WhoAmI)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"principal": 3}', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_none(plane: FakeControlPlane, body: bytes) -> None:
    plane.overrides["GET", "/whoami"] = Reply(200, body)
    with pytest.raises(Fault, match="does not understand"):
        ControlPlane(plane.url, "t").get("/whoami", api.WhoAmI)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "login_required"), (403, "not_found"), (404, "not_found"), (413, "too_large"), (429, "control_plane_unreachable"),
     (503, "control_plane_unreachable"), (500, "internal")],
)  # fmt: skip
def test_refusals_that_are_not_ours(plane: FakeControlPlane, status: int, code: str) -> None:
    plane.overrides["GET", "/whoami"] = Reply(status, b'{"message":"Missing Authentication Token"}')
    with pytest.raises(Fault) as caught:
        ControlPlane(plane.url, "t").get("/whoami", api.WhoAmI)
    assert caught.value.code == code


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(Fault, match=r"Cannot reach .*: no connection"):
            ControlPlane(url).get("/trust", api.Trust)


def test_a_broken_connection_is_told_and_the_request_not_repeated(plane: FakeControlPlane) -> None:
    plane.overrides["POST", "/sessions"] = Reply(200, b"short", {"Content-Length": "500"})
    with pytest.raises(Fault, match="Cannot reach"):
        control_plane_with_short_patience(plane.url).post("/sessions", api.SessionOffer, api.SessionOpen(target="x"))
    assert len(plane.requests) == 1


def control_plane_with_short_patience(url: str) -> ControlPlane:
    client = ControlPlane(url, "t")
    client._pool = control_plane.connection_pool(url)
    client._pool.connection_pool_kw["timeout"] = 0.2
    return client


def test_an_empty_filter_is_not_sent(logged_in: FakeControlPlane) -> None:
    ControlPlane(logged_in.url, logged_in.token).get("/sessions", api.SessionPage, {"day": "2026-11-20", "state": "", "limit": 3})
    assert logged_in.requests[-1].path == "/sessions?day=2026-11-20&limit=3"


def test_a_proxy_is_used_for_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib3

    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert isinstance(control_plane.connection_pool("https://gateway.example.com"), urllib3.ProxyManager)
    assert not isinstance(control_plane.connection_pool("http://127.0.0.1:1"), urllib3.ProxyManager)
    monkeypatch.setenv("no_proxy", "gateway.example.com")
    assert not isinstance(control_plane.connection_pool("https://gateway.example.com"), urllib3.ProxyManager)
