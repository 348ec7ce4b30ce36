"""The HTTP API of sessions that go on: ending one, and watching one."""

from __future__ import annotations

import msgspec

from chalicelib.contracts.session import State


class SessionKill(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /sessions/{sid}/kill``: end it now. The reason is read by its owner."""

    reason: str


class SessionKilled(msgspec.Struct, kw_only=True, frozen=True):
    """Where an ordered end stands. Whoever ordered it may ask again."""

    sid: str
    state: State
    """``killed`` or ``ended`` once it is over; until then the agent has not said so."""
    reached: bool
    """The order went to the agent's control socket. If not, the agent gets it when it is back, and until then the session goes on."""
    agent: str
    message: str
    """What its owner reads. Where somebody else was first, their words."""
