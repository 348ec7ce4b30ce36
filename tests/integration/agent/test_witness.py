"""A real agent witnesses the log of the real control plane: what its tickets promised is shown, verified and cosigned."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import bootstrap
from agent.config import Settings
from agent.runtime.tunnel import TunnelError
from agent.runtime.witness import Memory, remembered
from chalicelib.contracts.translog import checkpoints, notes
from infra.local.cloud import EmbeddedCloud
from tests.fakes.agent_plugins import EchoPlugin
from tests.integration.agent.conftest import Cloud
from tests.integration.agent.test_embedded_cloud import GATEWAY, POLICY, called, closed, first_bytes, online, through
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


async def memory(state: Path, enough: Callable[[Memory], bool]) -> Memory:
    async with asyncio.timeout(HANG_S):
        while True:
            if enough(found := remembered(state)):
                return found
            await asyncio.sleep(0.05)


async def test_an_agent_sees_that_its_sessions_are_in_the_log_and_vouches_for_it(cloud: Cloud, tmp_path: Path) -> None:
    token = (await called(cloud.admin, "POST", "/agents/tokens", {"name": "edge"}))["token"]
    state, stop = tmp_path / "state", asyncio.Event()
    await bootstrap.enrol(cloud.http_url, token, state)
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0, merge_delay_s=30)
    agent = asyncio.ensure_future(bootstrap.run(settings, stop, speak=lambda host: [EchoPlugin()]))
    try:
        await online(cloud)
        await called(cloud.admin, "POST", "/config/apply", {"files": {"gateway.yaml": GATEWAY, "main.cedar": POLICY}})
        offer = await called(cloud.engineer, "POST", "/sessions", {"target": "web-1", "reason": "deploy"})
        async with through(cloud, offer) as tunnel:
            await tunnel.write(b"hello\n")
            assert await tunnel.read() == b"echo hello\n"
            owed = await memory(state, lambda found: found.promised)
            assert [each.sid for each in owed.owed.values()] in ([], [offer["sid"]])
        await closed(cloud, offer["sid"])
        kept = await memory(state, lambda found: found.promised and not found.owed and found.cosigned > 0)
        stated, _ = checkpoints.parse(kept.checkpoint.encode())
        assert stated.size >= kept.cosigned > 0
        assert kept.alarm is None
        (view,) = [each for each in (await called(cloud.admin, "GET", "/agents"))["agents"] if each["online"]]
        key = notes.read_key(view["witness_key"])
        assert (key.kind, key.name) == (notes.COSIGNATURE, "edge")
        assert view["witnessed"] >= kept.cosigned
        assert view["alarm"] == ""
    finally:
        stop.set()
        async with asyncio.timeout(HANG_S):
            await agent


async def session(cloud: Cloud) -> str:
    """Open a session; return the echo, or why there was none: the agent refuses, and the gateway too once it was alarmed."""
    asked = {"target": "web-1", "reason": "deploy"}
    status, offer = await asyncio.to_thread(cloud.engineer.call, "POST", "/sessions", asked)
    if status != 200:
        return str(offer["error"]["code"])
    try:
        return (await first_bytes(through(cloud, offer))).decode()
    except TunnelError as refused:
        return refused.reason


async def alarmed(cloud: Cloud) -> list[dict[str, Any]]:
    """Return the agents that have raised an alarm, once one has."""
    async with asyncio.timeout(HANG_S):
        while True:
            if found := [each for each in (await called(cloud.admin, "GET", "/agents"))["agents"] if each["alarm"]]:
                return found
            await asyncio.sleep(0.05)


async def test_an_agent_whose_openings_are_kept_out_of_the_log_begins_no_session_until_they_are_in_it(tmp_path: Path) -> None:
    """Nothing in this cloud feeds the log by itself: whoever runs it keeps quiet about what happens."""
    load = lambda: importlib.import_module("app").app  # noqa: E731
    stop = asyncio.Event()
    with EmbeddedCloud(load, background=False) as running:
        cloud = await asyncio.to_thread(Cloud, {"http_url": running.http_url, "ws_url": running.ws_url})
        token = (await called(cloud.admin, "POST", "/agents/tokens", {"name": "edge"}))["token"]
        state, plugin = tmp_path / "state", EchoPlugin()
        await bootstrap.enrol(cloud.http_url, token, state)
        settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0, merge_delay_s=10)
        agent = asyncio.ensure_future(bootstrap.run(settings, stop, speak=lambda host: [plugin]))
        try:
            await online(cloud)
            await called(cloud.admin, "POST", "/config/apply", {"files": {"gateway.yaml": GATEWAY, "main.cedar": POLICY}})
            assert await session(cloud) == "echo hello\n", "the first one is not late yet"
            kept = await memory(state, lambda found: bool(found.owed))
            async with asyncio.timeout(HANG_S):
                while (said := await session(cloud)) != "log_overdue":
                    assert said == "echo hello\n"
            began = len(plugin.served)
            assert await session(cloud) == "log_overdue"
            assert len(plugin.served) == began, "nothing reached the target"
            (view,) = await alarmed(cloud)
            assert next(iter(kept.owed.values())).sid in view["alarm"]
            async with asyncio.timeout(HANG_S):
                while (said := await session(cloud)) != "echo hello\n":
                    assert said == "log_overdue"
                    await asyncio.to_thread(running.pump.drain_streams)
        finally:
            stop.set()
            async with asyncio.timeout(HANG_S):
                await agent
