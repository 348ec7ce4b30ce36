"""Everything that happens is in the log, the manifest names every approval, and no object of evidence is replaced unseen.

By the real application on the embedded cloud: what is listed here is done once, and then every row and every object is looked at.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import urllib3

from chalicelib.contracts import manifest
from chalicelib.contracts.audit_event import Event
from chalicelib.contracts.translog import checkpoints, leaves, tiles
from cli.__main__ import main
from infra.local.bucket_policy import BucketPolicy
from infra.local.cloud import EmbeddedCloud
from tests.integration.control.parties import Chunks, Person, Socket
from tests.integration.control.test_approvals import DROP, Party
from tests.integration.control.test_evidence import download
from tests.patience import until

pytestmark = pytest.mark.servers

#: The one object that every batch replaces; it is read by its signature.
REPLACED = "log/checkpoint"


class Told:
    """A gateway on which each thing of the list has happened."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud, self.party = cloud, Party(cloud)
        self.api, self.agent = self.party.api, self.party.agent
        self.access = self.operation = ""
        self._control = Socket(cloud.ws_url, self.agent.headers("control"))
        self.complete = self._approved_session()
        self.recovered = self._recovered_session()
        self._requests_that_come_to_nothing()
        carol = Person(self.api, "carol").login()
        assert carol.call("GET", f"/sessions/{self.complete}/recording")[0] == 200
        assert self.party.people["mallory"].call("POST", "/sessions", {"target": "web-1"})[0] == 403
        assert carol.call("POST", "/logout", {})[0] == 200
        self._control.close()
        self.settle()

    def settle(self) -> None:
        """Let streams and notifications be delivered to their end."""
        while self.cloud.pump.drain_streams() or self.cloud.pump.drain_objects():
            pass

    def events(self) -> dict[str, dict[str, Any]]:
        """Return every audit event of the table, by its identifier."""
        pages = self.cloud.boto("dynamodb").get_paginator("scan").paginate(TableName=self.cloud.resources.table)
        bodies = [row["body"]["S"] for page in pages for row in page["Items"] if row["pk"]["S"].startswith("EVENT#")]
        return {each["id"]: each for each in map(json.loads, bodies)}

    def manifest(self, sid: str, status: manifest.Status) -> manifest.Manifest:
        name = manifest.names(status)[0]
        (raw,) = [body for key, body in download(self.cloud).items() if sid in key and key.endswith(f"/{name}")]
        return manifest.decode(raw)

    def _approved_session(self) -> str:
        """Somebody lets alice in, somebody lets her do one thing, and it is recorded."""
        self.access = str(self.party.ask()["rid"])
        self._yes(self.access)
        sid = self._opened({"target": "db-1", "approval": self.access})
        other = self.party.inside(sid)
        self._yes(other["rid"])
        self.operation = str(other["rid"])
        assert self.party.use(sid, self.operation, "k")[0] == 200
        self._recorded(sid, [b"one", b"two"])
        return sid

    def _recovered_session(self) -> str:
        """The agent falls silent behind the first chunk, and comes back with the second."""
        sid = self._opened({"target": "web-1"})
        chain = Chunks(sid, self.agent)
        self._put(sid, chain, b"before")
        alice = self.party.people["alice"]

        def interrupted() -> bool:
            self.cloud.pump.fire("reap")
            return str(alice.call("GET", f"/sessions/{sid}")[1]["state"]) == "interrupted"

        until(interrupted, "the reaper sees that the agent is gone")
        self.settle()
        self._put(sid, chain, b"after")
        self._close(sid, chain)
        return sid

    def _requests_that_come_to_nothing(self) -> None:
        denied, withdrawn = self.party.ask(reason="no"), self.party.ask(reason="never mind")
        assert self.party.people["bob"].call("GET", f"/requests/{denied['rid']}")[0] == 200
        assert self.party.vote("bob", denied, approve=False, comment="no")[0] == 200
        assert self.party.people["alice"].call("POST", f"/requests/{withdrawn['rid']}/withdraw", {})[0] == 200
        granted = self.party.ask(reason="an hour", for_s=3600)
        self._yes(granted["rid"])
        assert self.party.people["bob"].call("POST", f"/requests/{granted['rid']}/revoke", {"comment": "over"})[0] == 200

    def _yes(self, rid: str) -> None:
        request = self.party.people["bob"].call("GET", f"/requests/{rid}")[1]["request"]
        assert self.party.vote("bob", request)[0] == 200

    def _opened(self, asked: dict[str, Any]) -> str:
        status, offer = self.party.people["alice"].call("POST", "/sessions", asked)
        assert status == 200, offer
        assert self.agent.call(f"/agent/sessions/{offer['sid']}/claim", {"path": "relay"})[0] == 200
        return str(offer["sid"])

    def _recorded(self, sid: str, bodies: list[bytes]) -> None:
        chain = Chunks(sid, self.agent)
        for body in bodies:
            self._put(sid, chain, body)
        self._close(sid, chain)

    def _put(self, sid: str, chain: Chunks, body: bytes) -> None:
        asked = {"chunk": chain.next(body), "operations": chain.n, "denied": 0}
        status, put = self.agent.call(f"/agent/sessions/{sid}/chunks", asked)
        assert status == 200, put
        assert urllib3.request("PUT", put["url"], body=body, headers=put["headers"], retries=False).status == 200

    def _close(self, sid: str, chain: Chunks) -> None:
        close = {"state": "ended", "chunks": chain.n, "chain": chain.head, "operations": chain.n, "denied": 0}
        assert self.agent.call(f"/agent/sessions/{sid}/close", close) == (200, {})


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with (
        EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SALLYPORT_STALE_S", "1")
        yield Told(cloud)


def test_every_event_is_a_leaf_and_every_leaf_an_event(told: Told) -> None:
    log = {key.removeprefix("log/"): body for key, body in download(told.cloud).items() if key.startswith("log/")}
    newest, _ = checkpoints.parse(log["checkpoint"])
    found = [leaves.read(entry) for _, entry in tiles.Tiles(log.get, newest.size).entries()]
    events = told.events()
    assert sorted(leaf.id for leaf in found) == sorted(events), "each once, and nothing else"
    assert {leaf.id: leaf.type for leaf in found} == {name: each["type"] for name, each in events.items()}
    assert {
        "session.opened",
        "session.started",
        "session.ended",
        "session.sealed",
        "session.denied",
        "request.asked",
        "request.seen",
        "request.voted",
        "request.used",
        "request.withdrawn",
        "request.revoked",
        "config.applied",
        "agent.token_issued",
        "agent.enrolled",
        "login.completed",
        "login.ended",
        "recording.viewed",
    } <= {leaf.type for leaf in found}
    ends = [leaf.facts for leaf in found if leaf.type == "session.ended" and leaf.sid == told.recovered]
    assert [(end["state"], end.get("amended", False)) for end in ends] == [("interrupted", False), ("ended", True)]


def test_a_manifest_says_under_whose_approvals_who_did_how_much_and_when(told: Told) -> None:
    made = told.manifest(told.complete, "complete")
    assert made.approvals == [told.access, told.operation], "let in, and let do"
    events = told.events().values()
    used = {each["rid"]: each.get("digest") for each in events if each["type"] == "request.used" and each["sid"] == made.sid}
    assert used[told.operation] == DROP.digest()
    assert (made.principal, made.target, made.login, made.reason) == ("alice@example.com", "db-1", "deploy", "")
    assert (made.recorder.name, made.recorder.agent_id) == ("edge", told.agent.agent_id)
    assert (made.counts.chunks, made.counts.bytes, made.counts.operations) == (2, 6, 2)
    assert (made.policy_version, len(made.chunks), made.chunks[-1].chain) == (1, 2, made.chain)
    assert all(entry.version for entry in made.chunks)
    clocks = made.clocks
    assert 0 < clocks.opened_ms <= clocks.started_ms <= clocks.ended_ms < clocks.deadline_ms
    assert 0 < clocks.agent_first_ms <= clocks.agent_last_ms
    assert told.manifest(told.recovered, "truncated").counts.chunks == 1
    assert told.manifest(told.recovered, "recovered").counts.chunks == 2


def test_a_second_version_of_any_object_of_evidence_is_an_alert(
    told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "gateway.keys"
    keys.write_text(told.api.call("GET", "/trust")[1]["log_key"])
    everything = ["verify", "--all", "--from", f"s3://{told.cloud.resources.bucket}", "--keys", str(keys), "--json"]
    assert main(everything) == 0, capsys.readouterr().out
    capsys.readouterr()
    s3, bucket = told.cloud.boto("s3"), told.cloud.resources.bucket
    objects = sorted(key for key in download(told.cloud) if key != REPLACED)
    assert {key.rpartition("/")[2] for key in objects} > {"README.txt", "manifest.json", "manifest.sig", "session.tlog-proof"}
    assert any(key.startswith("log/tile/") for key in objects)
    assert any(key.startswith("log/checkpoints/") for key in objects)
    told.cloud.shim.policy = None  # its owner may take the policy away; retention and versions stay
    for key in objects:
        s3.put_object(Bucket=bucket, Key=key, Body=b"forged", ContentType="text/plain")
    told.cloud.shim.policy = BucketPolicy(bucket)
    told.cloud.pump.drain_objects()
    alerts = [each for each in told.events().values() if each["type"] == "evidence.alert"]
    assert sorted((each["key"], each["what"]) for each in alerts) == [(key, "rewritten") for key in objects]
    assert all(each["first"] and each["version"] != each["first"] for each in alerts)
    assert main(everything) == 7
    report = json.loads(capsys.readouterr().out)
    named = {each["subject"] for each in report["failures"] if each["check"] == "versions"}
    assert named >= {key for key in objects if key.startswith("recordings/")}


def test_what_an_event_is_called_is_known(told: Told) -> None:
    """A type that nobody declared would be in the log by its digest alone."""
    audit = importlib.import_module("chalicelib.contracts.audit")
    known: dict[str, type[Event]] = {str(each.__struct_config__.tag): each for each in audit.EVENTS}
    for each in told.events().values():
        assert msgspec.convert(each, known[each["type"]]).id == each["id"]
