"""Legs that all want more than a turn share it. The clock of these tests goes on by a step for each look at it."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import pytest

from agent.protocols.ssh import packets
from tests.integration.ssh.test_packets import GCM, Silent, pair

pytestmark = pytest.mark.servers

CRUMBS = 500
#: So many looks at the clock are a turn of somebody who is alone.
STEP_S = packets.TURN_S / 20


class Leg:
    """One of a crowd: it has had its turn, and has more."""


async def most_at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the most packets that were taken from one leg in one turn of the loop."""
    now, turn = 0.0, 0
    taken: Counter[int] = Counter()
    take = packets._QuickServer._take
    loop = asyncio.get_running_loop()

    def monotonic() -> float:
        nonlocal now
        now += STEP_S
        return now

    def counted(leg: Any, packet: bytes) -> bool:
        taken[turn] += 1
        return take(leg, packet)

    def go_round() -> None:
        nonlocal turn, ticking
        turn += 1
        ticking = loop.call_soon(go_round)

    async with pair(server=True, client=False, **GCM) as (conn, _):
        chan, session = await conn.create_session(Silent, "echo", encoding=None)
        with monkeypatch.context() as patched:
            patched.setattr(packets, "time", SimpleNamespace(monotonic=monotonic))
            patched.setattr(packets._QuickServer, "_take", counted)
            ticking = loop.call_soon(go_round)
            for _ in range(CRUMBS):
                chan.write(b"c")
            chan.write_eof()
            await chan.wait_closed()
            ticking.cancel()
        assert session.heard == b"c" * CRUMBS
    return max(taken.values())


@pytest.fixture
def resting(monkeypatch: pytest.MonkeyPatch) -> WeakSet[Any]:
    """Nobody, whatever other tests have left."""
    nobody: WeakSet[Any] = WeakSet()
    monkeypatch.setattr(packets, "_resting", nobody)
    return nobody


async def test_whoever_is_alone_has_a_whole_turn_and_a_crowd_shares_it(
    resting: WeakSet[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = await most_at_once(monkeypatch)
    assert not resting
    crowd = [Leg() for _ in range(9)]
    resting.update(crowd)
    together = await most_at_once(monkeypatch)
    # Two steps, and the one packet that every turn takes.
    assert together <= 3 < alone
    assert set(resting) == set(crowd)


def test_nobodys_share_is_nothing(resting: WeakSet[Any]) -> None:
    assert packets.share() == packets.TURN_S
    crowd = [Leg() for _ in range(1000)]
    resting.update(crowd)
    assert packets.share() == packets.LEAST_S
