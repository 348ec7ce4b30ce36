"""Offers and used tickets: taken once, forgotten in time, and never more than the agent can hold."""

from __future__ import annotations

import asyncio

import pytest

from agent.runtime import offers as module
from agent.runtime.offers import Offers
from chalicelib.contracts import ids
from chalicelib.contracts.capability import TICKET_S, TicketClaims
from chalicelib.contracts.faults import Fault

NOW_S = 1_700_000_000


class Hours:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def now_ms(self) -> int:
        return self.now_s * 1000


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def offers(hours: Hours) -> Offers:
    return Offers(hours.now_ms)


def ticket(number: int) -> TicketClaims:
    return TicketClaims(
        iss="g",
        aud="a",
        sid=ids.mint(ids.SESSION, number, b"0123456789"),
        sub="alice",
        target="web",
        login="root",
        policy_version=1,
        recording="r",
        iat=NOW_S,
        exp=NOW_S + TICKET_S,
        deadline_ms=NOW_S * 2000,
    )


async def waits() -> None:
    await asyncio.Event().wait()


async def test_an_offer_is_taken_once_and_its_relay_is_told(offers: Offers) -> None:
    one = ticket(1)
    relay = asyncio.ensure_future(waits())
    assert offers.add(one)
    offers.waits_in(one.sid, relay)
    assert offers.find(one.sid) == one
    offers.take(one)
    await asyncio.wait({relay})
    assert relay.cancelled()
    assert offers.find(one.sid) is None
    with pytest.raises(Fault) as caught:
        offers.take(one)
    assert caught.value.code == "ticket_used"
    assert not offers.add(one)


async def test_the_relay_that_takes_an_offer_is_not_cancelled_by_it(offers: Offers) -> None:
    one = ticket(1)
    offers.add(one)

    async def taking() -> str:
        await asyncio.sleep(0)
        offers.take(one)
        await asyncio.sleep(0)
        return "served"

    relay = asyncio.ensure_future(taking())
    offers.waits_in(one.sid, relay)  # type: ignore[arg-type]
    assert await relay == "served"


async def test_a_repeated_offer_is_waited_for_again_only_if_nobody_does(offers: Offers) -> None:
    one = ticket(1)
    relay = asyncio.ensure_future(waits())
    assert offers.add(one)
    offers.waits_in(one.sid, relay)
    assert not offers.add(one)
    relay.cancel()
    await asyncio.wait({relay})
    assert offers.add(one)


def test_offers_and_uses_are_forgotten_in_time(offers: Offers, hours: Hours) -> None:
    one, two = ticket(1), ticket(2)
    offers.add(one)
    offers.take(two)
    hours.now_s += TICKET_S - 1
    assert offers.find(one.sid) == one
    hours.now_s += 1
    assert offers.find(one.sid) is None
    assert not offers.add(two)  # used is remembered for longer than a ticket can live on any clock
    hours.now_s += 3600
    offers.take(two)


def test_there_is_an_end_to_what_is_remembered(offers: Offers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_LIMIT", 3)
    assert [offers.add(ticket(number)) for number in range(5)] == [True, True, True, False, False]
    offers.withdraw_all()
    assert offers.add(ticket(4))


async def test_a_client_that_is_faster_than_its_offer_waits_for_it(offers: Offers) -> None:
    early = asyncio.ensure_future(offers.arrived(ticket(1).sid, 30))
    await asyncio.sleep(0)
    offers.add(ticket(2))
    await asyncio.sleep(0)
    assert not early.done(), "somebody else's offer is not its own"
    offers.add(ticket(1))
    assert await early == ticket(1)
    assert await offers.arrived(ticket(1).sid, 30) == ticket(1)


async def test_nobody_waits_for_what_was_used_or_never_comes(offers: Offers) -> None:
    offers.add(ticket(1))
    offers.take(ticket(1))
    assert await offers.arrived(ticket(1).sid, 30) is None
    assert await offers.arrived(ticket(2).sid, 0.01) is None
