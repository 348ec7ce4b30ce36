"""The plug-in between real clients and a real server."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agent.protocols.postgres.plugin import PostgresPlugin
from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import FakeDoor, FakeIdentity, FakeServing, make_claims, make_policy
from tests.integration.postgres.server import LOGIN, Postgres

RUN = 'permit(principal, action in [Action::"run", Action::"transfer"], resource);'
FORBID_DROP = (
    '@message("Tables stay.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") };'
)
TAGS = ["public.customers.mail=email", "public.customers.ssn=ssn", "public.customers.balance=finance"]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


class Ran:
    """How a client ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    def __repr__(self) -> str:
        return f"Ran({self.status}, {self.out[:2000]!r}, {self.err[:2000]!r})"


class Gateway:
    """A listener that gives every connection to the plug-in, each with a session of its own, as the runtime would."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.identity = FakeIdentity()
        self.plugin = PostgresPlugin(self.identity)
        self.rules: tuple[str, ...] = (RUN, FORBID_DROP)
        self.options: dict[str, object] = {"columns": TAGS}
        self.login = LOGIN
        self.credential = postgres.credential()
        self.path = "direct"
        self.door: FakeDoor | None = None
        self.servings: list[FakeServing] = []
        self.notices: list[Notice] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def serving(self) -> FakeServing:
        """A new session."""
        target = self.postgres.target(**self.options)
        serving = FakeServing(
            target=target,
            policy=make_policy(*self.rules, target=target),
            claims=make_claims(target="shop", login=self.login),
            credential=self.credential,
            path=self.path,  # type: ignore[arg-type]
        )
        self.servings.append(serving)
        return serving

    async def listen(self) -> None:
        """Start to accept."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        self._accepting = asyncio.ensure_future(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, address = await loop.sock_accept(self._socket)
            task = asyncio.ensure_future(self._serve(connection, address[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, source_ip: str) -> None:
        if self.door is not None:
            await self.plugin.accept(connection, source_ip, "", self.door)
        else:
            self.notices.append(await self.plugin.serve(connection, self.serving()))

    async def idle(self) -> None:
        """Wait until every connection was served to its end."""
        while self._tasks:
            await asyncio.wait([*self._tasks])

    async def close(self) -> None:
        """Stop to accept, and end what is left."""
        self._accepting.cancel()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)
        self._socket.close()

    @property
    def dsn(self) -> str:
        """How a client reaches the gateway."""
        return f"host=127.0.0.1 port={self.port} user=ann dbname=shop sslmode=require"

    async def psql(self, text: str, *arguments: str, dsn: str = "") -> Ran:
        """Run ``text`` through the gateway."""
        return await self.run(["psql", "-X", "-qAt", *arguments, "-d", dsn or self.dsn], text)

    async def run(self, command: list[str], text: str = "", seconds: float = 60) -> Ran:
        """Run a client to its end."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
        process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate(text.encode())
        except TimeoutError:
            process.kill()
            out, err = await process.communicate()
            pytest.fail(f"{command[0]} hung; it said {out[-500:]!r} and {err[-2000:]!r}")
        return Ran(process.returncode or 0, out.decode(), err.decode())

    @property
    def record(self) -> list[dict[str, object]]:
        """The transcript of the newest session, without its heading."""
        return self.servings[-1].recorder.lines(1, "jsonl")[1:]

    def recorded(self, event: str, session: int = -1) -> list[dict[str, object]]:
        """Lines of one kind."""
        return [line for line in self.servings[session].recorder.lines(1, "jsonl")[1:] if line["event"] == event]


async def eventually(happened: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that another process does; fails where it does not."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not happened():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail("it never happened")
        await asyncio.sleep(0.02)


@pytest.fixture
async def gateway(postgres: Postgres) -> AsyncIterator[Gateway]:
    gate = Gateway(postgres)
    await gate.listen()
    yield gate
    await gate.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
