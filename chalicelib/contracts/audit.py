"""Audit events: what the gateway remembers, with every field classified (``audit_event``). Those about approval requests are in
``audit_requests``; :data:`AnyEvent` is all of them.

Events are written in the same transaction as the fact they speak of.
"""

from __future__ import annotations

import typing
from typing import Annotated, Final

from chalicelib.contracts.audit_event import (
    Event,
    Public,
    PublicNumber,
    PublicText,
    PublicTexts,
    SensitiveText,
    SensitiveTexts,
)
from chalicelib.contracts.audit_requests import (
    OriginalsErased,
    OriginalsKeyMade,
    OriginalsRefused,
    OriginalsReleased,
    OriginalsUnmasked,
    RequestAsked,
    RequestExpired,
    RequestNotified,
    RequestReviewed,
    RequestRevoked,
    RequestSeen,
    RequestUsed,
    RequestVoted,
    RequestWithdrawn,
)


class LoginCompleted(Event, frozen=True, kw_only=True, tag="login.completed"):
    """A person proved who they are."""

    groups: SensitiveTexts
    source_ip: SensitiveText
    mfa: Annotated[bool, Public]


class LoginFailed(Event, frozen=True, kw_only=True, tag="login.failed"):
    """A login did not complete; ``code`` is the stable fault code."""

    code: PublicText
    source_ip: SensitiveText


class LoggedOut(Event, frozen=True, kw_only=True, tag="login.ended"):
    """A person's token was revoked by its owner."""

    token: PublicText


class SessionEvent(Event, frozen=True, kw_only=True):
    """What every event about a session carries."""

    sid: PublicText
    target: SensitiveText


class SessionDenied(SessionEvent, frozen=True, kw_only=True, tag="session.denied"):
    """Policy refused to open a session."""

    login: SensitiveText
    reason: SensitiveText
    source_ip: SensitiveText
    rule: PublicText
    message: SensitiveText
    policy_version: PublicNumber


class SessionOpened(SessionEvent, frozen=True, kw_only=True, tag="session.opened"):
    """Policy allowed a session, and a ticket was issued."""

    agent: PublicText
    login: SensitiveText
    reason: SensitiveText
    source_ip: SensitiveText
    rule: PublicText
    policy_version: PublicNumber
    deadline_ms: PublicNumber


class SessionStarted(SessionEvent, frozen=True, kw_only=True, tag="session.started"):
    """The agent took the ticket; from here on bytes flow."""

    agent: PublicText
    path: PublicText


class SessionEnded(SessionEvent, frozen=True, kw_only=True, tag="session.ended"):
    """A session is over; ``state`` says how, ``chain`` is the head of what was recorded."""

    state: PublicText
    message: SensitiveText
    chunks: PublicNumber
    chain: PublicText
    operations: PublicNumber
    denied: PublicNumber
    amended: Annotated[bool, Public] = False
    """It had been interrupted; the agent came back and handed in the rest."""


class SessionSealed(SessionEvent, frozen=True, kw_only=True, tag="session.sealed"):
    """A manifest of the session's recording was signed and stored."""

    manifest: PublicText
    """Hex SHA-256 of the stored manifest."""
    status: PublicText
    """``complete``, ``truncated`` or ``recovered``."""
    chunks: PublicNumber
    chain: PublicText
    missing: PublicNumber = 0
    """Chunks that were registered and never arrived."""


class EvidenceConflict(SessionEvent, frozen=True, kw_only=True, tag="evidence.conflict"):
    """What lies in the bucket, or in the table, contradicts what was recorded. Somebody should look at once."""

    what: PublicText


class EvidenceAlert(Event, frozen=True, kw_only=True, tag="evidence.alert"):
    """An object of the evidence bucket was written again, hidden, or put where nothing was registered. Somebody should look."""

    sid: PublicText
    """The session that it belongs to, or empty: an object of the log, or of nobody."""
    what: PublicText
    """``rewritten``, ``hidden`` or ``stray``."""
    key: SensitiveText
    version: PublicText
    """The VersionId that gave it away."""
    first: PublicText
    """The VersionId that counts, where one is known."""
    found_by: PublicText
    """``notification``, as it happened, or ``sweep``."""


class WitnessEnrolled(Event, frozen=True, kw_only=True, tag="witness.enrolled"):
    """An agent cosigns checkpoints with this key from now on."""

    agent_id: PublicText
    key: PublicText
    """As ``sallyport verify --keys`` reads it."""
    replaced: PublicText
    """The key before, or empty."""


class WitnessAlarmed(Event, frozen=True, kw_only=True, tag="witness.alarm"):
    """An agent saw the log contradict what it had seen before, or keep it waiting; it begins no session meanwhile."""

    agent_id: PublicText
    kind: PublicText
    """``fork``, ``rollback``, ``forged`` or ``overdue``."""
    message: SensitiveText
    kept: PublicText
    """The checkpoint that it had verified."""
    shown: PublicText
    """The one that contradicts."""


class LogResumed(Event, frozen=True, kw_only=True, tag="log.resumed"):
    """After a restore of the table the log's head was set to where the bucket's log ends."""

    size_before: PublicNumber
    root_before: PublicText
    size: PublicNumber
    root: PublicText


class OperationDenied(SessionEvent, frozen=True, kw_only=True, tag="operation.denied"):
    """Policy refused an operation inside a session, before it reached the target."""

    kind: PublicText
    text: SensitiveText
    digest: PublicText
    rules: PublicTexts
    message: SensitiveText


class TargetRefused(SessionEvent, frozen=True, kw_only=True, tag="target.refused"):
    """The agent would not go on with a target: wrong host key, refused credential, unreachable."""

    code: PublicText
    message: SensitiveText


class HostKeyTrusted(SessionEvent, frozen=True, kw_only=True, tag="target.host_key_trusted"):
    """An agent learned a target's first host key in somebody's session, as policy let them; from then on no other is accepted.

    Its actor is that person. A second one about the same target means that the key was forgotten, or the agent replaced.
    """

    agent: PublicText
    address: SensitiveText
    key_type: PublicText
    fingerprint: PublicText


class RecordingViewed(SessionEvent, frozen=True, kw_only=True, tag="recording.viewed"):
    """Somebody was given links to a recording, or to one page of a long one: looking at evidence is itself evidence."""

    owner: SensitiveText
    rule: PublicText
    chunks: PublicNumber


class SessionKillOrdered(SessionEvent, frozen=True, kw_only=True, tag="session.kill_ordered"):
    """Somebody ordered the end of a session. ``session.ended`` follows when its agent has obeyed."""

    owner: SensitiveText
    reason: SensitiveText
    rule: PublicText
    """What permitted it; empty where the owner ended a session of their own."""


class WatchEvent(SessionEvent, frozen=True, kw_only=True):
    """What every event about a watch carries; its actor is the watcher."""

    wid: PublicText
    owner: SensitiveText


class WatchAllowed(WatchEvent, frozen=True, kw_only=True, tag="watch.allowed"):
    """Policy let somebody look on at a session. Stored before they get a ticket."""

    rule: PublicText


class WatchBegan(WatchEvent, frozen=True, kw_only=True, tag="watch.began"):
    """The agent showed a watcher the session, and its owner that they watch."""


class WatchEnded(WatchEvent, frozen=True, kw_only=True, tag="watch.ended"):
    """A watch that had begun is over."""

    code: PublicText
    """Why: ``ok`` where the watcher left, else a fault's code."""
    message: SensitiveText
    shown: PublicNumber
    """Bytes of recorded lines that were sent to the watcher."""


class AgentTokenIssued(Event, frozen=True, kw_only=True, tag="agent.token_issued"):
    """An administrator made a one-time enrolment token."""

    name: PublicText
    expires_ms: PublicNumber


class AgentEnrolled(Event, frozen=True, kw_only=True, tag="agent.enrolled"):
    """An agent enrolled with its own key."""

    name: PublicText
    agent_id: PublicText
    fingerprint: PublicText
    """Hex SHA-256 of the raw Ed25519 public key."""
    replaced: PublicText
    """Identifier of the agent that had the name before, or empty."""


class ConfigApplied(Event, frozen=True, kw_only=True, tag="config.applied"):
    """A new version of targets and policies decides from now on."""

    version: PublicNumber
    previous: PublicNumber
    digest: PublicText
    summary: SensitiveTexts


AnyEvent = (
    LoginCompleted
    | LoginFailed
    | LoggedOut
    | SessionDenied
    | SessionOpened
    | SessionStarted
    | SessionEnded
    | SessionSealed
    | EvidenceConflict
    | OperationDenied
    | TargetRefused
    | HostKeyTrusted
    | EvidenceAlert
    | LogResumed
    | WitnessEnrolled
    | WitnessAlarmed
    | RecordingViewed
    | SessionKillOrdered
    | WatchAllowed
    | WatchBegan
    | WatchEnded
    | AgentTokenIssued
    | AgentEnrolled
    | ConfigApplied
    | RequestAsked
    | RequestNotified
    | RequestSeen
    | RequestVoted
    | RequestWithdrawn
    | RequestExpired
    | RequestRevoked
    | RequestUsed
    | RequestReviewed
    | OriginalsUnmasked
    | OriginalsReleased
    | OriginalsRefused
    | OriginalsErased
    | OriginalsKeyMade
)

EVENTS: Final[tuple[type[Event], ...]] = typing.get_args(AnyEvent)
