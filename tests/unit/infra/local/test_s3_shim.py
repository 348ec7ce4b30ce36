"""What the shim checks about a body whose sender is already known."""

import base64
import hashlib
import zlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from infra.local.http_server import Headers, Request, Response
from infra.local.s3_shim import Change, S3Shim, check_object_lock, check_payload
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

LOCK: Headers = [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", "2026-12-24T00:00:00Z")]


def code(headers: Headers, body: bytes = BODY, target: str = "/b/k", method: str = "PUT") -> str:
    request = Request(method, target, headers, body)
    try:
        check_payload(request)
        check_object_lock(request, 1_790_000_000.0)
    except RefusedError as refusal:
        return refusal.code
    return "accepted"


def test_true_promises_are_kept() -> None:
    check_payload(Request("PUT", "/b/k", GOOD, BODY))
    check_object_lock(Request("PUT", "/b/k", [*GOOD, *LOCK], BODY), 1_790_000_000.0)


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


@pytest.mark.parametrize(
    "headers",
    [
        LOCK[:1],
        LOCK[1:],
        [("x-amz-object-lock-mode", "compliance"), LOCK[1]],
        [LOCK[0], ("x-amz-object-lock-retain-until-date", "2026-01-01T00:00:00Z")],
        [*LOCK, ("x-amz-object-lock-legal-hold", "yes")],
    ],
)
def test_a_lock_is_whole_and_ahead(headers: Headers) -> None:
    assert code([*GOOD, *headers]) == "InvalidArgument"
    assert code([*GOOD, *LOCK, ("x-amz-object-lock-legal-hold", "ON")]) == "accepted"
    assert code([*GOOD, LOCK[0], ("x-amz-object-lock-retain-until-date", "soon")]) == "MalformedXML"


def test_what_happened_to_objects_is_told() -> None:
    told: list[Change] = []
    keys = KeyPair("A", "B", "us-east-1")
    answers = iter([("v1", 200, False), ("v2", 204, True), ("v1", 204, False), ("", 412, False)])

    def backend(request: Request) -> Response:
        version, status, marker = next(answers)
        return Response(status, [("x-amz-version-id", version), ("x-amz-delete-marker", str(marker).lower())], b"")

    shim = S3Shim(keys, backend)
    shim.on_change = told.append
    for method, query in (("PUT", ""), ("DELETE", ""), ("DELETE", "?versionId=v1"), ("PUT", "")):
        shim.respond(signed(method, f"/b/k%20y{query}", keys))
    assert [(each.key, each.version, each.how) for each in told] == [
        ("k y", "v1", "PutObject"),
        ("k y", "v2", "Delete Marker Created"),
        ("k y", "v1", "Permanently Deleted"),
    ]


def signed(method: str, target: str, keys: KeyPair) -> Request:
    """A request as botocore signs it."""
    made = AWSRequest(method=method, url=f"http://h{target}", headers={"host": "h"}, data=b"")
    S3SigV4Auth(Credentials(keys.access_key, keys.secret_key), "s3", keys.region).add_auth(made)
    return Request(method, target, [(name.lower(), value) for name, value in made.headers.items()], b"")


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
