"""The control socket: orders come down, heartbeats go up, and it comes back whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.runtime import identity as identities
from agent.runtime.backoff import Backoff
from agent.runtime.control_socket import ControlSocket
from agent.runtime.identity import Identity
from chalicelib.contracts import relay
from chalicelib.contracts.faults import Fault
from tests.fakes.control_plane import FakeControlPlane
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import CLOCK, quick, until

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"


class Heard:
    """Remembers orders."""

    def __init__(self) -> None:
        self.offers: list[relay.Offer] = []
        self.kills: list[relay.Kill] = []
        self.watches: list[relay.Watch] = []
        self.versions: list[str] = []
        self.sessions: list[str] = [SID]
        self.refusing = ""

    def offered(self, offer: relay.Offer) -> None:
        self.offers.append(offer)

    def killed(self, kill: relay.Kill) -> None:
        self.kills.append(kill)

    def watched(self, watch: relay.Watch) -> None:
        self.watches.append(watch)

    def refreshed(self, version: str) -> None:
        self.versions.append(version)

    def live(self) -> list[str]:
        return self.sessions

    def refuses(self) -> str:
        return self.refusing


@contextlib.asynccontextmanager
async def holding(
    control: FakeControlPlane,
    state: Path,
    heard: Heard,
    *,
    renew_s: float = 3600,
    stable_s: float = 5,
    backoff: Backoff | None = None,
    beat_s: float = 0.01,
) -> AsyncIterator[ControlSocket]:
    enrolled, keys = identities.load(state)
    identity = Identity(enrolled, keys, CLOCK.now_ms)
    socket = ControlSocket(
        lambda: control.websocket_url,
        identity.proof,
        heard,
        backoff=backoff or quick(),
        renew_s=renew_s,
        beat_s=beat_s,
        stable_s=stable_s,
    )
    running = asyncio.ensure_future(socket.run())
    try:
        yield socket
    finally:
        running.cancel()
        await asyncio.wait({running})


@pytest.fixture
def heard() -> Heard:
    return Heard()


async def test_orders_are_obeyed_and_strange_words_skipped(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    async with holding(control, state, heard):
        await until(lambda: control.control)
        for strange in ('{"t":"of_a_newer_version"}', '{"message":"Internal server error"}', "not json", '{"t":"kill"}', "[]"):
            await control.control[-1].send_str(strange)
        await control.send(relay.Offer(SID, "ticket"))
        await control.send(relay.Kill(SID, "session_killed", "Now."))
        await control.send(relay.Refresh("7"))
        await until(lambda: heard.versions[-1:] == ["7"])
        assert heard.offers == [relay.Offer(SID, "ticket")]
        assert heard.kills == [relay.Kill(SID, "session_killed", "Now.")]
        assert len(control.control) == 1


async def test_heartbeats_name_the_live_sessions(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    async with holding(control, state, heard):
        await until(lambda: control.beats)
        assert control.beats[0] == relay.Beat(live=(SID,))
        heard.sessions = []
        await until(lambda: control.beats[-1] == relay.Beat(live=()))


async def test_what_changes_is_told_at_once(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    async with holding(control, state, heard, beat_s=3600) as socket:
        await until(lambda: control.beats == [relay.Beat(live=(SID,))])
        heard.refusing = "spool_full"
        socket.beat_soon()
        await until(lambda: control.beats[1:] == [relay.Beat(live=(SID,), refuses="spool_full")])


async def test_every_new_connection_asks_for_news(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    async with holding(control, state, heard):
        for times in (1, 2, 3):
            await until(lambda times=times: len(control.control) == times and len(heard.versions) == times)  # type: ignore[misc]
            await control.control[-1].close()


async def test_refusals_are_outlasted(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    control.faults["socket"] = [403, 500, Fault("agent_proof_invalid", "Too old."), 429]
    async with holding(control, state, heard) as socket:
        async with asyncio.timeout(HANG_S):
            await socket.connected.wait()
        assert control.faults["socket"] == []


async def test_a_connection_that_is_told_to_go_is_made_again(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    async with holding(control, state, heard):
        await until(lambda: control.control)
        await control.send(relay.Refused("agent_unknown", "This agent is not known."))
        await until(lambda: len(control.control) == 2)
        assert control.control[0].closed


@pytest.mark.parametrize(("stable_s", "starts_over"), [(0.0, True), (3600.0, False)])
async def test_only_a_connection_that_lived_starts_the_delays_over(
    control: FakeControlPlane, state: Path, heard: Heard, stable_s: float, starts_over: bool
) -> None:
    delays: list[float] = []

    class Told(Backoff):
        async def wait(self) -> None:
            delays.append(self.next_s())
            await asyncio.sleep(0)

    async with holding(control, state, heard, backoff=Told(1, 1000), stable_s=stable_s):
        for times in range(1, 8):
            await until(lambda times=times: len(control.control) == times)  # type: ignore[misc]
            await control.control[-1].close()
        await until(lambda: len(delays) == 7)
    assert (max(delays) <= 1) is starts_over


async def test_an_old_connection_is_replaced_before_it_ends(control: FakeControlPlane, state: Path, heard: Heard) -> None:
    async with holding(control, state, heard, renew_s=0.05):
        await until(lambda: len(control.control) >= 3)
        await until(lambda: control.control[0].closed and control.control[1].closed)
        # The agent closed them, with the code of an orderly end, and each only after its successor was there.
        assert control.control[0].close_code == 1000
