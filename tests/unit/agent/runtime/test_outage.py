"""Hours without the control plane: nothing is lost, it is not hammered, and what waited goes out in order."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.runtime import identity as identities
from agent.runtime.backoff import LONGEST_S, Backoff, persist
from agent.runtime.clock import ServerClock
from agent.runtime.control_client import ControlClient
from agent.runtime.identity import Identity
from chalicelib.contracts.api import ChunkTicket, ChunkUpload, SessionClaim
from chalicelib.contracts.faults import Fault
from tests.fakes.control_plane import FakeControlPlane
from tests.unit.agent.runtime.conftest import until
from tests.unit.agent.runtime.folder_road import FolderRoad
from tests.unit.agent.runtime.recorder_bench import Bench

OUTAGE_S = 6 * 3600.0


class Away:
    """A road that is closed for some time, which passes only while somebody waits for it."""

    def __init__(self, road: FolderRoad, outage_s: float) -> None:
        self._road = road
        self._left_s = outage_s
        self.passing = asyncio.Event()
        self.tries = 0
        self.waited: list[float] = []

    def backoff(self) -> Backoff:
        return _Passing(self)

    async def wait(self, seconds: float) -> None:
        await self.passing.wait()
        self.waited.append(seconds)
        self._left_s -= seconds
        await asyncio.sleep(0)

    async def register_chunk(self, sid: str, upload: ChunkUpload) -> ChunkTicket:
        self.tries += 1
        if self._left_s > 0:
            raise Fault("control_plane_unreachable", "The control plane cannot be reached.")
        return await self._road.register_chunk(sid, upload)

    async def put(self, ticket: ChunkTicket, body: bytes) -> None:
        await self._road.put(ticket, body)


class _Passing(Backoff):
    def __init__(self, away: Away) -> None:
        super().__init__()
        self._away = away

    async def wait(self) -> None:
        await self._away.wait(self.next_s())


async def test_six_hours(tmp_path: Path) -> None:
    bench = Bench(tmp_path, chunk_seconds=0.001)
    away = Away(bench.road, OUTAGE_S)
    async with bench.recording() as recorder:
        bench.uploader._road, bench.uploader._backoff = away, away.backoff
        for number in range(20):
            await recorder.write(1, "cast", b"%d\n" % number, durable=True)
            await until(lambda number=number: recorder.progress.n > number)  # type: ignore[misc]
        assert away.tries == 1
        assert len(list(bench.folder.path.glob("*.zst*"))) == 20
        away.passing.set()
        await until(lambda: bench.road.chunks())
    assert bench.road.lines("ch01.cast") == [str(number) for number in range(20)]
    assert [chunk.n for chunk in bench.road.chunks()] == list(range(20))
    assert recorder.complete
    # Delays grow to the longest, and no agent comes at the same time as all others.
    assert OUTAGE_S / LONGEST_S < len(away.waited) < 2.5 * OUTAGE_S / LONGEST_S
    assert max(away.waited) <= LONGEST_S
    assert len(set(away.waited[-100:])) > 50


async def test_clocks_that_went_apart_meanwhile(control: FakeControlPlane, state: Path) -> None:
    enrolled, keys = identities.load(state)
    local = ServerClock()
    control.now_ms = lambda: local.local_ms() + 40 * 60_000
    clock = ServerClock()
    session = control.session()
    async with ControlClient(control.url, clock, Identity(enrolled, keys, clock.now_ms).proof) as client:
        await persist(lambda: client.claim(session.sid, SessionClaim(path="relay")), event="claim", backoff=Backoff(0.001, 0.001))
    assert control.claims == [(session.sid, "relay")]
    assert control.requests["claim"] == 2, "the first proof was refused, and its answer told the time"
    assert abs(clock.now_ms() - control.now_ms()) < 2_000
