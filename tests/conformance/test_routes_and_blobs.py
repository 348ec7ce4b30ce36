"""Sealed routes and presigned links, on the fakes and on the adapters."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from chalicelib.contracts.recording import Chunk
from chalicelib.contracts.relay import ROUTE_LIMIT
from chalicelib.contracts.retention import Lock
from chalicelib.ports import Blobs, Routes
from tests.conformance.conftest import Cloud

LOCK = Lock(mode="COMPLIANCE", until_s=1_800_000_000)
CHUNK = Chunk(n=0, kind="ch01.cast", time_ms=1, size=321, sha256="0a" * 32, chain="0b" * 32)


def test_a_sealed_route_opens_to_its_parts(routes: Routes) -> None:
    assert routes.unseal("route", routes.seal("route", "c1", "c2", "7")) == ("c1", "c2", "7")
    assert routes.unseal("route", routes.seal("route", 'a"b', "c.d", "")) == ('a"b', "c.d", "")


def test_one_kind_is_not_another(routes: Routes) -> None:
    with pytest.raises(ValueError):
        routes.unseal("resume", routes.seal("route", "c1"))


@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_changed_route_is_refused(routes: Routes, place: int) -> None:
    text = routes.seal("route", "c1", "c2")
    changed = list(text)
    changed[place] = "A" if changed[place] != "A" else "B"
    with pytest.raises(ValueError):
        routes.unseal("route", "".join(changed))


@pytest.mark.parametrize("text", ["", ".", "x", "W10.", "é.é", "a" * 2000])
def test_anything_else_is_refused(routes: Routes, text: str) -> None:
    with pytest.raises(ValueError):
        routes.unseal("route", text)


def test_a_route_fits_into_a_message(cloud: Cloud) -> None:
    connection = "L0SM9cOFvHcCIhw="
    sealed = cloud.routes().seal("route", connection, connection, str(2**53), "1790000000000")
    assert len(sealed) <= ROUTE_LIMIT


def test_two_gateways_do_not_share_routes(cloud: Cloud) -> None:
    text = cloud.routes().seal("route", "c1")
    cloud.client("secretsmanager").put_secret_value(SecretId=cloud.made.route_secret, SecretBinary=b"z" * 32)
    with pytest.raises(ValueError):
        cloud.routes().unseal("route", text)


def test_a_secret_that_is_too_short_is_refused(cloud: Cloud) -> None:
    client = cloud.client("secretsmanager")
    for value in ({"SecretBinary": b"short"}, {"SecretString": "short"}):
        client.put_secret_value(SecretId=cloud.made.route_secret, **value)
        with pytest.raises(RuntimeError):
            cloud.routes().seal("route", "c1")


def test_a_generated_text_secret_is_a_key(cloud: Cloud) -> None:
    cloud.client("secretsmanager").put_secret_value(SecretId=cloud.made.route_secret, SecretString="x" * 64)
    assert cloud.routes().unseal("route", cloud.routes().seal("route", "c1")) == ("c1",)


def test_an_upload_link_names_every_header_that_it_binds(blobs: Blobs) -> None:
    url, headers = blobs.presign_put("recordings/x/000000.zst", CHUNK, LOCK, 300)
    assert headers["content-length"] == "321"
    assert headers["content-type"] == "application/zstd"
    assert headers["if-none-match"] == "*"
    assert headers["x-amz-checksum-sha256"] == "CgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgo="
    assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    assert headers["x-amz-object-lock-retain-until-date"] == "2027-01-15T08:00:00Z"
    assert "x-amz-object-lock-legal-hold" not in headers
    assert "recordings/x/000000.zst" in url


def test_an_upload_link_binds_a_legal_hold(blobs: Blobs) -> None:
    held = msgspec.structs.replace(LOCK, legal_hold=True, mode="GOVERNANCE")
    _, headers = blobs.presign_put("recordings/x/000000.zst", CHUNK, held, 300)
    assert (headers["x-amz-object-lock-legal-hold"], headers["x-amz-object-lock-mode"]) == ("ON", "GOVERNANCE")


def test_s3_signs_exactly_those_headers(cloud: Cloud) -> None:
    from chalicelib.adapters.s3 import S3Blobs

    url, headers = S3Blobs(cloud.client("s3"), cloud.made.bucket).presign_put("recordings/x", CHUNK, LOCK, 300)
    query = parse_qs(urlsplit(url).query)
    assert set(query["X-Amz-SignedHeaders"][0].split(";")) == {*headers, "host"}
    assert query["X-Amz-Expires"] == ["300"]


def test_a_download_link_is_short_lived(cloud: Cloud) -> None:
    from chalicelib.adapters.s3 import S3Blobs

    url = S3Blobs(cloud.client("s3"), cloud.made.bucket).presign_get("recordings/x", 300)
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["300"]
