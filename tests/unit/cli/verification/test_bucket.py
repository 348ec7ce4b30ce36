"""S3 without a library: signatures held to botocore's, and answers that are not what they should be."""

from __future__ import annotations

import datetime as dt
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.faults import Fault
from cli.verification.bucket import Bucket, Signing

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret/key", "AWS_REGION": "eu-west-1"}


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=40), st.sampled_from(["", "session"]))
def test_signatures_are_botocores(key: str, token: str) -> None:
    path = f"/bucket/{quote(key, safe='/~')}"
    query = f"list-type=2&prefix={quote(key, safe='~')}"
    signing = Signing(KEYS | ({"AWS_SESSION_TOKEN": token} if token else {}))
    request = AWSRequest("GET", f"https://s3.eu-west-1.amazonaws.com{path}?{query}")
    request.context["timestamp"] = ""
    S3SigV4Auth(Credentials("AKIDEXAMPLE", "secret/key", token or None), "s3", "eu-west-1").add_auth(request)
    now = dt.datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    made = signing.headers("s3.eu-west-1.amazonaws.com", path, query, now)
    assert made["Authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize("place", ["s3://", "s3://UPPER", "s3://a/b", "s3://..", "s3://a b c"])
def test_what_is_no_bucket_is_refused(place: str) -> None:
    with pytest.raises(Fault, match="bad_request"):
        Bucket.at(place, KEYS)


def test_credentials_come_from_the_environment() -> None:
    with pytest.raises(Fault, match="login_required"):
        Bucket.at("s3://recordings", {"AWS_ACCESS_KEY_ID": "x"})


def test_plain_http_is_for_this_machine() -> None:
    with pytest.raises(Fault, match="https"):
        Bucket.at("s3://recordings", KEYS | {"AWS_ENDPOINT_URL_S3": "http://s3.example.com"})
    Bucket.at("s3://recordings", KEYS | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"})
