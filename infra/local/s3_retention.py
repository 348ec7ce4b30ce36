"""`?retention` of an object: what moto answers wrongly about Object Lock.

moto lets anybody shorten or weaken a COMPLIANCE retention, and fails to read one that was set by an upload's headers.
Both are what evidence rests on. Source: "Locking objects with Object Lock", Amazon S3 User Guide.
"""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlencode

from infra.local.http_server import Request, Respond, Response
from infra.local.sigv4 import RefusedError

_MODE = re.compile(rb"<Mode>(GOVERNANCE|COMPLIANCE)</Mode>")
_UNTIL = re.compile(rb"<RetainUntilDate>([^<]+)</RetainUntilDate>")


def is_retention(request: Request) -> bool:
    """Whether the request reads or changes one object's retention."""
    names = {name for name, _ in parse_qsl(request.query, keep_blank_values=True)}
    return "retention" in names and request.method in ("GET", "PUT")


def answer(request: Request, backend: Respond) -> Response:
    """Reads the retention that an object has, or lets the backend change it. Raises `RefusedError` for less than it has."""
    head = backend(_head(request))
    headers = {name.lower(): value for name, value in head.headers}
    mode, until = headers.get("x-amz-object-lock-mode"), headers.get("x-amz-object-lock-retain-until-date")
    if request.method == "PUT":
        if mode and until:
            _check_change(request, mode, moment(until))
        return backend(request)
    if head.status != 200:
        raise RefusedError(404, "NoSuchKey", "The specified key does not exist.")
    if not mode or not until:
        raise RefusedError(404, "NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration")
    retain = moment(until).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Retention xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Mode>{mode}</Mode><RetainUntilDate>{retain}</RetainUntilDate></Retention>"
    )
    return Response(200, [("content-type", "application/xml")], body.encode())


def _check_change(request: Request, mode: str, until: datetime) -> None:
    wanted_mode, wanted_until = _MODE.search(request.body), _UNTIL.search(request.body)
    if wanted_mode and wanted_until:
        later = moment(wanted_until[1].decode("latin-1")) >= until
        weaker = mode == "COMPLIANCE" and wanted_mode[1] == b"GOVERNANCE"
        if later and not weaker:
            return
    bypass = (request.header("x-amz-bypass-governance-retention") or "").lower() == "true"
    # Nobody shortens COMPLIANCE, the account's root user included.
    if mode == "COMPLIANCE" or not bypass:
        raise RefusedError(403, "AccessDenied", "Access Denied because object protected by object lock.")


def _head(request: Request) -> Request:
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    kept = {"versionId": query["versionId"]} if "versionId" in query else {}
    target = request.path + ("?" + urlencode(kept) if kept else "")
    return Request("HEAD", target, [(n, v) for n, v in request.headers if n in ("host", "authorization")])


def moment(text: str) -> datetime:
    """The moment that a lock's date names. Raises `RefusedError`."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, "MalformedXML", "RetainUntilDate is not a date") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
