"""Keys are read strictly and written one way."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.ssh_wire import Wire, ed25519_line, ed25519_of_line, mpint, string
from tests.fakes.world import AgentKeys, openssh

KEYS = AgentKeys()


def line(blob: bytes, kind: str = "ssh-ed25519") -> str:
    return f"{kind} {base64.b64encode(blob).decode()}"


def test_a_key_is_read_and_its_comment_dropped() -> None:
    written = openssh(KEYS.key)
    assert ed25519_of_line(written) == KEYS.public_key
    assert ed25519_line(ed25519_of_line(f"{written} alice@laptop with spaces\n")) == written


GOOD = string("ssh-ed25519") + string(b"k" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        line(GOOD) + "\nssh-ed25519 AAAA",
        'command="x" ' + line(GOOD),
        line(GOOD, "ssh-rsa"),
        line(string("ssh-rsa") + string(b"k" * 32)),
        line(string("ssh-ed25519") + string(b"k" * 31)),
        line(string("ssh-ed25519") + string(b"k" * 33)),
        line(GOOD + b"x"),
        line(GOOD[:-1]),
        line(string("ssh-ed25519") + b"\xff\xff\xff\xff"),
        line(GOOD) + "\r",
        "ssh-ed25519 " + "A" * 20_000,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ed25519_of_line(text)


@given(st.integers(min_value=0, max_value=2**300))
def test_mpints_are_minimal_and_positive(value: int) -> None:
    raw = Wire(mpint(value)).string()
    assert int.from_bytes(raw, "big", signed=True) == value
    assert not raw or raw[0] != 0 or raw[1] & 0x80
