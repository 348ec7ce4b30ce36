"""Checks AWS Signature Version 4 the way the service does, for a header or for a presigned query.

The canonical request is rebuilt by botocore's own signer from what arrived, restricted to the headers that the client
says it signed. Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API Reference.
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from infra.local.http_server import Request

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
CLOCK_SKEW_S = 15 * 60
MAX_EXPIRES_S = 7 * 24 * 3600


class RefusedError(Exception):
    """The request does not prove who sent it, or is not what was signed. `code` is S3's error code."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The one credential pair that the embedded cloud knows."""

    access_key: str
    secret_key: str
    region: str


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says about its own signature."""

    credential: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    expires_s: int | None  # None: the signature came in the Authorization header
    payload: str


def verify(request: Request, keys: KeyPair, service: str, now: float) -> None:
    """Returns when the request is signed by `keys` for `service` and is fresh at `now` (seconds since 1970).

    Raises `RefusedError` with S3's status and code otherwise. Also refuses `x-amz-*` headers that nobody signed.
    """
    claim = _claim(request, service)
    _check_scope(claim, keys, service)
    _check_freshness(claim, now)
    _check_signed_headers(request, claim)
    expected = _signature(request, claim, keys, service)
    if not hmac.compare_digest(expected, claim.signature):
        raise RefusedError(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        )


def _claim(request: Request, service: str) -> _Claim:
    authorization = request.header("authorization")
    pairs = parse_qsl(request.query, keep_blank_values=True)
    query = dict(pairs)
    presigned = "X-Amz-Algorithm" in query or "X-Amz-Signature" in query
    if authorization and presigned:
        raise RefusedError(400, "InvalidArgument", "Only one auth mechanism allowed")
    if (authorization or "").startswith("AWS ") or "AWSAccessKeyId" in query:
        # What boto3 presigns with unless told otherwise (signature_version="s3v4"); it binds hardly any header.
        message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        raise RefusedError(400, "InvalidRequest", message)
    if authorization:
        return _header_claim(request, authorization, service)
    if not presigned:
        raise RefusedError(403, "AccessDenied", "Access Denied")
    if len([name for name, _ in pairs if name.startswith("X-Amz-")]) != len({n for n in query if n.startswith("X-Amz-")}):
        raise RefusedError(400, "AuthorizationQueryParametersError", "A query parameter is repeated")
    return _query_claim(query)


def _header_claim(request: Request, authorization: str, service: str) -> _Claim:
    scheme, _, rest = authorization.partition(" ")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    if scheme != ALGORITHM or not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise RefusedError(400, "AuthorizationHeaderMalformed", "The authorization header is malformed")
    payload = request.header("x-amz-content-sha256")
    if payload is None:
        if service == "s3":
            raise RefusedError(400, "MissingSecurityHeader", "Missing required header for this request: x-amz-content-sha256")
        payload = sha256(request.body).hexdigest()
    return _Claim(
        credential=fields["Credential"],
        signed_headers=tuple(fields["SignedHeaders"].split(";")),
        signature=fields["Signature"],
        timestamp=request.header("x-amz-date") or "",
        expires_s=None,
        payload=payload,
    )


def _query_claim(query: dict[str, str]) -> _Claim:
    required = ("X-Amz-Credential", "X-Amz-SignedHeaders", "X-Amz-Signature", "X-Amz-Date", "X-Amz-Expires")
    missing = [name for name in required if not query.get(name)]
    if missing or query.get("X-Amz-Algorithm") != ALGORITHM:
        raise RefusedError(400, "AuthorizationQueryParametersError", "Query-string authentication version 4 is incomplete")
    expires = query["X-Amz-Expires"]
    if not expires.isascii() or not expires.isdigit() or int(expires) > MAX_EXPIRES_S:
        raise RefusedError(400, "AuthorizationQueryParametersError", "X-Amz-Expires must be between 0 and a week, in seconds")
    return _Claim(
        credential=query["X-Amz-Credential"],
        signed_headers=tuple(query["X-Amz-SignedHeaders"].split(";")),
        signature=query["X-Amz-Signature"],
        timestamp=query["X-Amz-Date"],
        expires_s=int(expires),
        payload=UNSIGNED_PAYLOAD,
    )


def _check_scope(claim: _Claim, keys: KeyPair, service: str) -> None:
    access_key, _, scope = claim.credential.partition("/")
    if access_key != keys.access_key:
        message = "The AWS Access Key Id you provided does not exist in our records."
        raise RefusedError(403, "InvalidAccessKeyId", message, AWSAccessKeyId=access_key)
    if scope != f"{claim.timestamp[:8]}/{keys.region}/{service}/aws4_request":
        where = "AuthorizationHeaderMalformed" if claim.expires_s is None else "AuthorizationQueryParametersError"
        raise RefusedError(400, where, f"The credential scope is wrong; expecting {keys.region}/{service}", Region=keys.region)


def _check_freshness(claim: _Claim, now: float) -> None:
    try:
        signed_at = datetime.strptime(claim.timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise RefusedError(403, "AccessDenied", "X-Amz-Date must be formatted as YYYYMMDD'T'HHMMSS'Z'") from None
    server_time = _iso(now)
    if claim.expires_s is None:
        if abs(now - signed_at) > CLOCK_SKEW_S:
            message = "The difference between the request time and the current time is too large."
            raise RefusedError(403, "RequestTimeTooSkewed", message, ServerTime=server_time)
    elif now > signed_at + claim.expires_s:
        expired = _iso(signed_at + claim.expires_s)
        raise RefusedError(403, "AccessDenied", "Request has expired", Expires=expired, ServerTime=server_time)
    elif signed_at > now + CLOCK_SKEW_S:
        raise RefusedError(403, "AccessDenied", "Request is not valid yet", ServerTime=server_time)


def _check_signed_headers(request: Request, claim: _Claim) -> None:
    if "host" not in claim.signed_headers:
        raise RefusedError(403, "AccessDenied", "The host header must be signed")
    present = {name for name, _ in request.headers}
    # An x-amz header changes what the request does, so one that nobody signed is a change by somebody else.
    unsigned = sorted(n for n in present - set(claim.signed_headers) if n.startswith("x-amz-"))
    if unsigned:
        message = "There were headers present in the request which were not signed"
        raise RefusedError(403, "AccessDenied", message, HeadersNotSigned=", ".join(unsigned))
    # A header that was signed and then dropped needs no rule of its own: the canonical request differs.


class _ExactHeaders:
    """Limits a botocore signer to the headers that the client signed, also those botocore itself would leave out."""

    names: tuple[str, ...]

    def headers_to_sign(self, request: Any) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name, value in request.headers.items():
            if name in self.names:
                chosen[name] = value
        return chosen

    def signed_headers(self, headers_to_sign: Any) -> str:
        return ";".join(self.names)


class _S3Verifier(_ExactHeaders, S3SigV4Auth):
    pass


class _ServiceVerifier(_ExactHeaders, SigV4Auth):
    pass


def _signature(request: Request, claim: _Claim, keys: KeyPair, service: str) -> str:
    verifier = _S3Verifier if service == "s3" else _ServiceVerifier
    signer = verifier(Credentials(keys.access_key, keys.secret_key), service, keys.region)
    signer.names = claim.signed_headers
    query = "&".join(p for p in request.query.split("&") if not p.startswith("X-Amz-Signature="))
    rebuilt = AWSRequest(method=request.method, url=f"http://x{request.path}{'?' + query if query else ''}")
    for name, value in request.headers:
        rebuilt.headers.add_header(name, value)
    del rebuilt.headers["x-amz-content-sha256"]
    rebuilt.headers["x-amz-content-sha256"] = claim.payload
    rebuilt.context["timestamp"] = claim.timestamp
    return str(signer.signature(signer.string_to_sign(rebuilt, signer.canonical_request(rebuilt)), rebuilt))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
