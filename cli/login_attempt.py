"""One login as a state machine: which request to the loopback listener ends it, and what every other one is told.

    waiting ──► redirected(code)     the gateway sent the browser back with our own state
       └──────► refused(fault)       …and said that the login failed

    GET /done?code=…&state=OURS    200, ends the attempt
    GET /done?error=…&state=OURS   200, ends it too
    GET /done with another state   400, changes nothing: any web page can reach a loopback port
    a second redirect              409, changes nothing
    another Host, method or path   421, 405, 404: DNS rebinding, and browsers looking for icons

Nothing that a request carries is ever shown on a page. RFC 8252 §7.3 (loopback redirect), §8.10; RFC 7636 (PKCE, S256 only).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from chalicelib.contracts.faults import CODES, Fault
from cli.login_page import page

PATH: Final = "/done"
#: The longest request target that is looked at, in characters.
TARGET_LIMIT: Final = 4_096

_CODE: Final = re.compile(r"[A-Za-z0-9._~-]{8,1024}")

_REASONS: Final[dict[str, str]] = {
    "denied": "The gateway does not let you log in.",
    "identity_unverified": "Your identity provider has not verified your e-mail address.",
    "identity_provider": "Your identity provider did not complete the login.",
    "login_expired": "The login took too long.",
    "login_failed": "The login did not succeed.",
}


class Answer(NamedTuple):
    """What a browser is told: an HTTP status and a page."""

    status: int
    page: str


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode("ascii")).digest()).rstrip(b"=").decode("ascii")


class LoginAttempt:
    """A login that waits for its one redirect. Not thread-safe: the listener serves one request at a time."""

    def __init__(self, state: str, port: int) -> None:
        self._state = state
        self._hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        self.code = ""
        """The one-time code, once the browser came back with it."""
        self.fault: Fault | None = None
        """Why the login failed, once the browser came back with that."""
        self.strays = 0
        """Redirects that belonged to another login."""

    @property
    def over(self) -> bool:
        """True once the redirect arrived, good or bad."""
        return bool(self.code) or self.fault is not None

    def receive(self, method: str, host: str, target: str) -> Answer:
        """Take one request and return the answer to it."""
        if host.lower() not in self._hosts:
            return Answer(421, page("This is not for you", "This address belongs to a login on this machine.", good=False))
        if method != "GET":
            return Answer(405, page("Not like this", "Only the browser's redirect is expected here.", good=False))
        parts = urlsplit(target[:TARGET_LIMIT]) if target.startswith("/") and not target.startswith("//") else None
        if parts is None or parts.path != PATH:
            return Answer(404, page("Nothing here", "This address only waits for the end of a login.", good=False))
        return self._redirected(parts.query)

    def _redirected(self, query: str) -> Answer:
        try:
            fields = parse_qs(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8)
        except ValueError:
            fields = {}
        states = fields.get("state", [])
        if len(states) != 1 or not hmac.compare_digest(states[0].encode(), self._state.encode()):
            self.strays += 1
            return Answer(
                400, page("Not this login", "This redirect belongs to another login. Start again in your terminal.", good=False)
            )
        if self.over:
            return Answer(409, page("Already done", "This login is over; its redirect counts once.", good=False))
        codes, errors = fields.get("code", []), fields.get("error", [])
        if len(codes) == 1 and not errors and _CODE.fullmatch(codes[0]):
            self.code = codes[0]
            return Answer(200, page("You are logged in", "You can close this tab and go back to your terminal."))
        code = errors[0] if len(errors) == 1 and errors[0] in CODES else "login_failed"
        reason = _REASONS.get(code, f"The gateway ended the login ({code}).")
        # The gateway's own words, once the state has proved that they are its; the terminal cleans what it prints.
        self.fault = Fault(code, (fields.get("message") or [reason])[0], hint="Try again: sallyport login")
        return Answer(200, page("Login failed", f"{reason} Your terminal says more; you can close this tab.", good=False))
