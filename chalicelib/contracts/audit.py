"""Audit events: what the gateway remembers, with every field classified.

A field is *public* (may appear in logs and metrics), *sensitive* (evidence for auditors: who, what, why) or *secret* (must never
be stored). The classification is part of the type; a field without one counts as secret, and ``tests`` refuse it. Events are
written in the same transaction as the fact they speak of.
"""

from __future__ import annotations

import enum
import typing
from typing import Annotated, Any, Final

import msgspec


class Class(enum.Enum):
    """Who may see a field."""

    PUBLIC = "public"
    SENSITIVE = "sensitive"
    SECRET = "secret"  # noqa: S105 - the name of a class of fields


Public = Class.PUBLIC
Sensitive = Class.SENSITIVE

PublicText = Annotated[str, Public]
SensitiveText = Annotated[str, Sensitive]
PublicNumber = Annotated[int, Public]
SensitiveTexts = Annotated[list[str], Sensitive]
PublicTexts = Annotated[list[str], Public]


class Event(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type"):
    """What every event carries: its identifier, and when it happened (Unix milliseconds, the control plane's clock)."""

    id: PublicText
    time_ms: PublicNumber
    actor: SensitiveText
    """The principal, ``agent:NAME`` or ``system``."""


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


class RequestEvent(Event, frozen=True, kw_only=True):
    """What every event about an approval request carries."""

    rid: PublicText
    target: SensitiveText
    principal: SensitiveText
    """Whose request it is."""


class RequestAsked(RequestEvent, frozen=True, kw_only=True, tag="request.asked"):
    """Policy held something, and approvers are asked; or an emergency went ahead and they are told."""

    kind: PublicText
    sid: PublicText
    login: SensitiveText
    text: SensitiveText
    """The operation's text, cut to 4,000 characters; the request holds all of it, under the same digest."""
    digest: PublicText
    reason: SensitiveText
    rules: PublicTexts
    groups: PublicTexts
    """The groups that are asked, each as often as people are needed."""
    policy_version: PublicNumber
    deadline_ms: PublicNumber
    for_s: PublicNumber
    uses: PublicNumber
    emergency: Annotated[bool, Public]


class RequestNotified(RequestEvent, frozen=True, kw_only=True, tag="request.notified"):
    """A channel took a notification about a request."""

    notice: PublicText
    channel: PublicText
    about: PublicText


class RequestSeen(RequestEvent, frozen=True, kw_only=True, tag="request.seen"):
    """Somebody else looked at a request for the first time."""

    state: PublicText


class RequestVoted(RequestEvent, frozen=True, kw_only=True, tag="request.voted"):
    """Somebody answered; ``state`` is what the request is after it."""

    approve: Annotated[bool, Public]
    groups: PublicTexts
    comment: SensitiveText
    digest: PublicText
    state: PublicText
    via: PublicText = ""
    """Where the answer came from, if not from our own pages or command line: ``slack T…/U…``."""


class RequestWithdrawn(RequestEvent, frozen=True, kw_only=True, tag="request.withdrawn"):
    """Whoever asked does not want it any more."""


class RequestExpired(RequestEvent, frozen=True, kw_only=True, tag="request.expired"):
    """Nobody answered in time, or what was granted has ended."""

    was: PublicText
    used: PublicNumber


class RequestRevoked(RequestEvent, frozen=True, kw_only=True, tag="request.revoked"):
    """A yes was taken back; the sessions that were opened under it end."""

    comment: SensitiveText
    used: PublicNumber
    sessions: PublicTexts


class RequestUsed(RequestEvent, frozen=True, kw_only=True, tag="request.used"):
    """A yes was used, for exactly what it was given for."""

    sid: PublicText
    digest: PublicText
    used: PublicNumber
    uses: PublicNumber


class OriginalsEvent(RequestEvent, frozen=True, kw_only=True):
    """What every event about a yes to unmask or to erase carries."""

    key: PublicText
    """The key that it is about: hex SHA-256 of its public half."""


class OriginalsUnmasked(OriginalsEvent, frozen=True, kw_only=True, tag="originals.unmasked"):
    """A session's originals are about to be opened. Nothing is, before the log holds this."""

    sid: PublicText
    owner: SensitiveText
    """Whose session it was."""
    reason: SensitiveText
    approvers: SensitiveTexts
    digest: PublicText
    use: PublicText
    """Hex SHA-256 of the name that was given to this use."""


class OriginalsReleased(OriginalsEvent, frozen=True, kw_only=True, tag="originals.released"):
    """The content key of a session's originals was handed out, once, for the use in ``originals.unmasked``."""

    sid: PublicText
    use: PublicText


class OriginalsRefused(RequestEvent, frozen=True, kw_only=True, tag="originals.refused"):
    """Originals were not opened, or not erased, although somebody tried."""

    code: PublicText


class OriginalsErased(OriginalsEvent, frozen=True, kw_only=True, tag="originals.erased"):
    """The key of a target's originals of one month was deleted; what was sealed with it can never be read again."""

    month: PublicText
    reason: SensitiveText
    approvers: SensitiveTexts
    digest: PublicText


class OriginalsKeyMade(Event, frozen=True, kw_only=True, tag="originals.key_made"):
    """A key was made for a target's originals of one month."""

    target: SensitiveText
    month: PublicText
    key: PublicText


class RequestReviewed(RequestEvent, frozen=True, kw_only=True, tag="request.reviewed"):
    """Somebody else looked at an emergency afterwards."""

    justified: Annotated[bool, Public]
    comment: SensitiveText


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


def classification(event: type[Event]) -> dict[str, Class]:
    """Return the class of every field of ``event``; a field that carries none is secret."""
    found = {}
    for name, hint in typing.get_type_hints(event, include_extras=True).items():
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Class)]
        found[name] = marks[0] if marks else Class.SECRET
    return found


def public_view(event: Event) -> dict[str, Any]:
    """Return what a log may say of ``event``: its type and its public fields."""
    classes = classification(type(event))
    fields = {name: getattr(event, name) for name, mark in classes.items() if mark is Class.PUBLIC}
    return {"type": event.__struct_config__.tag, **fields}
