"""The agent against the real control plane: enrolment, offer, tunnel through the emulated gateway, recording in S3, replay."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from agent import bootstrap
from agent.config import Settings
from agent.runtime.tunnel import Tunnel, TunnelError
from chalicelib.contracts import recording
from tests.fakes.agent_plugins import EchoPlugin
from tests.fakes.chunks import text_of
from tests.integration.agent.conftest import Cloud
from tests.integration.control.parties import Person
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

GATEWAY = """
version: 1
targets:
  web-1:
    protocol: echo
    agent: edge
    address: 127.0.0.1:22
    tags: [prod]
    logins: {deploy: {credential: web-key}}
    max_session: 1h
"""
POLICY = """
@id("sre-connect") permit(principal in Group::"sre", action in [Action::"connect", Action::"run"], resource in Tag::"prod");
@id("auditors") permit(principal in Group::"auditors", action == Action::"replay", resource);
"""


async def called(person: Person, method: str, path: str, body: Any = None) -> Any:
    status, found = await asyncio.to_thread(person.call, method, path, body)
    assert status == 200, found
    return found


@contextlib.asynccontextmanager
async def running(state: Path, plugin: EchoPlugin) -> AsyncIterator[None]:
    stop = asyncio.Event()
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0)
    agent = asyncio.ensure_future(bootstrap.run(settings, stop, speak=lambda host: [plugin]))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(HANG_S):
            await agent


async def online(cloud: Cloud) -> None:
    async with asyncio.timeout(HANG_S):
        while True:
            if any(each["online"] for each in (await called(cloud.admin, "GET", "/agents"))["agents"]):
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def edge(cloud: Cloud, tmp_path: Path) -> AsyncIterator[EchoPlugin]:
    """A running agent called edge, with the configuration above in force."""
    token = (await called(cloud.admin, "POST", "/agents/tokens", {"name": "edge"}))["token"]
    state, plugin = tmp_path / "state", EchoPlugin()
    assert await bootstrap.enrol(cloud.http_url, token, state) == "edge"
    async with running(state, plugin):
        await online(cloud)
        await called(cloud.admin, "POST", "/config/apply", {"files": {"gateway.yaml": GATEWAY, "main.cedar": POLICY}})
        yield plugin


def through(cloud: Cloud, offer: dict[str, Any]) -> contextlib.AbstractAsyncContextManager[Tunnel]:
    async def headers(resume: str | None) -> dict[str, str]:
        return {"Authorization": f"Resume {resume}" if resume else f"Bearer {offer['ticket']}"}

    return Tunnel.connect(cloud.ws_url, headers, opening=offer["ticket"].encode())


async def first_bytes(way: contextlib.AbstractAsyncContextManager[Tunnel]) -> bytes:
    async with way as tunnel:
        await tunnel.write(b"hello\n")
        return await tunnel.read()


async def closed(cloud: Cloud, sid: str) -> dict[str, Any]:
    async with asyncio.timeout(HANG_S):
        while True:
            page = await called(cloud.engineer, "GET", "/sessions")
            found: dict[str, Any] = next(each for each in page["sessions"] if each["sid"] == sid)
            if found["state"] not in {"offered", "live"}:
                return found
            await asyncio.sleep(0.05)


async def test_a_session_from_offer_to_replay(cloud: Cloud, edge: EchoPlugin) -> None:
    offer = await called(cloud.engineer, "POST", "/sessions", {"target": "web-1", "reason": "deploy"})
    async with through(cloud, offer) as tunnel:
        for number in range(50):
            line = b"line %d\n" % number
            await tunnel.write(line)
            answer = b""
            while not answer.endswith(b"\n"):
                answer += await tunnel.read()
            assert answer == b"echo " + line
    session = await closed(cloud, offer["sid"])
    assert (session["state"], session["operations"], session["path"]) == ("ended", 50, "relay")

    links = await called(cloud.auditor, "GET", f"/sessions/{offer['sid']}/recording")
    text, head = b"", links["chain_seed"]
    for stored, url in zip(links["chunks"], links["urls"], strict=True):
        body = (await asyncio.to_thread(urllib3.request, "GET", url)).data
        chunk = stored["chunk"]
        head = recording.link(head, chunk["n"], chunk["time_ms"], chunk["sha256"])
        text += text_of(body)
    assert text == b"".join(b"line %d\n" % number for number in range(50))
    assert head == session["chain"]
    assert edge.served[0].claims.sub == session["principal"]


async def test_a_ticket_is_good_once(cloud: Cloud, edge: EchoPlugin) -> None:
    offer = await called(cloud.engineer, "POST", "/sessions", {"target": "web-1", "reason": "deploy"})
    async with through(cloud, offer) as tunnel:
        await tunnel.write(b"hello\n")
        assert await tunnel.read() == b"echo hello\n"
    await closed(cloud, offer["sid"])
    with pytest.raises(TunnelError):
        await first_bytes(through(cloud, offer))
    assert len(edge.served) == 1


async def test_a_ticket_for_another_session_is_refused_in_words(cloud: Cloud, edge: EchoPlugin) -> None:
    one = await called(cloud.engineer, "POST", "/sessions", {"target": "web-1", "reason": "one"})
    other = await called(cloud.engineer, "POST", "/sessions", {"target": "web-1", "reason": "other"})
    mixed = Tunnel.connect(cloud.ws_url, _bearer(one["ticket"]), opening=other["ticket"].encode())
    with pytest.raises(TunnelError) as caught:
        await first_bytes(mixed)
    assert caught.value.reason == "ticket_mismatch"
    assert edge.served == []


def _bearer(ticket: str) -> Any:
    async def headers(_: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {ticket}"}

    return headers
