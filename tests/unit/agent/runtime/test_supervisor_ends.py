"""Every way in which a session ends: killed, out of time, out of the configuration, cut off, or with the agent."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from agent.runtime import session as sessions
from chalicelib.contracts import relay
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Rule
from tests.fakes.control_plane import FakeControlPlane, document
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import CLOCK, RunRig, until
from tests.unit.agent.runtime.served import offer, say, serve_one


async def test_a_kill_ends_the_session_and_says_why(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, tunnel = await serve_one(rig)
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Bob ended it."))
        assert await say(tunnel, b"") == b"ended session_killed\n"
        await until(lambda: sid in control.closes)
        assert (control.closes[sid].state, control.closes[sid].message) == ("killed", "Bob ended it.")


async def test_a_kill_withdraws_an_offer_that_nobody_took(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _, tunnel = await offer(rig)
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Bob ended it."))
        await until(lambda: tunnel.closed)
        assert control.claims == []


async def test_a_session_ends_at_its_deadline(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, ticket, tunnel = await offer(rig, deadline_ms=CLOCK.now_ms() + 300)
        tunnel.present(ticket)
        await until(lambda: sid in control.closes)
        assert control.closes[sid].state == "ended"
        assert "time that was granted" in control.closes[sid].message


async def test_whoever_serves_a_session_hears_that_its_time_is_over_soon_however_late_they_ask(run_rig: RunRig) -> None:
    async with run_rig() as rig:
        _, ticket, tunnel = await offer(rig, deadline_ms=CLOCK.now_ms() + 45_000)
        tunnel.present(ticket)
        await asyncio.wait_for(rig.plugin.serving.wait(), HANG_S)
        heard: list[str] = []
        rig.plugin.served[0].warn(heard.append)
        await until(lambda: heard)
        rig.plugin.served[0].warn(heard.append)
        assert heard[0] == heard[1]
        assert "This session ends at " in heard[0]


async def test_a_target_that_leaves_the_configuration_ends_its_sessions(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        control.document = document(version=2, targets=("other",))
        rig.supervisor.refreshed("2")
        await until(lambda: sid in control.closes)
        assert "configuration" in control.closes[sid].message


@pytest.mark.parametrize("rule", ['forbid(principal, action == Action::"connect", resource);', ""])
async def test_a_newer_policy_that_does_not_permit_it_kills_a_session(
    run_rig: RunRig, control: FakeControlPlane, rule: str
) -> None:
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        newer = document(version=2)
        rules = [*newer.rules, Rule("out", "all.cedar", 2, f'@id("out") {rule}')] if rule else []
        control.document = msgspec.structs.replace(newer, rules=rules)
        rig.supervisor.refreshed("2")
        await until(lambda: sid in control.closes)
        assert (control.closes[sid].state, rig.plugin.endings[0].code) == ("killed", "session_killed")


async def test_a_newer_policy_that_still_permits_it_leaves_a_session_alone(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        await serve_one(rig)
        control.document = document(version=2)
        rig.supervisor.refreshed("2")
        await until(lambda: rig.plugin.served[0].policy.version == 2)
        assert not rig.plugin.endings


async def test_a_plugin_that_does_not_end_is_cut_off(
    run_rig: RunRig, control: FakeControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "GRACE_S", 0.01)
    async with run_rig() as rig:
        rig.plugin.ignores_end = True
        sid, tunnel = await serve_one(rig)
        rig.supervisor.killed(relay.Kill(sid, "session_killed", "Now."))
        await until(lambda: sid in control.closes)
        assert control.closes[sid].state == "killed"
        assert tunnel.closed


async def test_a_bug_in_a_plugin_ends_its_session_alone(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        other, _ = await serve_one(rig)
        rig.plugin.fails = ZeroDivisionError("a bug")
        sid, ticket, tunnel = await offer(rig)
        tunnel.present(ticket)
        await until(lambda: sid in control.closes)
        assert "mistake" in control.closes[sid].message
        assert "ZeroDivision" not in control.closes[sid].message
        await until(lambda: rig.supervisor.live() == [other])


async def test_stopping_ends_sessions_and_delivers_them(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        sid, _ = await serve_one(rig)
        waiting, _, unused = await offer(rig)
        rig.stop.set()
        await until(lambda: sid in control.closes)
        assert "stopped" in control.closes[sid].message
        await until(lambda: unused.closed)
        assert waiting not in control.closes
        with pytest.raises(Fault, match="stopped"):
            await rig.supervisor.admit(rig.identity.ticket(control.ticket(control.session())), "relay")


async def test_nobody_comes(run_rig: RunRig, control: FakeControlPlane) -> None:
    async with run_rig() as rig:
        _, _, tunnel = await offer(rig, exp=CLOCK.now_ms() // 1000 + 2)
        await until(lambda: tunnel.closed)
        assert tunnel.aborted is not None
        assert tunnel.aborted.code == "ticket_expired"
