"""The control plane's HTTP API from the agent's side: proofs that hold, faults that keep their code, links used as signed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from agent.runtime import identity as identities
from agent.runtime.clock import ServerClock
from agent.runtime.control_client import REPLY_LIMIT, ControlClient
from agent.runtime.identity import Identity
from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.recording import Chunk
from tests.fakes.control_plane import FakeControlPlane

CHUNK = Chunk(n=0, kind="ch01.cast", time_ms=1, size=4, sha256="88" * 32, chain="99" * 32)


@pytest.fixture
async def client(control: FakeControlPlane, state: Path) -> AsyncIterator[ControlClient]:
    enrolled, keys = identities.load(state)
    clock = ServerClock()
    async with ControlClient(control.url, clock, Identity(enrolled, keys, clock.now_ms).proof) as made:
        yield made


class Strange:
    """A server that answers whatever it is told to."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"{}", dict[str, str]()
        self.seen: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        await request.read()
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def strange() -> AsyncIterator[tuple[Strange, str]]:
    server = Strange()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield server, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_every_signed_route_is_believed(client: ControlClient, control: FakeControlPlane) -> None:
    session = control.session()
    assert (await client.announce(api.AgentAnnounce(protocols=[], credentials=[]))).document == control.document
    claimed = await client.claim(session.sid, api.SessionClaim(path="relay"))
    assert (claimed.session.sid, claimed.session.state) == (session.sid, "live")
    await client.report(session.sid, api.SessionReport())
    await client.close_session(session.sid, api.SessionClose(state="ended", chunks=0, chain="", operations=0, denied=0))
    assert (await client.open_direct(api.DirectOpen(certificate="c", target="web"))).ticket
    assert (await client.trust()).issuer == control.issuer


async def test_a_fault_keeps_its_code_and_words(client: ControlClient) -> None:
    with pytest.raises(Fault) as caught:
        await client.claim("ses_01JD8QZ6T3N0V9C4K2M7X5B1HR", api.SessionClaim(path="relay"))
    assert (caught.value.code, caught.value.message) == ("unknown_session", "There is no such session.")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (502, b"<html>Bad Gateway</html>", "control_plane_unreachable"),
        (429, b'{"message": "Too Many Requests"}', "control_plane_unreachable"),
        (403, b'{"message": "Forbidden"}', "control_plane_unreachable"),
        (302, b"", "control_plane_unreachable"),
        (200, b"not json", "control_plane_unreachable"),
        (200, b"{}", "control_plane_unreachable"),
        (418, b'{"error": {"code": "of_a_newer_version", "message": "Words."}}', "bad_request"),
        (503, b'{"error": {"code": "of_a_newer_version", "message": "Words."}}', "internal"),
        (409, b'{"error": {"code": "ticket_used", "message": "Words."}}', "ticket_used"),
    ],
)
async def test_strange_answers_are_faults(strange: tuple[Strange, str], status: int, body: bytes, code: str) -> None:
    server, url = strange
    server.status, server.body, server.headers = status, body, {"Location": "/login"}
    async with ControlClient(url, ServerClock()) as client:
        with pytest.raises(Fault) as caught:
            await client.trust()
    assert caught.value.code == code
    assert len(server.seen) == 1  # a redirect is not followed


async def test_an_endless_answer_is_refused(strange: tuple[Strange, str]) -> None:
    server, url = strange
    server.body = b"x" * (REPLY_LIMIT + 1)
    async with ControlClient(url, ServerClock()) as client:
        with pytest.raises(Fault, match="too long"):
            await client.trust()


async def test_nobody_there() -> None:
    async with ControlClient("http://127.0.0.1:1", ServerClock()) as client:
        with pytest.raises(Fault) as caught:
            await client.trust()
    assert caught.value.code == "control_plane_unreachable"


async def test_an_unenrolled_agent_asks_nothing(strange: tuple[Strange, str]) -> None:
    server, url = strange
    async with ControlClient(url, ServerClock()) as client:
        with pytest.raises(Fault) as caught:
            await client.announce(api.AgentAnnounce(protocols=[], credentials=[]))
    assert (caught.value.code, server.seen) == ("agent_unknown", [])


def ticket(url: str) -> api.ChunkTicket:
    headers = {"content-type": "application/zstd", "if-none-match": "*", "x-amz-checksum-sha256": "abc="}
    return api.ChunkTicket(url=url, headers=headers, expires_ms=0)


async def test_a_chunk_is_put_to_its_link_exactly_as_signed(strange: tuple[Strange, str]) -> None:
    server, url = strange
    path = "/bucket/alice%40example.com/a%2Bb.zst?X-Amz-Credential=A%2FB&X-Amz-Signature=ab%2Fcd"
    async with ControlClient(url, ServerClock(), lambda *_: "Agent secret") as client:
        await client.put(ticket(url + path), b"body")
    (request,) = server.seen
    assert (request.method, request.raw_path) == ("PUT", path)
    sent: dict[str, Any] = {name.lower(): value for name, value in request.headers.items()}
    assert sent.pop("host")
    assert sent == ticket("").headers | {"content-length": "4"}


async def test_a_chunk_that_is_there_already_is_stored(strange: tuple[Strange, str]) -> None:
    server, url = strange
    server.status = 412
    async with ControlClient(url, ServerClock()) as client:
        await client.put(ticket(url + "/key"), b"body")


@pytest.mark.parametrize("status", [301, 400, 403, 409, 500, 503])
async def test_a_chunk_that_is_not_taken_is_tried_again_by_the_caller(strange: tuple[Strange, str], status: int) -> None:
    server, url = strange
    server.status = status
    server.body = b"<Error><Code>SlowDown</Code><Resource>/bucket/alice@example.com/key</Resource></Error>"
    async with ControlClient(url, ServerClock()) as client:
        with pytest.raises(Fault) as caught:
            await client.put(ticket(url + "/key"), b"body")
    assert caught.value.code == "control_plane_unreachable"
    assert caught.value.detail == f"{status} SlowDown"


async def test_the_clock_follows_the_control_plane(strange: tuple[Strange, str]) -> None:
    server, url = strange
    server.headers = {"Date": "Tue, 14 Nov 2023 22:13:20 GMT"}
    clock = ServerClock(lambda: 1_700_000_100_000)
    async with ControlClient(url, clock) as client:
        with pytest.raises(Fault):
            await client.trust()
    assert 1_700_000_000_000 <= clock.now_ms() <= 1_700_000_001_000


async def test_the_same_chunk_is_registered_twice_without_harm(client: ControlClient, control: FakeControlPlane) -> None:
    sid = control.session().sid
    upload = api.ChunkUpload(chunk=CHUNK, operations=0, denied=0)
    assert (await client.register_chunk(sid, upload)).url == (await client.register_chunk(sid, upload)).url
    assert control.chunks[sid] == [CHUNK]
