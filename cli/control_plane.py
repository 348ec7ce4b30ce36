"""The control plane over HTTP: one call per route, typed by ``contracts.api``.

Nothing is followed, cached or kept. Redirects are refused (a token must not wander), bodies are read up to a limit before they
are decoded, plain HTTP is for loopback only, and only what was never sent is sent again.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from chalicelib.contracts import api
from chalicelib.contracts.faults import CODES, Fault, Notice, exit_status

if TYPE_CHECKING:
    import urllib3

#: The largest reply of any route, in bytes; a page of 200 sessions or links to 10,000 chunks is well below.
REPLY_LIMIT: Final = 16 * 1024 * 1024
CONNECT_S: Final = 10.0
READ_S: Final = 35.0

_T = TypeVar("_T")


class Refusal(Exception):  # noqa: N818 - it is an answer, not an error
    """The control plane said no. The code may be newer than this program, so it is not a Fault."""

    def __init__(self, notice: Notice, problems: list[api.Problem] | None = None) -> None:
        self.notice = notice
        self.problems = problems or []
        super().__init__(f"{notice.code}: {notice.message}")

    @property
    def exit_status(self) -> int:
        """The exit status of the command that was refused."""
        return exit_status(self.notice.code)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine by its very name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def checked_url(text: str, what: str = "The gateway's address") -> str:
    """Return ``text`` as a base URL without a trailing slash: https, or http on loopback. Raises Fault(bad_request)."""
    hint = "Example: sallyport login --url https://gateway.example.com"
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Fault("bad_request", f"{what} holds characters that no address has.", hint=hint)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise Fault("bad_request", f"{what} is not a URL: {text}", hint=hint) from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or parts.query or parts.fragment:
        raise Fault("bad_request", f"{what} must read like https://host/path, not {text}", hint=hint)
    if parts.scheme == "http" and not is_loopback(host):
        raise Fault("bad_request", f"{what} must begin with https://; http:// is for this machine only.", hint=hint)
    return text.rstrip("/")


class ControlPlane:
    """A client of one control plane, with an access token or without."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = checked_url(url)
        self._token = token
        self._pool: urllib3.PoolManager | None = None

    def get(self, path: str, kind: type[_T], query: Mapping[str, str | int] | None = None) -> _T:
        """Return the reply of ``GET path``. Raises Refusal, or Fault where no proper answer came."""
        shown = {name: value for name, value in (query or {}).items() if value != ""}
        return self._call("GET", f"{path}?{urlencode(shown)}" if shown else path, kind, None)

    def post(self, path: str, kind: type[_T], body: Any) -> _T:
        """Return the reply of ``POST path`` with ``body`` as JSON. Raises like ``get``."""
        return self._call("POST", path, kind, msgspec.json.encode(body))

    def _call(self, method: str, path: str, kind: type[_T], body: bytes | None) -> _T:
        status, headers, reply = self._exchange(method, path, body)
        if 300 <= status < 400:
            elsewhere = headers.get("location", "nowhere")
            hint = "If the gateway has moved: sallyport login --url NEW-ADDRESS"
            raise Fault("control_plane_unreachable", f"{self.url} sent us on to {elsewhere}, which is not followed.", hint=hint)
        if status >= 400:
            raise self._refusal(status, reply)
        try:
            return msgspec.json.decode(reply, type=kind)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            hint = "Is the address right, and is this sallyport as new as the gateway?"
            message = f"{self.url} gave an answer that this version does not understand."
            raise Fault("internal", message, hint=hint, detail=str(error)) from None

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        import urllib3

        if self._pool is None:
            self._pool = connection_pool(self.url)
        headers = {"Accept": "application/json", "User-Agent": "sallyport-cli"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            response = self._pool.request(
                method, self.url + path, body=body, headers=headers, redirect=False, preload_content=False, decode_content=False
            )
            try:
                return response.status, response.headers, bounded(response, REPLY_LIMIT, "reply")
            finally:
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self.url, error) from None

    def _refusal(self, status: int, reply: bytes) -> Exception:
        try:
            failure = msgspec.json.decode(reply, type=api.Failure)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return _foreign_refusal(self.url, status)
        notice = failure.error
        if not notice.hint and notice.code in CODES and CODES[notice.code].status == 401 and self._token:
            notice = Notice(notice.code, notice.message, "Run: sallyport login")
        return Refusal(notice, failure.problems)


def connection_pool(url: str, connections: int = 1) -> urllib3.PoolManager:
    """Return connections to ``url``: verified TLS, time limits, the environment's HTTPS proxy, and retries of connecting only."""
    import urllib3

    # A request that may have been sent is never repeated: two sessions would be opened, two tokens made.
    retries = urllib3.Retry(total=None, connect=2, read=0, redirect=0, status=0, other=0, backoff_factor=0.1)
    timeout = urllib3.Timeout(connect=CONNECT_S, read=READ_S)
    parts = urlsplit(url)
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy and parts.scheme == "https" and not is_loopback(parts.hostname or ""):
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

        if not proxy_bypass_environment(parts.netloc):
            return urllib3.ProxyManager(proxy, retries=retries, timeout=timeout, maxsize=connections)
    return urllib3.PoolManager(retries=retries, timeout=timeout, maxsize=connections)


def bounded(response: urllib3.BaseHTTPResponse, limit: int, what: str) -> bytes:
    """Return the body of ``response``, or raise Fault(too_large) once it is longer than ``limit`` bytes."""
    parts: list[bytes] = []
    size = 0
    while part := response.read(min(64 * 1024, limit - size + 1)):
        parts.append(part)
        size += len(part)
        if size > limit:
            response.close()
            raise Fault("too_large", f"The gateway's {what} is longer than {limit} bytes, so it was not read.")
    return b"".join(parts)


def unreachable(url: str, error: Exception) -> Fault:
    """Say in words why ``url`` could not be asked."""
    import ssl

    import urllib3

    reason: object = error
    while isinstance(reason, urllib3.exceptions.MaxRetryError) and reason.reason is not None:
        reason = reason.reason
    seen: list[object] = [reason, *getattr(reason, "args", ()), getattr(reason, "__cause__", None)]
    if isinstance(reason, urllib3.exceptions.SSLError) or any(isinstance(each, ssl.SSLError) for each in seen):
        words, hint = "its TLS certificate was not accepted", "Private CA? Set SSL_CERT_FILE to its certificate."
    elif isinstance(reason, urllib3.exceptions.NameResolutionError):
        words, hint = "no such host", "Check the address, or your network."
    elif isinstance(reason, urllib3.exceptions.TimeoutError) and not isinstance(reason, urllib3.exceptions.NewConnectionError):
        words, hint = "it did not answer in time", "Try again; if it stays so, ask the platform team."
    elif isinstance(reason, urllib3.exceptions.NewConnectionError):
        words, hint = "no connection", "Check your network or VPN, and the address."
    else:
        words, hint = "the connection broke", "Try again."
    return Fault("control_plane_unreachable", f"Cannot reach {url}: {words}.", hint=hint, detail=str(error))


def _foreign_refusal(url: str, status: int) -> Fault:
    """Words for a refusal that is not ours: API Gateway's own, or a proxy's in between."""
    if status == 401:
        return Fault("login_required", "The gateway does not accept your login.", hint="Run: sallyport login")
    if status in (403, 404):
        return Fault(
            "not_found", f"{url} has no such route (HTTP {status}).", hint="Is this the gateway's address, with its path?"
        )
    if status == 413:
        return Fault("too_large", "The request is too large for the gateway.")
    if status in (429, 502, 503, 504):
        return Fault("control_plane_unreachable", f"The gateway is busy or away (HTTP {status}).", hint="Try again in a moment.")
    return Fault("internal", f"The gateway failed (HTTP {status}).", hint="Try again; if it stays so, ask the platform team.")
