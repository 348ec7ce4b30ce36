"""The evidence bucket's policy, performed: each statement of infra/data.yaml refuses what it is there to refuse, and no more."""

import base64
import hashlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.contracts.retention import Retention, lock
from infra.local.bucket_policy import BucketPolicy
from infra.local.cloud import EmbeddedCloud
from infra.local.http_server import Request
from infra.local.sigv4 import RefusedError
from tests.integration.local.test_s3_shim_server import BODY, code, names

pytestmark = pytest.mark.servers


def wanted(**changed: Any) -> dict[str, Any]:
    """What every write says; None takes something away."""
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    said = {
        "Body": BODY,
        "IfNoneMatch": "*",
        "ObjectLockMode": "COMPLIANCE",
        "ObjectLockRetainUntilDate": until,
        "ChecksumSHA256": base64.b64encode(hashlib.sha256(BODY).digest()).decode(),
    }
    return {name: value for name, value in (said | changed).items() if value is not None}


def at(cloud: EmbeddedCloud, key: str = "") -> dict[str, Any]:
    return {"Bucket": cloud.resources.bucket, "Key": key or f"recordings/policy/{next(names)}"}


def statement(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    assert raised.value.response["Error"]["Code"] == "AccessDenied"
    return str(raised.value.response["Error"]["Message"]).rpartition(" ")[2]


def test_what_the_gateway_does_is_let_through(cloud: EmbeddedCloud) -> None:
    s3 = cloud.boto("s3")
    for key in ("recordings/a/1", "log/tile/0/000", "log/checkpoint"):
        s3.put_object(**at(cloud, f"{key}-{next(names)}"), **wanted())
    s3.put_object(**at(cloud), **wanted(ObjectLockLegalHoldStatus="ON", ServerSideEncryption="AES256"))


@pytest.mark.parametrize(
    ("changed", "sid"),
    [
        ({"IfNoneMatch": None}, "NothingIsWrittenTwice"),
        ({"IfNoneMatch": None, "IfMatch": '"etag"'}, "NothingIsWrittenTwice"),
        ({"ObjectLockMode": None, "ObjectLockRetainUntilDate": None}, "EveryObjectSaysHowLongItIsKept"),
        ({"ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(hours=23)}, "NothingIsKeptShorter"),
        (
            {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + timedelta(hours=1)},
            "NothingIsKeptShorter",
        ),
        ({"ServerSideEncryption": "aws:kms"}, "NoForeignKeyEncrypts"),
        ({"ObjectLockLegalHoldStatus": "OFF"}, "HoldsAreLiftedByOneRole"),
    ],
)
def test_a_write_that_says_less_is_refused(cloud: EmbeddedCloud, changed: dict[str, Any], sid: str) -> None:
    s3, where = cloud.boto("s3"), at(cloud)
    assert statement(s3.put_object, **where, **wanted(**changed)) == sid
    assert code(cloud.boto("s3").head_object, **where) == "404"


def test_no_key_of_the_customer() -> None:
    # botocore sends such keys over TLS only, so the request is made by hand.
    names_of = ("x-amz-object-lock-mode", "x-amz-server-side-encryption-customer-algorithm")
    headers = [("if-none-match", "*"), (names_of[0], "COMPLIANCE"), (names_of[1], "AES256")]
    headers.append(("x-amz-object-lock-retain-until-date", "2026-12-24T00:00:00Z"))
    with pytest.raises(RefusedError, match="NoCustomerKeyEncrypts"):
        BucketPolicy("b").check(Request("PUT", "/b/recordings/x", headers), 0)


def test_the_newest_checkpoint_is_replaced_only_by_naming_it(cloud: EmbeddedCloud) -> None:
    s3, where = cloud.boto("s3"), at(cloud, "log/checkpoint")
    assert statement(s3.put_object, **where, **wanted(IfNoneMatch=None)) == "TheNewestCheckpointIsReplacedByWhoeverKnowsIt"
    first = s3.put_object(**where, **wanted())
    s3.put_object(**where, **wanted(IfNoneMatch=None, IfMatch=first["ETag"]))


def test_nothing_in_parts(cloud: EmbeddedCloud) -> None:
    s3, where = cloud.boto("s3"), at(cloud)
    assert statement(s3.create_multipart_upload, **where) == "NothingInParts"
    assert statement(s3.upload_part, **where, UploadId="u", PartNumber=1, Body=b"x") == "NothingInParts"
    said = {"UploadId": "u", "MultipartUpload": {"Parts": [{"ETag": "e", "PartNumber": 1}]}}
    assert statement(s3.complete_multipart_upload, **where, **said) == "NothingIsWrittenTwice"


def test_nothing_is_deleted_and_nothing_is_switched_off(cloud: EmbeddedCloud) -> None:
    s3, where = cloud.boto("s3"), at(cloud)
    version = s3.put_object(**where, **wanted())["VersionId"]
    bucket = {"Bucket": where["Bucket"]}
    rule = {"Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]}
    refused = [
        (s3.delete_object, where),
        (s3.delete_object, where | {"VersionId": version}),
        (s3.delete_object, where | {"VersionId": version, "BypassGovernanceRetention": True}),
        (s3.delete_objects, bucket | {"Delete": {"Objects": [{"Key": where["Key"]}]}}),
        (s3.delete_bucket, bucket),
        (s3.put_bucket_versioning, bucket | {"VersioningConfiguration": {"Status": "Suspended"}}),
        (s3.put_bucket_versioning, bucket | {"VersioningConfiguration": {"Status": "Enabled"}}),
        (s3.put_bucket_lifecycle_configuration, bucket | {"LifecycleConfiguration": rule}),
        (s3.delete_bucket_lifecycle, bucket),
    ]
    for call, arguments in refused:
        with pytest.raises(ClientError) as raised:
            call(**arguments)
        assert raised.value.response["Error"]["Code"] in ("AccessDenied", "InvalidBucketState"), call
    assert s3.get_object(**where)["Body"].read() == BODY


def test_retention_only_grows_and_holds_are_lifted_by_one_role(cloud: EmbeddedCloud) -> None:
    s3, where = cloud.boto("s3"), at(cloud)
    s3.put_object(**where, **wanted(ObjectLockMode="GOVERNANCE", ObjectLockLegalHoldStatus="ON"))
    now = datetime.now(UTC).replace(microsecond=0)
    less = {"Mode": "GOVERNANCE", "RetainUntilDate": now + timedelta(hours=5)}
    assert statement(s3.put_object_retention, **where, Retention=less) == "NothingIsKeptShorter"
    some = {"Mode": "GOVERNANCE", "RetainUntilDate": now + timedelta(days=1, hours=1)}
    bypass = {"Retention": some, "BypassGovernanceRetention": True}
    assert statement(s3.put_object_retention, **where, **bypass) == "NothingIsDeleted"
    s3.put_object_retention(**where, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": now + timedelta(days=9)})
    assert statement(s3.put_object_legal_hold, **where, LegalHold={"Status": "OFF"}) == "HoldsAreLiftedByOneRole"
    s3.put_object_legal_hold(**where, LegalHold={"Status": "ON"})
    cloud.shim.policy = BucketPolicy(where["Bucket"], {"LegalHoldRoleArn": "arn:aws:iam::123456789012:role/None"})
    s3.put_object_legal_hold(**where, LegalHold={"Status": "OFF"})
    cloud.shim.policy = BucketPolicy(where["Bucket"])


def test_every_statement_is_performed_here() -> None:
    text = Path(__file__).read_text()
    # The embedded cloud has no TLS, so that its statement is only read.
    assert {each["Sid"] for each in BucketPolicy("b").statements if each["Sid"] not in text} == {"OnlyOver" + "Tls"}


def test_a_retention_of_whole_days_is_never_below_the_bound(cloud: EmbeddedCloud) -> None:
    """The link's last second still promises what the target was told."""
    policy = BucketPolicy("b", {"RetentionLeastDays": "30"})
    now = time.time()
    headers = [("if-none-match", "*"), *lock(Retention(days=30), int(now * 1000)).headers.items()]
    policy.check(Request("PUT", "/b/recordings/x", headers), now + 300)
