"""Stands before moto's S3 and checks what moto does not: signatures, expiry, payload hashes, checksums, locks, the policy.

Without it a recording could be overwritten by anybody who drops `If-None-Match` from a presigned upload and every test
would still pass. Failures are S3's own XML errors.
"""

import base64
import binascii
import hashlib
import time
import uuid
import zlib
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from infra.local import s3_retention
from infra.local.bucket_policy import BucketPolicy
from infra.local.http_server import Request, Respond, Response
from infra.local.sigv4 import UNSIGNED_PAYLOAD, KeyPair, RefusedError, verify

_CHECKSUMS: dict[str, Callable[[bytes], bytes]] = {
    "x-amz-checksum-sha256": lambda body: hashlib.sha256(body).digest(),
    "x-amz-checksum-sha1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
    "x-amz-checksum-crc32": lambda body: zlib.crc32(body).to_bytes(4),
    "content-md5": lambda body: hashlib.md5(body, usedforsecurity=False).digest(),
}
# Headers that describe checksums without being one.
_ABOUT_CHECKSUMS = {"x-amz-checksum-mode", "x-amz-checksum-type", "x-amz-checksum-algorithm"}


class Change(NamedTuple):
    """Something happened to an object."""

    bucket: str
    key: str
    version: str
    kind: str
    """EventBridge's detail type."""
    how: str


class S3Shim:
    """Answers S3 requests: refuses, or hands the request on to `backend` unchanged."""

    def __init__(self, keys: KeyPair, backend: Respond, clock: Callable[[], float] = time.time) -> None:
        self._keys, self._backend, self._clock = keys, backend, clock
        self.policy: BucketPolicy | None = None
        """The bucket's policy; None for a bucket whose owner took it away."""
        self.on_change: Callable[[Change], None] = lambda change: None
        """Told of every object that was written, hidden or deleted, as S3 tells EventBridge."""

    def respond(self, request: Request) -> Response:
        try:
            # A browser's CORS preflight carries no credentials, on AWS neither.
            if request.method != "OPTIONS":
                verify(request, self._keys, "s3", self._clock())
                check_payload(request)
                check_object_lock(request, self._clock())
                if self.policy is not None:
                    self.policy.check(request, self._clock())
                if s3_retention.is_retention(request):
                    return s3_retention.answer(request, self._backend)
        except RefusedError as refusal:
            return _error(request, refusal)
        answer = self._backend(_for_moto(request))
        if change := _change(request, answer):
            self.on_change(change)
        return answer


def _for_moto(request: Request) -> Request:
    """moto wants the SDK's own header beside a checksum before it locks an object; S3 is content with the checksum."""
    names = {name for name, _ in request.headers}
    checksums = sorted(name for name in names if name.startswith("x-amz-checksum-") and name in _CHECKSUMS)
    if checksums and "x-amz-sdk-checksum-algorithm" not in names:
        request.headers.append(("x-amz-sdk-checksum-algorithm", checksums[0].rpartition("-")[2].upper()))
    return request


def check_payload(request: Request) -> None:
    """Raises `RefusedError` unless the body has the length, the hash and every checksum that the headers promise."""
    declared = request.header("content-length")
    if declared is not None and declared != str(len(request.body)):
        raise RefusedError(400, "IncompleteBody", "You did not provide the number of bytes specified by Content-Length")
    promised = request.header("x-amz-content-sha256") or UNSIGNED_PAYLOAD
    if promised.startswith("STREAMING-"):
        raise RefusedError(501, "NotImplemented", "The embedded cloud does not take aws-chunked uploads")
    if promised != UNSIGNED_PAYLOAD and promised != hashlib.sha256(request.body).hexdigest():
        message = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise RefusedError(400, "XAmzContentSHA256Mismatch", message)
    for name, value in request.headers:
        if name in _CHECKSUMS:
            _check_one(name, value, request.body)
        elif name.startswith("x-amz-checksum-") and name not in _ABOUT_CHECKSUMS:
            raise RefusedError(501, "NotImplemented", f"The embedded cloud cannot check {name}")


def _check_one(name: str, value: str, body: bytes) -> None:
    actual = _CHECKSUMS[name](body)
    try:
        promised = base64.b64decode(value, validate=True)
    except binascii.Error:
        promised = b""
    if len(promised) != len(actual):
        code = "InvalidDigest" if name == "content-md5" else "InvalidRequest"
        raise RefusedError(400, code, f"Value for {name} header is invalid.")
    if promised != actual:
        kind = name.rpartition("-")[2].upper()
        raise RefusedError(400, "BadDigest", f"The {kind} you specified did not match the calculated checksum.")


def check_object_lock(request: Request, now: float) -> None:
    """Raises `RefusedError` for what S3 forbids around Object Lock and moto allows. `now` is seconds since 1970."""
    names = {name for name, _ in request.headers}
    has_checksum = any(name in _CHECKSUMS for name in names)
    if request.method != "PUT":
        return
    if "x-amz-sdk-checksum-algorithm" in names and not has_checksum:
        message = (
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
        )
        raise RefusedError(400, "InvalidRequest", message)
    if any(name.startswith("x-amz-object-lock-") for name in names) and not has_checksum:
        message = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
        raise RefusedError(400, "InvalidRequest", message)
    _check_lock_headers(request, now)
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if "versioning" in query and b"<Status>Suspended</Status>" in request.body:
        message = "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        raise RefusedError(409, "InvalidBucketState", message)


def _check_lock_headers(request: Request, now: float) -> None:
    mode, until = request.header("x-amz-object-lock-mode"), request.header("x-amz-object-lock-retain-until-date")
    hold = request.header("x-amz-object-lock-legal-hold")
    if (mode is None) != (until is None):
        message = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
        raise RefusedError(400, "InvalidArgument", message)
    if mode is not None and mode not in ("COMPLIANCE", "GOVERNANCE"):
        raise RefusedError(400, "InvalidArgument", "Unknown wormMode directive.")
    if until is not None and s3_retention.moment(until).timestamp() <= now:
        raise RefusedError(400, "InvalidArgument", "The retain until date must be in the future!")
    if hold is not None and hold not in ("ON", "OFF"):
        raise RefusedError(400, "InvalidArgument", "Legal Hold must be either of 'ON' or 'OFF'")


def _change(request: Request, answer: Response) -> Change | None:
    """What a request did to an object, if it did anything."""
    bucket, _, key = unquote(request.path).lstrip("/").partition("/")
    query = {name for name, _ in parse_qsl(request.query, keep_blank_values=True) if not name.startswith("X-Amz-")}
    headers = {name.lower(): value for name, value in answer.headers}
    version = headers.get("x-amz-version-id", "")
    if not key or answer.status not in (200, 204):
        return None
    # An upload is a PUT without a subresource; what SDKs add to say which operation it is does not count.
    if request.method == "PUT" and not query - {"x-id"}:
        return Change(bucket, key, version, "Object Created", "PutObject")
    if request.method == "DELETE" and not query - {"x-id", "versionId"}:
        marker = headers.get("x-amz-delete-marker") == "true" and "versionId" not in query
        return Change(bucket, key, version, "Object Deleted", "Delete Marker Created" if marker else "Permanently Deleted")
    return None


def _error(request: Request, refusal: RefusedError) -> Response:
    details = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in refusal.details.items())
    request_id = uuid.uuid4().hex[:16].upper()
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>{details}"
        f"<Resource>{escape(request.path)}</Resource><RequestId>{request_id}</RequestId></Error>"
    )
    headers = [("content-type", "application/xml"), ("x-amz-request-id", request_id)]
    return Response(refusal.status, headers, body.encode())
