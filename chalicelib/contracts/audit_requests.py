"""Audit events about approval requests, and about the originals that are opened or erased under one."""

from __future__ import annotations

from typing import Annotated

from chalicelib.contracts.audit_event import Event, Public, PublicNumber, PublicText, PublicTexts, SensitiveText, SensitiveTexts


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
