"""The decision that opens a session, shared by people who come through the API and native clients who come through an agent.

Order matters: sizes before anything is looked up, the target before the login, the policy before the agent's whereabouts
(somebody who may not connect learns nothing about the agent), and the row before the ticket leaves.
"""

from __future__ import annotations

import contextlib
from typing import Final

import msgspec

from chalicelib.contracts import ids, recording
from chalicelib.contracts.audit import SessionDenied, SessionOpened
from chalicelib.contracts.audit_requests import RequestUsed
from chalicelib.contracts.capability import TICKET_TYP
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import HOLD, Policy, Principal, Verdict
from chalicelib.contracts.session import Session, State
from chalicelib.contracts.translog import leaves, merkle
from chalicelib.domain import base64url, tickets
from chalicelib.domain.approvals import Case, used
from chalicelib.ports import Agent, Conflict, Custody, Ports
from chalicelib.usecases.approved_access import approved_access, named_access
from chalicelib.usecases.circumstances import address, check_sizes, moment
from chalicelib.usecases.minting import mint
from chalicelib.usecases.request_events import about

_TRIES: Final = 20


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """Who wants to go where, and why."""

    who: Principal
    target: str
    login: str
    reason: str
    source_ip: str
    token: str
    """Identifier of the login behind the request."""
    approval: str = ""
    """The approval request that it should be opened under; empty for any that fits."""


class Admission(msgspec.Struct, kw_only=True, frozen=True):
    """An allowed request: the target, the login and the rule that said so. Nothing is stored yet."""

    request: Request
    policy: Policy
    target: Target
    login: str
    verdict: Verdict
    now_ms: int
    case: Case | None = None
    """The yes that lifted what policy held."""


class Opened(msgspec.Struct, kw_only=True, frozen=True):
    """A stored session and its ticket."""

    session: Session
    ticket: str


def admit(ports: Ports, request: Request) -> Admission:
    """Ask policy. Raises Fault: too_large, unknown_target, unknown_login, what is wrong with the
    approval that was named, and denied or approval_required (which are stored first: they are evidence)."""
    check_sizes(request.target, request.login, request.reason)
    policy = ports.policies.current()
    target = policy.document.target(request.target)
    if target is None:
        raise Fault("unknown_target", "There is no target of this name.", hint="Run: sallyport ls")
    login = request.login or target.default_login
    at = moment(ports.clock, reason=request.reason, login=login, source_ip=request.source_ip)
    verdict = policy.connect(request.who, target, at)
    case = None
    if verdict.decision == HOLD:
        case = _approval(ports, request, target, login, verdict)
        verdict = policy.connect(request.who, target, at, case.request.lifts) if case else verdict
    admission = Admission(
        request=request, policy=policy, target=target, login=login, verdict=verdict, now_ms=at.now_ms, case=case
    )
    if not verdict.allowed:
        _deny(ports, admission)
    if login not in target.logins:
        raise Fault("unknown_login", "The target has no login of this name.", hint=f"It has: {', '.join(sorted(target.logins))}.")
    return admission


def _approval(ports: Ports, request: Request, target: Target, login: str, held: Verdict) -> Case | None:
    if request.approval:
        return named_access(ports, request.approval, request.who.name, target.name, login, held)
    return approved_access(ports, request.who.name, target.name, login, held)


def open_offered(ports: Ports, admission: Admission, agent: Agent) -> Opened:
    """Store an offered session with its event, and return its ticket. Raises Fault where its approval was used meanwhile."""
    session = _session(ports, admission, State.OFFERED)
    seed = recording.seed(session.sid, base64url.decode(agent.public_key))
    session = msgspec.structs.replace(session, chain=seed, agent=agent.name)
    approvals = admission.case.request.lifts if admission.case else frozenset()
    event = _opened(ports, session)
    promise = tickets.Promise(event.id, merkle.leaf_hash(leaves.leaf_of(msgspec.json.encode(event))).hex())
    claims = tickets.claims(ports.settings.issuer, agent.agent_id, session, admission.request.who, promise, approvals)
    # Signed before it is stored: a ticket that cannot be made must not leave a session behind.
    ticket = ports.signer.sign_token(TICKET_TYP, msgspec.to_builtins(claims))
    custody = Custody(agent_id=agent.agent_id, seed=seed, token=admission.request.token)
    if admission.case is None:
        ports.store.open_session(session, custody, event)
    else:
        _open_approved(ports, session, custody, event)
    return Opened(session=session, ticket=ticket)


def _open_approved(ports: Ports, session: Session, custody: Custody, event: SessionOpened) -> None:
    for _ in range(_TRIES):
        case = ports.store.case(session.approval)
        if case is None:
            raise RuntimeError(f"{session.approval} was there and is not")
        after = used(case, ports.clock.now_ms(), sid=session.sid)
        counted = about(
            ports,
            RequestUsed,
            after.request,
            session.principal,
            sid=session.sid,
            digest=after.request.digest,
            used=after.request.used,
            uses=after.request.uses,
        )
        with contextlib.suppress(Conflict):
            ports.store.open_approved_session(session, custody, after, [event, counted])
            return
    raise Fault("conflict", "The approval is used by others at this moment.", hint="Try again.")


def _opened(ports: Ports, session: Session) -> SessionOpened:
    return SessionOpened(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=session.principal,
        sid=session.sid,
        target=session.target,
        agent=session.agent,
        login=session.login,
        reason=session.reason,
        source_ip=session.source_ip,
        rule=session.verdict,
        policy_version=session.policy_version,
        deadline_ms=session.deadline_ms,
    )


def _deny(ports: Ports, admission: Admission) -> None:
    session = _session(ports, admission, State.DENIED)
    event = SessionDenied(
        id=mint(ports.clock, ids.EVENT),
        time_ms=admission.now_ms,
        actor=session.principal,
        sid=session.sid,
        target=session.target,
        login=session.login,
        reason=session.reason,
        source_ip=session.source_ip,
        rule=session.verdict,
        message=session.message,
        policy_version=session.policy_version,
    )
    ports.store.open_session(session, Custody(agent_id="", seed=""), event)
    rule = admission.verdict.rule
    hint = f"Decided by rule {rule}; this attempt is on record as {session.sid}." if rule else f"On record as {session.sid}."
    if admission.verdict.decision == HOLD:
        groups = ", ".join(sorted({approval.group for approval in admission.verdict.approvals}))
        hint = f"POST /requests asks for it; somebody of {groups} answers. This attempt is on record as {session.sid}."
        raise Fault("approval_required", admission.verdict.message, hint=hint)
    raise Fault("denied", admission.verdict.message, hint=hint, detail="; ".join(admission.verdict.errors))


def _session(ports: Ports, admission: Admission, state: State) -> Session:
    request, target, keeping = admission.request, admission.target, ports.settings.keeping
    sid = mint(ports.clock, ids.SESSION)
    # The identifier's own millisecond: a listing by identifier is a listing by the time of opening.
    opened_ms = ids.minted_ms(sid)
    denied = state is State.DENIED
    return Session(
        sid=sid,
        state=state,
        principal=request.who.name,
        groups=request.who.groups,
        mfa=request.who.mfa,
        target=target.name,
        protocol=target.protocol,
        agent=target.agent,
        login=admission.login,
        reason=request.reason,
        source_ip=address(request.source_ip),
        policy_version=admission.policy.version,
        verdict=admission.verdict.rule,
        message=admission.verdict.message if denied else "",
        opened_ms=opened_ms,
        ended_ms=opened_ms if denied else 0,
        approval=admission.case.request.rid if admission.case and not denied else "",
        deadline_ms=opened_ms if denied else _deadline_ms(admission, opened_ms),
        recording="" if denied else recording.prefix(opened_ms, target.name, request.who.name, sid),
        retention=None if denied else keeping.of(target.retention),
    )


def _deadline_ms(admission: Admission, opened_ms: int) -> int:
    """The absolute end of the session: the target's own limit, and never later than the end of a time-boxed grant."""
    most = tickets.deadline_ms(admission.target, opened_ms)
    granted = admission.case.request if admission.case else None
    return min(most, granted.until_ms) if granted and granted.for_s else most
