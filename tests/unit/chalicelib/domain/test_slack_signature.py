"""What Slack signed, when, and what our own buttons carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.faults import Fault
from chalicelib.domain.slack_signature import WINDOW_S, button, check, pressed, sign

SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
NOW_MS = 1_531_420_618_000
NOW = "1531420618"
#: The example of Slack's own documentation ("Verifying requests from Slack").
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id="
    b"U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC"
    b"2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def refused(timestamp: str, signature: str, body: bytes, now_ms: int = NOW_MS, secret: bytes = SECRET) -> bool:
    try:
        check(secret, timestamp, signature, body, now_ms)
    except Fault as fault:
        return fault.code == "signature_invalid"
    return False


def test_slacks_own_example() -> None:
    assert sign(SECRET, NOW, BODY) == SIGNATURE
    assert not refused(NOW, SIGNATURE, BODY)


@pytest.mark.parametrize("seconds", [-WINDOW_S, -1, 0, 1, WINDOW_S])
def test_five_minutes_either_way(seconds: int) -> None:
    assert not refused(NOW, SIGNATURE, BODY, NOW_MS + seconds * 1000)
    if abs(seconds) == WINDOW_S:
        assert refused(NOW, SIGNATURE, BODY, NOW_MS + (seconds + seconds // WINDOW_S) * 1000)


@pytest.mark.parametrize("timestamp", ["", "x", "1531420618.0", " 1531420618", "+1531420618", "-1", "٣", "9" * 400, "nan"])
def test_a_time_is_digits_even_where_it_is_signed(timestamp: str) -> None:
    assert refused(timestamp, sign(SECRET, timestamp, BODY), BODY)


@pytest.mark.parametrize(
    "signature", ["", "v0=", SIGNATURE[3:], "v1=" + SIGNATURE[3:], SIGNATURE.upper(), SIGNATURE + " ", "é\ud800"]
)
def test_another_signature_is_none(signature: str) -> None:
    assert refused(NOW, signature, BODY)


def test_another_body_time_or_secret_is_not_signed() -> None:
    assert refused(NOW, SIGNATURE, BODY + b"&")
    assert refused("1531420619", SIGNATURE, BODY)
    assert refused(NOW, SIGNATURE, BODY, secret=SECRET[:-1])


def test_a_button_says_what_it_was_made_for() -> None:
    assert pressed(SECRET, button(SECRET, "req_1", "ab" * 32)) == ("req_1", "ab" * 32)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=70))
def test_nobody_else_makes_buttons(rid: str, digest: str, mac: str) -> None:
    with pytest.raises(Fault):
        pressed(SECRET, f"{rid}.{digest}.{mac}")


def test_the_parts_of_a_button_are_not_exchanged() -> None:
    one, other = button(SECRET, "req_1", "aa").split("."), button(SECRET, "req_2", "bb").split(".")
    for parts in ([one[0], other[1], one[2]], [other[0], one[1], one[2]], [one[0], one[1], other[2]], one[:2], one[:1]):
        with pytest.raises(Fault):
            pressed(SECRET, ".".join(parts))
    with pytest.raises(Fault):
        pressed(b"another" * 5, ".".join(one))
