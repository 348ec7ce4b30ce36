"""What is said beside a question."""

from __future__ import annotations

import pytest

from chalicelib.usecases.circumstances import address, check_sizes, moment
from tests.fakes.clock import FakeClock
from tests.unit.chalicelib.usecases.expecting import fault


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8::7", "2001:db8::7"),
        ("", ""),
        ("localhost", ""),
        ("192.0.2.7, 10.0.0.1", ""),
        ("1.2.3", ""),
    ],
)
def test_only_an_address_reaches_policy(text: str, found: str) -> None:
    assert address(text) == found
    assert moment(FakeClock(), source_ip=text).source_ip == found


def test_sizes_are_refused_before_anything_is_done() -> None:
    check_sizes("t" * 128, "l" * 128, "r" * 2_000)
    for asked in (("t" * 129, "", ""), ("", "l" * 129, ""), ("", "", "r" * 2_001)):
        with fault("too_large"):
            check_sizes(*asked)
