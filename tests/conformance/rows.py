"""Rows that the store tests write."""

from __future__ import annotations

from typing import Any

import msgspec

from chalicelib.contracts import ids, recording
from chalicelib.contracts.audit import LoggedOut, SessionEnded
from chalicelib.contracts.policy import Document, Rule
from chalicelib.contracts.recording import Chunk, StoredChunk
from chalicelib.contracts.session import Session, State
from chalicelib.ports import Agent, Connection, Custody, Enrolment, LoginCode, PendingLogin, Progress, Store

NOW = 1_790_000_000_000
DAY = "2026-09-21"
SEED = recording.seed("ses", b"k" * 32)
CUSTODY = Custody(agent_id="agt_one", seed=SEED)
PROGRESS = Progress(operations=1, denied=0, now_ms=NOW + 5)


def identifier(kind: str, n: int, at_ms: int = NOW) -> str:
    return ids.mint(kind, at_ms + n, n.to_bytes(10, "big"))


def event(n: int = 0, at_ms: int = NOW) -> LoggedOut:
    return LoggedOut(id=identifier(ids.EVENT, n, at_ms), time_ms=at_ms + n, actor="alice@example.com", token=f"jti-{n}")


def login(state: str = "s" * 43, **changed: Any) -> PendingLogin:
    fields = {
        "state": state,
        "verifier": "v" * 43,
        "nonce": "n",
        "challenge": "c" * 43,
        "port": 4040,
        "client_state": "mine",
        "expires_ms": NOW + 1000,
    }
    return PendingLogin(**(fields | changed))


def code(**changed: Any) -> LoginCode:
    fields = {
        "code_sha256": "ab",
        "challenge": "c" * 43,
        "principal": "alice@example.com",
        "groups": ["sre", "on-call"],
        "mfa": True,
        "expires_ms": NOW + 1000,
    }
    return LoginCode(**(fields | changed))


def enrolment(name: str = "edge", token: str = "t0") -> Enrolment:
    return Enrolment(token_sha256=token, name=name, expires_ms=NOW + 1000)


def agent(agent_id: str = "agt_one", name: str = "edge") -> Agent:
    return Agent(agent_id=agent_id, name=name, public_key="a2V5", ssh_host_key="ssh-ed25519 AAAA", enrolled_ms=NOW)


def socket(connection: str, side: str, owner: str, **changed: Any) -> Connection:
    return Connection(connection=connection, side=side, owner=owner, since_ms=NOW, **changed)


def document(version: int) -> Document:
    rule = Rule("r1", "main.cedar", 3, 'permit(principal, action, resource) when { "ü" == "ü" };')
    return Document(version=version, rules=[rule] * 40, targets=[])


def session(n: int = 0, state: State = State.OFFERED, at_ms: int = NOW, **changed: Any) -> Session:
    fields: dict[str, Any] = {
        "sid": identifier(ids.SESSION, n, at_ms),
        "state": state,
        "principal": "alice@example.com",
        "groups": ["sre"],
        "target": "web-1",
        "protocol": "ssh",
        "agent": "edge",
        "policy_version": 3,
        "opened_ms": at_ms + n,
        "deadline_ms": at_ms + 3_600_000,
        "chain": SEED,
        "recording": "recordings/2026/09/21/web-1/alice@example.com/140000Z_ses",
    }
    return Session(**(fields | changed))


def ended(which: Session, n: int = 99) -> SessionEnded:
    return SessionEnded(
        id=identifier(ids.EVENT, n),
        time_ms=NOW + n,
        actor="system",
        sid=which.sid,
        target=which.target,
        state=str(which.state),
        message="",
        chunks=0,
        chain="",
        operations=0,
        denied=0,
    )


def chunk(n: int, previous: str, body_sha256: str = "0a" * 32) -> StoredChunk:
    made = Chunk(
        n=n,
        kind="ch01.cast",
        time_ms=NOW + n,
        size=10,
        sha256=body_sha256,
        chain=recording.link(previous, n, NOW + n, body_sha256),
    )
    return StoredChunk(chunk=made, key=f"recordings/{n}")


def enrol(store: Store, agent_id: str = "agt_one", token: str = "t0") -> None:
    """Have ``store`` know an agent. ``token`` is a letter and a number of its own."""
    store.save_enrolment(enrolment(token=token), event(int(token[1:]) * 10))
    store.enrol(token, agent(agent_id), event(int(token[1:]) * 10 + 1))


def live(store: Store, n: int = 0) -> str:
    """Have ``store`` know session number ``n``, which is live. Returns its id."""
    opened = session(n)
    store.open_session(opened, CUSTODY, event(n * 10 + 5))
    begun = msgspec.structs.replace(opened, state=State.LIVE)
    store.step_session(begun, frozenset({State.OFFERED}), event(n * 10 + 6))
    return opened.sid
