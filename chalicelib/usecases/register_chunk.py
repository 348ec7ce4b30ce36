"""``POST /agent/sessions/{sid}/chunks``: the hash is in the control plane before the bytes are in the bucket.

The chain is computed here again, from what is stored, so that an agent can append and do nothing else. A session that was
interrupted may still be completed; one that is over may only ask again for the link of a chunk that is registered already.
"""

from __future__ import annotations

from chalicelib.contracts import recording
from chalicelib.contracts.api import ChunkTicket, ChunkUpload
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.recording import StoredChunk
from chalicelib.contracts.session import Session, State
from chalicelib.ports import Agent, Conflict, Ports, Progress
from chalicelib.usecases.entrusted import entrusted, refuse_over
from chalicelib.usecases.locking import lock_of

UPLOAD_S = 300
_RECORDS = frozenset({State.LIVE, State.INTERRUPTED})


def register_chunk(ports: Ports, agent: Agent, sid: str, asked: ChunkUpload) -> ChunkTicket:
    """Return where to put the chunk. Raises Fault: chunk_invalid, chunk_conflict, unknown_session, session_ended."""
    session, _ = entrusted(ports, agent, sid)
    chunk = asked.chunk
    if (problem := recording.problem(chunk)) or asked.operations < 0 or asked.denied < 0:
        raise Fault("chunk_invalid", f"The chunk is not well-formed: {problem or 'counters start at 0'}.")
    stored = StoredChunk(chunk=chunk, key=recording.key(session.recording, chunk))
    if chunk.n == session.chunks and session.state in _RECORDS:
        _append(ports, session, stored, asked)
    elif not stored.is_same(ports.store.chunk(sid, chunk.n)):
        raise _conflict(session) if session.state in _RECORDS else refuse_over(session)
    expires_ms = ports.clock.now_ms() + UPLOAD_S * 1000
    url, headers = ports.blobs.presign_put(stored.key, chunk, lock_of(ports, session), UPLOAD_S)
    return ChunkTicket(url=url, headers=headers, expires_ms=expires_ms)


def _append(ports: Ports, session: Session, stored: StoredChunk, asked: ChunkUpload) -> None:
    chunk = stored.chunk
    if chunk.chain != recording.link(session.chain, chunk.n, chunk.time_ms, chunk.sha256):
        raise Fault("chunk_conflict", "The chunk does not continue the session's hash chain.")
    progress = Progress(
        operations=max(asked.operations, session.operations),
        denied=max(asked.denied, session.denied),
        now_ms=ports.clock.now_ms(),
    )
    try:
        ports.store.add_chunk(session.sid, stored, session.chain, progress)
    except Conflict:
        raise _conflict(session) from None


def _conflict(session: Session) -> Fault:
    return Fault("chunk_conflict", f"The session continues with another chunk than this one; {session.chunks} were registered.")
