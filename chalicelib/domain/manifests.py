"""Making a manifest from what was stored, and the README beside it. Pure: the same facts give the same bytes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chalicelib.contracts.manifest import Clocks, Counts, Entry, Manifest, Recorder, Status
from chalicelib.contracts.recording import StoredChunk, seed
from chalicelib.contracts.session import Session, State
from chalicelib.domain import base64url

if TYPE_CHECKING:
    from chalicelib.contracts.audit import SessionEnded


def status(ended: SessionEnded) -> Status:
    """Return what the manifest of this end says of itself."""
    if ended.state == State.INTERRUPTED:
        return "truncated"
    return "recovered" if ended.amended else "complete"


def compose(
    log: str,
    session: Session,
    recorder: Recorder,
    ended: SessionEnded,
    stored: Sequence[StoredChunk],
    arrived: Mapping[str, str],
    used: Sequence[str] = (),
) -> Manifest:
    """Return the manifest of ``session``. ``stored`` are its chunks in order, ``arrived`` maps keys of the bucket to versions.

    ``used`` are the approval requests that operations inside it used.
    """
    chunks = [_entry(each, arrived) for each in stored]
    return Manifest(
        log=log,
        sid=session.sid,
        status=status(ended),
        state=ended.state,
        message=ended.message,
        principal=session.principal,
        groups=session.groups,
        source_ip=session.source_ip,
        target=session.target,
        protocol=session.protocol,
        login=session.login,
        reason=session.reason,
        path=session.path,
        policy_version=session.policy_version,
        rule=session.verdict,
        approvals=[*([session.approval] if session.approval else []), *used],
        recorder=recorder,
        clocks=Clocks(
            opened_ms=session.opened_ms,
            started_ms=session.started_ms,
            ended_ms=session.ended_ms,
            deadline_ms=session.deadline_ms,
            agent_first_ms=chunks[0].time_ms if chunks else 0,
            agent_last_ms=chunks[-1].time_ms if chunks else 0,
        ),
        counts=Counts(
            chunks=len(chunks),
            bytes=sum(entry.size for entry in chunks),
            operations=ended.operations,
            denied=ended.denied,
        ),
        retention=session.retention,
        seed=seed(session.sid, bytes.fromhex(recorder.public_key)),
        chain=ended.chain,
        chunks=chunks,
    )


def recorder(name: str, agent_id: str, public_key: str) -> Recorder:
    """Return who recorded; ``public_key`` is base64url, as agents enrol with it."""
    return Recorder(name=name, agent_id=agent_id, public_key=base64url.decode(public_key).hex())


def readme(manifest: Manifest, prefix: str) -> str:
    """Return the README of a session's folder: ten lines for somebody who has nothing but the bucket."""
    clocks, counts = manifest.clocks, manifest.counts
    missing = sum(entry.missing for entry in manifest.chunks)
    lines = [
        f"Session  {manifest.sid}",
        f"Who      {_line(manifest.principal)} as {_line(manifest.login)} on {_line(manifest.target)} ({manifest.protocol})",
        f"Why      {_line(manifest.reason) or '(no reason was given)'}",
        f"When     {_when(clocks.opened_ms)} to {_when(clocks.ended_ms)} UTC",
        f"Ended    {manifest.state}{': ' + _line(manifest.message) if manifest.message else ''}",
        f"Recorded {counts.chunks} chunks, {counts.bytes} bytes, {counts.operations} operations, {counts.denied} of them denied",
        f"Recorder agent {_line(manifest.recorder.name)}; decided by policy version {manifest.policy_version}",
    ]
    if manifest.retention:
        lines.append(f"Kept     {manifest.retention}, counted from when each object was written")
    if manifest.status == "truncated":
        lines.append(
            f"The agent fell silent: this is what had arrived, {missing} registered chunks are missing. If it came back,"
        )
        lines.append("manifest.recovered.json beside this file says what the whole recording consists of.")
    lines += [
        "",
        "Every *.zst file is text under zstd. One channel at a time:",
        "    zstd -dc *.ch01.cast.zst > session.cast; asciinema play session.cast",
        "Believe nothing here without a check, this file neither. The bucket and the gateway's public key are enough for one:",
        f"    sallyport verify {manifest.sid} --from BUCKET-OR-FOLDER --keys KEYS",
        f"This folder: {prefix}/",
    ]
    return "\n".join(lines) + "\n"


def _entry(stored: StoredChunk, arrived: Mapping[str, str]) -> Entry:
    chunk = stored.chunk
    return Entry(
        name=stored.key.rpartition("/")[2],
        n=chunk.n,
        kind=chunk.kind,
        time_ms=chunk.time_ms,
        size=chunk.size,
        sha256=chunk.sha256,
        chain=chunk.chain,
        version=arrived.get(stored.key, ""),
        missing=stored.key not in arrived,
    )


def _line(text: str) -> str:
    """Text of people, as one line of a file that others print on a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]


def _when(time_ms: int) -> str:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
