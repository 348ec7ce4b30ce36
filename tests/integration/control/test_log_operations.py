"""Operating the log on the embedded cloud: a table that was restored, and a second bucket."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chalicelib.bootstrap import ports
from chalicelib.contracts.translog import checkpoints
from cli.__main__ import main
from infra.local.cloud import EmbeddedCloud
from infra.resume_log import main as resume
from tests.integration.control.parties import AgentParty, Api, Person, Socket
from tests.integration.control.test_evidence import recorded

pytestmark = pytest.mark.servers
SECOND = "sallyport-checkpoints-of-others"


def settled(cloud: EmbeddedCloud) -> None:
    while cloud.pump.drain_streams():
        pass


@pytest.fixture
def keys(api: Api, tmp_path: Path) -> str:
    path = tmp_path / "gateway.keys"
    path.write_text(api.call("GET", "/trust")[1]["log_key"])
    return str(path)


def verify(keys: str, capsys: pytest.CaptureFixture[str], bucket: str, *more: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = main(["verify", "--all", "--from", f"s3://{bucket}", "--keys", keys, "--json", *more])
    return status, json.loads(capsys.readouterr().out)


def test_a_table_that_was_restored_goes_on_where_the_bucket_ends(
    cloud: EmbeddedCloud,
    engineer: Person,
    agent: AgentParty,
    control: Socket,
    keys: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorded(engineer, agent, control, (b"before the backup",))
    settled(cloud)
    dynamodb, table = cloud.boto("dynamodb"), cloud.resources.table
    at = {"pk": {"S": "LOG"}, "sk": {"S": "HEAD"}}
    backup = dynamodb.get_item(TableName=table, Key=at)["Item"]
    marks = _marks(dynamodb, table)
    recorded(engineer, agent, control, (b"after the backup",))
    settled(cloud)
    assert resume([]) == 0
    assert "nothing to do" in capsys.readouterr().out

    dynamodb.put_item(TableName=table, Item=backup)
    for pk in _marks(dynamodb, table) - marks:
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": pk}, "sk": {"S": "A"}})
    recorded(engineer, agent, control, (b"after the restore",))
    cloud.pump.drain_streams()  # the sequencer stops
    assert dynamodb.get_item(TableName=table, Key=at)["Item"] == backup

    assert resume([]) == 0
    assert "--apply" in capsys.readouterr().out
    assert dynamodb.get_item(TableName=table, Key=at)["Item"] == backup
    assert resume(["--apply", "--actor", "operator:pat"]) == 0
    settled(cloud)
    status, found = verify(keys, capsys, cloud.resources.bucket)
    assert status in (0, 7), found
    assert not [each for each in found["failures"] if each["check"] in ("log_root", "consistency", "inclusion")], found
    newest = ports().archive.read("log/checkpoint")
    assert newest is not None
    assert checkpoints.parse(newest.body)[0].size == ports().log.head().size > int(backup["size"]["N"])


def test_the_bucket_of_others_is_compared(
    cloud: EmbeddedCloud,
    engineer: Person,
    agent: AgentParty,
    control: Socket,
    keys: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = cloud.boto("s3")
    s3.create_bucket(Bucket=SECOND, ObjectLockEnabledForBucket=True)
    monkeypatch.setitem(os.environ, "SALLYPORT_WITNESS_BUCKET", SECOND)
    recorded(engineer, agent, control, (b"one",))
    settled(cloud)
    size = cloud.pump.fire("copy")
    cloud.pump.fire("copy")
    (kept,) = s3.list_objects_v2(Bucket=SECOND)["Contents"]
    assert kept["Key"].endswith(f"/checkpoints/{ports().log.head().size:020d}"), size
    assert s3.head_object(Bucket=SECOND, Key=kept["Key"])["ObjectLockMode"] == "COMPLIANCE"
    _, found = verify(keys, capsys, cloud.resources.bucket, "--witness-bucket", f"s3://{SECOND}")
    assert found["proved"]["witness_bucket"] == 1
    assert "witness_bucket" not in {each["check"] for each in found["failures"]}


def _marks(dynamodb: Any, table: str) -> set[str]:
    items = [item for page in dynamodb.get_paginator("scan").paginate(TableName=table) for item in page["Items"]]
    return {item["pk"]["S"] for item in items if item["pk"]["S"].startswith("LOGGED#")}
