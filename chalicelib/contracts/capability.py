"""Capabilities: the claims inside every token, and the checks that need no key.

Each kind of token names itself in the JWT ``typ`` header, so that one kind is refused wherever another is asked for (RFC 8725,
§3.11). Signatures are verified by whoever has the key (adapters in the control plane, ``runtime`` in the agent); the claims here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Approval, Principal

ACCESS_TYP: Final = "sallyport-access+jwt"
TICKET_TYP: Final = "sallyport-ticket+jwt"
WEB_TYP: Final = "sallyport-web+jwt"
WATCH_TYP: Final = "sallyport-watch+jwt"
APPROVAL_TYP: Final = "sallyport-approval+jwt"
PROOF_TYP: Final = "sallyport-agent-proof+jwt"

#: How far two clocks may be apart, in seconds.
SKEW_S: Final = 30
#: How long an agent's proof of one request lives, in seconds.
PROOF_S: Final = 60
#: How long a ticket may wait before it is presented, in seconds.
TICKET_S: Final = 60

CONTROL_AUDIENCE: Final = "sallyport-control"


class AccessClaims(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A person's access token: who logged in, with which groups, until when (Unix seconds)."""

    iss: str
    sub: str
    """The principal's name."""
    jti: str
    iat: int
    exp: int
    groups: list[str] = []
    mfa: bool = False
    email: str = ""
    """The e-mail address that the identity provider verified, in lower case: two accounts with the same one are one human."""

    @property
    def principal(self) -> Principal:
        """The identity that policy sees."""
        return Principal(name=self.sub, groups=self.groups, mfa=self.mfa)


class TicketClaims(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A session ticket: one principal may open one session to one target through one agent, once, soon."""

    iss: str
    aud: str
    """Identifier of the agent."""
    sid: str
    sub: str
    groups: list[str] = []
    mfa: bool = False
    target: str
    login: str
    policy_version: int
    reason: str = ""
    source_ip: str = ""
    recording: str
    iat: int
    exp: int
    deadline_ms: int
    event: str = ""
    """Identifier of the audit event of the session's opening."""
    leaf: str = ""
    """Hex hash of that event's leaf: the promise, signed with the ticket, that the transparency log will hold it soon."""
    approvals: list[str] = []
    """Groups whose approval this session was opened with, for rules about ``connect`` and nothing else."""

    @property
    def principal(self) -> Principal:
        """The identity that policy sees."""
        return Principal(name=self.sub, groups=self.groups, mfa=self.mfa)


class WatchClaims(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A ticket to look on while one session goes on: one person, one agent, once, soon, no longer than its end."""

    iss: str
    aud: str
    """Identifier of the agent."""
    wid: str
    sid: str
    sub: str
    groups: list[str] = []
    mfa: bool = False
    source_ip: str = ""
    iat: int
    exp: int
    deadline_ms: int
    """When the watching ends: with the watcher's login, or the session's grant."""

    @property
    def principal(self) -> Principal:
        """The identity that policy sees."""
        return Principal(name=self.sub, groups=self.groups, mfa=self.mfa)


class ApprovalClaims(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A yes to exactly one operation of one session. The agent checks it, and has every use counted before it runs anything."""

    iss: str
    aud: str
    """Identifier of the agent."""
    rid: str
    sid: str
    sub: str
    target: str
    login: str
    digest: str
    """Hex SHA-256 of the canonical operation."""
    asks: list[Approval]
    """What was asked for and met; a policy that asks for more by now is not lifted."""
    uses: int
    policy_version: int
    emergency: bool = False
    approvers: list[str] | None = None
    """Who said yes, for the recording. None where a gateway of an older version signed it, which told that elsewhere."""
    iat: int
    exp: int


class ProofClaims(msgspec.Struct, kw_only=True, frozen=True):
    """An agent's proof for one request: signed with its own Ed25519 key, bound to method, path and body."""

    sub: str
    """Identifier of the agent."""
    aud: str
    iat: int
    jti: str
    htm: str
    """HTTP method, upper case (``GET`` for a WebSocket handshake)."""
    htp: str
    """Path as the control plane sees it, without the stage."""
    bsh: str
    """Hex SHA-256 of the body (of nothing, for an empty one)."""


def check_times(issued_s: int, expires_s: int, now_ms: int, *, expired: str, invalid: str, what: str) -> None:
    """Refuse a token that is not yet valid or no longer. ``expired`` and ``invalid`` are the fault codes to raise."""
    now_s = now_ms / 1000
    if issued_s > now_s + SKEW_S:
        raise Fault(invalid, f"The {what} is dated in the future.", hint="Check the clocks of both machines.")
    if now_s >= expires_s:
        raise Fault(expired, f"The {what} has expired.")


def check_access(claims: AccessClaims, issuer: str, now_ms: int) -> None:
    """Check an access token whose signature was verified."""
    if claims.iss != issuer:
        raise Fault("token_invalid", "The access token was issued by another gateway.", hint="Run: sallyport login")
    check_times(claims.iat, claims.exp, now_ms, expired="token_expired", invalid="token_invalid", what="access token")


def check_ticket(claims: TicketClaims, agent_id: str, now_ms: int) -> None:
    """Check a ticket whose signature was verified, at the agent ``agent_id``."""
    if claims.aud != agent_id:
        raise Fault("ticket_mismatch", "The ticket is for another agent.")
    check_times(claims.iat, claims.exp, now_ms, expired="ticket_expired", invalid="ticket_invalid", what="ticket")
    if now_ms >= claims.deadline_ms:
        raise Fault("session_ended", "The grant behind this ticket has ended.")


def check_watch(claims: WatchClaims, agent_id: str, now_ms: int, *, begun: bool = False) -> None:
    """Check a watch ticket whose signature was verified, at the agent ``agent_id``. One that has ``begun`` is good to its end."""
    if claims.aud != agent_id:
        raise Fault("ticket_mismatch", "The ticket is for another agent.")
    if not begun:
        check_times(claims.iat, claims.exp, now_ms, expired="ticket_expired", invalid="ticket_invalid", what="ticket")
    if now_ms >= claims.deadline_ms:
        raise Fault("session_ended", "The time of this watch is over.")


def check_approval(claims: ApprovalClaims, *, agent_id: str, ticket: TicketClaims, digest: str, now_ms: int) -> None:
    """Check an approval whose signature was verified, for the operation with ``digest`` in the session of ``ticket``."""
    if claims.iss != ticket.iss or claims.aud != agent_id:
        raise Fault("approval_mismatch", "The approval is for another agent.")
    if (claims.sid, claims.sub, claims.target, claims.login) != (ticket.sid, ticket.sub, ticket.target, ticket.login):
        raise Fault("approval_mismatch", "The approval is for another session, person or target.")
    if claims.digest != digest:
        raise Fault("approval_mismatch", "The approval is for another operation: something in it has changed.")
    check_times(claims.iat, claims.exp, now_ms, expired="approval_expired", invalid="approval_mismatch", what="approval")


def check_proof(claims: ProofClaims, *, agent_id: str, method: str, path: str, body_sha256: str, now_ms: int) -> None:
    """Check an agent's proof whose signature was verified against the key it enrolled with."""
    if claims.sub != agent_id or claims.aud != CONTROL_AUDIENCE:
        raise Fault("agent_proof_invalid", "The agent's proof names somebody else.")
    if (claims.htm, claims.htp, claims.bsh) != (method, path, body_sha256):
        raise Fault("agent_proof_invalid", "The agent's proof is for another request.")
    if abs(now_ms / 1000 - claims.iat) > PROOF_S:
        raise Fault("agent_proof_invalid", "The agent's proof is too old.", hint="Check the agent's clock.")
