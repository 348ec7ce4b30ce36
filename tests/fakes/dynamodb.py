"""The store in memory. Held to the real one by ``tests/conformance``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.gateway import Protocol
from chalicelib.contracts.policy import Document
from chalicelib.contracts.recording import StoredChunk
from chalicelib.contracts.session import OVER, Session, State
from chalicelib.domain.approvals import Case
from chalicelib.ports import (
    Agent,
    Conflict,
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
from tests.fakes.dynamodb_requests import FakeRequests, day_of

replace = msgspec.structs.replace


class FakeStore(FakeRequests):
    """Implements ``chalicelib.ports.Store``."""

    def __init__(self) -> None:
        super().__init__()
        self.logins: dict[str, PendingLogin] = {}
        self.codes: dict[str, LoginCode] = {}
        self.people: dict[str, Person] = {}
        self.revoked: set[str] = set()
        self.enrolments: dict[str, Enrolment] = {}
        self.agents_by_name: dict[str, Agent] = {}
        self.enrolled: dict[str, Agent] = {}
        self.connections: dict[str, Connection] = {}
        self.links: dict[str, Link] = {}
        self.documents: dict[int, Document] = {}
        self.files: dict[int, dict[str, str]] = {}
        self.kept_chunks: dict[str, list[StoredChunk]] = {}
        self.alerted: set[str] = set()
        self.mark = ""
        self.reaper = (0, 0)
        self.originals: dict[tuple[str, str], OriginalsKey] = {}

    # people
    def save_login(self, login: PendingLogin) -> None:
        self.logins[login.state] = login

    def take_login(self, state: str, now_ms: int) -> PendingLogin | None:
        found = self.logins.pop(state, None)
        return found if found and found.expires_ms > now_ms else None

    def save_code(self, code: LoginCode, event: AnyEvent) -> None:
        self.codes[code.code_sha256] = code
        self.people[code.principal] = Person(
            principal=code.principal, email=code.email, groups=code.groups, seen_ms=event.time_ms
        )
        self.recorded.append(event)

    def save_person(self, person: Person, event: AnyEvent) -> None:
        self.people[person.principal] = person
        self.recorded.append(event)

    def person(self, principal: str) -> Person | None:
        return self.people.get(principal)

    def take_code(self, code_sha256: str, now_ms: int) -> LoginCode | None:
        found = self.codes.pop(code_sha256, None)
        return found if found and found.expires_ms > now_ms else None

    def revoke_token(self, jti: str, until_ms: int, event: AnyEvent) -> None:
        self.revoked.add(jti)
        self.recorded.append(event)

    def is_revoked(self, jti: str) -> bool:
        return jti in self.revoked

    # agents
    def save_enrolment(self, enrolment: Enrolment, event: AnyEvent) -> None:
        self.enrolments[enrolment.token_sha256] = enrolment
        self.recorded.append(event)

    def find_enrolment(self, token_sha256: str, now_ms: int) -> Enrolment | None:
        found = self.enrolments.get(token_sha256)
        return found if found and found.expires_ms > now_ms else None

    def enrol(self, token_sha256: str, agent: Agent, event: AnyEvent) -> None:
        with self.lock:
            if self.enrolments.pop(token_sha256, None) is None:
                raise Conflict
            self.agents_by_name[agent.name] = agent
            self.enrolled[agent.agent_id] = agent
            self.recorded.append(event)

    def agent(self, agent_id: str) -> Agent | None:
        return next((agent for agent in self.agents_by_name.values() if agent.agent_id == agent_id), None)

    def custodian(self, agent_id: str) -> Agent | None:
        return self.agent(agent_id) or self.enrolled.get(agent_id)

    def agent_named(self, name: str) -> Agent | None:
        return self.agents_by_name.get(name)

    def agents(self) -> list[Agent]:
        return [self.agents_by_name[name] for name in sorted(self.agents_by_name)]

    def announce(self, agent_id: str, protocols: list[Protocol], credentials: list[str], direct: str, now_ms: int) -> None:
        with self.lock:
            agent = self.agent(agent_id)
            if agent is None:
                raise Conflict
            self._keep(replace(agent, protocols=protocols, credentials=credentials, direct=direct, seen_ms=now_ms))

    def agent_connected(self, agent_id: str, connection: Connection) -> str:
        with self.lock:
            self.connections[connection.connection] = connection
            agent = self.agent(agent_id)
            if agent is None:
                raise Conflict
            self._keep(replace(agent, connection=connection.connection, seen_ms=connection.since_ms))
            return agent.connection

    def agent_seen(self, agent_id: str, now_ms: int, live: Sequence[str], refuses: str = "") -> None:
        with self.lock:
            agent = self.agent(agent_id)
            if agent is not None:
                self._keep(replace(agent, seen_ms=now_ms, live_ms=now_ms, live=list(live), refuses=refuses))

    def enrol_witness(self, agent_id: str, key: str, event: AnyEvent) -> None:
        with self.lock:
            agent = self.agent(agent_id)
            if agent is None:
                raise Conflict
            self._keep(replace(agent, witness_key=key))
            self.recorded.append(event)

    def agent_witnessed(self, agent_id: str, size: int, now_ms: int) -> None:
        with self.lock:
            agent = self.agent(agent_id)
            if agent is not None:
                self._keep(replace(agent, witnessed=size, witnessed_ms=now_ms, alarm=""))

    def agent_alarmed(self, agent_id: str, text: str) -> None:
        with self.lock:
            agent = self.agent(agent_id)
            if agent is not None:
                self._keep(replace(agent, alarm=text))

    def _keep(self, agent: Agent) -> None:
        self.agents_by_name[agent.name] = agent

    # connections
    def connection_opened(self, connection: Connection) -> Link | None:
        with self.lock:
            self.connections[connection.connection] = connection
            if connection.side in ("control", "waiting"):
                return None
            self._set_end(connection.owner, connection.side, connection.connection)
            return self.links[connection.owner]

    def connection_closed(self, connection: str) -> Connection | None:
        with self.lock:
            found = self.connections.pop(connection, None)
            if found is None:
                return None
            if found.side == "control":
                agent = self.agent(found.owner)
                if agent is not None and agent.connection == connection:
                    self._keep(replace(agent, connection=""))
            elif found.side != "waiting" and getattr(self.link(found.owner), found.side) == connection:
                self._set_end(found.owner, found.side, "")
            return found

    def _set_end(self, sid: str, side: str, connection: str) -> None:
        link = self.link(sid)
        ends = {"client": link.client, "agent": link.agent} | {side: connection}
        self.links[sid] = Link(client=ends["client"], agent=ends["agent"], generation=link.generation + 1)

    def connection(self, connection: str) -> Connection | None:
        return self.connections.get(connection)

    def waiting(self, rid: str) -> list[str]:
        with self.lock:
            found = [each for each in self.connections.values() if (each.side, each.owner) == ("waiting", rid)]
        return sorted(each.connection for each in found)

    def link(self, sid: str) -> Link:
        return self.links.get(sid, Link())

    # configuration
    def config_version(self) -> int:
        return max(self.documents, default=0)

    def config(self, version: int) -> Document | None:
        return self.documents.get(version)

    def config_files(self, version: int) -> dict[str, str]:
        return self.files.get(version, {})

    def apply_config(self, document: Document, files: dict[str, str], event: AnyEvent) -> None:
        with self.lock:
            if document.version != self.config_version() + 1:
                raise Conflict
            self.documents[document.version] = document
            self.files[document.version] = dict(files)
            self.recorded.append(event)

    # sessions
    def open_session(self, session: Session, custody: Custody, event: AnyEvent) -> None:
        with self.lock:
            if session.sid in self.kept:
                raise Conflict
            self.kept[session.sid] = (session, custody)
            self.recorded.append(event)

    def session(self, sid: str) -> Session | None:
        found = self.kept.get(sid)
        return found[0] if found else None

    def entrusted(self, sid: str) -> tuple[Session, Custody] | None:
        return self.kept.get(sid)

    def step_session(self, session: Session, allowed: frozenset[State], event: AnyEvent) -> None:
        with self.lock:
            found = self.kept.get(session.sid)
            if found is None:
                raise Conflict
            now, custody = found
            if now.state not in allowed or (now.chunks, now.chain) != (session.chunks, session.chain):
                raise Conflict
            self.kept[session.sid] = (session, custody)
            self.recorded.append(event)

    def sessions(self, query: SessionQuery, limit: int, cursor: str) -> tuple[list[Session], str]:
        found = [
            session
            for session, _ in sorted(self.kept.values(), key=lambda kept: kept[0].sid, reverse=True)
            if day_of(session.opened_ms) == query.day
            and (not cursor or session.sid < cursor)
            and query.principal in ("", session.principal)
            and query.target in ("", session.target)
            and query.state in ("", str(session.state))
        ]
        return (found[:limit], found[limit - 1].sid) if len(found) >= limit else (found, "")

    def unfinished(self) -> Iterator[Session]:
        yield from [session for session, _ in list(self.kept.values()) if session.state not in OVER]

    def reaper_came(self, now_ms: int, gap_ms: int) -> int:
        since_ms, came_ms = self.reaper
        self.reaper = (since_ms if not came_ms or now_ms - came_ms <= gap_ms else now_ms, now_ms)
        return self.reaper[0]

    # recordings
    def add_chunk(self, sid: str, stored: StoredChunk, previous_chain: str, progress: Progress) -> None:
        with self.lock:
            if stored.is_same(self.chunk(sid, stored.chunk.n)):
                return
            found = self.kept.get(sid)
            if found is None:
                raise Conflict
            session, custody = found
            if session.state not in (State.LIVE, State.INTERRUPTED):
                raise Conflict
            if (stored.chunk.n, previous_chain) != (session.chunks, session.chain):
                raise Conflict
            self.kept_chunks.setdefault(sid, []).append(stored)
            moved = replace(
                session,
                chunks=session.chunks + 1,
                chain=stored.chunk.chain,
                operations=progress.operations,
                denied=progress.denied,
                seen_ms=progress.now_ms,
            )
            self.kept[sid] = (moved, custody)

    def chunk(self, sid: str, n: int) -> StoredChunk | None:
        return next((stored for stored in self.kept_chunks.get(sid, []) if stored.chunk.n == n), None)

    def chunk_arrived(self, sid: str, n: int, version: str) -> str:
        with self.lock:
            found = self.chunk(sid, n)
            if found is None:
                return ""
            if not found.version:
                self.kept_chunks[sid][n] = replace(found, version=version)
            return found.version or version

    def chunks(self, sid: str, first: int = 0, limit: int = 0) -> list[StoredChunk]:
        found = [stored for stored in self.kept_chunks.get(sid, []) if stored.chunk.n >= first]
        return found[:limit] if limit else found

    # sealed originals
    def originals_key(self, target: str, month: str) -> OriginalsKey | None:
        return self.originals.get((target, month))

    def add_originals_key(self, key: OriginalsKey, event: AnyEvent) -> None:
        with self.lock:
            if (key.target, key.month) in self.originals:
                raise Conflict
            self.originals[key.target, key.month] = key
            self.recorded.append(event)

    def erase_originals_key(self, key: OriginalsKey, case: Case, events: Sequence[AnyEvent]) -> None:
        with self.lock:
            now = self.originals.get((key.target, key.month))
            if now is None or now.public != key.public or now.erased_ms:
                raise Conflict
            self.step_case(case, events, [])
            self.originals[key.target, key.month] = key

    # evidence
    def record(self, events: Sequence[AnyEvent]) -> None:
        with self.lock:
            if {event.id for event in events} & {event.id for event in self.recorded}:
                raise Conflict
            self.recorded.extend(events)

    def alert(self, marker: str, event: AnyEvent, notices: Sequence[Notice]) -> bool:
        with self.lock:
            if marker in self.alerted:
                return False
            self.alerted.add(marker)
            self.recorded.append(event)
            self.notices |= {notice.nid: notice for notice in notices}
            return True

    def sweep_mark(self) -> str:
        return self.mark

    def save_sweep_mark(self, key: str) -> None:
        self.mark = key

    def events(self, day: str) -> Iterator[AnyEvent]:
        yield from sorted((event for event in self.recorded if day_of(event.time_ms) == day), key=lambda event: event.id)
