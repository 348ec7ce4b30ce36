"""Signature checks against requests that botocore signed, and everything that may be changed about them."""

from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from infra.local.http_server import Request
from infra.local.sigv4 import KeyPair, RefusedError, verify

KEYS = KeyPair("EMBEDDEDTEST", "a secret / with + signs", "us-east-1")
CREDENTIALS = Credentials(KEYS.access_key, KEYS.secret_key)


def signed(method: str = "PUT", url: str = "http://127.0.0.1:9/b/k%20ey?x=1", body: bytes = b"data") -> Request:
    request = AWSRequest(method=method, url=url, data=body, headers={"x-amz-meta-a": "one"})
    S3SigV4Auth(CREDENTIALS, "s3", "us-east-1").add_auth(request)
    return arrived(method, url, dict(request.headers.items()), body)


def arrived(method: str, url: str, headers: dict[str, str], body: bytes = b"") -> Request:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lowered = [(name.lower(), value) for name, value in headers.items() if name.lower() != "host"]
    return Request(method, target, [("host", parts.netloc), *lowered], body)


def presigned(operation: str = "put_object", expires: int = 60, **parameters: Any) -> tuple[str, dict[str, str]]:
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        region_name="us-east-1",
        aws_access_key_id=KEYS.access_key,
        aws_secret_access_key=KEYS.secret_key,
        config=Config(signature_version="s3v4", request_checksum_calculation="when_required"),
    )
    url = client.generate_presigned_url(operation, {"Bucket": "b", "Key": "k/é", **parameters}, ExpiresIn=expires)
    return url, {"if-none-match": "*"} if "IfNoneMatch" in parameters else {}


def now_of(request: Request) -> float:
    """The moment the request says it was signed at."""
    from datetime import UTC, datetime

    stamp = request.header("x-amz-date") or request.parameters()["X-Amz-Date"]
    return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()


def refused(request: Request, now: float | None = None, keys: KeyPair = KEYS) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        verify(request, keys, "s3", now_of(request) if now is None else now)
    return raised.value


def test_what_botocore_signs_is_accepted() -> None:
    request = signed()
    verify(request, KEYS, "s3", now_of(request))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://127.0.0.1:9/b/a%2Fb+c//d?list-type=2&prefix=a%2F"])
def test_paths_and_queries_are_compared_as_sent(url: str) -> None:
    request = signed("GET", url, b"")
    verify(request, KEYS, "s3", now_of(request))


def test_other_services_normalise_the_path() -> None:
    url = "http://127.0.0.1:9/%40connections/abc%3D"
    request = AWSRequest(method="POST", url=url, data=b"x")
    SigV4Auth(CREDENTIALS, "execute-api", "us-east-1").add_auth(request)
    received = arrived("POST", url, dict(request.headers.items()), b"x")
    verify(received, KEYS, "execute-api", now_of(received))
    received.body = b"y"
    with pytest.raises(RefusedError):
        verify(received, KEYS, "execute-api", now_of(received))


def changed(request: Request, name: str, value: str | None) -> Request:
    request.headers = [(key, old) for key, old in request.headers if key != name]
    if value is not None:
        request.headers.append((name, value))
    return request


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-amz-meta-a", "two"), ("x-amz-meta-a", None), ("host", "127.0.0.1:10"), ("x-amz-content-sha256", "00" * 32)],
)
def test_a_changed_or_dropped_signed_header_is_refused(name: str, value: str | None) -> None:
    assert refused(changed(signed(), name, value)).code == "SignatureDoesNotMatch"


def test_another_method_target_or_key_is_refused() -> None:
    for attribute, value in (("method", "DELETE"), ("target", "/b/other?x=1"), ("target", "/b/k%20ey?x=2")):
        request = signed()
        setattr(request, attribute, value)
        assert refused(request).code == "SignatureDoesNotMatch"
    assert refused(signed(), keys=KeyPair(KEYS.access_key, "other", "us-east-1")).code == "SignatureDoesNotMatch"
    assert refused(signed(), keys=KeyPair("SOMEBODY", "other", "us-east-1")).code == "InvalidAccessKeyId"
    assert refused(signed(), keys=KeyPair(KEYS.access_key, KEYS.secret_key, "eu-west-1")).status == 400


def test_an_unsigned_amz_header_is_refused() -> None:
    refusal = refused(changed(signed(), "x-amz-object-lock-mode", "GOVERNANCE"))
    assert (refusal.status, refusal.code) == (403, "AccessDenied")
    assert refusal.details == {"HeadersNotSigned": "x-amz-object-lock-mode"}


def test_an_unsigned_ordinary_header_does_not_matter() -> None:
    request = changed(signed(), "accept-encoding", "identity")
    verify(request, KEYS, "s3", now_of(request))


@pytest.mark.parametrize("late", [-901, 901])
def test_clocks_may_differ_by_a_quarter_of_an_hour(late: int) -> None:
    request = signed()
    assert refused(request, now_of(request) + late).code == "RequestTimeTooSkewed"
    verify(request, KEYS, "s3", now_of(request) + (900 if late > 0 else -900))


def test_anonymous_and_malformed_requests_are_refused() -> None:
    assert refused(Request("GET", "/b/k", [("host", "h")]), 0).code == "AccessDenied"
    assert refused(Request("GET", "/b/k", [("host", "h"), ("authorization", "Bearer x")]), 0).status == 400
    assert refused(Request("GET", "/b/k?X-Amz-Signature=00", [("host", "h")]), 0).status == 400
    old_style = refused(Request("GET", "/b/k?AWSAccessKeyId=A&Signature=x&Expires=1", [("host", "h")]), 0)
    assert "AWS4-HMAC-SHA256" in old_style.message
    request = signed()
    request.target += "&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    assert refused(request).code == "InvalidArgument"
    assert refused(changed(signed(), "x-amz-content-sha256", None)).code == "MissingSecurityHeader"


def test_the_host_must_be_signed() -> None:
    request = signed()
    authorization = (request.header("authorization") or "").replace("SignedHeaders=host;", "SignedHeaders=")
    assert refused(changed(request, "authorization", authorization)).code == "AccessDenied"


def test_a_presigned_upload_binds_its_headers() -> None:
    url, headers = presigned(IfNoneMatch="*", ContentLength=4)
    headers["content-length"] = "4"
    request = arrived("PUT", url, headers, b"data")
    verify(request, KEYS, "s3", now_of(request))
    assert refused(arrived("PUT", url, {"content-length": "4"}, b"data")).code == "SignatureDoesNotMatch"
    assert refused(arrived("PUT", url, headers | {"content-length": "5"}, b"data5")).code == "SignatureDoesNotMatch"
    assert refused(arrived("GET", url, headers)).code == "SignatureDoesNotMatch"
    assert refused(arrived("PUT", url.replace("/k/", "/j/"), headers)).code == "SignatureDoesNotMatch"
    assert refused(arrived("PUT", url, headers | {"x-amz-acl": "public-read"})).code == "AccessDenied"


def test_a_presigned_url_expires() -> None:
    url, _ = presigned("get_object", expires=60)
    request = arrived("GET", url, {})
    signed_at = now_of(request)
    verify(request, KEYS, "s3", signed_at + 60)
    assert refused(request, signed_at + 61).message == "Request has expired"
    assert refused(request, signed_at - 901).message == "Request is not valid yet"


def test_a_longer_expiry_is_not_what_was_signed() -> None:
    url, _ = presigned("get_object", expires=60)
    longer = arrived("GET", url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), {})
    assert refused(longer).code == "SignatureDoesNotMatch"
    for nonsense in ("604801", "-1", "x", "٣"):
        wrong = arrived("GET", url.replace("X-Amz-Expires=60", f"X-Amz-Expires={nonsense}"), {})
        assert refused(wrong).code == "AuthorizationQueryParametersError"


def test_a_repeated_query_parameter_is_refused() -> None:
    url, _ = presigned("get_object")
    assert refused(arrived("GET", url + "&X-Amz-Expires=9", {})).code == "AuthorizationQueryParametersError"


def test_every_byte_of_the_signature_counts() -> None:
    request = signed()
    authorization = request.header("authorization") or ""
    head, signature = authorization[:-64], authorization[-64:]
    for at in range(64):
        flipped = signature[:at] + ("0" if signature[at] != "0" else "1") + signature[at + 1 :]
        assert refused(changed(request, "authorization", head + flipped)).code == "SignatureDoesNotMatch"


def test_the_payload_hash_in_the_header_is_what_was_signed() -> None:
    request = signed(body=b"data")
    assert request.header("x-amz-content-sha256") == sha256(b"data").hexdigest()
