"""What ``gateway.yaml`` says about keeping a target's recordings is what S3 holds every object of them to."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from infra.local.cloud import EmbeddedCloud
from tests.integration.control.conftest import FILES, enrolled
from tests.integration.control.parties import AgentParty, Api, Chunks, Person, Socket
from tests.integration.control.test_evidence import download

pytestmark = pytest.mark.servers

TARGET = FILES["gateway.yaml"].split("targets:\n")[1]
#: What each target says, and what is to hold: mode, days, legal hold. Without a word it is the deployment's.
WISHES: dict[str, tuple[str, tuple[str, int, str]]] = {
    "web-1": ("", ("COMPLIANCE", 365, "OFF")),
    "short": ("{days: 7, mode: COMPLIANCE}", ("COMPLIANCE", 7, "OFF")),
    "soft": ("{days: 30, mode: GOVERNANCE}", ("GOVERNANCE", 30, "OFF")),
    "held": ("{days: 2, mode: GOVERNANCE, legal_hold: true}", ("GOVERNANCE", 2, "ON")),
}


def gateway() -> str:
    """Return ``gateway.yaml`` with a target for each wish."""
    made = "version: 1\ntargets:\n"
    for name, (wish, _) in WISHES.items():
        made += TARGET.replace("web-1", name) + (f"    retention: {wish}\n" if wish else "")
    return made


class Kept:
    """A gateway with one recorded session on each target."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud, api = cloud, Api(cloud.http_url)
        admin, alice = (Person(api, name).login() for name in ("pat", "alice"))
        agent = enrolled(api, admin, "edge")
        assert agent.announce()[0] == 200
        status, plan = admin.call("POST", "/config/apply", {"files": FILES | {"gateway.yaml": gateway()}})
        assert status == 200, plan
        control = Socket(cloud.ws_url, agent.headers("control"))
        self.began = datetime.now(UTC)
        self.sids = {name: self._recorded(alice, agent, name) for name in WISHES}
        control.close()
        while cloud.pump.drain_streams():
            pass

    def _recorded(self, alice: Person, agent: AgentParty, target: str) -> str:
        status, offer = alice.call("POST", "/sessions", {"target": target})
        assert status == 200, offer
        sid = str(offer["sid"])
        assert agent.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})[0] == 200
        chain = Chunks(sid, agent)
        status, put = agent.call(f"/agent/sessions/{sid}/chunks", {"chunk": chain.next(b"x"), "operations": 1, "denied": 0})
        assert status == 200, put
        assert urllib3.request("PUT", put["url"], body=b"x", headers=put["headers"], retries=False).status == 200
        close = {"state": "ended", "chunks": 1, "chain": chain.head, "operations": 1, "denied": 0}
        assert agent.call(f"/agent/sessions/{sid}/close", close) == (200, {})
        return sid

    def objects(self, target: str) -> dict[str, dict[str, Any]]:
        """Return what S3 says of every object of a target's recording."""
        s3, bucket = self.cloud.boto("s3"), self.cloud.resources.bucket
        keys = [key for key in download(self.cloud) if self.sids[target] in key]
        return {key: s3.head_object(Bucket=bucket, Key=key) for key in keys}


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    with EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud:
        yield Kept(cloud)


@pytest.mark.parametrize("target", WISHES)
def test_every_object_of_a_recording_is_kept_as_its_target_says(kept: Kept, target: str) -> None:
    mode, days, hold = WISHES[target][1]
    found = kept.objects(target)
    assert len(found) == 5, "a chunk, the manifest, its signature, the README and the proof"
    for key, said in found.items():
        assert (said["ObjectLockMode"], said.get("ObjectLockLegalHoldStatus", "OFF")) == (mode, hold), key
        assert timedelta(days=days) <= said["ObjectLockRetainUntilDate"] - kept.began, key
        assert said["ObjectLockRetainUntilDate"] - datetime.now(UTC) <= timedelta(days=days, hours=1), key


@pytest.mark.parametrize("target", WISHES)
def test_not_even_its_owner_deletes_what_is_kept(kept: Kept, target: str) -> None:
    """With the bucket's policy taken away, as its owner may; a lock in GOVERNANCE takes a permission of its own to pass."""
    mode, _, hold = WISHES[target][1]
    s3, bucket, policy = kept.cloud.boto("s3"), kept.cloud.resources.bucket, kept.cloud.shim.policy
    kept.cloud.shim.policy = None
    try:
        for key, said in kept.objects(target).items():
            bypassing = {"BypassGovernanceRetention": True} if mode == "COMPLIANCE" or hold == "ON" else {}
            with pytest.raises(ClientError) as refused:
                s3.delete_object(Bucket=bucket, Key=key, VersionId=said["VersionId"], **bypassing)
            assert refused.value.response["Error"]["Code"] == "AccessDenied"
    finally:
        kept.cloud.shim.policy = policy
