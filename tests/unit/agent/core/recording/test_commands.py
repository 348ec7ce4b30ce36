"""What a recording says of a line of a shell."""

from __future__ import annotations

from agent.core.policy import Decider
from agent.core.recording.commands import command, withdrawn
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, make_claims, make_policy

LINE = Operation(
    action="run",
    kind="line",
    text="touch x",
    effects=frozenset({"write"}),
    verbs=frozenset({"touch"}),
    environment=(("PWD", "/srv"),),
)


def decided(*rules: str) -> dict[str, object]:
    policy = make_policy(*rules)
    return command(LINE, Decider(make_claims(), lambda: policy).decide(LINE, NOW_MS), (10, 20))


def test_a_line_that_ran() -> None:
    assert decided("permit(principal, action, resource);") == {
        "event": "command",
        "text": "",
        "digest": LINE.digest(),
        "cwd": "/srv",
        "exit": None,
        "duration_ms": 0,
        "cast": [10, 20],
        "verdict": "allowed",
        "rules": ("rule-1",),
        "policy": 1,
    }


def test_a_line_that_was_denied_has_the_words() -> None:
    entry = decided('@message("No.") forbid(principal, action, resource);')
    assert (entry["event"], entry["verdict"], entry["rules"], entry["code"], entry["message"]) == (
        "denied",
        "denied",
        ("rule-1",),
        "denied",
        "No.",
    )


def test_a_line_that_nobody_decided_is_told_without_a_verdict() -> None:
    operation = Operation(action="run", kind="line", text="x", effects=frozenset({"read"}))
    entry = command(operation, None, (0, 0))
    assert (entry["event"], entry["cwd"], "verdict" in entry) == ("command", "", False)


def test_a_line_whose_client_left_is_a_denied_one() -> None:
    entry = withdrawn(LINE, (10, 20))
    assert (entry["event"], entry["verdict"], entry["code"], entry["digest"]) == (
        "denied",
        "denied",
        "approval_withdrawn",
        LINE.digest(),
    )
    assert (entry["exit"], entry["cast"], entry["cwd"]) == (None, [10, 20], "/srv")
