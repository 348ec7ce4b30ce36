"""A session: one principal, one target, one agent, from the decision to the last recorded byte.

    requested ──► denied                      policy said no; kept, because denied attempts are evidence
        └───────► offered ──► expired         nobody presented the ticket in time
                     └──────► live ──► ended        closed by either side, or at its deadline
                                 └──► killed        revoked by a person or a policy
                                 └──► interrupted   the agent went away; what was uploaded stands

The table below is the only place that says which step may follow which.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from chalicelib.contracts.retention import Retention


class State(StrEnum):
    """Where a session is in its life."""

    DENIED = "denied"
    OFFERED = "offered"
    EXPIRED = "expired"
    LIVE = "live"
    ENDED = "ended"
    KILLED = "killed"
    INTERRUPTED = "interrupted"


NEXT: Final[dict[State, frozenset[State]]] = {
    State.DENIED: frozenset(),
    State.OFFERED: frozenset({State.LIVE, State.EXPIRED, State.KILLED}),
    State.EXPIRED: frozenset(),
    State.LIVE: frozenset({State.ENDED, State.KILLED, State.INTERRUPTED}),
    State.ENDED: frozenset(),
    State.KILLED: frozenset(),
    # An agent that comes back may still close what it was recording; it may never reopen it.
    State.INTERRUPTED: frozenset({State.ENDED}),
}

OVER: Final = frozenset({State.DENIED, State.EXPIRED, State.ENDED, State.KILLED, State.INTERRUPTED})


def may_follow(now: State, then: State) -> bool:
    """Tell whether a session in ``now`` may step to ``then``."""
    return then in NEXT[now]


class Session(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A session as it is stored and listed. Times are Unix milliseconds; 0 means "not yet"."""

    sid: str
    state: State
    principal: str
    groups: list[str] = []
    mfa: bool = False
    target: str
    protocol: str
    agent: str
    """Name of the agent that serves it."""
    login: str = ""
    """Account on the target."""
    reason: str = ""
    source_ip: str = ""
    path: str = ""
    """How the bytes travel: ``relay`` or ``direct``."""
    policy_version: int
    verdict: str = ""
    """Rule that decided, by its ``@id``; empty where no rule did."""
    approval: str = ""
    """The approval request that it was opened under; empty where policy asked for none."""
    message: str = ""
    """What the person was told, for a denial or an early end."""
    killed_by: str = ""
    """Who ordered its end, in the words of ``message``; it is over once its agent has heard of that."""
    opened_ms: int
    started_ms: int = 0
    ended_ms: int = 0
    seen_ms: int = 0
    """When the agent last spoke of it."""
    deadline_ms: int
    """Absolute end of the grant, and so of the session."""
    recording: str = ""
    """Key prefix of the recording in the bucket, without a trailing slash."""
    retention: Retention | None = None
    """How long all of the recording is kept, as it was when the session opened; None for sessions of earlier versions."""
    chunks: int = 0
    chain: str = ""
    """Hex head of the recording's hash chain."""
    operations: int = 0
    denied: int = 0
    """How many operations policy refused inside the session."""
