"""The command line verifies what the real application wrote, in the embedded bucket itself."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from chalicelib.bootstrap import ports
from chalicelib.contracts.audit import EvidenceAlert
from cli.__main__ import main
from infra.local.bucket_policy import BucketPolicy
from infra.local.cloud import EmbeddedCloud
from tests.integration.control.parties import AgentParty, Api, Person, Socket
from tests.integration.control.test_evidence import recorded

pytestmark = pytest.mark.servers


@pytest.fixture
def keys(api: Api, tmp_path: Path) -> str:
    path = tmp_path / "gateway.keys"
    path.write_text(api.call("GET", "/trust")[1]["log_key"])
    return str(path)


def verify(cloud: EmbeddedCloud, keys: str, capsys: pytest.CaptureFixture[str], *scope: str) -> tuple[int, dict[str, object]]:
    while cloud.pump.drain_streams():
        pass
    capsys.readouterr()
    status = main(["verify", *scope, "--from", f"s3://{cloud.resources.bucket}", "--keys", keys, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_the_bucket_is_verified_in_place(
    cloud: EmbeddedCloud,
    engineer: Person,
    agent: AgentParty,
    control: Socket,
    keys: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sid = recorded(engineer, agent, control, (b"first", b"second", b"third"))
    status, found = verify(cloud, keys, capsys, sid)
    assert (status, found["sessions"], found["chunks"]) == (0, 1, 3), found
    status, found = verify(cloud, keys, capsys, "--all")
    assert status == 0, found
    # S3 shows every version, so that nothing was overwritten or hidden is proved too.
    assert found["proved"]["versions"] > 10  # type: ignore[index]


def test_a_delete_marker_and_a_forgery_over_it_are_seen_in_the_bucket(
    cloud: EmbeddedCloud,
    engineer: Person,
    agent: AgentParty,
    control: Socket,
    keys: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sid = recorded(engineer, agent, control, (b"first", b"second"))
    assert verify(cloud, keys, capsys, sid)[0] == 0
    s3, bucket = cloud.boto("s3"), cloud.resources.bucket
    (key,) = [
        each["Key"]
        for each in s3.list_objects_v2(Bucket=bucket, Prefix="recordings/")["Contents"]
        if sid in each["Key"] and "/000000_" in each["Key"]
    ]
    cloud.shim.policy = None  # its owner may take it away; what happens then is seen all the same
    s3.delete_object(Bucket=bucket, Key=key)
    status, found = verify(cloud, keys, capsys, sid)
    assert (status, {each["check"] for each in found["failures"]}) == (7, {"chain", "versions"})  # type: ignore[union-attr,attr-defined]
    s3.put_object(Bucket=bucket, Key=key, Body=b"forged", IfNoneMatch="*")
    status, found = verify(cloud, keys, capsys, sid)
    assert (status, {each["check"] for each in found["failures"]}) == (7, {"chunk_hash", "versions"})  # type: ignore[union-attr,attr-defined]
    cloud.shim.policy = BucketPolicy(bucket)
    # It was told as it happened: the marker, and then the second version.
    cloud.pump.drain_objects()
    alerts = [
        each
        for each in ports().store.events(dt.datetime.now(dt.UTC).date().isoformat())
        if isinstance(each, EvidenceAlert) and each.sid == sid
    ]
    assert [(each.what, each.found_by) for each in alerts] == [("hidden", "notification"), ("rewritten", "notification")]
