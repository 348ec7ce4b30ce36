"""The evidence bucket itself, read with the person's own AWS credentials: three kinds of GET, signed here.

No AWS library: the command line has none, and these requests are a page of code (AWS Signature Version 4, "Authenticating
Requests", Amazon S3 API Reference). Credentials come from the environment, as ``aws configure export-credentials`` prints them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from chalicelib.contracts.faults import Fault
from chalicelib.contracts.manifest import MANIFEST_LIMIT
from cli.control_plane import bounded, checked_url, connection_pool, unreachable
from cli.verification.sources import Object

_WORKERS: Final = 16
_ATTEMPTS: Final = 3
_LISTING_LIMIT: Final = 16 * 1024 * 1024
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_HINT: Final = 'Log in to AWS, then: eval "$(aws configure export-credentials --format env)"'


class Signing:
    """A key pair and what it signs with (SigV4, service ``s3``)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._access, self._secret = environment.get("AWS_ACCESS_KEY_ID", ""), environment.get("AWS_SECRET_ACCESS_KEY", "")
        self._token = environment.get("AWS_SESSION_TOKEN", "")
        self.region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        if not self._access or not self._secret:
            raise Fault("login_required", "There are no AWS credentials in the environment.", hint=_HINT)

    def headers(self, host: str, path: str, query: str, now: dt.datetime) -> dict[str, str]:
        """Return the headers of a GET of ``path?query``, both encoded already; ``now`` is UTC."""
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        signed = {"host": host, "x-amz-content-sha256": _EMPTY, "x-amz-date": moment}
        if self._token:
            signed["x-amz-security-token"] = self._token
        names = ";".join(sorted(signed))
        lines = "".join(f"{name}:{signed[name]}\n" for name in sorted(signed))
        canonical = f"GET\n{path}\n{query}\n{lines}\n{names}\n{_EMPTY}"
        scope = f"{moment[:8]}/{self.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        proof = f"AWS4-HMAC-SHA256 Credential={self._access}/{scope}, SignedHeaders={names}, Signature={signature}"
        return {name: value for name, value in signed.items() if name != "host"} | {"Authorization": proof}


class Bucket:
    """Implements ``sources.Source``."""

    workers = _WORKERS
    live = True

    def __init__(self, name: str, endpoint: str, signing: Signing) -> None:
        self._base = f"{checked_url(endpoint, 'The endpoint of S3')}/{name}"
        self._signing = signing
        self._pool = connection_pool(self._base, connections=_WORKERS)

    @classmethod
    def at(cls, place: str, environment: Mapping[str, str] = os.environ) -> Bucket:
        """Return the bucket of ``s3://NAME``. Raises Fault(bad_request | login_required)."""
        name = place.removeprefix("s3://").rstrip("/")
        if not _NAME.fullmatch(name):
            raise Fault("bad_request", f"{place[:200]!r} is not a bucket.", hint="Example: s3://my-recordings")
        signing = Signing(environment)
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
        return cls(name, endpoint or f"https://s3.{signing.region}.amazonaws.com", signing)

    def objects(self, prefix: str) -> Iterator[Object]:
        """Yield every object below ``prefix``, by key."""
        query = {"list-type": "2", "prefix": prefix}
        while True:
            page = self._listing(query)
            for each in _children(page, "Contents"):
                yield Object(_text(each, "Key"), int(_text(each, "Size")))
            if _text(page, "IsTruncated") != "true":
                return
            query["continuation-token"] = _text(page, "NextContinuationToken")

    def read(self, key: str) -> bytes | None:
        """Return the newest version of an object."""
        status, body = self._get(f"/{quote(key, safe='/~')}", "", MANIFEST_LIMIT)
        if status == 200:
            return body
        if status == 404:
            return None
        raise _refused(status, body, key)

    def versions(self, prefix: str) -> dict[str, list[str]] | None:
        """Return the versions of every key, a delete marker as an empty text."""
        found: dict[str, list[str]] = {}
        query = {"prefix": prefix, "versions": ""}
        while True:
            page = self._listing(query)
            for each in _children(page, "Version"):
                found.setdefault(_text(each, "Key"), []).append(_text(each, "VersionId"))
            for each in _children(page, "DeleteMarker"):
                found.setdefault(_text(each, "Key"), []).append("")
            if _text(page, "IsTruncated") != "true":
                return found
            query["key-marker"], query["version-id-marker"] = _text(page, "NextKeyMarker"), _text(page, "NextVersionIdMarker")

    def _listing(self, query: dict[str, str]) -> ElementTree.Element:
        encoded = "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        status, body = self._get("", encoded, _LISTING_LIMIT)
        if status != 200:
            raise _refused(status, body, "the listing")
        try:
            return ElementTree.fromstring(body)  # noqa: S314 - S3's own answer, over TLS, of bounded length
        except ElementTree.ParseError:
            raise Fault("control_plane_unreachable", "What answers is not S3.") from None

    def _get(self, path: str, query: str, limit: int) -> tuple[int, bytes]:
        import urllib3

        url = self._base + path
        parts = urlsplit(url)
        for attempt in range(1, _ATTEMPTS + 1):
            headers = self._signing.headers(parts.netloc, parts.path, query, dt.datetime.now(dt.UTC))
            try:
                response = self._pool.request(
                    "GET",
                    f"{url}?{query}" if query else url,
                    headers=headers,
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                )
                try:
                    body = bounded(response, limit, "object")
                finally:
                    response.release_conn()
            except urllib3.exceptions.HTTPError as error:
                if attempt == _ATTEMPTS:
                    raise unreachable(self._base, error) from None
                continue
            # S3 asks to come again with 500 and 503 ("Slow Down").
            if response.status < 500 or attempt == _ATTEMPTS:
                return response.status, body
        raise AssertionError("the last attempt returns or raises")


def _children(page: ElementTree.Element, name: str) -> list[Any]:
    return [each for each in page if each.tag.rpartition("}")[2] == name]


def _text(element: ElementTree.Element, name: str) -> str:
    found = _children(element, name)
    return (found[0].text or "") if found else ""


def _refused(status: int, body: bytes, what: str) -> Fault:
    match = re.search(rb"<Code>(\w{1,64})</Code>", body)
    code = match[1].decode() if match else f"HTTP {status}"
    return Fault("control_plane_unreachable", f"S3 does not give {what}: {code}.", hint=_HINT if status in (400, 403) else "")
