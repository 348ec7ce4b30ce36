"""How a program ends: its output, its exit status and the closing of the channel, in every order in which a target may tell them.

The target is scripted. Clients are OpenSSH's, whose ControlMaster closes a channel as soon as both of its streams have ended, and
one that always does. All of it arrives, and the status, whatever the machine has to do besides: nothing here depends on a time.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32

from agent.runtime.serving import Credential
from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import FakeIdentity, FakeServing, make_claims, make_policy, make_target
from tests.integration.plugin_listener import Ran, eventually, run
from tests.integration.ssh.conftest import USER, Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

#: More than a client's window (2 MiB), so that its end arrives here while output waits.
MUCH = b"0123456789abcdef" * 300_000
#: Less than the gateway's window, more than one packet.
SOME = MUCH[:1_000_000]


class Scripted(asyncssh.SSHServerSession[bytes]):
    """Ends as its command says: words of output, and names of what ends a program."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._steps: list[str] = []
        self.chan: Any = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self.chan = chan
        target, stock = self._target, type(chan)._process_close  # type: ignore[attr-defined]

        def process_close(*packet: Any) -> None:
            # An sshd answers a CLOSE when the program has ended, not before.
            target.closed.set()
            target.close = lambda: stock(self.chan, *packet)

        self.chan._packet_handlers = {**self.chan._packet_handlers, 97: lambda _, *packet: process_close(*packet)}

    def exec_requested(self, command: str) -> bool:
        self._steps = command.split()
        return True

    def session_started(self) -> None:
        self._target.running = asyncio.ensure_future(self._run())

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._target.taken += data

    def eof_received(self) -> bool:
        self._target.input_over.set()
        return True

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        return True

    def signal_received(self, signal: str) -> None:
        self._target.signals.append(signal)

    async def _run(self) -> None:
        for step in self._steps:
            await self._step(step)

    async def _step(self, step: str) -> None:
        chan, target = self.chan, self._target
        if step == "out":
            chan.write(b"out\n")
        elif step == "much":
            chan.write(MUCH)
        elif step == "some":
            chan.write(SOME)
        elif step == "eof":
            chan.write_eof()
        elif step == "exit":
            chan._send_request(b"exit-status", UInt32(7))
        elif step == "signal":
            chan._send_request(b"exit-signal", String("TERM"), Boolean(False), String(""), String(""))
        elif step == "their-eof":
            await target.input_over.wait()
        elif step == "their-close":
            await target.closed.wait()
        elif step == "hang-up":
            chan.get_connection()._transport.write_eof()
        else:
            assert step == "close"
            target.close() if target.close else chan.close()


class Target(asyncssh.SSHServer):
    """A target that follows a script."""

    def __init__(self) -> None:
        self.closed, self.input_over = asyncio.Event(), asyncio.Event()
        self.close: Callable[[], None] | None = None
        self.running: asyncio.Future[None] | None = None
        self.taken = b""
        self.signals: list[str] = []

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> Scripted:
        return Scripted(self)


@pytest.fixture
async def target() -> Target:
    return Target()


@pytest.fixture
async def scripted(target: Target, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway in front of ``target``."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=lambda: target, server_host_keys=[key], encoding=None, line_editor=False
    )
    aim = make_target(
        address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}",
        options={"host_keys": [key.export_public_key().decode().strip()]},
    )
    gate = Gateway(identity, tmp_path)
    gate.serving = FakeServing(
        policy=make_policy(target=aim),
        target=aim,
        claims=make_claims(login=USER),
        credential=Credential("ssh-key", asyncssh.generate_private_key("ssh-ed25519").export_private_key()),
    )
    await gate.listen()
    yield gate
    await gate.close()
    server.close()
    if target.running is not None:
        await target.running


class Closing(asyncssh.SSHClientSession[bytes]):
    """A client that closes its end where output ends, and hears what comes behind."""

    def __init__(self) -> None:
        self.out = b""

    def connection_made(self, chan: Any) -> None:
        self.chan = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self.out += data

    def eof_received(self) -> bool:
        self.chan.write_eof()
        self.chan._close_send()
        return True


class Deaf(asyncssh.SSHClientSession[bytes]):
    """Takes no output."""

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        chan.pause_reading()


def connect(gateway: Gateway) -> Any:
    return asyncssh.connect(
        "127.0.0.1", gateway.port, known_hosts=None, username="web", config=None, client_keys=None, agent_path=None
    )


ORDERS = [
    ("out exit eof close", 7, b"out\n"),
    ("out eof exit close", 7, b"out\n"),
    ("exit out eof close", 7, b"out\n"),
    ("exit out close", 7, b"out\n"),
    ("exit eof close", 7, b""),
    ("eof exit close", 7, b""),
    ("exit close", 7, b""),
    ("exit much eof close", 7, MUCH),
    ("much eof exit close", 7, MUCH),
    ("much exit close", 7, MUCH),
    ("out eof signal close", None, b"out\n"),
    ("out close", None, b"out\n"),
    ("close", None, b""),
    ("out exit eof hang-up", 7, b"out\n"),
]
CLOSED = [
    ("out eof their-eof their-close exit close", 7, b"out\n"),
    ("eof their-close exit close", 7, b""),
    ("much eof their-close exit close", 7, MUCH),
    ("out eof their-close signal close", -15, b"out\n"),
    ("out eof their-close close", None, b"out\n"),
]


@pytest.mark.parametrize(("script", "status", "out"), ORDERS)
async def test_every_order(scripted: Gateway, script: str, status: int | None, out: bytes) -> None:
    ran = await run(scripted.ssh(script, options=["-n"]), None)
    assert (ran.status, ran.out) == (255 if status is None else status, out)
    await scripted.idle()
    assert scripted.serving.recorder.text(1) == out.decode()


@pytest.mark.parametrize(("script", "status", "out"), ORDERS + CLOSED)
async def test_every_order_for_a_client_that_closes_first(scripted: Gateway, script: str, status: int | None, out: bytes) -> None:
    async with connect(scripted) as client:
        chan, session = await client.create_session(Closing, script, encoding=None)
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert session.out == out
        assert chan.get_returncode() == (-15 if "signal" in script else status)
    await scripted.idle()
    assert scripted.serving.recorder.text(1) == out.decode()


async def over_master(gateway: Gateway, folder: Path, script: str, stdin: bytes | None = None) -> Ran:
    """Run ``script`` over a ControlMaster, and end that too."""
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/ctl", "-o", "ControlPersist=30"]
    ran = await run(gateway.ssh(script, options=control), stdin)
    await run(["ssh", "-O", "exit", *control, "-p", str(gateway.port), "web@127.0.0.1"])
    return ran


async def test_a_master_closes_the_channels_of_its_clients(scripted: Gateway, sockets: Path) -> None:
    ran = await over_master(scripted, sockets, "out eof their-close exit close")
    assert (ran.status, ran.out) == (7, b"out\n")


async def test_output_behind_a_pause_outlives_the_connection(scripted: Gateway, target: Target) -> None:
    """The recording is slow, the target is done and gone: what it sent before it went still arrives."""
    recorder = scripted.serving.recorder
    recorder.full = True
    running = asyncio.ensure_future(run(scripted.ssh("some exit eof hang-up", options=["-n"]), None))
    await eventually(lambda: target.running is not None and target.running.done())
    ran = await running
    assert (ran.status, ran.out == SOME) == (7, True)
    assert recorder.text(1) == SOME.decode()


async def test_input_arrives_whole_before_the_close(scripted: Gateway, target: Target, sockets: Path) -> None:
    """The client has said everything and closed; the program has not read it yet."""
    ran = await over_master(scripted, sockets, "eof their-close exit close", MUCH)
    assert ran.status == 7
    assert target.taken == MUCH


async def test_a_client_that_closes_in_the_middle_closes_the_program(scripted: Gateway, target: Target) -> None:
    """Output that nobody takes any more does not keep the program from hearing of it."""
    async with connect(scripted) as client:
        chan, _ = await client.create_session(Deaf, "much their-close exit close", encoding=None, window=65536)
        await eventually(lambda: target.running is not None)
        chan.abort()
        await chan.wait_closed()
        assert chan.get_exit_status() == 7


async def test_a_channel_is_closed_once(scripted: Gateway, target: Target) -> None:
    client = await connect(scripted)
    chan, _ = await client.create_session(asyncssh.SSHClientSession, "their-close", encoding=None)
    await eventually(lambda: target.running is not None)
    number = struct.pack(">I", chan._send_chan)
    client.send_packet(97, number)
    client.send_packet(97, number)
    await client.wait_closed()
    await scripted.idle()
    assert target.closed.is_set()


@pytest.mark.parametrize(
    ("code", "options", "signals"),
    [("session_killed", [], ["KILL"]), ("session_ended", [], ["TERM"]), ("session_killed", ["-tt"], [])],
    ids=["killed", "deadline", "a terminal hangs up"],
)
async def test_a_program_ends_with_its_session(
    scripted: Gateway, target: Target, code: str, options: list[str], signals: list[str]
) -> None:
    running = asyncio.ensure_future(run(scripted.ssh("out their-close", options=options), stdin=None))
    await eventually(lambda: scripted.serving and "out" in scripted.serving.recorder.text(1))
    assert scripted.serving is not None
    scripted.serving.ended.set_result(Notice(code, "It is over."))
    assert (await running).status == 255
    await target.closed.wait()
    assert target.signals == signals
