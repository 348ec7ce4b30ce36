"""The evidence bucket's policy, as `infra/data.yaml` says it, held against every request that reaches S3.

moto ignores the conditions of policies. This evaluates the template's own Deny statements, so that a statement that does
not refuse what it should is found here and not in an account. An operator or an intrinsic function that is not known is an
error, never a pass. Source: "Actions, resources, and condition keys for Amazon S3", Service Authorization Reference.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import yaml

from infra.local.http_server import Request
from infra.local.sigv4 import RefusedError

TEMPLATE = Path(__file__).parents[1] / "data.yaml"
Context = Mapping[str, str]
# Subresources that are no write of the object itself.
_BUCKET_WRITES = {"versioning": "PutBucketVersioning", "lifecycle": "PutLifecycleConfiguration"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as `{"Ref": …}` and so on."""


def _short(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return {f"!{suffix}": loader.construct_scalar(node)}
    if not isinstance(node, yaml.SequenceNode):
        raise TypeError(f"!{suffix} of a mapping is not known")
    return {f"!{suffix}": loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _short)


class BucketPolicy:
    """The statements for one bucket. `parameters` override the template's defaults."""

    def __init__(self, bucket: str, parameters: Mapping[str, str] | None = None, template: Path = TEMPLATE) -> None:
        found = yaml.load(template.read_text(), Loader=_Loader)  # noqa: S506 - a SafeLoader with more tags
        defaults = {name: str(each.get("Default", "")) for name, each in found["Parameters"].items()}
        self._values = defaults | dict(parameters or {})
        self._bucket, self._arn = bucket, f"arn:aws:s3:::{bucket}"
        document = found["Resources"]["RecordingsPolicy"]["Properties"]["PolicyDocument"]
        self.statements: list[dict[str, Any]] = [self._resolved(each) for each in document["Statement"]]

    def check(self, request: Request, now: float) -> None:
        """Raises `RefusedError` where a statement denies what `request` would do."""
        for action, key, context in asked(request, self._bucket, now):
            resource = f"{self._arn}/{key}" if key else self._arn
            for statement in self.statements:
                if self._denies(statement, action, resource, context):
                    message = f"Access Denied: the bucket's policy, statement {statement['Sid']}"
                    raise RefusedError(403, "AccessDenied", message)

    def _denies(self, statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
        if statement["Effect"] != "Deny" or statement["Principal"] != "*":
            raise ValueError(f"{statement['Sid']}: only denials of everybody are known here")
        if not any(fnmatch.fnmatchcase(f"s3:{action}", pattern) for pattern in _listed(statement["Action"])):
            return False
        if "NotResource" in statement:
            concerned = not any(fnmatch.fnmatchcase(resource, each) for each in _listed(statement["NotResource"]))
        else:
            concerned = any(fnmatch.fnmatchcase(resource, each) for each in _listed(statement["Resource"]))
        conditions = statement.get("Condition", {})
        return concerned and all(
            _holds(operator, str(value), context.get(name.lower()))
            for operator, tests in conditions.items()
            for name, value in tests.items()
        )

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._resolved(each) for each in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1 and next(iter(value)).startswith("!"):
            ((function, argument),) = value.items()
            return self._call(function, argument)
        return {name: self._resolved(each) for name, each in value.items()}

    def _call(self, function: str, argument: Any) -> Any:
        match function, argument:
            case "!GetAtt", "Recordings.Arn":
                return self._arn
            case "!Sub", str():
                return argument.replace("${Recordings.Arn}", self._arn)
            case "!Ref", str() if argument in self._values:
                return self._values[argument]
            case "!If", ["SomebodyLiftsHolds", yes, no]:
                return self._resolved(yes if self._values["LegalHoldRoleArn"] else no)
        raise ValueError(f"{function} {argument!r} is not known here")


def asked(request: Request, bucket: str, now: float) -> Iterator[tuple[str, str, Context]]:
    """Yields every action that a request needs, the key it is about (empty: the bucket) and the condition keys."""
    named, _, key = unquote(request.path).lstrip("/").partition("/")
    if named != bucket:
        return
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    context = {"aws:securetransport": "true", "aws:principalarn": f"arn:aws:iam::123456789012:role/{request.header('x-role')}"}
    if not key:
        yield from _of_bucket(request, query, context)
    elif request.method == "DELETE" and "uploadId" not in query:
        yield ("DeleteObjectVersion" if "versionId" in query else "DeleteObject"), key, context
        if request.header("x-amz-bypass-governance-retention"):
            yield "BypassGovernanceRetention", key, context
    elif request.method in ("PUT", "POST"):
        yield from _write(request, query, key, context, now)


def _of_bucket(request: Request, query: dict[str, str], context: Context) -> Iterator[tuple[str, str, Context]]:
    if request.method == "POST" and "delete" in query:
        for key in re.findall(rb"<Key>([^<]*)</Key>", request.body):
            yield "DeleteObject", key.decode(), context
    for name, action in _BUCKET_WRITES.items():
        if name in query and request.method in ("PUT", "DELETE"):
            yield action, "", context
    if request.method == "DELETE" and not query:
        yield "DeleteBucket", "", context


def _write(request: Request, query: dict[str, str], key: str, base: Context, now: float) -> Iterator[tuple[str, str, Context]]:
    headers = {name: value for name, value in request.headers if value}
    if "retention" in query:
        context = {**base, **_lock(_tag(request.body, "Mode"), _tag(request.body, "RetainUntilDate"), now)}
        yield "PutObjectRetention", key, context
        if request.header("x-amz-bypass-governance-retention"):
            yield "BypassGovernanceRetention", key, context
        return
    if "legal-hold" in query:
        yield "PutObjectLegalHold", key, {**base, "s3:object-lock-legal-hold": _tag(request.body, "Status")}
        return
    if "tagging" in query or "acl" in query:
        return
    names = ("if-none-match", "if-match", "x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-algorithm")
    context = {**base, **{f"s3:{name}": headers[name] for name in names if name in headers}}
    mode, until = headers.get("x-amz-object-lock-mode", ""), headers.get("x-amz-object-lock-retain-until-date", "")
    context |= _lock(mode, until, now)
    # Beginning an upload in parts, and each part, are writes that create no object yet.
    context["s3:objectcreationoperation"] = "false" if "partNumber" in query or "uploads" in query else "true"
    hold = headers.get("x-amz-object-lock-legal-hold", "")
    if hold:
        context["s3:object-lock-legal-hold"] = hold
        yield "PutObjectLegalHold", key, context
    if mode:
        yield "PutObjectRetention", key, context
    yield "PutObject", key, context


def _lock(mode: str, until: str, now: float) -> dict[str, str]:
    if not mode or not until:
        return {}
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        return {}  # S3 refuses it as malformed
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return {"s3:object-lock-mode": mode, "s3:object-lock-remaining-retention-days": str(int(seconds // 86400))}


def _tag(body: bytes, name: str) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>".encode(), body)
    return found[1].decode() if found else ""


def _holds(operator: str, value: str, found: str | None) -> bool:
    match operator:
        case "Null":
            return (found is None) == (value == "true")
        case "Bool":
            return found == value
        case "StringEquals":
            return found == value
        case "StringNotEquals":
            return found != value  # an absent key is a match, for every negated operator
        case "NumericLessThan":
            return found is not None and float(found) < float(value)
        case "ArnNotLike":
            return found is None or not fnmatch.fnmatchcase(found, value)
    raise ValueError(f"the condition operator {operator} is not known here")


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
