"""The table: rows by their keys, each change with the event that tells of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from chalicelib.contracts.approval import Precedent
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.gateway import Protocol as TargetProtocol
from chalicelib.contracts.policy import Document
from chalicelib.contracts.recording import StoredChunk
from chalicelib.contracts.session import Session, State
from chalicelib.domain.approvals import Case
from chalicelib.ports.rows import (
    Agent,
    AskName,
    CaseQuery,
    Connection,
    Custody,
    Enrolment,
    Link,
    LoginCode,
    Notice,
    OriginalsKey,
    PendingLogin,
    Person,
    Progress,
    SessionQuery,
)


class Conflict(Exception):  # noqa: N818 - it is an outcome of a race, not an error
    """A conditional write found another state than it required."""


class Store(Protocol):
    """Metadata. The access patterns are written out in docs/architecture.md.

    ``Conflict`` below means: the row was not in the state that the caller required; nothing was written.
    """

    # people
    def save_login(self, login: PendingLogin) -> None:
        """Keep a pending login."""
        ...

    def take_login(self, state: str, now_ms: int) -> PendingLogin | None:
        """Return and delete a pending login, once; None if there is none or it has expired."""
        ...

    def save_code(self, code: LoginCode, event: AnyEvent) -> None:
        """Keep a completed login together with its audit event, and who it was as a :class:`Person`."""
        ...

    def save_person(self, person: Person, event: AnyEvent) -> None:
        """Keep who somebody is as their newest login shows them, together with its audit event."""
        ...

    def person(self, principal: str) -> Person | None:
        """Return somebody as their newest login showed them; None if they never logged in."""
        ...

    def take_code(self, code_sha256: str, now_ms: int) -> LoginCode | None:
        """Return and delete a completed login, once."""
        ...

    def revoke_token(self, jti: str, until_ms: int, event: AnyEvent) -> None:
        """Refuse the access token ``jti`` from now on."""
        ...

    def is_revoked(self, jti: str) -> bool:
        """Tell whether an access token was revoked."""
        ...

    # agents
    def save_enrolment(self, enrolment: Enrolment, event: AnyEvent) -> None:
        """Keep a one-time token."""
        ...

    def find_enrolment(self, token_sha256: str, now_ms: int) -> Enrolment | None:
        """Return a one-time token that is still good, without using it."""
        ...

    def enrol(self, token_sha256: str, agent: Agent, event: AnyEvent) -> None:
        """Use the token and store the agent, replacing an earlier one of that name. Raises Conflict if the token is gone."""
        ...

    def agent(self, agent_id: str) -> Agent | None:
        """Return an agent by identifier. A replaced agent is not returned."""
        ...

    def custodian(self, agent_id: str) -> Agent | None:
        """Return an agent by identifier, also one that was replaced: for handing in what it recorded, and nothing else.

        Of a replaced agent only what it enrolled with is known: it speaks no protocol and has no socket.
        """
        ...

    def agent_named(self, name: str) -> Agent | None:
        """Return the agent that has ``name`` now."""
        ...

    def agents(self) -> list[Agent]:
        """Return all agents, by name."""
        ...

    def announce(self, agent_id: str, protocols: list[TargetProtocol], credentials: list[str], direct: str, now_ms: int) -> None:
        """Remember what an agent speaks. Raises Conflict if the agent is unknown or was replaced."""
        ...

    def agent_connected(self, agent_id: str, connection: Connection) -> str:
        """Remember an agent's control socket and return the one it replaces, or an empty text. Raises Conflict like announce."""
        ...

    def agent_seen(self, agent_id: str, now_ms: int, live: Sequence[str], refuses: str = "") -> None:
        """Remember a heartbeat, the sessions that it named, and whether it takes more. A replaced agent is ignored."""
        ...

    def enrol_witness(self, agent_id: str, key: str, event: AnyEvent) -> None:
        """Remember the key that an agent cosigns with. Raises Conflict like announce."""
        ...

    def agent_witnessed(self, agent_id: str, size: int, now_ms: int) -> None:
        """Remember what an agent cosigned last; an alarm of its is over then. A replaced agent is ignored."""
        ...

    def agent_alarmed(self, agent_id: str, text: str) -> None:
        """Remember what an agent saw that contradicts. A replaced agent is ignored."""
        ...

    # connections
    def connection_opened(self, connection: Connection) -> Link | None:
        """Remember a socket; return the session's link with the new end in it, or None where it is no end of a session."""
        ...

    def connection_closed(self, connection: str) -> Connection | None:
        """Forget a socket and return what it was. Only clears an end or a control socket that still *is* this connection."""
        ...

    def connection(self, connection: str) -> Connection | None:
        """Return what a socket is."""
        ...

    def link(self, sid: str) -> Link:
        """Return both ends of a session."""
        ...

    def waiting(self, rid: str) -> list[str]:
        """Return the sockets that wait for a request."""
        ...

    # configuration
    def config_version(self) -> int:
        """Return the version in force; 0 before the first apply."""
        ...

    def config(self, version: int) -> Document | None:
        """Return an immutable version."""
        ...

    def config_files(self, version: int) -> dict[str, str]:
        """Return the files that a version was made from; empty for version 0."""
        ...

    def apply_config(self, document: Document, files: dict[str, str], event: AnyEvent) -> None:
        """Store ``document`` as the version after the one in force. Raises Conflict if somebody else was faster."""
        ...

    # sessions
    def open_session(self, session: Session, custody: Custody, event: AnyEvent) -> None:
        """Store a new session (offered or denied) with its event. Raises Conflict if the identifier exists."""
        ...

    def session(self, sid: str) -> Session | None:
        """Return a session."""
        ...

    def entrusted(self, sid: str) -> tuple[Session, Custody] | None:
        """Return a session and who records it, in one read."""
        ...

    def step_session(self, session: Session, allowed: frozenset[State], event: AnyEvent) -> None:
        """Replace the session's row if its state is one of ``allowed``. Raises Conflict otherwise.

        ``chunks`` and ``chain`` must still be what the row says, so that a chunk which arrives meanwhile is never forgotten.
        """
        ...

    def sessions(self, query: SessionQuery, limit: int, cursor: str) -> tuple[list[Session], str]:
        """Return at most ``limit`` sessions that match, and the cursor of the next page (empty on the last)."""
        ...

    def unfinished(self) -> Iterator[Session]:
        """Yield every session that is offered or live."""
        ...

    def reaper_came(self, now_ms: int, gap_ms: int) -> int:
        """Remember that the reaper came; return since when (Unix milliseconds) it has come without a gap of more than ``gap_ms``.

        0 where no gap is known.
        """
        ...

    # recordings
    def add_chunk(self, sid: str, stored: StoredChunk, previous_chain: str, progress: Progress) -> None:
        """Register a chunk after the one that ``previous_chain`` is the head of, and move the session's head and counters.

        The session must be live or interrupted. Registering the very same chunk again does nothing, whatever the state.
        Raises Conflict for any other number, head or state.
        """
        ...

    def chunk(self, sid: str, n: int) -> StoredChunk | None:
        """Return one registered chunk."""
        ...

    def chunks(self, sid: str, first: int = 0, limit: int = 0) -> list[StoredChunk]:
        """Return registered chunks in order, from number ``first`` on; all of them, or at most ``limit``."""
        ...

    # approval requests
    def add_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], name: AskName | None = None) -> None:
        """Store a new request with its events, what people are to be told, and the name that its ask was given.

        Raises Conflict if the identifier exists, or the name is remembered.
        """
        ...

    def ask_name(self, digest: str, now_ms: int) -> AskName | None:
        """Return the name of an ask, while it is remembered."""
        ...

    def remember_ask(self, name: AskName, now_ms: int) -> None:
        """Remember that an ask is answered by a request that exists. Raises Conflict if the name is remembered."""
        ...

    def case(self, rid: str) -> Case | None:
        """Return a request."""
        ...

    def step_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], *, done_ms: int = 0) -> None:
        """Replace a request's row by its next version. Raises Conflict unless the row is the version before.

        With ``done_ms``, what was asked for is done at that time: it counts as a precedent from now on, and its session names it.
        """
        ...

    def used_in(self, sid: str) -> list[str]:
        """Return the requests whose yes was used by operations inside a session, oldest first."""
        ...

    def precedent(self, shape: str) -> Precedent | None:
        """Return what is remembered of a shape (``domain.precedents``)."""
        ...

    def see_case(self, rid: str, viewer: str, event: AnyEvent) -> bool:
        """Remember that ``viewer`` looked at a request; False, and no event, if that was remembered before."""
        ...

    def open_cases(self) -> Iterator[Case]:
        """Yield every request that somebody still has to do something about (``ApprovalRequest.open``), newest last."""
        ...

    def cases(self, query: CaseQuery, limit: int, cursor: str) -> tuple[list[Case], str]:
        """Return at most ``limit`` requests that match, and the cursor of the next page (empty on the last)."""
        ...

    def open_approved_session(self, session: Session, custody: Custody, case: Case, events: Sequence[AnyEvent]) -> None:
        """Store a new session and the next version of the request that it uses, or neither. Raises Conflict like both.

        The session is a precedent, by its time of opening.
        """
        ...

    def chunk_arrived(self, sid: str, n: int, version: str) -> str:
        """Note the version of a registered chunk's object, unless one is known; return the one that is.

        An empty text where no such chunk was registered.
        """
        ...

    def spend(self, digest: str, until_ms: int) -> bool:
        """Remember that something that counts once came; False if it did before."""
        ...

    # notifications
    def due_notices(self, now_ms: int, limit: int) -> list[Notice]:
        """Return notices that are to be tried by now, oldest first."""
        ...

    def dead_notices(self, limit: int) -> list[Notice]:
        """Return notices that were given up, oldest first."""
        ...

    def settle_notice(self, notice: Notice, attempts: int, events: Sequence[AnyEvent]) -> None:
        """Replace a notice's row with its events if it still was at ``attempts``. Raises Conflict otherwise."""
        ...

    # evidence
    def record(self, events: Sequence[AnyEvent]) -> None:
        """Store events that have no other fact beside them."""
        ...

    def alert(self, marker: str, event: AnyEvent, notices: Sequence[Notice]) -> bool:
        """Store an event and its notices once for each ``marker``; return whether this was the first time."""
        ...

    def sweep_mark(self) -> str:
        """Return behind which key the sweep of the bucket goes on; empty at its beginning."""
        ...

    def save_sweep_mark(self, key: str) -> None:
        """Remember behind which key the sweep goes on."""
        ...

    def events(self, day: str) -> Iterator[AnyEvent]:
        """Yield the audit events of a UTC day (``YYYY-MM-DD``), oldest first."""
        ...

    # sealed originals
    def originals_key(self, target: str, month: str) -> OriginalsKey | None:
        """Return the key of a target's originals of one month, or what is left of it once it was erased."""
        ...

    def add_originals_key(self, key: OriginalsKey, event: AnyEvent) -> None:
        """Store a new key with its event. Raises Conflict if this target and month have one, or had."""
        ...

    def erase_originals_key(self, key: OriginalsKey, case: Case, events: Sequence[AnyEvent]) -> None:
        """Put ``key``, which is erased, in the place of the same one that is not, and step the request that it is done under.

        Raises Conflict like ``step_case``, or if there is no such key any more.
        """
        ...
