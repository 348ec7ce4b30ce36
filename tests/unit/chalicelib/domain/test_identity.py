"""What an ID token must say."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib.contracts.faults import Fault
from chalicelib.domain.identity import Identity, Wanted, answers, challenge, identity_of, is_challenge

WANTED = Wanted(issuer="https://idp.example", client_id="sallyport")
NOW = 1_790_000_000
CLAIMS: dict[str, Any] = {
    "iss": "https://idp.example",
    "aud": "sallyport",
    "nonce": "n",
    "iat": NOW,
    "exp": NOW + 60,
    "email": "alice@example.com",
    "email_verified": True,
    "groups": ["sre", "on-call", "sre"],
    "amr": ["pwd", "mfa"],
}


def identify(**changed: Any) -> Identity:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not ...}
    return identity_of(claims, WANTED, "n", NOW)


def code(**changed: Any) -> str:
    with pytest.raises(Fault) as caught:
        identify(**changed)
    return caught.value.code


def test_a_good_token_names_a_person() -> None:
    expected = Identity(principal="alice@example.com", groups=["on-call", "sre"], mfa=True, email="alice@example.com")
    assert identify() == expected


def test_only_a_verified_address_is_remembered_and_in_lower_case() -> None:
    assert identify(email="Alice@Example.COM").email == "alice@example.com"
    wanted = Wanted(issuer="https://idp.example", client_id="sallyport", principal_claim="sub")
    for changed in ({"email_verified": False}, {"email_verified": "true"}, {"email": None}, {"email": "a b@example.com"}):
        claims = CLAIMS | {"sub": "u-1"} | changed
        assert identity_of(claims, wanted, "n", NOW).email == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://idp.example/"},
        {"iss": ...},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": ...},
        {"aud": ["sallyport", "another"]},
        {"azp": "another"},
        {"nonce": "m"},
        {"nonce": ...},
        {"nonce": 7},
        {"exp": NOW - 31},
        {"exp": ...},
        {"exp": "later"},
        {"exp": True},
        {"iat": NOW + 31},
        {"iat": ...},
    ],
)
def test_a_token_for_somebody_else_or_some_other_time_is_refused(changed: dict[str, Any]) -> None:
    assert code(**changed) == "login_failed"


def test_several_audiences_need_an_authorized_party() -> None:
    assert identify(aud=["sallyport", "another"], azp="sallyport").principal == "alice@example.com"


@pytest.mark.parametrize(
    "changed",
    [
        {"email": ...},
        {"email": ""},
        {"email": ["alice@example.com"]},
        {"email": "alice @example.com"},
        {"email": "alice\n@example.com"},
        {"email": "../alice"},
        {"email": "x" * 255},
        {"email": "аlice@example.com"},
        {"email_verified": False},
        {"email_verified": "true"},
        {"email_verified": ...},
        {"groups": "sre" * 100},
        {"groups": [1]},
        {"groups": {"a": 1}},
        {"groups": [f"group-{n}" for n in range(400)]},
    ],
)
def test_a_person_without_a_usable_name_does_not_enter(changed: dict[str, Any]) -> None:
    assert code(**changed) == "identity_unverified"


@pytest.mark.parametrize(("changed", "groups"), [({"groups": ...}, []), ({"groups": "sre"}, ["sre"]), ({"groups": []}, [])])
def test_groups_may_be_missing_or_one(changed: dict[str, Any], groups: list[str]) -> None:
    assert identify(**changed).groups == groups


@pytest.mark.parametrize("amr", [..., [], ["pwd"], "mfa", ["otp"]])
def test_only_mfa_is_mfa(amr: Any) -> None:
    assert not identify(amr=amr).mfa


def test_another_claim_can_name_people() -> None:
    wanted = Wanted(
        issuer="https://idp.example", client_id="sallyport", principal_claim="preferred_username", groups_claim="roles"
    )
    claims = CLAIMS | {"preferred_username": "alice", "email_verified": False, "roles": ["admin"]}
    assert identity_of(claims, wanted, "n", NOW) == Identity(principal="alice", groups=["admin"], mfa=True)


def test_pkce_is_the_rfcs() -> None:
    # RFC 7636, appendix B.
    verifier, expected = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    assert challenge(verifier) == expected
    assert answers(verifier, expected)
    assert not answers(verifier[:-1] + "l", expected)
    assert not answers("short", challenge("short"))
    assert is_challenge(expected)
    assert not is_challenge(expected + "=")
