from __future__ import annotations

import pytest

from chalicelib.contracts import faults


def test_every_code_has_an_owner_a_status_and_an_exit() -> None:
    for code, kind in faults.CODES.items():
        assert code == code.lower()
        assert kind.owner in {"client", "target", "gateway"}
        assert 400 <= kind.status < 600
        assert 1 <= kind.exit <= 126
        # A client's mistake never wears the gateway's status.
        assert (kind.status < 500) == (kind.owner == "client"), code


def test_an_unknown_code_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        faults.Fault("no_such_code", "x")


def test_a_fault_never_tells_its_detail() -> None:
    fault = faults.Fault("internal", "It broke.", detail="password=hunter2")
    assert "hunter2" not in str(fault)
    assert "hunter2" not in repr(fault.notice)


def test_messages_are_bounded() -> None:
    assert len(faults.Fault("denied", "x" * 10_000).message) == faults.MESSAGE_LIMIT


def test_an_unknown_code_from_a_newer_gateway_is_the_gateways_fault() -> None:
    assert faults.exit_status("code_of_tomorrow") == faults.EXIT_GATEWAY
    assert faults.exit_status("denied") == 126
