from __future__ import annotations

import http.client
import socket
import subprocess
from collections.abc import Iterator

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.control_plane import ControlPlane, Refusal
from cli.home import Home
from cli.login_flow import Begun, Listener, _new_key
from tests.fakes.http_control_plane import PRINCIPAL, FakeControlPlane, Reply
from tests.patience import HANG_S

STATE = "Zq9-secret-state"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(STATE) as listener:
        yield listener


def fetch(port: int, target: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HANG_S)
    connection.request(method, target, headers={"Host": host} if host else {})
    response = connection.getresponse()
    return response.status, response.read()


def test_the_whole_way(plane: FakeControlPlane, home: Home, listener: Listener) -> None:
    begun = Begun(ControlPlane(plane.url), listener, STATE)
    location = plane.answer(plane.requests[-1]._replace(method="GET", path=begun.authorize_url.removeprefix(plane.url))).headers[
        "Location"
    ]
    assert fetch(listener.port, location.partition(f":{listener.port}")[2])[0] == 200
    login = begun.redeem(begun.wait(), home)
    assert (login.principal, login.token) == (PRINCIPAL, plane.token)
    assert home.login() == login
    said = subprocess.run(["ssh-keygen", "-L", "-f", home.certificate_file], capture_output=True, text=True, check=True)
    assert PRINCIPAL in said.stdout
    public = subprocess.run(["ssh-keygen", "-y", "-f", home.key_file], capture_output=True, text=True, check=True).stdout
    start = next(request for request in plane.requests if request.path == "/login/redeem")
    assert msgspec.json.decode(start.body, type=api.LoginRedeem).ssh_public_key == public.strip()


def test_a_code_that_somebody_else_started_is_worth_nothing(plane: FakeControlPlane, home: Home, listener: Listener) -> None:
    begun = Begun(ControlPlane(plane.url), listener, STATE)
    code = begun.authorize_url.partition("login=")[2]
    begun._verifier = "another verifier"
    with pytest.raises(Refusal, match="login_failed"):
        begun.redeem(code, home)
    assert not home.session_file.exists()


def test_the_listener_survives_strangers(listener: Listener) -> None:
    assert fetch(listener.port, "/favicon.ico")[0] == 404
    assert fetch(listener.port, f"/done?code=0123456789&state={STATE}", host="evil.example")[0] == 421
    assert fetch(listener.port, "/done?code=0123456789&state=wrong")[0] == 400
    assert fetch(listener.port, "/done", method="POST")[0] == 405
    assert fetch(listener.port, "/done", method="HEAD") == (405, b"")
    with socket.create_connection(("127.0.0.1", listener.port)) as rude:
        rude.sendall(b"\x16\x03\x01\x02\x00")
    with socket.create_connection(("127.0.0.1", listener.port)):  # a browser's spare connection must not hold up the redirect
        assert fetch(listener.port, f"/done?code=0123456789&state={STATE}")[0] == 200
    assert listener.code(10) == "0123456789"
    assert fetch(listener.port, f"/done?code=9876543210&state={STATE}")[0] == 409
    assert listener.code(10) == "0123456789"


def test_a_failed_login_says_why(listener: Listener) -> None:
    fetch(listener.port, f"/done?error=identity_unverified&state={STATE}")
    with pytest.raises(Fault, match="identity_unverified"):
        listener.code(10)


def test_nobody_comes_back(listener: Listener) -> None:
    with pytest.raises(Fault, match=r"did not come back within 0 seconds\.$"):
        listener.code(0)
    fetch(listener.port, "/done?code=0123456789&state=wrong")
    with pytest.raises(Fault, match="another login"):
        listener.code(0)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://idp.example.com/",
        "--help",
        "https://idp.example/?a=b c",
        "https://x/?\x1b",
    ],
)
def test_a_browser_only_gets_addresses(plane: FakeControlPlane, listener: Listener, url: str) -> None:
    plane.overrides["POST", "/login"] = Reply(200, msgspec.json.encode(api.LoginStarted(authorize_url=url, expires_ms=0)))
    with pytest.raises(Fault):
        Begun(ControlPlane(plane.url), listener, STATE)


@pytest.mark.parametrize("what", ["another key", "another signer", "no certificate", "a plain key"])
def test_a_certificate_that_is_not_for_this_login_is_refused(
    plane: FakeControlPlane, home: Home, listener: Listener, what: str
) -> None:
    begun = Begun(ControlPlane(plane.url), listener, STATE)
    certify, other = plane.certify, _new_key()[1]

    def wrong(public: str) -> str:
        if what == "another signer":
            plane._ca = ec.generate_private_key(ec.SECP256R1())
            signed = certify(public)
            plane._ca = ec.generate_private_key(ec.SECP256R1())
            return signed
        return {"another key": certify(other), "no certificate": "ssh-ed25519-cert-v01@openssh.com AAAA", "a plain key": public}[
            what
        ]

    plane.certify = wrong  # type: ignore[method-assign]
    with pytest.raises(Fault, match="certificate"):
        begun.redeem(begun.authorize_url.partition("login=")[2], home)
    assert not home.path.exists()
