"""From a session's end to its proof, through the table's stream, by the real application on the embedded cloud."""

from __future__ import annotations

import json

import pytest
import urllib3

from chalicelib.contracts import manifest
from chalicelib.contracts.translog import checkpoints, leaves, merkle, notes, signatures, tiles
from infra.local.cloud import EmbeddedCloud
from tests.integration.control.parties import AgentParty, Api, Chunks, Person, Socket
from tests.integration.control.test_session_flow import opened

pytestmark = pytest.mark.servers


def recorded(engineer: Person, agent: AgentParty, control: Socket, bodies: tuple[bytes, ...]) -> str:
    """Open, claim, record and close a session; return its identifier."""
    sid, _ = opened(engineer, control)
    assert agent.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})[0] == 200
    chain = Chunks(sid, agent)
    for body in bodies:
        status, put = agent.call(f"/agent/sessions/{sid}/chunks", {"chunk": chain.next(body), "operations": chain.n, "denied": 0})
        assert status == 200, put
        assert urllib3.request("PUT", put["url"], body=body, headers=put["headers"], retries=False).status == 200
    close = {"state": "ended", "chunks": len(bodies), "chain": chain.head, "operations": len(bodies), "denied": 0}
    assert agent.call(f"/agent/sessions/{sid}/close", close) == (200, {})
    return sid


def download(cloud: EmbeddedCloud) -> dict[str, bytes]:
    s3, bucket = cloud.boto("s3"), cloud.resources.bucket
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def test_an_ended_session_proves_itself_from_the_bucket(
    cloud: EmbeddedCloud, api: Api, engineer: Person, auditor: Person, agent: AgentParty, control: Socket
) -> None:
    sid = recorded(engineer, agent, control, (b"first", b"second"))
    auditor.call("GET", f"/sessions/{sid}/recording")
    while cloud.pump.drain_streams():
        pass
    objects = download(cloud)
    key = notes.read_key(api.call("GET", "/trust")[1]["log_key"])
    (folder,) = {name.rpartition("/")[0] for name in objects if name.startswith("recordings/") and sid in name}
    raw = objects[f"{folder}/manifest.json"]
    made = manifest.decode(raw)
    assert (made.sid, made.status, manifest.broken_link(made)) == (sid, "complete", "")
    assert all(objects[f"{folder}/{entry.name}"] for entry in made.chunks)
    note = notes.parse(objects[f"{folder}/manifest.sig"])
    assert note.text == manifest.statement(key.name, sid, manifest.digest(raw))
    assert notes.signers(note, [key], signatures.check)
    assert json.loads(raw)["principal"].startswith("alice@")

    proof = checkpoints.parse_proof(objects[f"{folder}/session.tlog-proof"])
    said = checkpoints.read(proof.note)
    assert checkpoints.signed_by_log(proof.note, key.name, [key], signatures.check)
    assert merkle.check_inclusion(merkle.leaf_hash(proof.extra), proof.index, said.size, proof.hashes, said.root)
    assert leaves.read(proof.extra).facts["manifest"] == manifest.digest(raw)

    log = {name.removeprefix("log/"): body for name, body in objects.items() if name.startswith("log/")}
    newest, _ = checkpoints.parse(log["checkpoint"])
    entries = [leaves.read(entry) for _, entry in tiles.Tiles(log.get, newest.size).entries()]
    kinds = [leaf.type for leaf in entries if leaf.sid == sid]
    assert kinds == ["session.opened", "session.started", "session.ended", "recording.viewed", "session.sealed"]
    assert {"login.completed", "agent.enrolled", "config.applied", "agent.token_issued"} <= {leaf.type for leaf in entries}
    assert len({leaf.id for leaf in entries}) == newest.size


def test_catching_up_finds_nothing_to_do(cloud: EmbeddedCloud, agent: AgentParty) -> None:
    while cloud.pump.drain_streams():
        pass
    before = download(cloud)["log/checkpoint"]
    cloud.pump.fire("catch_up")
    assert download(cloud)["log/checkpoint"] == before
