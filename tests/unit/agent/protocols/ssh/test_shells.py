"""Which kind of shell a person gets."""

from __future__ import annotations

import pytest

from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.shells import HOW, permitted, start_s
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import FakeServing, make_policy, make_target

PERMIT = "permit(principal, action, resource);"
KNOWN = 'forbid(principal, action, resource) when { context.effects.contains("unknown") };'
NOBODY = "forbid(principal, action, resource);"
WISH = Wish(kind="shell", terminal=Terminal("xterm", 80, 24))


def no(mode: str, approval: str = "") -> str:
    head = f'@approval("group:{approval}") ' if approval else ""
    lifted = f' unless {{ context.approvals.contains("{approval}") }}' if approval else ""
    return f'{head}forbid(principal, action == Action::"run", resource) when {{ context.flags.contains("{mode}") }}{lifted};'


@pytest.mark.parametrize(
    ("shell", "rules", "modes"),
    [
        (None, [PERMIT], []),
        ("guarded", [PERMIT], ["guarded"]),
        ("guarded", [NOBODY], ["guarded"]),
        ("nonsense", [PERMIT], ["nonsense"]),
        (["guarded", "locked"], [PERMIT], ["guarded", "locked"]),
        (["locked", "guarded"], [PERMIT], ["locked", "guarded"]),
        (["guarded", "locked"], [PERMIT, no("guarded")], ["locked"]),
        (["guarded", "locked"], [PERMIT, no("guarded"), no("locked")], ["guarded"]),
        (["guarded", "locked"], [PERMIT, no("guarded", "dba")], ["locked"]),
        (["guarded", "locked"], [PERMIT, no("guarded"), no("locked", "dba")], ["locked"]),
        (["guarded", "locked"], [PERMIT, no("guarded", "dba"), no("locked", "dba")], ["guarded"]),
        (["guarded", "recorded"], [PERMIT, KNOWN], ["guarded"]),
    ],
)
async def test_the_first_that_policy_permits(shell: object, rules: list[str], modes: list[str]) -> None:
    target = make_target(options={"shell": shell} if shell else {})
    serving = FakeServing(policy=make_policy(*rules, target=target), target=target)
    assert permitted(WISH, target, serving) == modes


async def test_only_shells_have_a_mode() -> None:
    target = make_target(options={"shell": "guarded"})
    assert permitted(Wish(kind="exec", text="ls"), target, FakeServing(target=target)) == []


@pytest.mark.parametrize("mode", ["guarded", "locked", "recorded"])
def test_every_mode_says_what_it_is(mode: str) -> None:
    assert "recorded" in HOW[mode]


@pytest.mark.parametrize(("options", "seconds"), [({}, 3), ({"shell_start_s": 1}, 1), ({"shell_start_s": 60}, 60)])
def test_a_shell_has_three_seconds_to_report_unless_its_target_says_otherwise(options: dict[str, object], seconds: float) -> None:
    assert start_s(options) == seconds


@pytest.mark.parametrize("wrong", [0, 61, -1, True, "20", None, [3]])
def test_no_shell_is_given_for_ever(wrong: object) -> None:
    with pytest.raises(Fault) as refused:
        start_s({"shell_start_s": wrong})
    assert refused.value.code == "config_invalid"
