"""What a person sees of sessions and requests, as ``sallyport sessions --json`` and ``sallyport requests --json`` print it.

Tests look again and again until something has come, on a machine that has better things to do than to start a program each time:
the command line's own code is asked here, in this process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from chalicelib.contracts.api_requests import RequestPage
from cli.control_plane import ControlPlane
from cli.home import Home
from cli.moments import days_back, now_ms
from cli.session_search import Filter, listing
from infra.demo.stack import Person

#: How far back a test may want to see.
RECENT_MS = 3_600_000
#: More than a world ever has.
MANY = 1000


def sessions(person: Person, target: str = "", state: str = "") -> list[dict[str, Any]]:
    """Return the sessions that ``person`` sees, newest first; those on one target, or in one state."""
    now = now_ms()
    start = now - RECENT_MS
    wanted = Filter(days=list(days_back(now, start)), since_ms=start, target=target, state=state)
    return [msgspec.to_builtins(each) for each in listing(plane(person), wanted, MANY)]


def inbox(person: Person) -> list[dict[str, Any]]:
    """Return the requests that wait for ``person``'s answer."""
    return _requests(person, "inbox")


def history(person: Person) -> list[dict[str, Any]]:
    """Return today's requests that ``person`` may see, whatever became of them."""
    return _requests(person, "history")


def _requests(person: Person, view: str) -> list[dict[str, Any]]:
    page = plane(person).get("/requests", RequestPage, {"view": view, "limit": "200"})
    return [msgspec.to_builtins(each) for each in page.requests]


def plane(person: Person) -> ControlPlane:
    """Return the control plane in ``person``'s name."""
    saved = Home(Path(person.environment["SALLYPORT_HOME"])).login()
    return ControlPlane(saved.url, saved.token)
