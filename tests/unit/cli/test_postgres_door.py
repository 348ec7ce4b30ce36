"""The local door between a hand-made client and a fake agent on the direct way; the relay is in tests/e2e."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.protocols.postgres import messages
from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli import postgres_wire as wire
from cli.home import Home
from cli.postgres_agent import Errand
from cli.postgres_door import Door
from tests.fakes.http_control_plane import FakeControlPlane
from tests.fakes.postgres_agent import ALIAS, KEY, PID, FakePostgresAgent, Host
from tests.unit.cli.conftest import NOW_MS

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
TICKET = "the-ticket"


class Client:
    """A local client, one message at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def startup(self, user: str = "app") -> None:
        self.writer.write(messages.startup({"user": user, "database": "prod-db", "application_name": "test"}))

    async def message(self) -> tuple[str, bytes]:
        head = await self.reader.readexactly(5)
        return head[:1].decode(), await self.reader.readexactly(int.from_bytes(head[1:]) - 4)

    async def until_ready(self) -> list[str]:
        kinds = []
        while not kinds or kinds[-1] != "Z":
            kinds.append((await self.message())[0])
        return kinds

    async def error(self) -> dict[str, str]:
        kind, body = await self.message()
        assert kind == "E"
        assert await self.reader.read() == b""
        return messages.read_fields(body)


class Place:
    """A door on a loopback port, and what it told."""

    def __init__(self, errand: Errand, password: str) -> None:
        self.told: list[tuple[str, str]] = []
        self.door = Door(errand, password, lambda what, sid: self.told.append((what, sid)))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Place]:
        server = await asyncio.start_server(self.door.accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await self.door.close(5)


@pytest.fixture
async def agent(logged_in: FakeControlPlane) -> AsyncIterator[FakePostgresAgent]:
    async with FakePostgresAgent(Host(logged_in._ca, NOW_MS // 1000)) as agent:
        way = api.Way(kind="direct", address=f"127.0.0.1:{agent.port}")
        logged_in.offer = api.SessionOffer(
            sid=SID, ticket=TICKET, expires_ms=NOW_MS, deadline_ms=NOW_MS, ways=[way], host_alias=ALIAS
        )
        yield agent


@pytest.fixture
def errand(home: Home) -> Errand:
    return Errand(home, "prod-db", ALIAS, ["app", "admin"], "INC-7", "")


@pytest.fixture
async def place(errand: Errand, agent: FakePostgresAgent) -> AsyncIterator[Place]:
    async with Place(errand, "").open() as place:
        yield place


@pytest.fixture
async def guarded(errand: Errand, agent: FakePostgresAgent) -> AsyncIterator[Place]:
    async with Place(errand, "pass").open() as place:
        yield place


def opened(plane: FakeControlPlane) -> list[dict[str, Any]]:
    """What sessions were asked for."""
    import json

    return [json.loads(each.body) for each in plane.requests if each.path == "/sessions" and each.method == "POST"]


async def test_a_session_from_the_first_packet_to_the_last(
    place: Place, agent: FakePostgresAgent, logged_in: FakeControlPlane
) -> None:
    async with place.client() as client:
        client.writer.write(wire.SSL_REQUEST)
        assert await client.reader.readexactly(1) == b"N"
        client.startup()
        assert await client.until_ready() == ["R", "K", "Z"], "the agent's own question is not passed on"
        client.writer.write(b"anything")
        assert await client.reader.readexactly(8) == b"anything"
    await agent.ended.wait()
    assert agent.sids == [SID]
    assert agent.passwords == [TICKET]
    assert agent.startups == [{"user": "app", "database": "prod-db", "application_name": "test"}]
    (asked,) = opened(logged_in)
    assert (asked["target"], asked["login"], asked["reason"]) == ("prod-db", "app", "INC-7")
    await place.door.close(5)
    assert place.told == [("opened as app by test", SID), ("ended", SID)]


async def test_the_user_is_the_login(place: Place, logged_in: FakeControlPlane) -> None:
    async with place.client() as client:
        client.startup("admin")
        await client.until_ready()
    assert opened(logged_in)[0]["login"] == "admin"


async def test_a_user_that_is_no_login_opens_nothing(place: Place, logged_in: FakeControlPlane) -> None:
    async with place.client() as client:
        client.startup("root")
        error = await client.error()
    assert error["M"] == "sallyport: prod-db has no login root for you. [unknown_login]"
    assert error["H"] == "It has: app, admin"
    assert opened(logged_in) == []


async def test_a_user_that_is_no_text(place: Place) -> None:
    async with place.client() as client:
        words = b"user\0\xff\xfe\0\0"
        client.writer.write((len(words) + 8).to_bytes(4) + (3 << 16).to_bytes(4) + words)
        assert "no login ??" in (await client.error())["M"]


@pytest.mark.parametrize("given", ["", "wrong", "passs"])
async def test_without_the_password_nothing_is_opened(guarded: Place, logged_in: FakeControlPlane, given: str) -> None:
    async with guarded.client() as client:
        client.startup()
        assert await client.message() == ("R", wire.CLEARTEXT)
        client.writer.write(wire.password(given))
        error = await client.error()
    assert error["C"] == "28P01"
    assert opened(logged_in) == []


async def test_no_answer_instead_of_the_password(guarded: Place, logged_in: FakeControlPlane) -> None:
    async with guarded.client() as client:
        client.startup()
        await client.message()
        client.writer.write(wire.message("Q", b"select 1\0"))
        assert "does not answer with a password" in (await client.error())["M"]
    assert opened(logged_in) == []


async def test_with_the_password(guarded: Place, agent: FakePostgresAgent) -> None:
    async with guarded.client() as client:
        client.startup()
        await client.message()
        client.writer.write(wire.password("pass"))
        await client.until_ready()
    assert agent.passwords == [TICKET], "the two passwords have nothing to do with each other"


async def test_policy_says_no(place: Place, agent: FakePostgresAgent, logged_in: FakeControlPlane) -> None:
    logged_in.offer = Fault("denied", "Production is for the sre team.", hint="Ask them.")
    async with place.client() as client:
        client.startup()
        error = await client.error()
    assert error["M"] == "sallyport: Production is for the sre team. [denied]"
    assert error["H"] == "Ask them."
    assert place.told == [("refused: Production is for the sre team. [denied]", "")]


HOSTILE: list[tuple[str, Callable[[Any, int], Host]]] = [
    ("another key", lambda ca, now: Host(ca, now, of=ec.generate_private_key(ec.SECP256R1()))),
    ("signed by somebody else", lambda ca, now: Host(ec.generate_private_key(ec.SECP256R1()), now)),
    ("time is not now", lambda ca, now: Host(ca, now, before=now)),
    ("no certificate for", lambda ca, now: Host(ca, now, names=["other-db.sallyport"])),
    ("no host certificate", lambda ca, now: Host(ca, now, ca=None)),
]


@pytest.mark.parametrize(("words", "make"), HOSTILE, ids=[words for words, _ in HOSTILE])
async def test_a_hostile_agent_gets_nothing(
    place: Place, agent: FakePostgresAgent, logged_in: FakeControlPlane, words: str, make: Callable[[Any, int], Host]
) -> None:
    agent.host = make(logged_in._ca, NOW_MS // 1000)
    async with place.client() as client:
        client.startup()
        error = await client.error()
    assert words in error["M"]
    assert "[agent_unverified]" in error["M"]
    assert (agent.startups, agent.passwords) == ([], [])


@pytest.mark.parametrize("answer", [b"N", b"Sx", b"E"])
async def test_an_agent_without_tls_gets_nothing(place: Place, agent: FakePostgresAgent, answer: bytes) -> None:
    agent.answer_tls = answer
    async with place.client() as client:
        client.startup()
        assert "FATAL" in (await client.error())["S"]
    assert agent.startups == []


async def test_an_agent_that_asks_twice_learns_no_more(place: Place, agent: FakePostgresAgent) -> None:
    agent.ask_passwords = 2
    async with place.client() as client:
        client.startup()
        assert "no reason to ask" in (await client.error())["M"]
    assert agent.passwords == [TICKET]


async def test_the_agents_refusal_is_shown_as_it_is(place: Place, agent: FakePostgresAgent) -> None:
    agent.refusal = messages.error("FATAL", "08001", "sallyport: prod-db does not answer.", hint="")
    async with place.client() as client:
        client.startup()
        assert (await client.error())["M"] == "sallyport: prod-db does not answer."
    assert place.told[-1] == ("refused by the agent", SID)


async def test_an_idle_client_is_told_when_the_agent_goes(place: Place, agent: FakePostgresAgent) -> None:
    async with place.client() as client:
        client.startup()
        await client.until_ready()
        agent.hang_up.set()
        assert "[tunnel_lost]" in (await client.error())["M"]


async def test_in_the_middle_of_an_answer_nothing_is_put_in(place: Place, agent: FakePostgresAgent) -> None:
    async with place.client() as client:
        client.startup()
        await client.until_ready()
        client.writer.write(b"D\0\0\0\x20half a row")
        assert await client.reader.readexactly(15) == b"D\0\0\0\x20half a row"
        agent.hang_up.set()
        assert await client.reader.read() == b""


async def test_closing_says_so(place: Place) -> None:
    async with place.client() as client:
        client.startup()
        await client.until_ready()
        await place.door.close(0)
        error = await client.error()
    assert error["C"] == "57P01"
    assert "was stopped" in error["M"]


async def test_a_cancel_request_finds_its_agent(place: Place, agent: FakePostgresAgent, logged_in: FakeControlPlane) -> None:
    async with place.client() as client:
        client.startup("admin")
        await client.until_ready()
        async with place.client() as other:
            other.writer.write(messages.cancel(PID, KEY))
            assert await other.reader.read() == b""
    assert agent.cancels == [(PID, KEY)]
    assert len(opened(logged_in)) == 1, "the agent's own listener needs the key alone"
    assert agent.sids == [SID, SID]


@pytest.mark.parametrize(("pid", "key"), [(PID, b"\1\2\3\5"), (PID + 1, KEY), (0, b"\0\0\0\0"), (PID, b"\1\2\3\4\0")])
async def test_a_wrong_key_opens_no_session(
    place: Place, agent: FakePostgresAgent, logged_in: FakeControlPlane, pid: int, key: bytes
) -> None:
    async with place.client() as client:
        client.startup()
        await client.until_ready()
        async with place.client() as other:
            body = (80877102).to_bytes(4) + pid.to_bytes(4) + key
            other.writer.write((len(body) + 4).to_bytes(4) + body)
            assert await other.reader.read() == b""
    assert agent.cancels == []
    assert len(opened(logged_in)) == 1


async def test_a_key_is_forgotten_with_its_connection(
    place: Place, agent: FakePostgresAgent, logged_in: FakeControlPlane
) -> None:
    async with place.client() as client:
        client.startup()
        await client.until_ready()
    await agent.ended.wait()
    await place.door.close(5)
    async with place.client() as other:
        other.writer.write(messages.cancel(PID, KEY))
        assert await other.reader.read() == b""
    assert len(opened(logged_in)) == 1


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\7", b"\x7f\xff\xff\xff", wire.SSL_REQUEST * 4])
async def test_strangers_are_turned_away(place: Place, logged_in: FakeControlPlane, sent: bytes) -> None:
    async with place.client() as client:
        client.writer.write(sent)
        assert b"not a client of PostgreSQL" in await client.reader.read()
    assert opened(logged_in) == []
