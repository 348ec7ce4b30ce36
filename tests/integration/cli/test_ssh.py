"""The stock OpenSSH client through ``ssh-config`` and ``connect``, to a real SSH server with a host certificate."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives import serialization

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from cli.home import Home
from tests.fakes.http_control_plane import FakeControlPlane
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
TARGET = api.TargetView(
    name="prod-web", protocol="ssh", description="", tags=[], logins=["deploy"], agent="edge-1", online=True, hint="ssh prod-web",
    host_alias="prod-web.sallyport",
)  # fmt: skip


class Server(asyncssh.SSHServer):
    """Accepts whoever has a ticket, as an agent does: by the authentication method ``none``."""

    def begin_auth(self, username: str) -> bool:
        return False


class Agent:
    """An SSH server behind the preamble of the direct way, on a thread."""

    def __init__(self, ca: asyncssh.SSHKey, alias: str) -> None:
        self.preambles: list[bytes] = []
        self.logins: list[str] = []
        self.port = 0
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._certificate = ca.generate_host_certificate(self._key, "edge-1", principals=[alias])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Agent:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop).result(10)
        self.port = server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.preambles.append(await reader.readline())
        ours, theirs = socket.socketpair()
        inner_reader, inner_writer = await asyncio.open_connection(sock=ours)
        await asyncio.gather(
            asyncssh.run_server(
                theirs, server_factory=Server, server_host_keys=[(self._key, self._certificate)], process_factory=self._serve
            ),
            _copy(reader, inner_writer),
            _copy(inner_reader, writer),
        )

    async def _serve(self, process: asyncssh.SSHServerProcess[str]) -> None:
        self.logins.append(process.get_extra_info("username"))
        process.stdout.write(f"ran {process.command}\n")
        process.stderr.write("and a word aside\n")
        process.exit(7)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture(autouse=True)
def _one_target(plane: FakeControlPlane) -> None:
    plane.targets = [TARGET]


@pytest.fixture
def agent(plane: FakeControlPlane) -> Iterator[Agent]:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with Agent(asyncssh.import_private_key(plane._ca.private_bytes(*form)), TARGET.host_alias) as agent:
        way = api.Way(kind="direct", address=f"127.0.0.1:{agent.port}")
        plane.offer = api.SessionOffer(sid=SID, ticket="t", expires_ms=0, deadline_ms=0, ways=[way], host_alias=TARGET.host_alias)
        yield agent


def ssh(home: Home, *words: str) -> subprocess.CompletedProcess[str]:
    config = Path(os.environ["SALLYPORT_SSH_DIR"]) / "config"
    return subprocess.run(
        ["ssh", "-F", config, *words], capture_output=True, text=True, timeout=HANG_S, check=False, stdin=subprocess.DEVNULL
    )


def sallyport(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S, check=False, stdin=subprocess.DEVNULL)


def test_plain_ssh_works_without_a_word_too_many(home: Home, agent: Agent) -> None:
    assert sallyport("ssh-config", "--write").returncode == 0
    ran = ssh(home, "prod-web", "uname -a")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ran uname -a\n", "and a word aside\n", 7)
    assert agent.preambles == [f"SALLYPORT/1 {SID}\n".encode()]
    assert agent.logins == ["deploy"]


def test_another_login_is_asked_for_and_used(home: Home, agent: Agent, plane: FakeControlPlane) -> None:
    sallyport("ssh-config", "--write")
    assert ssh(home, "root@prod-web", "id").stdout == "ran id\n"
    assert agent.logins == ["root"]
    assert b'"login":"root"' in next(request.body for request in plane.requests if request.path == "/sessions")


def test_connect_runs_the_stock_client(home: Home, agent: Agent, plane: FakeControlPlane) -> None:
    ran = sallyport("connect", "prod-web", "--reason", "INC 4711; $(id)", "--", "uptime", "-p")
    assert (ran.stdout, ran.stderr, ran.returncode) == ("ran uptime -p\n", "and a word aside\n", 7)
    assert b'"reason":"INC 4711; $(id)"' in next(request.body for request in plane.requests if request.path == "/sessions")


def test_a_host_without_the_gateways_certificate_is_refused(home: Home, plane: FakeControlPlane, agent: Agent) -> None:
    sallyport("ssh-config", "--write")
    stranger = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    with Agent(stranger, TARGET.host_alias) as false:
        way = api.Way(kind="direct", address=f"127.0.0.1:{false.port}")
        plane.offer = api.SessionOffer(sid=SID, ticket="t", expires_ms=0, deadline_ms=0, ways=[way], host_alias=TARGET.host_alias)
        ran = ssh(home, "prod-web", "id")
    assert ran.returncode == 255
    assert "Host key verification failed" in ran.stderr
    assert false.logins == []


def test_a_certificate_for_another_target_is_refused(home: Home, plane: FakeControlPlane, agent: Agent) -> None:
    plane.targets = [api.TargetView(**{**_fields(TARGET), "host_alias": "prod-db.sallyport"})]
    sallyport("ssh-config", "--write")
    assert ssh(home, "prod-web", "id").returncode == 255
    assert agent.logins == []


def test_a_denial_reaches_the_person_in_words(home: Home, plane: FakeControlPlane) -> None:
    sallyport("ssh-config", "--write")
    plane.offer = Fault("denied", "Production is for the sre team.")
    ran = ssh(home, "prod-web", "id")
    assert ran.returncode == 255
    assert "sallyport: Production is for the sre team. [denied]" in ran.stderr


def _fields(target: api.TargetView) -> dict[str, object]:
    return {name: getattr(target, name) for name in target.__struct_fields__}
