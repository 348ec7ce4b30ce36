"""Logging in: a browser, a loopback listener, and a key that is made for the occasion.

    POST /login {challenge, port, state}  →  the identity provider's address
    the browser goes there and comes back to http://127.0.0.1:PORT/done?code&state
    POST /login/redeem {code, verifier, ssh_public_key}  →  access token and SSH certificate

The code alone is worth nothing: only this process knows the verifier, and only it holds the key that the certificate is for.
"""

from __future__ import annotations

import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.control_plane import ControlPlane, checked_url
from cli.home import Home, SavedLogin, SavedTrust, public_key
from cli.login_attempt import LoginAttempt, challenge
from cli.login_page import HEADERS
from cli.moments import now_ms

#: The longest that a login may wait for its browser, in seconds, whatever the gateway says.
PATIENCE_S: Final = 600.0
#: How long one connection to the listener may stay silent, in seconds. Browsers open some that they never use.
_SILENCE_S: Final = 5.0


class Listener:
    """Waits on a free loopback port for the browser. Use as a context manager."""

    def __init__(self, state: str) -> None:
        self._arrived = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.attempt = LoginAttempt(state, self.port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="login", daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def code(self, timeout_s: float) -> str:
        """Return the one-time code when the browser brings it. Raises Fault(login_failed | login_expired | …)."""
        if not self._arrived.wait(timeout_s):
            stray = " A redirect of another login arrived meanwhile." if self.attempt.strays else ""
            hint = "Run sallyport login again, on the machine where your browser is."
            raise Fault("login_expired", f"The browser did not come back within {timeout_s:.0f} seconds.{stray}", hint=hint)
        if self.attempt.fault is not None:
            raise self.attempt.fault
        return self.attempt.code

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        listener, one_at_a_time = self, threading.Lock()

        class Redirect(BaseHTTPRequestHandler):
            timeout = _SILENCE_S

            def do_GET(self) -> None:
                with one_at_a_time:
                    answer = listener.attempt.receive(self.command, self.headers.get("Host", ""), self.path)
                body = answer.page.encode()
                self.send_response(answer.status)
                for name, value in HEADERS.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                self.wfile.flush()
                if listener.attempt.over:
                    listener._arrived.set()

            do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - the server library looks for these names

            def version_string(self) -> str:
                return "sallyport"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing: the request line holds the code."""

        return Redirect


class Begun:
    """A login that is under way at the identity provider."""

    def __init__(self, plane: ControlPlane, listener: Listener, state: str) -> None:
        self._plane = plane
        self._listener = listener
        self._verifier = secrets.token_urlsafe(64)
        body = api.LoginStart(challenge=challenge(self._verifier), port=listener.port, state=state)
        started = plane.post("/login", api.LoginStarted, body)
        _check_browser_url(started.authorize_url)
        self.authorize_url = started.authorize_url
        """Where the browser goes."""
        self.patience_s = min(max((started.expires_ms - now_ms()) / 1000, 1.0), PATIENCE_S)
        """How long it makes sense to wait for it, in seconds."""

    def wait(self) -> str:
        """Return the one-time code from the browser."""
        return self._listener.code(self.patience_s)

    def redeem(self, code: str, home: Home) -> SavedLogin:
        """Turn the code into a login, check that its parts belong together, and store it."""
        private, public = _new_key()
        body = api.LoginRedeem(code=code, verifier=self._verifier, ssh_public_key=public)
        done = self._plane.post("/login/redeem", api.LoggedIn, body)
        trust = self._plane.get("/trust", api.Trust)
        _check_certificate(done.ssh_certificate, public, trust.ssh_ca)
        login = SavedLogin(
            url=self._plane.url, token=done.access_token, principal=done.principal, groups=done.groups, expires_ms=done.expires_ms
        )
        saved = SavedTrust(
            url=self._plane.url,
            issuer=trust.issuer,
            ssh_ca=public_key(trust.ssh_ca),
            token_key=trust.token_key,
            websocket_url=trust.websocket_url,
        )
        home.save(saved, login, private, done.ssh_certificate)
        return login


def _check_browser_url(url: str) -> None:
    # It is handed to a browser, so it must be an address and nothing else (no file:, no javascript:, no option).
    base = url.partition("?")[0].partition("#")[0]
    checked_url(base, "The identity provider's address")
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \"'<>\\`"):
        raise Fault("login_failed", "The identity provider's address holds characters that no address has.")


def _new_key() -> tuple[bytes, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private, public.decode("ascii")


def _check_certificate(line: str, public: str, ssh_ca: str) -> None:
    """Refuse a certificate that is for another key, by another signer, or not for a person."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.serialization import ssh

    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        certificate = ssh.load_ssh_public_identity(line.encode())
        if not isinstance(certificate, ssh.SSHCertificate):
            raise TypeError("a plain key")
        certificate.verify_cert_signature()
        whose = certificate.public_key().public_bytes(*form).decode()
        signer = certificate.signature_key().public_bytes(*form).decode()
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise Fault("login_failed", "The gateway's SSH certificate cannot be read or is not signed.") from None
    if whose != public or signer != public_key(ssh_ca) or certificate.type is not ssh.SSHCertificateType.USER:
        raise Fault("login_failed", "The gateway's SSH certificate is not for this login.")
