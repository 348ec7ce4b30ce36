"""``watch``: how it ends, and what happens when the way is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chalicelib.contracts.api_live import WatchOffer
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.session import State
from chalicelib.contracts.watching import Begun, Fresh, Over, Sight
from cli import watch_way
from cli.commands import watch as command
from tests.fakes.http_control_plane import FakeControlPlane, Reply, Request, failure
from tests.unit.cli.conftest import NOW_MS, Run, session

SID = session(1, state=State.LIVE).sid


class Gateway:
    """Gives tickets, and plays the agent: each ``follow`` does the next of ``plays``."""

    def __init__(self, plane: FakeControlPlane) -> None:
        self.plays: list[Any] = []
        self.refusal: Reply | None = None
        self.tickets = 0
        self._before = plane._private_route
        plane._private_route = self.answer  # type: ignore[method-assign]

    def answer(self, asked: Request, path: str, query: dict[str, str]) -> Reply:
        if path != f"/sessions/{SID}/watch":
            return self._before(asked, path, query)
        if self.refusal is not None:
            return self.refusal
        self.tickets += 1
        offer = WatchOffer(
            wid="wat_01JD8QZ6T3N0V9C4K2M7X5B1HR",
            ticket=f"ticket-{self.tickets}",
            url="wss://ws.example",
            host_alias="prod-web.sallyport",
            expires_ms=NOW_MS + 60_000,
            deadline_ms=NOW_MS + 3_600_000,
            session=session(1, state=State.LIVE),
        )
        return Reply(200, msgspec.json.encode(offer))

    def follow(self, offer: WatchOffer, ssh_ca: str, show: Callable[[Sight], None]) -> Over:
        assert offer.ticket == f"ticket-{self.tickets}", "a ticket is used once"
        assert ssh_ca.startswith("ecdsa-sha2-nistp256 ")
        play = self.plays.pop(0)
        if isinstance(play, BaseException):
            raise play
        show(Begun(sid=SID, owner="alice@example.com", target="prod-web", login="deploy", protocol="ssh"))
        show(Fresh(channel=1, kind="cast", lines='{"version":3}\n[0.0,"o","hello\\r\\n"]\n'))
        assert isinstance(play, Over)
        return play


@pytest.fixture
def gateway(logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    made = Gateway(logged_in)
    monkeypatch.setattr(watch_way, "follow", made.follow)
    monkeypatch.setattr(command, "_PAUSE_S", 0.0)
    return made


@pytest.mark.parametrize("code", ["ok", "session_killed", "session_ended"])
def test_it_ends_with_the_session_and_says_how(run: Run, gateway: Gateway, code: str) -> None:
    gateway.plays = [Over(code=code, message="bob ended it\x1b[2J")]
    ran = run("watch", SID)
    assert (ran.status, ran.out) == (0, "hello\n")
    assert "It is over: bob ended it" in ran.err
    assert "\x1b" not in ran.err


@pytest.mark.parametrize(("code", "status"), [("denied", 126), ("too_many", 6), ("a_code_of_tomorrow", 5)])
def test_another_end_is_a_failure(run: Run, gateway: Gateway, code: str, status: int) -> None:
    gateway.plays = [Over(code=code, message="No more.")]
    ran = run("watch", SID)
    assert ran.status == status
    assert "No more." in ran.err


def test_ctrl_c_leaves(run: Run, gateway: Gateway) -> None:
    gateway.plays = [KeyboardInterrupt()]
    ran = run("watch", SID)
    assert (ran.status, "You watch no more." in ran.err) == (0, True)


def test_a_way_that_is_lost_is_looked_for_with_a_new_ticket(run: Run, gateway: Gateway) -> None:
    gateway.plays = [Fault("tunnel_lost", "Lost."), Fault("ticket_expired", "Late."), Over(code="ok", message="Done.")]
    ran = run("watch", SID)
    assert (ran.status, gateway.tickets) == (0, 3)
    assert ran.err.count("Looking for it again.") == 2


def test_it_is_not_looked_for_for_ever(run: Run, gateway: Gateway) -> None:
    gateway.plays = [Fault("tunnel_lost", "Lost.")] * 20
    assert run("watch", SID).status == 5
    assert gateway.tickets == 6


def test_a_stranger_in_the_agents_place_is_not_asked_twice(run: Run, gateway: Gateway) -> None:
    gateway.plays = [Fault("agent_unverified", "Not the agent.")]
    assert run("watch", SID).status == 6
    assert gateway.tickets == 1


def test_a_refusal_is_the_gateways_words(run: Run, gateway: Gateway) -> None:
    gateway.refusal = failure("unknown_session", "There is no session of this name, or it is not yours to see.")
    ran = run("watch", SID)
    assert (ran.status, "unknown_session" in ran.err) == (4, True)
