"""The HTTP API of sessions that go on: ending one, and watching one."""

from __future__ import annotations

import msgspec

from chalicelib.contracts.session import Session, State


class SessionKill(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /sessions/{sid}/kill``: end it now. The reason is read by its owner."""

    reason: str


class SessionKilled(msgspec.Struct, kw_only=True, frozen=True):
    """Where an ordered end stands. Whoever ordered it may ask again."""

    sid: str
    state: State
    """``killed`` or ``ended`` once it is over; until then the agent has not said so."""
    reached: bool
    """The order went to the agent's control socket. If not, it is told when it is back; until then the session goes on."""
    agent: str
    message: str
    """What its owner reads. Where somebody else was first, their words."""


class WatchAsk(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /sessions/{sid}/watch``: look on while it goes on."""


class WatchOffer(msgspec.Struct, kw_only=True, frozen=True):
    """A ticket to look on, and the way to the agent: the relay at ``url``, and TLS with the agent for ``host_alias`` inside."""

    wid: str
    ticket: str
    url: str
    host_alias: str
    expires_ms: int
    """Until when the ticket has to be presented."""
    deadline_ms: int
    """When the watching ends: with the watcher's login, or the session's grant."""
    session: Session


class WatchNews(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What an agent reports of one watch: that it began, or that it ended."""

    ticket: str
    """The watcher's; it says who, and that the gateway let them."""
    code: str = ""
    """Why it ended, ``ok`` where the watcher left; empty: it began."""
    message: str = ""
    shown: int = 0
    """Bytes of recorded lines that were sent."""
