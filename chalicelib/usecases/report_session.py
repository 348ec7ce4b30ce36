"""``POST /agent/sessions/{sid}/report``: what an auditor should know before the session ends."""

from __future__ import annotations

from typing import Final

from chalicelib.contracts import ids
from chalicelib.contracts.api import DeniedOperation, Done, LearnedHostKey, SessionReport
from chalicelib.contracts.audit import AnyEvent, HostKeyTrusted, OperationDenied, TargetRefused
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.session import Session, State
from chalicelib.ports import Agent, Ports
from chalicelib.usecases.entrusted import entrusted, refuse_over
from chalicelib.usecases.minting import mint
from chalicelib.usecases.watch_session import told

REPORT_LIMIT: Final = 100
#: An event points at evidence, it does not replace it: the whole text is in the recording, under the same digest.
TEXT_LIMIT: Final = 4_000
_SHORT_LIMIT: Final = 128
_RULES_LIMIT: Final = 32
_REPORTS: Final = frozenset({State.LIVE, State.INTERRUPTED})


def report_session(ports: Ports, agent: Agent, sid: str, asked: SessionReport) -> Done:
    """Store one event per refusal, per host key that was learned, and per beginning or end of a watch.

    Raises Fault: unknown_session, session_ended, too_large, ticket_invalid, ticket_mismatch.
    """
    session, _ = entrusted(ports, agent, sid)
    if session.state not in _REPORTS:
        raise refuse_over(session)
    if max(len(asked.denied), len(asked.watches), len(asked.learned)) > REPORT_LIMIT:
        raise Fault("too_large", f"A report holds at most {REPORT_LIMIT} operations.")
    events: list[AnyEvent] = [_denied(ports, session, operation) for operation in asked.denied]
    events += [told(ports, session, agent, news) for news in asked.watches]
    events += [_learned(ports, session, agent, learned) for learned in asked.learned]
    if asked.target_fault is not None:
        events.append(_refused(ports, session, agent, asked.target_fault))
    ports.store.record(events)
    return Done()


def _denied(ports: Ports, session: Session, operation: DeniedOperation) -> OperationDenied:
    return OperationDenied(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=session.principal,
        sid=session.sid,
        target=session.target,
        kind=operation.kind[:_SHORT_LIMIT],
        text=operation.text[:TEXT_LIMIT],
        digest=operation.digest[:_SHORT_LIMIT],
        rules=[rule[:_SHORT_LIMIT] for rule in operation.rules[:_RULES_LIMIT]],
        message=operation.message[:TEXT_LIMIT],
    )


def _refused(ports: Ports, session: Session, agent: Agent, notice: Notice) -> TargetRefused:
    return TargetRefused(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=f"agent:{agent.name}",
        sid=session.sid,
        target=session.target,
        code=notice.code[:_SHORT_LIMIT],
        message=notice.message[:TEXT_LIMIT],
    )


def _learned(ports: Ports, session: Session, agent: Agent, learned: LearnedHostKey) -> HostKeyTrusted:
    return HostKeyTrusted(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor=session.principal,
        sid=session.sid,
        target=session.target,
        agent=agent.name,
        address=learned.address[:TEXT_LIMIT],
        key_type=learned.key_type[:_SHORT_LIMIT],
        fingerprint=learned.fingerprint[:_SHORT_LIMIT],
    )
