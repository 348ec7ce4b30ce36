"""Trying again: how long, how often, and when not."""

from __future__ import annotations

import pytest

from agent.runtime.backoff import Backoff, is_final, persist
from chalicelib.contracts.faults import CODES, Fault


def test_delays_grow_to_a_limit_and_start_over() -> None:
    backoff = Backoff(1, 8)
    delays = [backoff.next_s() for _ in range(100)]
    for delay, ceiling in zip(delays, [1, 2, 4, 8, 8, 8], strict=False):
        assert ceiling / 2 <= delay <= ceiling
    assert max(delays) <= 8
    backoff.succeeded()
    assert backoff.next_s() <= 1


@pytest.mark.parametrize(
    ("code", "final"),
    [
        ("control_plane_unreachable", False),
        ("internal", False),
        ("agent_proof_invalid", False),
        ("agent_unknown", False),
        ("conflict", False),
        ("ticket_used", True),
        ("chunk_invalid", True),
        ("unknown_session", True),
        ("denied", True),
    ],
)
def test_which_faults_are_final(code: str, final: bool) -> None:
    assert code in CODES
    assert is_final(Fault(code, "Words.")) is final


async def test_persist_returns_what_finally_succeeds() -> None:
    answers: list[Fault | str] = [Fault("internal", "Words."), Fault("agent_unknown", "Words."), "done"]

    async def action() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Fault):
            raise answer
        return answer

    assert await persist(action, event="test.delayed", backoff=Backoff(0.001, 0.001)) == "done"


async def test_persist_raises_what_is_final_and_does_not_hide_bugs() -> None:
    async def refused() -> None:
        raise Fault("denied", "Words.")

    async def buggy() -> None:
        raise ZeroDivisionError

    with pytest.raises(Fault):
        await persist(refused, event="test.delayed")
    with pytest.raises(ZeroDivisionError):
        await persist(buggy, event="test.delayed")
