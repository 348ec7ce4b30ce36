"""Limits that cannot work are refused when they are made."""

from __future__ import annotations

import pytest

from chalicelib.contracts import relay
from chalicelib.contracts.tunnel import FRAME_LIMIT, INITIAL_CREDIT, PAYLOAD_LIMIT, SPREAD, Limits


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": INITIAL_CREDIT - 1},
        {"payload": 0},
        {"payload": PAYLOAD_LIMIT + 1},
        {"max_in_flight": 1},
        {"max_in_flight": SPREAD},
        {"send_buffer": 0},
        {"ack_every": 0},
        {"patience": 0},
        {"linger": -1},
        {"ack_delay": 0},
        {"initial_rto": 0},
        {"min_rto": 0},
        {"min_rto": 2, "max_rto": 1},
    ],
)
def test_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Limits(**wrong)  # type: ignore[arg-type]


def test_the_smallest_and_the_default_work() -> None:
    Limits()
    Limits(window=INITIAL_CREDIT, payload=1, max_in_flight=2, send_buffer=1, ack_every=1)


def test_the_largest_frame_fits_one_message_of_the_relay() -> None:
    text = relay.pack(bytes(FRAME_LIMIT))
    assert len(text) <= relay.FRAME_TEXT_LIMIT
    assert len(relay.encode(relay.Data(r="r" * relay.ROUTE_LIMIT, f=text))) <= relay.MESSAGE_LIMIT
