"""S3 with real checks, through boto3 and through a plain HTTP client with presigned URLs."""

import base64
import hashlib
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import urllib3
from botocore.exceptions import ClientError

from infra.local.cloud import EmbeddedCloud

pytestmark = pytest.mark.servers
BODY = b"chunk of a recording"
names = itertools.count()


@pytest.fixture(autouse=True)
def no_policy(cloud: EmbeddedCloud) -> Iterator[None]:
    """These tests are about S3 itself; the bucket's policy has its own (test_bucket_policy.py)."""
    policy, cloud.shim.policy = cloud.shim.policy, None
    yield
    cloud.shim.policy = policy


class Upload:
    """One presigned upload as `register_chunk` hands it out: length, hash, Object Lock and no overwriting."""

    def __init__(self, cloud: EmbeddedCloud, expires: int = 60) -> None:
        self.key = f"recordings/{next(names)}/chunk é+1"
        self.bucket = cloud.resources.bucket
        digest = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        self.url = cloud.boto("s3").generate_presigned_url(
            "put_object",
            Params={
                "Bucket": self.bucket,
                "Key": self.key,
                "ContentLength": len(BODY),
                "ContentType": "application/zstd",
                "ChecksumSHA256": digest,
                "IfNoneMatch": "*",
                "ObjectLockMode": "GOVERNANCE",
                "ObjectLockRetainUntilDate": until,
            },
            ExpiresIn=expires,
        )
        self.headers = {
            "content-type": "application/zstd",
            "x-amz-checksum-sha256": digest,
            "if-none-match": "*",
            "x-amz-object-lock-mode": "GOVERNANCE",
            "x-amz-object-lock-retain-until-date": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def send(self, body: bytes = BODY, method: str = "PUT", **headers: str | None) -> urllib3.BaseHTTPResponse:
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        merged = {k: v for k, v in (self.headers | changed).items() if v is not None}
        with urllib3.PoolManager(retries=False) as http:
            return http.request(method, self.url, body=body, headers=merged)


def why(answer: urllib3.BaseHTTPResponse) -> tuple[int, str]:
    return answer.status, answer.data.decode().partition("<Code>")[2].partition("</Code>")[0]


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return str(raised.value.response["Error"]["Code"])


def test_the_upload_as_signed_is_stored_locked_and_once(cloud: EmbeddedCloud) -> None:
    upload, s3 = Upload(cloud), cloud.boto("s3")
    first = upload.send()
    assert first.status == 200, first.data
    version = first.headers["x-amz-version-id"]
    stored = s3.get_object(Bucket=upload.bucket, Key=upload.key)
    assert stored["Body"].read() == BODY
    assert stored["VersionId"] == version
    assert stored["ObjectLockMode"] == "GOVERNANCE"
    assert why(upload.send()) == (412, "PreconditionFailed")
    assert code(s3.delete_object, Bucket=upload.bucket, Key=upload.key, VersionId=version) == "AccessDenied"


def test_every_unsigned_deviation_is_refused(cloud: EmbeddedCloud) -> None:
    upload = Upload(cloud)
    mismatch = (403, "SignatureDoesNotMatch")
    assert why(upload.send(if_none_match=None)) == mismatch
    assert why(upload.send(x_amz_checksum_sha256=None)) == mismatch
    assert why(upload.send(x_amz_object_lock_mode=None)) == mismatch
    assert why(upload.send(x_amz_object_lock_mode="COMPLIANCE")) == mismatch
    assert why(upload.send(content_type="text/plain")) == mismatch
    assert why(upload.send(BODY + b"!")) == mismatch
    assert why(upload.send(method="POST")) == mismatch
    assert why(upload.send(x_amz_acl="public-read")) == (403, "AccessDenied")
    assert why(upload.send(BODY[::-1])) == (400, "BadDigest")
    assert code(cloud.boto("s3").head_object, Bucket=upload.bucket, Key=upload.key) == "404"


def test_an_upload_that_expired_is_refused(cloud: EmbeddedCloud) -> None:
    upload = Upload(cloud, expires=0)
    with urllib3.PoolManager(retries=False) as http:
        # Nothing but the clock can make it late: the signed second has to pass.
        for _ in range(5000):
            last = http.request("PUT", upload.url, body=BODY, headers=upload.headers)
            if last.status not in (200, 412):
                break
    assert why(last) == (403, "AccessDenied")
    assert b"Request has expired" in last.data


def test_a_presigned_download(cloud: EmbeddedCloud) -> None:
    s3, bucket = cloud.boto("s3"), cloud.resources.bucket
    s3.put_object(Bucket=bucket, Key="down load", Body=BODY)
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "down load"}, ExpiresIn=60)
    with urllib3.PoolManager(retries=False) as http:
        assert http.request("GET", url).data == BODY
        ranged = http.request("GET", url, headers={"range": "bytes=2-6"})
        assert (ranged.status, ranged.data) == (206, BODY[2:7])
        assert why(http.request("DELETE", url)) == (403, "SignatureDoesNotMatch")
        assert why(http.request("GET", url.replace("down", "up"))) == (403, "SignatureDoesNotMatch")
        anonymous = http.request("GET", f"{cloud.s3_url}/{bucket}/down%20load")
        assert why(anonymous) == (403, "AccessDenied")


def test_a_browser_of_the_application_may_read_and_no_other(cloud: EmbeddedCloud) -> None:
    s3, bucket = cloud.boto("s3"), cloud.resources.bucket
    s3.put_object(Bucket=bucket, Key="cors", Body=BODY)
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "cors"})
    with urllib3.PoolManager(retries=False) as http:
        ours = http.request("GET", url, headers={"origin": cloud.http_url})
        assert ours.headers["access-control-allow-origin"] == cloud.http_url
        other = http.request("GET", url, headers={"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in other.headers


def test_retention_is_read_and_only_grows(cloud: EmbeddedCloud) -> None:
    s3, at = cloud.boto("s3"), {"Bucket": cloud.resources.bucket, "Key": "retained"}
    now = datetime.now(UTC).replace(microsecond=0)

    def retention(mode: str, days: int) -> dict[str, Any]:
        return {"Mode": mode, "RetainUntilDate": now + timedelta(days=days)}

    assert code(s3.get_object_retention, **at) == "NoSuchKey"
    s3.put_object(**at, Body=BODY)
    assert code(s3.get_object_retention, **at) == "NoSuchObjectLockConfiguration"
    locked = retention("COMPLIANCE", 2)
    s3.put_object(**at, Body=BODY, ObjectLockMode=locked["Mode"], ObjectLockRetainUntilDate=locked["RetainUntilDate"])
    assert s3.get_object_retention(**at)["Retention"] == locked
    for less in (retention("COMPLIANCE", 1), retention("GOVERNANCE", 3)):
        assert code(s3.put_object_retention, **at, Retention=less) == "AccessDenied"
        bypassing = {"Retention": less, "BypassGovernanceRetention": True}
        assert code(s3.put_object_retention, **at, **bypassing) == "AccessDenied"
    s3.put_object_retention(**at, Retention=retention("COMPLIANCE", 3))
    assert s3.get_object_retention(**at)["Retention"] == retention("COMPLIANCE", 3)


def test_governance_is_shortened_only_by_bypassing(cloud: EmbeddedCloud) -> None:
    s3, at = cloud.boto("s3"), {"Bucket": cloud.resources.bucket, "Key": "governed"}
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
    s3.put_object(**at, Body=BODY, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until - timedelta(days=1)}
    assert code(s3.put_object_retention, **at, Retention=shorter) == "AccessDenied"
    s3.put_object_retention(**at, Retention=shorter, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**at)["Retention"] == shorter


def test_boto_works_for_what_the_application_does(cloud: EmbeddedCloud) -> None:
    s3, bucket = cloud.boto("s3"), cloud.resources.bucket
    s3.put_object(Bucket=bucket, Key="plain/a", Body=b"1", Metadata={"note": "x"})
    s3.put_object(Bucket=bucket, Key="plain/b", Body=b"2" * 300_000, ChecksumAlgorithm="SHA256")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="plain/")["Contents"]
    assert [entry["Key"] for entry in listed] == ["plain/a", "plain/b"]
    assert s3.head_object(Bucket=bucket, Key="plain/b")["ContentLength"] == 300_000
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    suspended = {"Status": "Suspended"}
    refused = code(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspended)
    assert refused == "InvalidBucketState"


def test_s3_is_not_reachable_around_the_shim(cloud: EmbeddedCloud) -> None:
    with urllib3.PoolManager(retries=False) as http:
        assert http.request("GET", f"{cloud.aws_url}/{cloud.resources.bucket}/plain/a").status == 403
        signed_for_s3 = "AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        answer = http.request("GET", f"{cloud.aws_url}/{cloud.resources.bucket}", headers={"authorization": signed_for_s3})
        assert answer.status == 403
