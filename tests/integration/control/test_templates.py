"""The stacks: what must be said in a template because no test against moto would notice its absence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from chalicelib import bootstrap
from chalicelib.contracts.audit import SessionEnded

ROOT = Path(__file__).parents[3]
FUNCTIONS = (
    "api_handler",
    "websocket_connect",
    "websocket_message",
    "websocket_disconnect",
    "reap",
    "catch_up",
    "sweep",
    "copy",
    "watch",
    "sequence",
    "seal",
)


class _Loader(yaml.SafeLoader):
    """CloudFormation's short forms become ``{"Fn::X": value}``."""


def _short(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    return {suffix: loader.construct_sequence(node)} if isinstance(node, yaml.SequenceNode) else {}


_Loader.add_multi_constructor("!", _short)


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load((ROOT / "infra" / name).read_text(), Loader=_Loader)  # a SafeLoader with two more tags
    return found


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = load("data.yaml")["Resources"][name]["Properties"]
    return found


def config() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / ".chalice" / "config.json").read_text())
    return found


def policies() -> dict[str, list[dict[str, Any]]]:
    return {
        path.stem.removeprefix("policy-"): json.loads(path.read_text())["Statement"]
        for path in (ROOT / ".chalice").glob("policy-*.json")
    }


def test_the_table_is_what_the_store_expects_and_cannot_be_lost() -> None:
    table = properties("Table")
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["gsi1", "gsi2"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_recordings_are_locked_versioned_and_private() -> None:
    bucket = properties("Recordings")
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {
        "Mode": {"Ref": "RetentionMode"},
        "Days": {"Ref": "RetentionDays"},
    }
    assert load("data.yaml")["Parameters"]["RetentionMode"]["Default"] == "COMPLIANCE"
    assert bucket["NotificationConfiguration"] == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    statements = {each["Sid"]: each for each in properties("RecordingsPolicy")["PolicyDocument"]["Statement"]}
    assert all(each["Effect"] == "Deny" for each in statements.values())
    assert statements["NothingIsWrittenTwice"]["Condition"]["Null"] == {"s3:if-none-match": "true"}
    assert statements["NothingIsWrittenTwice"]["NotResource"] == {"Sub": "${Recordings.Arn}/log/checkpoint"}
    assert "s3:DeleteObjectVersion" in statements["NothingIsDeleted"]["Action"]


def test_keys_are_p256_and_everything_stateful_is_retained() -> None:
    for name in ("SigningKey", "SshCaKey", "LogKey"):
        assert (properties(name)["KeySpec"], properties(name)["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    wraps = properties("OriginalsKey")
    assert (wraps["KeySpec"], wraps["KeyUsage"], wraps["EnableKeyRotation"]) == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", True)
    for name, resource in load("data.yaml")["Resources"].items():
        if resource["Type"] != "AWS::S3::BucketPolicy":
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain", name


def test_the_overlay_sets_everything_that_bootstrap_reads() -> None:
    variables = load("overlay.yaml")["Globals"]["Function"]["Environment"]["Variables"]
    text = (ROOT / "chalicelib" / "bootstrap.py").read_text()
    read = {word.strip("\"',") for word in text.replace("(", " ").replace(")", " ").split() if word.startswith('"SALLYPORT_')}
    read |= {"SALLYPORT_PUBLIC_URL"}
    assert read - {"SALLYPORT_STALE_S", "SALLYPORT_"} == {name for name in variables if name.startswith("SALLYPORT_")}
    assert bootstrap.MisconfiguredError


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_every_function_has_a_policy_of_its_own(stage: str) -> None:
    assert config()["autogen_policy"] is False
    functions = config()["stages"][stage]["lambda_functions"]
    assert set(functions) == set(FUNCTIONS)
    files = [function["iam_policy_file"] for function in functions.values()]
    assert len(set(files)) == len(files)
    assert all((ROOT / ".chalice" / file).exists() for file in files)


def test_policies_name_actions_and_resources() -> None:
    assert len(policies()) == len(FUNCTIONS)
    for name, statements in policies().items():
        for statement in statements:
            assert statement["Effect"] == "Allow"
            assert all("*" not in action for action in statement["Action"]), (name, statement["Sid"])
            assert statement["Resource"] != "*", (name, statement["Sid"])


def test_nobody_may_touch_evidence_again() -> None:
    for name, statements in policies().items():
        for statement in statements:
            actions = set(statement["Action"])
            assert not actions & {"s3:DeleteObject", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "dynamodb:Scan"}
            # An upload that says how long it is kept needs both; the bucket's policy says that neither takes anything back.
            assert not actions & {"s3:PutObjectRetention", "s3:PutObjectLegalHold"} or "s3:PutObject" in actions
            if actions & {"dynamodb:UpdateItem", "dynamodb:DeleteItem"}:
                keys = statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"]
                assert not [key for key in keys if key.startswith(("EVENT", "CONFIG", "REQUEST", "*"))], (name, statement["Sid"])


def test_each_key_is_used_by_those_it_was_made_for() -> None:
    for name, statements in policies().items():
        signed = {
            statement["Resource"]["Fn::ImportValue"]["Fn::Sub"] for statement in statements if "kms:Sign" in statement["Action"]
        }
        unwraps = [statement for statement in statements if "kms:Decrypt" in statement["Action"]]
        assert bool(unwraps) == (name == "api")
        assert all(
            each["Condition"]["StringEquals"] == {"kms:EncryptionContext:purpose": "sallyport-originals"} for each in unwraps
        )
        # Whoever issues tokens does not write the log, and the other way round.
        log = {"${DataStack}-LogKeyArn"} if name in ("sequence", "catch-up", "seal") else set()
        tokens = {"${DataStack}-SigningKeyArn", "${DataStack}-SshCaKeyArn"} if name == "api" else set()
        assert signed == log | tokens, name


def test_only_new_audit_events_invoke_the_sequencer_and_the_sealer() -> None:
    for function, body in (("Sequence", ""), ("Seal", '{"type":"session.ended"')):
        (source,) = load("overlay.yaml")["Resources"][function]["Properties"]["Events"].values()
        (found,) = source["Properties"]["FilterCriteria"]["Filters"]
        pattern = json.loads(found["Pattern"])
        assert pattern["eventName"] == ["INSERT"]
        assert pattern["dynamodb"]["Keys"]["pk"]["S"] == [{"prefix": "EVENT#"}]
        assert pattern["dynamodb"].get("NewImage", {}).get("body", {}).get("S", [{"prefix": ""}]) == [{"prefix": body}]
    ended = SessionEnded(
        id="e", time_ms=1, actor="a", sid="s", target="t", state="ended", message="", chunks=0, chain="", operations=0, denied=0
    )
    assert msgspec.json.encode(ended).startswith(b'{"type":"session.ended"')


def test_only_objects_of_the_evidence_bucket_invoke_the_watch() -> None:
    pattern = load("overlay.yaml")["Resources"]["Watch"]["Properties"]["Events"]["WatchEvent"]["Properties"]["Pattern"]
    assert pattern["detail"]["bucket"]["name"] == [{"Fn::ImportValue": {"Fn::Sub": "${DataStack}-BucketName"}}]


@pytest.mark.servers
def test_chalice_merges_it_into_one_template_without_findings(tmp_path: Path) -> None:
    for name in ("app.py", "chalicelib", ".chalice"):
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__", "deployments", "deployed")
        shutil.copytree(source, tmp_path / name, ignore=ignored) if source.is_dir() else shutil.copy(source, tmp_path / name)
    (tmp_path / "requirements.txt").write_text("")
    command = [str(Path(sys.executable).parent / "chalice"), "package", "--stage", "prod"]
    command += ["--merge-template", str(ROOT / "infra" / "overlay.yaml"), "out"]
    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "AWS_DEFAULT_REGION": "us-east-1"}
    )
    assert run.returncode == 0, run.stderr
    template = yaml.safe_load((tmp_path / "out" / "sam.yaml").read_text())
    roles = {name: each for name, each in template["Resources"].items() if each["Type"] == "AWS::IAM::Role"}
    assert len(roles) == len(FUNCTIONS)
    assert "DataStack" in template["Parameters"]
    lint = pytest.importorskip("cfnlint.api")
    for path in (tmp_path / "out" / "sam.yaml", ROOT / "infra" / "data.yaml", ROOT / "infra" / "witness.yaml"):
        assert [str(finding) for finding in lint.lint(path.read_text(), config=lint.ManualArgs(regions=["us-east-1"]))] == []
