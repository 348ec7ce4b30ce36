"""What the shim checks about a body whose sender is already known."""

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.http_server import Headers, Request, Response
from infra.local.s3_shim import S3Shim, check_object_lock, check_payload
from infra.local.sigv4 import KeyPair, RefusedError

BODY = b"a recording"


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


GOOD: Headers = [
    ("content-length", str(len(BODY))),
    ("x-amz-content-sha256", hashlib.sha256(BODY).hexdigest()),
    ("x-amz-checksum-sha256", b64(hashlib.sha256(BODY).digest())),
    ("x-amz-checksum-sha1", b64(hashlib.sha1(BODY).digest())),
    ("x-amz-checksum-crc32", b64(zlib.crc32(BODY).to_bytes(4))),
    ("content-md5", b64(hashlib.md5(BODY).digest())),
]


def code(headers: Headers, body: bytes = BODY, target: str = "/b/k", method: str = "PUT") -> str:
    request = Request(method, target, headers, body)
    try:
        check_payload(request)
        check_object_lock(request)
    except RefusedError as refusal:
        return refusal.code
    return "accepted"


def test_true_promises_are_kept() -> None:
    check_payload(Request("PUT", "/b/k", GOOD, BODY))
    check_object_lock(Request("PUT", "/b/k", [*GOOD, ("x-amz-object-lock-mode", "COMPLIANCE")], BODY))


@given(st.binary(max_size=64).filter(lambda body: body != BODY))
def test_another_body_breaks_every_promise(body: bytes) -> None:
    for promise, expected in zip(
        GOOD[1:], ["XAmzContentSHA256Mismatch", "BadDigest", "BadDigest", "BadDigest", "BadDigest"], strict=True
    ):
        assert code([promise], body) == expected


def test_the_length_must_be_the_declared_one() -> None:
    assert code([("content-length", "10")]) == "IncompleteBody"


@pytest.mark.parametrize("value", ["", "not base64!", b64(b"short")])
def test_a_malformed_checksum_is_refused(value: str) -> None:
    assert code([("x-amz-checksum-sha256", value)]) == "InvalidRequest"
    assert code([("content-md5", value)]) == "InvalidDigest"


def test_what_cannot_be_checked_is_refused() -> None:
    assert code([("x-amz-checksum-crc64nvme", "AAAAAAAAAAA=")]) == "NotImplemented"
    assert code([("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")]) == "NotImplemented"


def test_object_lock_needs_a_checksum() -> None:
    assert code([("x-amz-object-lock-mode", "COMPLIANCE")]) == "InvalidRequest"
    assert code([("x-amz-sdk-checksum-algorithm", "SHA256")]) == "InvalidRequest"


def test_versioning_cannot_be_suspended() -> None:
    body = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    assert code([], body, "/b?versioning") == "InvalidBucketState"


def test_a_refusal_is_s3s_xml_and_never_reaches_the_backend() -> None:
    def unreachable(request: Request) -> Response:
        raise AssertionError("the backend was asked")

    shim = S3Shim(KeyPair("A", "B", "us-east-1"), unreachable)
    answer = shim.respond(Request("GET", "/b/<k>", [("host", "h")]))
    assert answer.status == 403
    assert b"<Error><Code>AccessDenied</Code>" in answer.body
    assert b"<Resource>/b/&lt;k&gt;</Resource>" in answer.body
    assert ("content-type", "application/xml") in answer.headers
