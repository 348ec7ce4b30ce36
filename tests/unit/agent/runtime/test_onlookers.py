"""The door for watchers: who gets in, who is told why not, and what is reported."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import msgspec
import pytest

from agent.runtime import onlookers
from agent.runtime.onlookers import Onlookers
from agent.runtime.watching import Audience, Watch
from chalicelib.contracts import relay, watching
from chalicelib.contracts.capability import WatchClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.policy import Policy
from tests.fakes.agent_runtime import NOW_MS, SID, make_claims, make_policy, make_target
from tests.patience import HANG_S
from tests.unit.agent.runtime.test_agent_tls import Host

WID = "wat_01JD8QZ6T3N0V9C4K2M7X5B1HR"
PERMIT = 'permit(principal == User::"bob@example.com", action == Action::"watch", resource in Tag::"dev");'
HEADING = b'{"version":3}\n[0.0,"o","hello"]\n'


class Gate(Host):
    """An identity that believes the tickets of a test."""

    def __init__(self) -> None:
        super().__init__()
        self.tickets: dict[str, WatchClaims] = {}

    def now_ms(self) -> int:
        return NOW_MS

    def watch_ticket(self, text: str) -> WatchClaims:
        if text not in self.tickets:
            raise Fault("ticket_invalid", "The ticket was not issued by this gateway.")
        return self.tickets[text]


class Live:
    """As much of a live session as a watch needs."""

    def __init__(self) -> None:
        self.claims, self.target, self.sid = make_claims(), make_target(), SID
        self.is_over = False
        self.ending: Notice | None = None
        self.said: list[str] = []
        self.audience = Audience(self.said.append)
        self.reports: list[str] = []

    def report_watch(self, watch: Watch, ended: Notice | None = None) -> None:
        self.reports.append(f"{watch.claims.sub} {ended.code if ended else 'began'}")


class Way:
    """One tunnel: what is presented in it, and the watcher's end."""

    def __init__(self, presents: str) -> None:
        self.presents = presents
        self.agent, self.client = socket.socketpair()
        for end in (self.agent, self.client):
            end.setblocking(False)
        self.aborted: Notice | None = None

    async def opening(self) -> bytes:
        return self.presents.encode()

    def socket(self) -> socket.socket:
        return self.agent

    async def abort(self, notice: Notice) -> None:
        self.aborted = notice


class Scene:
    def __init__(self, *rules: str) -> None:
        self.gate, self.session = Gate(), Live()
        self.policy: Policy = make_policy(*(rules or (PERMIT,)))
        self.ways: list[Way] = []
        self.opened = asyncio.Event()
        self.presents = "good"
        self.tasks: list[asyncio.Task[None]] = []
        self.live: dict[str, Any] = {SID: self.session}
        identity: Any = self.gate
        self.onlookers = Onlookers(identity, self.open, self.live.get, self.spawn, lambda: self.policy)
        self.gate.tickets["good"] = WatchClaims(
            iss="https://gw",
            aud="agt",
            wid=WID,
            sid=SID,
            sub="bob@example.com",
            iat=NOW_MS // 1000,
            exp=NOW_MS // 1000 + 60,
            deadline_ms=NOW_MS + 60_000,
        )

    @contextlib.asynccontextmanager
    async def open(self, sid: str, ticket: str) -> AsyncIterator[Way]:
        way = Way(self.presents)
        self.ways.append(way)
        self.opened.set()
        yield way

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    def ask(self, ticket: str = "good", sid: str = SID) -> None:
        self.onlookers.asked(relay.Watch(sid, ticket))

    async def done(self) -> None:
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*self.tasks)

    async def look(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(HANG_S):
            await self.opened.wait()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return await asyncio.open_connection(sock=self.ways[0].client, ssl=context, server_hostname="x")


async def sight(reader: asyncio.StreamReader) -> watching.Sight:
    async with asyncio.timeout(HANG_S):
        return watching.decode(await reader.readline())


async def test_a_watcher_is_let_in_and_shown_the_session_until_it_is_over() -> None:
    scene = Scene()
    scene.session.audience.seen(1, "cast", HEADING)
    scene.ask()
    reader, writer = await scene.look()
    begun = await sight(reader)
    assert begun == watching.Begun(sid=SID, owner="ann@example.com", target="web", login="deploy", protocol="ssh")
    assert await sight(reader) == watching.Fresh(channel=1, kind="cast", lines=HEADING.decode())
    assert scene.session.said == ["bob@example.com is watching this session."]
    scene.session.audience.close(Notice("session_killed", "eve ended it"))
    assert await sight(reader) == watching.Over(code="session_killed", message="eve ended it")
    writer.transport.abort()
    await scene.done()
    assert scene.session.reports == ["bob@example.com began", "bob@example.com session_killed"]
    async with asyncio.timeout(HANG_S):
        await scene.session.audience.emptied()


async def test_an_order_that_comes_again_is_old_news() -> None:
    scene = Scene()
    scene.ask()
    scene.ask()
    reader, writer = await scene.look()
    await sight(reader)
    scene.ask()
    assert len(scene.ways) == 1
    writer.transport.abort()
    await scene.done()
    scene.ask()
    await scene.done()
    assert len(scene.ways) == 1, "a ticket is good once"


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("another ticket is presented", "ticket_mismatch"),
        ("the session is not here", "session_ended"),
        ("the session is over", "session_ended"),
        ("the session is ending", "session_ended"),
        ("policy does not permit it", "denied"),
        ("the target is gone", "denied"),
    ],
)
async def test_whoever_is_not_let_in_is_told_why(what: str, code: str) -> None:
    scene = Scene()
    match what:
        case "another ticket is presented":
            scene.presents = "other"
        case "the session is not here":
            scene.live.clear()
        case "the session is over":
            scene.session.is_over = True
        case "the session is ending":
            scene.session.ending = Notice("session_killed", "x")
        case "policy does not permit it":
            scene.policy = make_policy('permit(principal, action == Action::"replay", resource);')
        case _:
            scene.policy = make_policy(target=make_target(name="other"))
    scene.ask()
    await scene.done()
    aborted = scene.ways[0].aborted
    assert aborted is not None
    assert aborted.code == code
    assert scene.session.said == scene.session.reports == []


async def test_forged_and_mismatched_orders_open_nothing() -> None:
    scene = Scene()
    scene.ask("forged")
    scene.ask("good", "ses_01JD8QZ6T3N0V9C4K2M7X5B1HX")
    await scene.done()
    assert scene.ways == []


async def test_a_policy_that_takes_it_back_ends_it() -> None:
    scene = Scene()
    scene.ask()
    reader, writer = await scene.look()
    await sight(reader)
    session: Any = scene.session
    scene.onlookers.recheck(session)
    scene.policy = make_policy('@message("No more.") forbid(principal, action, resource);')
    scene.onlookers.recheck(session)
    assert await sight(reader) == watching.Over(code="denied", message="No more.")
    writer.transport.abort()
    await scene.done()
    assert scene.session.reports[-1] == "bob@example.com denied"


async def test_an_agent_has_room_for_so_many_watchers_and_for_the_next_one_when_one_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(onlookers, "OPEN", 1)
    scene = Scene()
    scene.gate.tickets["second"] = msgspec.structs.replace(scene.gate.tickets["good"], wid="wat_01JD8QZ6T3N0V9C4K2M7X5B1HX")
    scene.ask()
    scene.ask("second")
    reader, writer = await scene.look()
    await sight(reader)
    assert len(scene.ways) == 1
    writer.transport.abort()
    await scene.done()
    scene.presents = "second"
    scene.opened.clear()
    scene.ask("second")  # the control plane gives the order again while its watcher waits
    async with asyncio.timeout(HANG_S):
        await scene.opened.wait()
    scene.ways[1].client.close()
    await scene.done()


async def test_what_does_not_speak_tls_harms_nobody() -> None:
    scene = Scene()
    scene.ask()
    async with asyncio.timeout(HANG_S):
        await scene.opened.wait()
        await asyncio.get_running_loop().sock_sendall(scene.ways[0].client, b"GET / HTTP/1.1\r\n\r\n")
    await scene.done()
    assert scene.session.said == []


async def test_a_full_session_says_so_inside() -> None:
    scene = Scene()
    for number in range(8):
        scene.session.audience.enter(msgspec.structs.replace(scene.gate.tickets["good"], sub=f"w{number}"), "t")
    scene.ask()
    reader, writer = await scene.look()
    over = await sight(reader)
    assert isinstance(over, watching.Over)
    assert over.code == "too_many"
    writer.transport.abort()
    await scene.done()
