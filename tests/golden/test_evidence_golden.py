"""What lies in the bucket for auditors, byte for byte: a manifest, its README, what is signed for it, and a leaf of the log."""

from __future__ import annotations

import msgspec

from chalicelib.contracts import audit, manifest, recording
from chalicelib.contracts.translog import leaves
from chalicelib.domain import manifests
from tests.golden import golden
from tests.golden.contract_examples import EVENT, OF, SESSION

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def made(state: str, missing: bool) -> manifest.Manifest:
    head, stored = recording.seed(SESSION.sid, bytes(range(32))), []
    for n, body in enumerate(("ab" * 32, "cd" * 32)):
        time_ms = SESSION.started_ms + 3000 * n
        head = recording.link(head, n, time_ms, body)
        chunk = recording.Chunk(n=n, kind="ch01.cast", time_ms=time_ms, size=512 + n, sha256=body, chain=head)
        stored.append(recording.StoredChunk(chunk=chunk, key=recording.key(SESSION.recording, chunk)))
    arrived = {each.key: "v1" for each in stored[: 1 if missing else 2]}
    ended = audit.SessionEnded(**EVENT, **OF, state=state, message="", chunks=2, chain=head, operations=2, denied=1)
    session = msgspec.structs.replace(SESSION, ended_ms=SESSION.started_ms + 9_000)
    recorder = manifests.recorder("edge-1", "agt_01JD8QZ6T3N0V9C4K2M7X5B1HR", KEY)
    return manifests.compose("gateway.example.com/log", session, recorder, ended, stored, arrived)


def test_a_manifest() -> None:
    found = made("ended", missing=False)
    raw = manifest.encode(found)
    golden.check("evidence/manifest.json", raw.decode())
    golden.check("evidence/manifest.statement.txt", manifest.statement(found.log, found.sid, manifest.digest(raw)))
    assert manifest.broken_link(found) == ""


def test_a_truncated_manifest() -> None:
    golden.check("evidence/manifest.truncated.json", manifest.encode(made("interrupted", missing=True)).decode())


def test_the_readme() -> None:
    golden.check("evidence/README.txt", manifests.readme(made("ended", missing=False), SESSION.recording))
    golden.check("evidence/README.truncated.txt", manifests.readme(made("interrupted", missing=True), SESSION.recording))


def test_a_leaf() -> None:
    event = audit.RecordingViewed(**EVENT, **OF, owner="bob@example.com", rule="own", chunks=1)
    golden.check("evidence/leaf.json", leaves.leaf_of(msgspec.json.encode(event)).decode() + "\n")
