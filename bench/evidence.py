"""Evidence: appending to the log, proofs from a large one, and how fast a copy of the bucket is verified. CPU time throughout.

Nothing is served here: the log's ports are kept in memory, or on moto in this process, so that what is measured is our own work
and the number of objects that it writes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.measure import Table
from chalicelib.adapters.clock import SystemClock
from chalicelib.contracts import audit, ids, manifest, recording
from chalicelib.contracts.retention import Lock
from chalicelib.contracts.session import Session, State
from chalicelib.contracts.translog import leaves, merkle, notes, tiles
from chalicelib.contracts.translog.checkpoints import Checkpoint, Proof
from chalicelib.domain import manifests
from chalicelib.ports import Conflict, LogHead, Ports, Settings, StoredObject, Version
from chalicelib.usecases.append_events import append_events
from cli.verification.audit import Wanted, Watch, verify
from cli.verification.log import Keys
from cli.verification.sources import Folder

BATCHES = (1, 10, 100, 500)
LEAVES = 1_000_000
SESSIONS = 32
CHUNKS = 64
CHUNK_BYTES = 256 * 1024
NAME = "bench.example/log"


def run(rounds: int) -> list[Table]:
    """Measure all of it."""
    return [*_append(rounds), *_proofs(rounds), *_verify(rounds)]


class _Notary:
    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self._key = notes.Key(NAME, notes.ED25519, self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def key(self) -> notes.Key:
        return self._key

    def sign(self, text: str) -> notes.Note:
        return notes.signed(text, [(self._key, self._private.sign(text.encode()))])


class _Memory:
    """Archive and index of a log, in memory; counts the objects that are written."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.now = LogHead()
        self.known: dict[str, int] = {}
        self.written = 0

    def read(self, key: str) -> StoredObject | None:
        body = self.objects.get(key)
        return None if body is None else StoredObject(body=body, etag=hashlib.md5(body, usedforsecurity=False).hexdigest())

    def create(self, key: str, body: bytes, content_type: str, lock: Lock, metadata: dict[str, str] | None = None) -> bool:
        self.written += 1
        return self.objects.setdefault(key, body) is body

    def replace(self, key: str, body: bytes, content_type: str, lock: Lock, etag: str) -> bool:
        self.written += 1
        self.objects[key] = body
        return True

    def versions(self, prefix: str) -> list[Version]:
        return []

    def head(self) -> LogHead:
        return self.now

    def advance(self, old: LogHead, new: LogHead) -> None:
        if self.now != old:
            raise Conflict
        self.now = new

    def finish(self, head: LogHead) -> None:
        self.now = msgspec.structs.replace(head, finished=True)

    def logged(self, events: Sequence[str]) -> set[str]:
        return self.known.keys() & set(events)

    def mark_logged(self, indices: dict[str, int]) -> None:
        self.known |= indices

    def session(self, sid: str) -> Session | None:
        return None  # its folder is not in the archive, so the sequencer writes no proof beside it

    def outbox(self, day: str) -> Iterator[tuple[str, bytes]]:
        return iter(())


def _ports(archive: Any, log: Any, notary: Any) -> Ports:
    """Ports of which the sequencer finds those that it uses."""
    found: dict[str, Any] = {field.name: None for field in dataclasses.fields(Ports)}
    settings = Settings(issuer="https://bench.example", websocket_url="wss://bench.example", admin_group="bench")
    used = {"archive": archive, "log": log, "notary": notary, "clock": SystemClock(), "settings": settings}
    return Ports(**(found | used))


def _events(count: int, clock: SystemClock) -> list[tuple[str, bytes]]:
    made = []
    for _ in range(count):
        name = ids.mint(ids.EVENT, clock.now_ms(), clock.entropy(ids.ENTROPY_BYTES))
        event = audit.LoginCompleted(
            id=name, time_ms=clock.now_ms(), actor="alice@example.com", groups=["sre"], source_ip="192.0.2.7", mfa=True
        )
        made.append((name, msgspec.json.encode(event)))
    return made


# --- appending


def _append(rounds: int) -> list[Table]:
    import boto3
    from botocore.config import Config
    from moto import mock_aws

    from chalicelib.adapters.archive import S3Archive
    from chalicelib.adapters.dynamodb.log import DynamoLog
    from chalicelib.adapters.kms import KmsNotary
    from infra.local import moto_transactions, resources

    moto_transactions.install()
    memory = _Memory()
    table = Table("append a batch of events to the log", "CPU ms", "less")
    os.environ |= {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"}
    with mock_aws():
        region: dict[str, Any] = {"region_name": "us-east-1"}
        made = resources.create(lambda service: boto3.client(service, **region), "secret", "https://bench.example")
        s3 = boto3.client("s3", config=Config(signature_version="s3v4"), **region)
        cloud = _ports(
            S3Archive(s3, made.bucket),
            DynamoLog(boto3.client("dynamodb", **region), made.table),
            KmsNotary(boto3.client("kms", **region), made.log_key, NAME),
        )
        kept = {"in memory": _ports(memory, memory, _Notary()), "on moto": cloud}
        objects: dict[int, list[int]] = {}
        for _ in range(rounds):
            for count in BATCHES:
                for name, ports in kept.items():
                    events = _events(count, SystemClock())
                    before, began = memory.written, time.process_time()
                    append_events(ports, events)
                    table.add(f"{count} events, {name}", [(time.process_time() - began) * 1000])
                    objects.setdefault(count, []).append(memory.written - before)
    for count, written in objects.items():
        some = [each for each in written if each]
        table.notes.append(f"{count} events: {sum(some) / len(some):.1f} objects written, checkpoints and bundle included")
    return [table]


# --- proofs


def _proofs(rounds: int) -> list[Table]:
    clock, objects, edge = SystemClock(), dict[str, bytes](), tiles.Edge()
    entry = leaves.leaf_of(_events(1, clock)[0][1])
    began = time.process_time()
    for first in range(0, LEAVES, 50_000):
        growth = tiles.grow(edge, [b"%d %s" % (first + at, entry) for at in range(50_000)])
        objects |= growth.writes
        edge = growth.edge
    built = time.process_time() - began
    root, table = edge.root(), Table(f"proofs from a log of {LEAVES:,} entries", "CPU µs", "less")
    note = _Notary().sign(Checkpoint(NAME, LEAVES, root).text())
    for number in range(rounds * 20):
        index, old = (number * 7_919_317) % LEAVES, (number * 6_700_417) % LEAVES + 1
        reader, fetched = _counted(objects)
        made, proof = _timed(lambda at=index, by=reader: merkle.inclusion_proof(at, LEAVES, by.node))
        hashed = merkle.leaf_hash(b"%d %s" % (index, entry))
        checked, good = _timed(lambda h=hashed, at=index, p=proof: merkle.check_inclusion(h, at, LEAVES, p, root))
        table.add("inclusion, made from tiles", [made])
        table.add("inclusion, checked", [checked])
        before = tiles.read_edge(_smaller(objects, old), old).root() if old % 256 == 0 else merkle.root(old, reader.node)
        made, steps = _timed(lambda size=old, by=reader: merkle.consistency_proof(size, LEAVES, by.node))
        checked, fits = _timed(lambda s=old, b=before, p=steps: merkle.check_consistency(s, b, LEAVES, root, p))
        table.add("consistency, made from tiles", [made])
        table.add("consistency, checked", [checked])
        assert good
        assert fits
    size = len(str(Proof(index, proof, note, entry)))
    table.notes += [
        f"building the log took {built:.1f} s: {len(objects):,} objects, {sum(map(len, objects.values())) / 1e6:.0f} MB",
        f"an inclusion proof is {len(proof)} hashes; with leaf and checkpoint session.tlog-proof has {size} bytes",
        f"both proofs of the last round read {len(fetched)} tiles, {sum(fetched.values()) / 1024:.0f} KiB",
    ]
    return [table]


def _counted(objects: dict[str, bytes]) -> tuple[tiles.Tiles, dict[str, int]]:
    fetched: dict[str, int] = {}

    def fetch(path: str) -> bytes | None:
        body = objects.get(path)
        fetched[path] = len(body or b"")
        return body

    return tiles.Tiles(fetch, LEAVES), fetched


def _smaller(objects: dict[str, bytes], size: int) -> tiles.Fetch:
    """Read the edge of a tree that was never published at ``size``: partial tiles are the beginnings of full ones."""

    def fetch(path: str) -> bytes | None:
        full, _, width = path.partition(".p/")
        body = objects.get(full)
        return body[: int(width) * merkle.HASH_BYTES] if body and width else body

    return fetch


def _timed(work: Any) -> tuple[float, Any]:
    began = time.process_time()
    found = work()
    return (time.process_time() - began) * 1e6, found


# --- verifying


def _verify(rounds: int) -> list[Table]:
    table = Table(f"verify {SESSIONS} sessions of {CHUNKS} chunks of {CHUNK_BYTES // 1024} KiB", "MB per CPU second", "more")
    notary = _Notary()
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as name:
        folder = Path(name)
        total = _bucket(folder, notary)
        files = sorted(folder.glob("recordings/**/*.zst"))
        elapsed = []
        for _ in range(rounds):
            began = time.process_time()
            for path in files:
                hashlib.sha256(path.read_bytes()).digest()
            table.add("SHA-256 alone, one thread", [total / 1e6 / (time.process_time() - began)])
            began, wall = time.process_time(), time.perf_counter()
            report = verify(Folder(folder), Keys([notary.key()]), Wanted(whole=True), Watch(_ignore, _ignore))
            table.add("sallyport verify --all", [total / 1e6 / (time.process_time() - began)])
            elapsed.append(total / 1e6 / (time.perf_counter() - wall))
            if not report.ok or report.chunks != len(files):
                raise RuntimeError(f"the evidence of the benchmark does not verify: {report.failures[:3]}")
    table.notes.append(f"{total / 1e6:.0f} MB; by the wall clock and every core: {max(elapsed):.0f} MB/s at best")
    return [table]


def _ignore(*_: object) -> None:
    pass


def _bucket(folder: Path, notary: _Notary) -> int:
    """Write a bucket's worth of sealed sessions and their log; return the bytes of chunks."""
    clock, memory, events, key = SystemClock(), _Memory(), [], os.urandom(32)
    enrolled = audit.AgentEnrolled(
        id=ids.mint(ids.EVENT, 1, b"x" * 10),
        time_ms=clock.now_ms(),
        actor="a",
        name="edge",
        agent_id="agt_1",
        fingerprint=hashlib.sha256(key).hexdigest(),
        replaced="",
    )
    events.append(enrolled)
    for _ in range(SESSIONS):
        events += _session(folder, notary, key, clock)
    ports = dataclasses.replace(_ports(memory, memory, notary), store=memory)  # type: ignore[arg-type]
    append_events(ports, [(event.id, msgspec.json.encode(event)) for event in events])
    for path, body in memory.objects.items():
        _write(folder / path, body)
    return SESSIONS * CHUNKS * CHUNK_BYTES


def _session(folder: Path, notary: _Notary, key: bytes, clock: SystemClock) -> list[Any]:
    sid = ids.mint(ids.SESSION, clock.now_ms(), clock.entropy(ids.ENTROPY_BYTES))
    opened = ids.minted_ms(sid)
    prefix = recording.prefix(opened, "web", "alice@example.com", sid)
    head, stored = recording.seed(sid, key), []
    for n in range(CHUNKS):
        body = os.urandom(CHUNK_BYTES)
        sha256 = hashlib.sha256(body).hexdigest()
        head = recording.link(head, n, opened + n, sha256)
        chunk = recording.Chunk(n=n, kind="ch01.cast", time_ms=opened + n, size=len(body), sha256=sha256, chain=head)
        stored.append(recording.StoredChunk(chunk=chunk, key=recording.key(prefix, chunk)))
        _write(folder / stored[-1].key, body)
    common: dict[str, Any] = {"time_ms": opened + CHUNKS, "actor": "system", "sid": sid, "target": "web"}

    def name() -> str:
        return ids.mint(ids.EVENT, opened, clock.entropy(ids.ENTROPY_BYTES))

    opening = audit.SessionOpened(
        id=name(), agent="edge", login="root", reason="", source_ip="", rule="r", policy_version=1, deadline_ms=opened, **common
    )
    ended = audit.SessionEnded(id=name(), state="ended", message="", chunks=CHUNKS, chain=head, operations=1, denied=0, **common)
    session = Session(
        sid=sid,
        state=State.ENDED,
        principal="alice@example.com",
        target="web",
        protocol="ssh",
        agent="edge",
        policy_version=1,
        opened_ms=opened,
        started_ms=opened,
        ended_ms=opened + CHUNKS,
        deadline_ms=opened,
    )
    recorder = manifest.Recorder(name="edge", agent_id="agt_1", public_key=key.hex())
    arrived = {each.key: "v1" for each in stored}
    raw = manifest.encode(manifests.compose(NAME, session, recorder, ended, stored, arrived))
    _write(folder / prefix / "manifest.json", raw)
    note = notary.sign(manifest.statement(NAME, sid, manifest.digest(raw)))
    _write(folder / prefix / "manifest.sig", str(note).encode())
    sealed = audit.SessionSealed(
        id=name(), manifest=manifest.digest(raw), status="complete", chunks=CHUNKS, chain=head, missing=0, **common
    )
    # A proof beside each session is the sequencer's work and needs its store; --all does not read it.
    return [opening, ended, msgspec.structs.replace(sealed, actor="system")]


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
