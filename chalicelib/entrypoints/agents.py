"""What agents do: enrol, announce, take sessions, hand in evidence."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.bootstrap import ports
from chalicelib.contracts.api import (
    AgentAnnounce,
    AgentConfig,
    AgentEnrol,
    AgentEnrolled,
    ChunkTicket,
    ChunkUpload,
    Cosign,
    DirectOpen,
    DirectOpened,
    Done,
    LogAsk,
    LogNews,
    SessionClaim,
    SessionClaimed,
    SessionClose,
    SessionReport,
    WitnessAlarm,
)
from chalicelib.entrypoints.http import Call, agents, custodians, public
from chalicelib.ports import Agent
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.enroll_agent import enroll_agent
from chalicelib.usecases.open_direct_session import open_direct_session
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.report_session import report_session
from chalicelib.usecases.witness_log import cosign_checkpoint, raise_alarm, show_log

bp = Blueprint(__name__)


@public(bp, "POST", "/agents/enrol")
def enrol(call: Call) -> AgentEnrolled:
    """Exchange a one-time token for an identity."""
    return enroll_agent(ports(), call.read(AgentEnrol))


@agents(bp, "POST", "/agent/announce")
def announce(call: Call, agent: Agent) -> AgentConfig:
    """Say what the agent speaks; learn what to serve."""
    return announce_agent(ports(), agent, call.read(AgentAnnounce))


@agents(bp, "POST", "/agent/sessions")
def open_direct(call: Call, agent: Agent) -> DirectOpened:
    """A session for a native client that reached the agent itself."""
    return open_direct_session(ports(), agent, call.read(DirectOpen))


@agents(bp, "POST", "/agent/sessions/{sid}/claim")
def claim(call: Call, agent: Agent) -> SessionClaimed:
    """Take a session, once."""
    return claim_session(ports(), agent, call.params["sid"], call.read(SessionClaim))


@agents(bp, "POST", "/agent/log")
def log(call: Call, agent: Agent) -> LogNews:
    """The newest checkpoint, with proofs."""
    return show_log(ports(), call.read(LogAsk))


@agents(bp, "POST", "/agent/log/cosignatures")
def cosign(call: Call, agent: Agent) -> Done:
    """An agent vouches for a checkpoint."""
    return cosign_checkpoint(ports(), agent, call.read(Cosign))


@agents(bp, "POST", "/agent/log/alarms")
def alarm(call: Call, agent: Agent) -> Done:
    """An agent saw the log contradict itself."""
    return raise_alarm(ports(), agent, call.read(WitnessAlarm))


@custodians(bp, "POST", "/agent/sessions/{sid}/chunks")
def chunk(call: Call, agent: Agent) -> ChunkTicket:
    """Register a chunk."""
    return register_chunk(ports(), agent, call.params["sid"], call.read(ChunkUpload))


@custodians(bp, "POST", "/agent/sessions/{sid}/report")
def report(call: Call, agent: Agent) -> Done:
    """Tell what was refused."""
    return report_session(ports(), agent, call.params["sid"], call.read(SessionReport))


@custodians(bp, "POST", "/agent/sessions/{sid}/close")
def close(call: Call, agent: Agent) -> Done:
    """End a session."""
    return close_session(ports(), agent, call.params["sid"], call.read(SessionClose))
