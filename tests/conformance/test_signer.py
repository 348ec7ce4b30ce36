"""The gateway's signatures, checked with code that neither the fake nor the adapter uses."""

from __future__ import annotations

import json

import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from chalicelib.domain import base64url
from chalicelib.ports import Signer

TYP = "sallyport-ticket+jwt"


def test_a_token_verifies_with_the_published_key(signer: Signer) -> None:
    token = signer.sign_token(TYP, {"sub": "alice", "n": 1})
    found = jws.deserialize_compact(token, ECKey.import_key({**signer.token_key()}), algorithms=["ES256"])
    header = found.headers()
    assert (header["typ"], header["alg"], header["kid"]) == (TYP, "ES256", signer.token_key()["kid"])
    assert json.loads(found.payload) == {"sub": "alice", "n": 1}
    assert signer.verify_token(TYP, token) == {"sub": "alice", "n": 1}
    assert "d" not in signer.token_key()


def test_another_type_is_refused(signer: Signer) -> None:
    token = signer.sign_token(TYP, {})
    with pytest.raises(ValueError):
        signer.verify_token("sallyport-access+jwt", token)


def test_a_changed_token_is_refused(signer: Signer) -> None:
    header, body, signature = signer.sign_token(TYP, {"sub": "alice"}).split(".")
    forged = base64url.encode(json.dumps({"sub": "mallory"}).encode())
    for token in (f"{header}.{forged}.{signature}", f"{header}.{body}.", f"{header}.{body}", "", "a.b.c", body):
        with pytest.raises(ValueError):
            signer.verify_token(TYP, token)


def test_an_unsigned_token_is_refused(signer: Signer) -> None:
    for alg in ("none", "HS256"):
        header = base64url.encode(json.dumps({"alg": alg, "typ": TYP}).encode())
        body = base64url.encode(b"{}")
        with pytest.raises(ValueError):
            signer.verify_token(TYP, f"{header}.{body}.{base64url.encode(b'x' * 64)}")


def test_another_gateways_token_is_refused(signer: Signer) -> None:
    key = ECKey.generate_key("P-256")
    token = jws.serialize_compact({"alg": "ES256", "typ": TYP}, b"{}", key, algorithms=["ES256"])
    with pytest.raises(ValueError):
        signer.verify_token(TYP, token)


def test_the_ssh_ca_is_one_openssh_line(signer: Signer) -> None:
    kind, blob = signer.ssh_ca().split(" ")
    assert kind == "ecdsa-sha2-nistp256"
    assert blob.startswith("AAAA")
    assert signer.ssh_ca() == signer.ssh_ca()
