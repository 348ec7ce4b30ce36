"""Plan and apply."""

from __future__ import annotations

import random

import pytest

from chalicelib.contracts.api import ConfigFiles
from chalicelib.contracts.audit import ConfigApplied
from chalicelib.ports import Conflict
from chalicelib.usecases.apply_config import apply_config
from chalicelib.usecases.plan_config import Refused, plan_config
from chalicelib.usecases.read_config import read_config
from tests.fakes.world import ADMIN, FILES, World
from tests.unit.chalicelib.usecases.expecting import fault

MORE = FILES | {"more.cedar": '@id("bobs") permit(principal == User::"bob@example.com", action == Action::"connect", resource);'}


def test_a_plan_changes_nothing() -> None:
    world = World.ready()
    before = list(world.store.recorded)
    plan = plan_config(world.ports, ConfigFiles(files=MORE))
    assert (plan.version, [change.what for change in plan.changes]) == (1, ["rule bobs"])
    assert world.store.config_version() == 1
    assert world.store.recorded == before


def test_an_applied_version_decides_and_agents_are_told() -> None:
    world = World.ready()
    plan = apply_config(world.ports, ADMIN, ConfigFiles(files=MORE, expected_version=1))
    assert (plan.version, [change.sign for change in plan.changes]) == (2, ["+"])
    assert world.ports.policies.current().version == 2
    assert world.downlink.last("control-1") == {"t": "refresh", "version": "2"}
    event = world.store.recorded[-1]
    assert isinstance(event, ConfigApplied)
    assert (event.actor, event.version, event.previous, event.summary) == (ADMIN.sub, 2, 1, ["+ rule bobs"])
    assert read_config(world.ports).files == MORE


def test_an_expected_version_is_held() -> None:
    world = World.ready()
    with fault("config_conflict", "Version 1"):
        apply_config(world.ports, ADMIN, ConfigFiles(files=MORE, expected_version=0))


def test_somebody_faster_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World.ready()

    def lost(*_: object) -> None:
        raise Conflict

    monkeypatch.setattr(world.store, "apply_config", lost)
    with fault("config_conflict"):
        apply_config(world.ports, ADMIN, ConfigFiles(files=MORE))
    assert world.downlink.sent == {}


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("more.cedar", "permit(oops);", "config_invalid"),
        ("../more.cedar", "", "config_invalid"),
        ("more.cedar", 'permit(principal, action == Action::"forward", resource);', "config_unenforceable"),
        (
            "more.cedar",
            '@approval("group:a") forbid(principal, action == Action::"run", resource) '
            'unless { context.approvals.contains("a") };',
            "config_unenforceable",
        ),
    ],
)
def test_with_one_problem_nothing_changes(name: str, text: str, code: str) -> None:
    world = World.ready()
    before = list(world.store.recorded)
    for act in (
        lambda: plan_config(world.ports, ConfigFiles(files=FILES | {name: text})),
        lambda: apply_config(world.ports, ADMIN, ConfigFiles(files=FILES | {name: text})),
    ):
        with pytest.raises(Refused) as caught:
            act()
        assert caught.value.code == code
        assert caught.value.problems
    assert world.store.config_version() == 1
    assert world.store.recorded == before


def test_a_configuration_that_does_not_fit_is_refused() -> None:
    world = World.ready()
    noise = random.Random(7)  # it only has to be incompressible
    files = {f"f{n}.cedar": "// " + "".join(noise.choices("0123456789abcdef", k=250_000)) for n in range(4)}
    with fault("too_large"):
        apply_config(world.ports, ADMIN, ConfigFiles(files=FILES | files))


def test_an_agent_whose_socket_is_gone_does_not_hold_up_an_apply() -> None:
    world = World.ready()
    world.downlink.gone.add("control-1")
    apply_config(world.ports, ADMIN, ConfigFiles(files=MORE))
    assert world.agent.connection == ""


def test_before_the_first_version_there_is_nothing() -> None:
    found = read_config(World().ports)
    assert (found.version, found.files) == (0, {})
