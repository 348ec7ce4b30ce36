"""The decision that opens a session, shared by people who come through the API and native clients who come through an agent.

Order matters: sizes before anything is looked up, the target before the login, the policy before the agent's whereabouts
(somebody who may not connect learns nothing about the agent), and the row before the ticket leaves.
"""

from __future__ import annotations

import ipaddress

import msgspec

from chalicelib.contracts import ids, recording
from chalicelib.contracts.api import REASON_LIMIT
from chalicelib.contracts.audit import SessionDenied, SessionOpened
from chalicelib.contracts.capability import TICKET_TYP
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import Moment, Policy, Principal, Verdict
from chalicelib.contracts.session import Session, State
from chalicelib.domain import base64url, tickets
from chalicelib.ports import Agent, Custody, Ports
from chalicelib.usecases.minting import mint

_NAME_LIMIT = 128


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """Who wants to go where, and why."""

    who: Principal
    target: str
    login: str
    reason: str
    source_ip: str
    token: str
    """Identifier of the login behind the request."""


class Admission(msgspec.Struct, kw_only=True, frozen=True):
    """An allowed request: the target, the login and the rule that said so. Nothing is stored yet."""

    request: Request
    policy: Policy
    target: Target
    login: str
    verdict: Verdict
    now_ms: int


class Opened(msgspec.Struct, kw_only=True, frozen=True):
    """A stored session and its ticket."""

    session: Session
    ticket: str


def check_sizes(target: str, login: str, reason: str) -> None:
    """Refuse what is too long before anything is done with it."""
    if len(reason) > REASON_LIMIT:
        raise Fault("too_large", f"A reason is at most {REASON_LIMIT} characters long.")
    if len(target) > _NAME_LIMIT or len(login) > _NAME_LIMIT:
        raise Fault("too_large", f"Names are at most {_NAME_LIMIT} characters long.")


def admit(ports: Ports, request: Request) -> Admission:
    """Ask policy. Raises Fault: too_large, unknown_target, unknown_login, or denied (which is stored first: it is evidence)."""
    check_sizes(request.target, request.login, request.reason)
    policy = ports.policies.current()
    target = policy.document.target(request.target)
    if target is None:
        raise Fault("unknown_target", "There is no target of this name.", hint="Run: sallyport ls")
    login = request.login or target.default_login
    moment = Moment(now_ms=ports.clock.now_ms(), reason=request.reason, login=login, source_ip=_ip(request.source_ip))
    verdict = policy.connect(request.who, target, moment)
    admission = Admission(request=request, policy=policy, target=target, login=login, verdict=verdict, now_ms=moment.now_ms)
    if not verdict.allowed:
        _deny(ports, admission)
    if login not in target.logins:
        raise Fault("unknown_login", "The target has no login of this name.", hint=f"It has: {', '.join(sorted(target.logins))}.")
    return admission


def open_offered(ports: Ports, admission: Admission, agent: Agent) -> Opened:
    """Store an offered session with its event, and return its ticket."""
    session = _session(ports, admission, State.OFFERED)
    seed = recording.seed(session.sid, base64url.decode(agent.public_key))
    session = msgspec.structs.replace(session, chain=seed, agent=agent.name)
    claims = tickets.claims(ports.settings.issuer, agent.agent_id, session, admission.request.who)
    # Signed before it is stored: a ticket that cannot be made must not leave a session behind.
    ticket = ports.signer.sign_token(TICKET_TYP, msgspec.to_builtins(claims))
    event = SessionOpened(
        id=mint(ports.clock, ids.EVENT),
        time_ms=admission.now_ms,
        actor=session.principal,
        sid=session.sid,
        target=session.target,
        agent=agent.name,
        login=session.login,
        reason=session.reason,
        source_ip=session.source_ip,
        rule=session.verdict,
        policy_version=session.policy_version,
        deadline_ms=session.deadline_ms,
    )
    ports.store.open_session(session, Custody(agent_id=agent.agent_id, seed=seed, token=admission.request.token), event)
    return Opened(session=session, ticket=ticket)


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
    # Sessions cannot wait for approval before they open: the rule that would need it is refused at apply.
    code = "hold_unavailable" if admission.verdict.decision == "hold" else "denied"
    raise Fault(code, admission.verdict.message, hint=hint, detail="; ".join(admission.verdict.errors))


def _session(ports: Ports, admission: Admission, state: State) -> Session:
    request, target = admission.request, admission.target
    sid = mint(ports.clock, ids.SESSION)
    # The identifier's own millisecond: a listing by identifier is a listing by the time of opening.
    opened_ms = ids.minted_ms(sid)
    denied = state is State.DENIED
    return Session(
        sid=sid,
        state=state,
        principal=request.who.name,
        groups=request.who.groups,
        target=target.name,
        protocol=target.protocol,
        agent=target.agent,
        login=admission.login,
        reason=request.reason,
        source_ip=_ip(request.source_ip),
        policy_version=admission.policy.version,
        verdict=admission.verdict.rule,
        message=admission.verdict.message if denied else "",
        opened_ms=opened_ms,
        ended_ms=opened_ms if denied else 0,
        deadline_ms=opened_ms if denied else tickets.deadline_ms(target, opened_ms),
        recording="" if denied else recording.prefix(opened_ms, target.name, request.who.name, sid),
    )


def _ip(text: str) -> str:
    """An address that policy can look at, or nothing: a text that is none would break the evaluation of every rule."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
