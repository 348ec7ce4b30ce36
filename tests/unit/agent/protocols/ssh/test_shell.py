"""How long a shell has to report: seconds in which the agent could have heard it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agent.protocols.ssh.shell import ShellRelay
from chalicelib.contracts.faults import Fault


class Clock:
    """A loop whose timers are due when the test says so."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Any, tuple[Any, ...]]] = []

    def call_later(self, seconds: float, act: Any, *arguments: Any) -> Any:
        timer = (seconds, act, arguments)
        self.due.append(timer)
        return SimpleNamespace(cancel=lambda: self.due.remove(timer))

    def ring(self) -> float:
        """Let the next timer be due, however late that is. Returns what it was set to."""
        seconds, act, arguments = self.due.pop(0)
        act(*arguments)
        return seconds


class Starting:
    """A shell that has not reported yet."""

    patience: tuple[object, float] | None = ("nonce", 3.0)
    waits = False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def relay(shell: Any, failed: list[Fault]) -> ShellRelay:
    nothing: Any = None
    owner: Any = SimpleNamespace(fail=failed.append)
    serving: Any = SimpleNamespace(recorder=None)
    return ShellRelay(serving, shell, nothing, (nothing, nothing), owner)


def test_a_shell_that_does_not_report_is_ended_when_its_time_is_over(clock: Clock) -> None:
    failed: list[Fault] = []
    relay(Starting(), failed)
    waited = 0.0
    while clock.due:
        assert not failed
        waited += clock.ring()
    assert waited == 3.0
    assert [(fault.code, "within 3 s" in fault.message) for fault in failed] == [("shell_unguarded", True)]


def test_an_agent_that_was_held_up_has_not_waited_for_its_shell(clock: Clock) -> None:
    """A machine that stood still for a minute lets one timer be a minute late; the shell loses what that timer was set to."""
    failed: list[Fault] = []
    shell = Starting()
    held_up = relay(shell, failed)
    assert clock.ring() <= 0.25
    assert clock.due
    assert not failed
    shell.patience = None
    held_up._watch()
    assert not clock.due
