"""HTTP in, use case, HTTP out: the same steps for every route, so that none can forget one.

A route says who may call it (``public``, ``people``, ``administrators``, ``agents`` or ``custodians``), and gets a checked
``Call``. Bodies are bounded before they are read, authenticated before they are parsed, and parsed strictly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec
from chalice.app import Blueprint, Response

from chalicelib.bootstrap import ports, replays
from chalicelib.contracts.api import BODY_LIMIT
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain.agent_proof import Replays
from chalicelib.entrypoints.faults import refusal
from chalicelib.ports import Agent, Ports
from chalicelib.usecases.authenticate import (
    Asked,
    authenticate_agent,
    authenticate_custodian,
    authenticate_person,
    require_administrator,
)

T = TypeVar("T")
View = Callable[..., Any]

JSON = "application/json"
_JSON: dict[str, str | list[str]] = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Call(msgspec.Struct, kw_only=True, frozen=True):
    """One request, without the framework."""

    method: str
    path: str
    """As the caller wrote it, without the stage."""
    body: bytes
    query: Mapping[str, str]
    params: Mapping[str, str]
    authorization: str
    source_ip: str
    headers: Mapping[str, str] = {}
    """By lower-case name."""

    def read(self, kind: type[T]) -> T:
        """Return the body as ``kind``. Raises Fault(bad_request) that says which field is wrong."""
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.DecodeError as error:
            raise Fault("bad_request", f"The body is not what this route takes: {error}.") from None
        except (UnicodeError, RecursionError):
            raise Fault("bad_request", "The body is not JSON.") from None

    def ask(self, kind: type[T]) -> T:
        """Return the query as ``kind``. Raises Fault(bad_request)."""
        try:
            return msgspec.convert(dict(self.query), kind, strict=False)
        except msgspec.ValidationError as error:
            raise Fault("bad_request", f"The query is not what this route takes: {error}.") from None


def public(blueprint: Blueprint, method: str, path: str, takes: str = JSON) -> Callable[[View], View]:
    """A route for everybody: ``view(call)``."""
    return _route(blueprint, method, path, lambda view, call: view(call), takes)


def people(blueprint: Blueprint, method: str, path: str) -> Callable[[View], View]:
    """A route for people who are logged in: ``view(call, caller)``."""
    return _route(blueprint, method, path, lambda view, call: view(call, authenticate_person(ports(), call.authorization)))


def administrators(blueprint: Blueprint, method: str, path: str) -> Callable[[View], View]:
    """A route for people who may administer: ``view(call, caller)``."""

    def enter(view: View, call: Call) -> Any:
        caller: AccessClaims = authenticate_person(ports(), call.authorization)
        require_administrator(ports(), caller, call.source_ip)
        return view(call, caller)

    return _route(blueprint, method, path, enter)


def agents(blueprint: Blueprint, method: str, path: str) -> Callable[[View], View]:
    """A route for agents: ``view(call, agent)``."""
    return _proven(blueprint, method, path, authenticate_agent)


def custodians(blueprint: Blueprint, method: str, path: str) -> Callable[[View], View]:
    """A route on which agents add to evidence, replaced ones too: ``view(call, agent)``."""
    return _proven(blueprint, method, path, authenticate_custodian)


def _proven(
    blueprint: Blueprint, method: str, path: str, authenticate: Callable[[Ports, Replays, str, Asked], Agent]
) -> Callable[[View], View]:
    def enter(view: View, call: Call) -> Any:
        asked = Asked(method=call.method, path=call.path, body=call.body)
        return view(call, authenticate(ports(), replays(), call.authorization, asked))

    return _route(blueprint, method, path, enter)


def _route(
    blueprint: Blueprint, method: str, path: str, enter: Callable[[View, Call], Any], takes: str = JSON
) -> Callable[[View], View]:
    def register(view: View) -> View:
        @functools.wraps(view)
        def answer(**params: str) -> Response:
            try:
                found = enter(view, call_of(blueprint.current_request, params))
            except Exception as error:  # noqa: BLE001 - the one catch-all of every route: told as a code, logged whole
                refused = refusal(error, f"{method} {path}", request_id(blueprint))
                return Response(refused.body, status_code=refused.status, headers=_JSON)
            if isinstance(found, Response):
                return found
            return Response(msgspec.json.encode(found).decode(), status_code=200, headers=_JSON)

        blueprint.route(path, methods=[method], content_types=[takes])(answer)
        return view

    return register


def call_of(request: Any, params: Mapping[str, str]) -> Call:
    """Return the framework's request without the framework. Raises Fault(too_large)."""
    body = request.raw_body or b""
    if len(body) > BODY_LIMIT:
        raise Fault("too_large", f"A request's body is at most {BODY_LIMIT} bytes long.")
    return Call(
        method=request.method,
        # Chalice's own ``path`` is the route; an agent's proof names the path itself.
        path=request.path.format(**(request.uri_params or {})),
        body=body,
        query=dict(request.query_params or {}),
        params=params,
        authorization=request.headers.get("authorization") or "",
        source_ip=request.context.get("identity", {}).get("sourceIp") or "",
        headers={str(name).lower(): str(value) for name, value in request.headers.items()},
    )


def request_id(blueprint: Blueprint) -> str:
    """Return what Lambda calls this invocation, for the log and for whoever has to tell of a failure."""
    return str(getattr(blueprint.lambda_context, "aws_request_id", "unknown"))
