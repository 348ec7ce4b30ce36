from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.login_attempt import LoginAttempt, challenge

HOST = "127.0.0.1:4711"
STATE = "st4te"
GOOD = f"/done?code=0123456789abcdef&state={STATE}"


@pytest.fixture
def attempt() -> LoginAttempt:
    return LoginAttempt(STATE, 4711)


def test_the_challenge_of_the_specification() -> None:
    # RFC 7636, appendix B
    assert challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize("host", [HOST, "localhost:4711", "LocalHost:4711"])
def test_the_redirect_ends_it(attempt: LoginAttempt, host: str) -> None:
    answer = attempt.receive("GET", host, GOOD)
    assert answer.status == 200
    assert "close this tab" in answer.page
    assert attempt.over
    assert attempt.code == "0123456789abcdef"


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:4711", "127.0.0.1", "127.0.0.1:4712", "127.0.0.1:4711.evil.example"]
)
def test_a_foreign_host_changes_nothing(attempt: LoginAttempt, host: str) -> None:
    assert attempt.receive("GET", host, GOOD).status == 421
    assert not attempt.over


@pytest.mark.parametrize(
    "query",
    [
        "code=0123456789abcdef",
        "code=0123456789abcdef&state=",
        "code=0123456789abcdef&state=other",
        f"code=0123456789abcdef&state={STATE}&state={STATE}",
        "code=0123456789abcdef&state=st4t%C3%A9",
        "&&&&",
        "",
        "a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=10&state=" + STATE,
    ],
)
def test_another_state_changes_nothing(attempt: LoginAttempt, query: str) -> None:
    assert attempt.receive("GET", HOST, f"/done?{query}").status == 400
    assert not attempt.over
    assert attempt.strays == 1
    assert attempt.receive("GET", HOST, GOOD).status == 200


def test_a_second_redirect_changes_nothing(attempt: LoginAttempt) -> None:
    attempt.receive("GET", HOST, GOOD)
    assert attempt.receive("GET", HOST, f"/done?code=another-code&state={STATE}").status == 409
    assert attempt.receive("GET", HOST, f"/done?error=denied&state={STATE}").status == 409
    assert attempt.code == "0123456789abcdef"
    assert attempt.fault is None


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        ("identity_unverified", "identity_unverified", "has not verified"),
        ("denied", "denied", "does not let you"),
        ("target_timeout", "target_timeout", r"\(target_timeout\)"),
        ("access_denied", "login_failed", "did not succeed"),
        ("%3Cscript%3E", "login_failed", "did not succeed"),
        ("", "login_failed", "did not succeed"),
    ],
)
def test_an_error_ends_it(attempt: LoginAttempt, error: str, code: str, words: str) -> None:
    answer = attempt.receive("GET", HOST, f"/done?error={error}&state={STATE}")
    assert answer.status == 200
    assert "script" not in answer.page
    assert attempt.fault is not None
    assert attempt.fault.code == code
    with pytest.raises(type(attempt.fault), match=words):
        raise attempt.fault


def test_the_gateways_own_words_go_to_the_terminal_only(attempt: LoginAttempt) -> None:
    answer = attempt.receive("GET", HOST, f"/done?error=login_failed&message=No+such+zzz&state={STATE}")
    assert attempt.fault is not None
    assert attempt.fault.message == "No such zzz"
    assert "such zzz" not in answer.page


@pytest.mark.parametrize(
    "query",
    ["code=short", "code=has%20blanks%20in%20it", "code=0123456789&code=0123456789", "code=0123456789&error=denied", "x=y"],
)
def test_a_redirect_that_says_nothing_clear_is_a_failure(attempt: LoginAttempt, query: str) -> None:
    attempt.receive("GET", HOST, f"/done?{query}&state={STATE}")
    assert attempt.fault is not None
    assert not attempt.code


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", GOOD, 405),
        ("HEAD", GOOD, 405),
        ("GET", "/", 404),
        ("GET", "/favicon.ico", 404),
        ("GET", f"//x{GOOD}", 404),
        ("GET", f"http://x{GOOD}", 404),
        ("GET", "", 404),
    ],
)
def test_other_requests_change_nothing(attempt: LoginAttempt, method: str, target: str, status: int) -> None:
    assert attempt.receive(method, HOST, target).status == status
    assert not attempt.over


@given(st.text(max_size=20), st.text(max_size=200))
def test_nobody_gets_in_without_the_state(host: str, target: str) -> None:
    attempt = LoginAttempt("Zq9-secret-state", 4711)
    for each in (host, HOST):
        attempt.receive("GET", each, target)
        attempt.receive("GET", each, f"/done?{target}")
    assert not attempt.over


@given(st.text(alphabet="<>\"'&;ab", min_size=1, max_size=30))
def test_a_page_never_shows_what_the_request_said(text: str) -> None:
    marked = f"zzz{text}zzz"
    attempt = LoginAttempt(STATE, 4711)
    pages = [
        attempt.receive("GET", HOST, f"/{marked}").page,
        attempt.receive("GET", marked, "/").page,
        attempt.receive("GET", HOST, f"/done?state={marked}").page,
        attempt.receive("GET", HOST, f"/done?error={marked}&state={STATE}").page,
    ]
    assert not any("zzz" in page for page in pages)
