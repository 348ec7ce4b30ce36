"""The whole agent in one process, from enrolment over a real tunnel to the stored recording, against a fake control plane."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent import bootstrap
from agent.config import Settings
from agent.runtime.serving import Door, HostIdentity
from agent.runtime.tunnel import Tunnel, TunnelError
from chalicelib.contracts import relay
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_plugins import EchoPlugin
from tests.fakes.control_plane import FakeControlPlane, document
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import control, person_key, quick, state, until

__all__ = ["control", "state"]


hosts: list[HostIdentity] = []
"""Whom the latest agent's plug-in serves as."""


@contextlib.asynccontextmanager
async def running(settings: Settings, plugin: EchoPlugin) -> AsyncIterator[list[tuple[str, int] | None]]:
    def speak(host: HostIdentity) -> list[EchoPlugin]:
        hosts[:] = [host]
        return [plugin]

    stop = asyncio.Event()
    addresses: list[tuple[str, int] | None] = []
    agent = asyncio.ensure_future(bootstrap.run(settings, stop, speak=speak, backoff=quick, on_ready=addresses.append))
    try:
        yield addresses
    finally:
        stop.set()
        async with asyncio.timeout(HANG_S):
            await agent


def client(control: FakeControlPlane, sid: str, ticket: str) -> contextlib.AbstractAsyncContextManager[Tunnel]:
    async def headers(_: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {ticket}", "X-Sallyport-Socket": "client", "X-Sallyport-Session": sid}

    return Tunnel.connect(control.websocket_url, headers, opening=ticket.encode())


async def offered(control: FakeControlPlane) -> tuple[str, str]:
    await until(lambda: control.control and control.beats)
    made = control.session()
    ticket = control.ticket(made)
    await control.send(relay.Offer(made.sid, ticket))
    return made.sid, ticket


async def test_offer_tunnel_serve_close(control: FakeControlPlane, state: Path) -> None:
    plugin = EchoPlugin()
    async with running(Settings(state=state, credentials=state / "credentials", min_free_mb=0), plugin):
        sid, ticket = await offered(control)
        async with client(control, sid, ticket) as tunnel:
            await tunnel.write(b"hello\n")
            assert await tunnel.read() == b"echo hello\n"
        await until(lambda: sid in control.closes)
        assert control.text_of(sid) == "hello\n"
        assert control.chain_holds(sid)
        assert control.announcements[0].protocols == [plugin.announcement]


async def test_a_kill_is_heard_through_the_tunnel_to_its_last_byte(control: FakeControlPlane, state: Path) -> None:
    plugin = EchoPlugin()
    async with running(Settings(state=state, credentials=state / "credentials", min_free_mb=0), plugin):
        sid, ticket = await offered(control)
        async with client(control, sid, ticket) as tunnel:
            await tunnel.write(b"hello\n")
            assert await tunnel.read() == b"echo hello\n"
            await control.send(relay.Kill(sid, "session_killed", "Bob ended it."))
            assert await tunnel.read() == b"ended session_killed\n"
            assert await tunnel.read() == b""
        await until(lambda: sid in control.closes)
        assert control.closes[sid].state == "killed"


async def test_a_refusal_reaches_the_client_in_words(control: FakeControlPlane, state: Path) -> None:
    plugin = EchoPlugin()
    async with running(Settings(state=state, credentials=state / "credentials", min_free_mb=0), plugin):
        sid, _ = await offered(control)
        other = control.ticket(control.session())
        with pytest.raises(TunnelError) as caught:
            async with client(control, sid, other) as tunnel:
                await tunnel.read()
        assert (caught.value.reason, caught.value.message) == ("ticket_mismatch", "The ticket is for another session.")
        assert plugin.served == []


async def test_a_live_session_goes_on_while_the_control_socket_is_away(control: FakeControlPlane, state: Path) -> None:
    plugin = EchoPlugin()
    async with running(Settings(state=state, credentials=state / "credentials", min_free_mb=0), plugin):
        sid, ticket = await offered(control)
        async with client(control, sid, ticket) as tunnel:
            await tunnel.write(b"one\n")
            assert await tunnel.read() == b"echo one\n"
            await control.control[-1].close()
            await until(lambda: len(control.control) == 2)
            await tunnel.write(b"two\n")
            assert await tunnel.read() == b"echo two\n"
            await until(lambda: control.beats[-1].live == (sid,))


async def test_a_direct_client_withdraws_the_relays_offer(control: FakeControlPlane, state: Path) -> None:
    plugin = EchoPlugin("ssh")
    control.document = document(protocol="ssh")
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0, listen=("127.0.0.1", 0))
    async with running(settings, plugin) as addresses:
        sid, _ = await offered(control)
        await until(lambda: "session" in control.ends[sid])
        assert addresses[0] is not None
        reader, writer = await asyncio.open_connection(*addresses[0])
        certificate = control.person_certificate("alice@example.com", person_key())
        writer.write(f"SALLYPORT/1 {sid}\n{certificate}\nhello\n".encode())
        assert await reader.readline() == b"echo hello\n"
        assert control.claims == [(sid, "direct")]
        await until(lambda: control.ends[sid]["session"].closed)
        writer.close()
        await until(lambda: sid in control.closes)
        assert control.text_of(sid) == "hello\n"


async def test_a_client_of_an_agent_that_has_just_started_waits_for_its_certificate(
    control: FakeControlPlane, state: Path
) -> None:
    class Certified(EchoPlugin):
        async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
            certificates.append(hosts[0].certificate)
            await super().accept(connection, source_ip, sid, door)

    certificates: list[str] = []
    control.document = document(protocol="ssh")
    control.held["announce"] = asyncio.Event()
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0, listen=("127.0.0.1", 0))
    async with running(settings, Certified("ssh")) as addresses:
        await until(lambda: addresses and control.requests["announce"])
        assert addresses[0] is not None
        reader, writer = await asyncio.open_connection(*addresses[0])
        certificate = control.person_certificate("alice@example.com", person_key())
        writer.write(f"{certificate}\nhello\n".encode())
        await asyncio.sleep(0.2)  # time for it to be taken too early
        assert not control.control
        control.held["announce"].set()
        assert await reader.readline() == b"echo hello\n"
        assert [each.split()[0] for each in certificates] == ["ssh-ed25519-cert-v01@openssh.com"]
        await until(lambda: control.control)
        writer.close()


@pytest.mark.parametrize("answer", [Fault("config_invalid", "No."), None], ids=["refused", "unanswered"])
async def test_an_agent_without_a_certificate_takes_clients_in_the_end(
    control: FakeControlPlane, state: Path, answer: Fault | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "FIRST_ANSWER_S", HANG_S if answer else 0.01)
    if answer is None:
        control.held["announce"] = asyncio.Event()
    else:
        control.faults["announce"].append(answer)
    async with running(Settings(state=state, credentials=state / "credentials", min_free_mb=0), EchoPlugin()):
        await until(lambda: control.beats)
        if answer is None:
            control.held["announce"].set()


async def test_an_agent_that_is_stopped_before_it_is_answered_listens_no_more(control: FakeControlPlane, state: Path) -> None:
    control.held["announce"] = asyncio.Event()
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0, listen=("127.0.0.1", 0))
    async with running(settings, EchoPlugin()) as addresses:
        await until(lambda: addresses and control.requests["announce"])
    assert addresses[0] is not None
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*addresses[0])
    control.held["announce"].set()


async def test_two_agents_on_one_state_directory_are_refused(control: FakeControlPlane, state: Path) -> None:
    settings = Settings(state=state, credentials=state / "credentials", min_free_mb=0)
    async with running(settings, EchoPlugin()):
        await until(lambda: bootstrap.is_running(state))
        with pytest.raises(Fault, match="Another agent"):
            await bootstrap.run(settings, asyncio.Event(), speak=lambda host: [EchoPlugin()])
    assert not bootstrap.is_running(state)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_an_agent_enrols_once(control: FakeControlPlane, state: Path) -> None:
    assert modes(state) == dict.fromkeys(("agent.key", "agent.lock", "identity.json", "ssh_host.key"), 0o600)
    assert modes(state.parent)["state"] == 0o700
    with pytest.raises(Fault, match="enrolled already, as edge"):
        await bootstrap.enrol(control.url, "another", state)


async def test_a_wrong_token_keeps_the_keys_for_the_next_try(control: FakeControlPlane, tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        await bootstrap.enrol(control.url, "wrong", tmp_path / "new")
    assert caught.value.code == "enrolment_invalid"
    key = (tmp_path / "new" / "agent.key").read_bytes()
    control.enrolment_tokens.add("right")
    assert await bootstrap.enrol(control.url, "right", tmp_path / "new") == "edge"
    assert (tmp_path / "new" / "agent.key").read_bytes() == key


async def test_an_unsafe_credential_is_refused_at_the_start(control: FakeControlPlane, state: Path) -> None:
    folder = state / "credentials"
    folder.mkdir(mode=0o700)
    (folder / "root-key.key").write_text("secret")
    (folder / "root-key.key").chmod(0o644)
    with pytest.raises(Fault, match=r"root-key\.key: may be used by others"):
        await bootstrap.run(Settings(state=state, credentials=folder), asyncio.Event(), speak=lambda host: [])
