"""The embedded cloud as a whole: resources, environment, HTTP, events, and starting and stopping."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from infra.local.cloud import EmbeddedCloud
from tests.patience import HANG_S

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[3]


@pytest.fixture
def http() -> Any:
    with urllib3.PoolManager(retries=False, maxsize=4) as pool:
        yield pool


def test_resources_are_those_of_the_data_stack(cloud: EmbeddedCloud) -> None:
    made = cloud.resources
    table = cloud.boto("dynamodb").describe_table(TableName=made.table)["Table"]
    assert {index["IndexName"] for index in table["GlobalSecondaryIndexes"]} == {"gsi1", "gsi2"}
    assert all(index["Projection"] == {"ProjectionType": "ALL"} for index in table["GlobalSecondaryIndexes"])
    assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    ttl = cloud.boto("dynamodb").describe_time_to_live(TableName=made.table)["TimeToLiveDescription"]
    assert (ttl["AttributeName"], ttl["TimeToLiveStatus"]) == ("ttl", "ENABLED")
    lock = cloud.boto("s3").get_object_lock_configuration(Bucket=made.bucket)
    assert lock["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"
    assert made.signing_key != made.ssh_ca_key
    for key in (made.signing_key, made.ssh_ca_key):
        about = cloud.boto("kms").describe_key(KeyId=key)["KeyMetadata"]
        assert (about["KeySpec"], about["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    secret = cloud.boto("secretsmanager").get_secret_value(SecretId=made.route_secret)
    assert len(secret["SecretBinary"]) == 32


def test_the_application_sees_the_environment_at_import(cloud: EmbeddedCloud, http: Any) -> None:
    told = json.loads(http.request("GET", f"{cloud.http_url}/where").data)
    assert told["SALLYPORT_PUBLIC_URL"] == cloud.http_url
    assert told["SALLYPORT_WS_URL"] == cloud.ws_url
    assert told["SALLYPORT_OIDC_ISSUER"] == cloud.issuer
    assert told["SALLYPORT_TABLE"] == "sallyport"
    assert told["SALLYPORT_ADMIN_GROUP"] == "platform"


def test_only_one_can_run_in_a_process(cloud: EmbeddedCloud) -> None:
    with pytest.raises(RuntimeError, match="already runs"):
        EmbeddedCloud(lambda: None).start()
    assert cloud.boto("dynamodb").list_tables()["TableNames"] == ["sallyport"]


def test_bodies_reach_the_application_as_lambda_passes_them(cloud: EmbeddedCloud, http: Any) -> None:
    def echo(content_type: str, body: bytes) -> Any:
        answer = http.request("POST", f"{cloud.http_url}/echo", body=body, headers={"content-type": content_type})
        return answer.status, json.loads(answer.data)

    status, text = echo("text/plain", "grüß".encode())
    assert (status, text["length"]) == (200, 6)
    assert echo("application/octet-stream", b"\xff\x00")[1]["length"] == 2
    assert text["request"] != echo("text/plain", b"x")[1]["request"]
    assert echo("text/plain", b"x" * (6 * 1024 * 1024 + 1))[0] == 413
    assert echo("application/xml", b"x")[0] == 415


def test_two_cookies_are_two_headers(cloud: EmbeddedCloud, http: Any) -> None:
    answer = http.request("GET", f"{cloud.http_url}/cookies/a")
    assert answer.headers.getlist("set-cookie") == ["a=1", "a2=2"]


def test_unknown_paths_are_forbidden_as_on_api_gateway(cloud: EmbeddedCloud, http: Any) -> None:
    answer = http.request("GET", f"{cloud.http_url}/nothing")
    assert answer.status == 403
    assert json.loads(answer.data) == {"message": "Missing Authentication Token"}


def test_concurrent_requests_do_not_see_each_other(cloud: EmbeddedCloud, probe: Any, http: Any) -> None:
    probe.gate = threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda name: http.request("GET", f"{cloud.http_url}/who/{name}").data, ["ann", "ben"])
        told = [json.loads(answer) for answer in answers]
    assert told == [{"before": "ann", "after": "ann"}, {"before": "ben", "after": "ben"}]


def test_a_conditional_write_has_one_winner(cloud: EmbeddedCloud) -> None:
    table = cloud.boto("dynamodb")

    def claim(who: int) -> bool:
        try:
            table.put_item(
                TableName="sallyport",
                Item={"pk": {"S": "lock"}, "sk": {"S": "1"}, "who": {"N": str(who)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(16))) == 1


def test_schedules_and_streams_run(cloud: EmbeddedCloud, probe: Any) -> None:
    cloud.pump.drain_streams()
    probe.records.clear()
    assert cloud.pump.schedules == ["tick"]
    assert cloud.pump.fire("tick") == "Scheduled Event"
    assert probe.ticks == 1
    table = cloud.boto("dynamodb")
    row = {"pk": {"S": "p"}, "sk": {"S": "s"}}
    table.put_item(TableName="sallyport", Item=row | {"v": {"B": b"\x01"}, "ttl": {"N": "1"}})
    assert cloud.pump.sweep() == 1
    assert "Item" not in table.get_item(TableName="sallyport", Key=row)
    probe.fail_stream = 1
    assert cloud.pump.drain_streams() == 0
    assert cloud.pump.drain_streams() == 2
    inserted, removed = probe.records
    assert (inserted["eventName"], removed["eventName"]) == ("INSERT", "REMOVE")
    assert inserted["dynamodb"]["NewImage"]["v"] == {"B": "AQ=="}
    assert removed["userIdentity"]["principalId"] == "dynamodb.amazonaws.com"


def test_parts_that_are_away_break_off_without_a_word(cloud: EmbeddedCloud, probe: Any, http: Any) -> None:
    listing = cloud.boto("s3").list_buckets
    with connect(f"{cloud.ws_url}?name=before") as socket, cloud.outage("api"):
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=HANG_S)
        with pytest.raises(InvalidStatus, match="503"):
            connect(cloud.ws_url).__enter__()
        with pytest.raises(urllib3.exceptions.ProtocolError):
            http.request("GET", f"{cloud.http_url}/where")
        assert listing()["Buckets"]
    assert http.request("GET", f"{cloud.http_url}/where").status == 200
    with connect(cloud.ws_url):
        pass
    with cloud.outage("s3"):
        assert http.request("GET", f"{cloud.http_url}/where").status == 200
        with pytest.raises(urllib3.exceptions.ProtocolError):
            http.request("GET", f"{cloud.s3_url}/sallyport-recordings")


def test_a_mute_part_does_what_it_is_asked(cloud: EmbeddedCloud, probe: Any, http: Any) -> None:
    probe.greeted = 0
    with cloud.outage("api", mute=True), pytest.raises(urllib3.exceptions.ProtocolError):
        http.request("POST", f"{cloud.http_url}/greet")
    assert probe.greeted == 1


APP = """
import os
from chalice import Chalice
app = Chalice("tiny")
app.experimental_feature_flags.update(["WEBSOCKETS"])
table = os.environ["SALLYPORT_TABLE"]
seen = []
@app.route("/")
def index():
    return {"table": table, "records": len(seen)}
@app.on_ws_connect()
def connect(event): return {"statusCode": 200}
@app.on_ws_message()
def message(event): pass
@app.on_ws_disconnect()
def disconnect(event): pass
@app.on_dynamodb_record(stream_arn=os.environ["SALLYPORT_TABLE_STREAM"])
def changes(event): seen.extend(event.to_dict()["Records"])
"""

IN_PROCESS = """
import importlib, os, sys, time
from infra.local.cloud import EmbeddedCloud
from tests.patience import HANG_S
before = dict(os.environ)
for round in range(2):
    with EmbeddedCloud(lambda: importlib.import_module("app").app) as cloud:
        cloud.boto("dynamodb").put_item(TableName="sallyport", Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
        deadline = time.monotonic() + HANG_S
        while len(cloud.app.__dict__ and sys.modules["app"].seen) <= round and time.monotonic() < deadline:
            time.sleep(0.01)
        print(len(sys.modules["app"].seen), os.environ["SALLYPORT_TABLE"])
print({k for k in os.environ if os.environ.get(k) != before.get(k)} - {"AWS_EXECUTION_ENV"})
"""


def python(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    (tmp_path / "app.py").write_text(APP)
    environment = dict(os.environ, PYTHONPATH=f"{tmp_path}:{ROOT}")
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_it_starts_twice_in_a_process_streams_by_itself_and_puts_the_environment_back(tmp_path: Path) -> None:
    with python(tmp_path, "-c", IN_PROCESS) as process:
        out, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 0, err
    assert out.splitlines() == ["1 sallyport", "2 sallyport", "set()"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_line_serves_until_it_is_interrupted(tmp_path: Path, how: signal.Signals) -> None:
    state = tmp_path / "state.json"
    with python(tmp_path, "-m", "infra.local", "--state", str(state)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        assert "embedded cloud is ready" in first, process.stderr.read()
        told = json.loads(state.read_text())
        assert told["pid"] == process.pid
        assert state.stat().st_mode & 0o777 == 0o600
        with urllib3.PoolManager(retries=False) as http:
            assert json.loads(http.request("GET", told["http_url"]).data)["table"] == "sallyport"
        process.send_signal(how)
        _, err = process.communicate(timeout=HANG_S)
    assert (process.returncode, err) == (0, "")
    assert not state.exists()
