"""Links to a recording. Looking at evidence is itself evidence, so the event is stored before a link exists."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.api import RecordingLinks
from chalicelib.contracts.audit import RecordingViewed
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Moment
from chalicelib.contracts.recording import CHUNK_COUNT_LIMIT
from chalicelib.ports import Ports
from chalicelib.usecases.list_sessions import may_replay
from chalicelib.usecases.minting import mint

LINK_S: Final = 300
#: Chunks on one page. A Lambda function answers with at most 6 MB, a link takes several hundred bytes, and lives for minutes.
LINKS_LIMIT: Final = 1_000


class Page(msgspec.Struct, kw_only=True, frozen=True):
    """The query of ``GET /sessions/{sid}/recording``."""

    first: int = 0


def view_recording(ports: Ports, caller: AccessClaims, sid: str, asked: Page, source_ip: str) -> RecordingLinks:
    """Return short-lived links to a page of chunks. Each is an event. Raises Fault: unknown_session, denied, bad_request."""
    if not 0 <= asked.first < CHUNK_COUNT_LIMIT:
        raise Fault("bad_request", f"first is a chunk's number, from 0 to {CHUNK_COUNT_LIMIT - 1}.")
    found = ports.store.entrusted(sid) if ids.is_id(ids.SESSION, sid) else None
    if found is None:
        raise Fault("unknown_session", "There is no session of this name, or it is not yours to see.")
    session, custody = found
    now_ms = ports.clock.now_ms()
    verdict = may_replay(ports.policies.current(), caller, session, Moment(now_ms=now_ms, source_ip=source_ip))
    if not verdict.allowed:
        if session.principal != caller.sub:
            # Whether somebody else's session exists is nothing for a person who may not see it.
            raise Fault("unknown_session", "There is no session of this name, or it is not yours to see.")
        hint = f"Decided by rule {verdict.rule}." if verdict.rule else ""
        raise Fault("denied", verdict.message, hint=hint, detail="; ".join(verdict.errors))
    chunks = ports.store.chunks(sid, asked.first, LINKS_LIMIT + 1)
    more, chunks = len(chunks) > LINKS_LIMIT, chunks[:LINKS_LIMIT]
    recorder = ports.store.custodian(custody.agent_id)
    event = RecordingViewed(
        id=mint(ports.clock, ids.EVENT),
        time_ms=now_ms,
        actor=caller.sub,
        sid=sid,
        target=session.target,
        owner=session.principal,
        rule=verdict.rule,
        chunks=len(chunks),
    )
    ports.store.record([event])
    return RecordingLinks(
        session=session,
        chain_seed=custody.seed,
        chunks=chunks,
        urls=[ports.blobs.presign_get(stored.key, LINK_S) for stored in chunks],
        expires_ms=now_ms + LINK_S * 1000,
        next=asked.first + LINKS_LIMIT if more else 0,
        agent_key=recorder.public_key if recorder else "",
    )
