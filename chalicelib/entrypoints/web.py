"""Pages: who may open one, what every answer carries, and how a template becomes one.

A page belongs to a browser that is logged in (a cookie of its own kind, which no API route takes). Reading is GET; whatever
changes something is POST, and comes from a page of ours: the Origin is this gateway, and the form carries a token that only a
page made for this very session holds. Nothing on a page runs or styles itself: scripts and style sheets are files of ours, by
hash.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from chalice.app import Blueprint, Response

from chalicelib.bootstrap import ports
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain import base64url
from chalicelib.entrypoints.faults import refusal
from chalicelib.entrypoints.http import Call, call_of, request_id
from chalicelib.usecases.authenticate import authenticate_browser

WEB: Final = Path(__file__).resolve().parents[1] / "web"
STATIC: Final = {
    "htmx-2.0.8.min.js": "text/javascript; charset=utf-8",
    "pages.js": "text/javascript; charset=utf-8",
    "pages.css": "text/css; charset=utf-8",
}
TEMPLATES: Final = (
    "_lists.html",
    "_standing.html",
    "decided.html",
    "inbox.html",
    "layout.html",
    "leaving.html",
    "macros.html",
    "member.html",
    "problem.html",
    "request.html",
    "sign_in.html",
)
SESSION, LOGIN = "session", "login"
LOGIN_S: Final = 600
FORM: Final = "application/x-www-form-urlencoded"
_FIELDS: Final = 10
_LOGIN_CODES: Final = frozenset({"login_required", "token_invalid", "token_expired", "token_revoked"})
_HEADERS: Final[dict[str, str | list[str]]] = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not "no-referrer": with that, browsers send "Origin: null" with our own forms (Fetch, "append a request Origin header").
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cache-Control": "no-store",
}


class Visit(msgspec.Struct, kw_only=True, frozen=True):
    """One request of a browser. ``caller`` is missing on pages for everybody only."""

    call: Call
    cookie: str
    caller: AccessClaims | None = None
    form: Mapping[str, str] = {}

    @property
    def who(self) -> AccessClaims:
        """Whoever is logged in."""
        if self.caller is None:
            raise Fault("login_required", "This needs a login.")
        return self.caller


def page(blueprint: Blueprint, path: str) -> Callable[[Callable[[Visit], Response]], Callable[[Visit], Response]]:
    """A page for people who are logged in; others are asked to log in, and learn nothing."""
    return _route(blueprint, "GET", path, lambda call, cookie: Visit(call=call, cookie=cookie, caller=_reader(call, cookie)))


def deed(blueprint: Blueprint, path: str) -> Callable[[Callable[[Visit], Response]], Callable[[Visit], Response]]:
    """A form of somebody who is logged in: from a page of ours, with the token of that page."""

    def enter(call: Call, cookie: str) -> Visit:
        check_origin(call)
        caller, form = authenticate_browser(ports(), cookie), _form(call)
        if not hmac.compare_digest(form.get("csrf", "").encode(), csrf(cookie).encode()):
            raise Fault("denied", "This form was not made for your session.", hint="Open the page again and repeat it.")
        return Visit(call=call, cookie=cookie, caller=caller, form=form)

    return _route(blueprint, "POST", path, enter)


def door(blueprint: Blueprint, path: str) -> Callable[[Callable[[Visit], Response]], Callable[[Visit], Response]]:
    """A form for everybody, from a page of ours."""

    def enter(call: Call, cookie: str) -> Visit:
        check_origin(call)
        return Visit(call=call, cookie=cookie, form=_form(call))

    return _route(blueprint, "POST", path, enter)


def csrf(cookie: str) -> str:
    """Return the token of forms that are made for a session: only whoever has its cookie can say it."""
    return base64url.encode(hmac.digest(cookie.encode(), b"sallyport-csrf-v1", "sha256"))


def check_origin(call: Call) -> None:
    """Refuse what a page of another origin sent, another port or subdomain of ours included. Raises Fault(denied)."""
    parts = urlsplit(ports().settings.issuer)
    site = call.headers.get("sec-fetch-site", "same-origin")
    if call.headers.get("origin") != f"{parts.scheme}://{parts.netloc}" or site != "same-origin":
        raise Fault("denied", "This form came from another site.", hint="Open the page at its own address and repeat it.")


def cookie_name(kind: str) -> str:
    """Return the name of one of our cookies. ``__Host-``: no other host, subdomain or plain page can set or shadow it."""
    return f"__Host-sallyport-{kind}" if _secure() else f"sallyport-{kind}"


def set_cookie(kind: str, value: str, lasts_s: int) -> str:
    """Return a Set-Cookie header. Lax, because links to requests arrive in chats; what changes something has its own guard."""
    secure = "; Secure" if _secure() else ""
    return f"{cookie_name(kind)}={value}; Path=/; Max-Age={lasts_s:d}; HttpOnly; SameSite=Lax{secure}"


def cookie_of(call: Call, kind: str) -> str:
    """Return one of our cookies, or an empty text."""
    try:
        found = SimpleCookie(call.headers.get("cookie", "")).get(cookie_name(kind))
    except CookieError:
        return ""
    return found.value if found else ""


def base() -> str:
    """Return what comes before every path: the stage, where the gateway's address has one."""
    return urlsplit(ports().settings.issuer).path


def render(template: str, status: int = 200, headers: Mapping[str, str | list[str]] | None = None, /, **values: Any) -> Response:
    """Return a page."""
    body = templates().get_template(template).render(base=base(), static=static_url, integrity=integrity, **values)
    return Response(body, status_code=status, headers={**_HEADERS, **(headers or {})})


def redirect(path: str, *cookies: str) -> Response:
    """Go on to a page of ours, by GET."""
    headers = {**_HEADERS, "Location": f"{base()}{path}"}
    return Response("", status_code=303, headers=headers | ({"Set-Cookie": list(cookies)} if cookies else {}))


def nothing_new() -> Response:
    """What a part of a page is told that is still as it was: htmx leaves it alone, with whatever is typed in it."""
    return Response("", status_code=204, headers=_HEADERS)


def static_url(name: str) -> str:
    """Return the address of a static file; it changes with the file, so that it may be kept for good."""
    return f"{base()}/static/{name}?{integrity(name)[7:19]}"


@functools.cache
def integrity(name: str) -> str:
    """Return what a browser compares a static file with (W3C Subresource Integrity)."""
    digest = hashlib.sha384((WEB / "static" / name).read_bytes()).digest()
    return f"sha384-{base64.b64encode(digest).decode()}"


@functools.cache
def templates() -> Any:
    """Return Jinja2's environment, made once."""
    # Jinja2 takes a while to import; what answers programs does not need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from chalicelib.entrypoints import page_words

    made = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(page_words.FILTERS)
    return made


def _reader(call: Call, cookie: str) -> AccessClaims:
    if "prefetch" in call.headers.get("sec-purpose", call.headers.get("purpose", "")):
        raise Fault("denied", "This page is only opened by people.")
    return authenticate_browser(ports(), cookie)


def _route(
    blueprint: Blueprint, method: str, path: str, enter: Callable[[Call, str], Visit]
) -> Callable[[Callable[[Visit], Response]], Callable[[Visit], Response]]:
    def register(view: Callable[[Visit], Response]) -> Callable[[Visit], Response]:
        @functools.wraps(view)
        def answer(**params: str) -> Response:
            try:
                call = call_of(blueprint.current_request, params)
                return view(enter(call, cookie_of(call, SESSION)))
            except Exception as error:  # noqa: BLE001 - the one catch-all of every page: told as a code, logged whole
                return _refused(blueprint, error, method, path)

        # Functions of the pages' module, one name each: Chalice takes the name of the route from it.
        blueprint.route(path, methods=[method], content_types=[FORM] if method == "POST" else [])(answer)
        return view

    return register


def _refused(blueprint: Blueprint, error: Exception, method: str, path: str) -> Response:
    refused = refusal(error, f"{method} {path}", request_id(blueprint))
    request = blueprint.current_request
    if refused.failure.error.code in _LOGIN_CODES:
        if "hx-request" in request.headers:
            # The session is over while a page is open: it is loaded again, and asks for a login.
            return Response("", status_code=401, headers={**_HEADERS, "HX-Refresh": "true"})
        onward = call_path(request) if method == "GET" else ""
        return render("sign_in.html", 401, onward=onward)
    return render("problem.html", refused.status, fault=refused.failure.error, who=None, csrf="")


def call_path(request: Any) -> str:
    """Return the path that was asked for, without the stage."""
    return str(request.path.format(**(request.uri_params or {})))


def _form(call: Call) -> Mapping[str, str]:
    try:
        found = parse_qs(call.body.decode(), keep_blank_values=True, max_num_fields=_FIELDS)
    except ValueError:
        raise Fault("bad_request", "The form is not one of ours.") from None
    return {name: values[0] for name, values in found.items()}


def _secure() -> bool:
    """Tell whether browsers reach this gateway over TLS. Plain HTTP is for a gateway on the reader's own machine."""
    parts = urlsplit(ports().settings.issuer)
    return not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1"))
