"""The plug-in between real clients and a real server."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.protocols.postgres import backend, native, stream, transport
from agent.protocols.postgres.plugin import PostgresPlugin
from agent.runtime.serving import Door
from tests.fakes.agent_runtime import FakeIdentity, FakeServing, make_claims, make_policy
from tests.integration.plugin_listener import PluginListener, Ran, run_text
from tests.integration.postgres.server import LOGIN, Postgres
from tests.patience import HANG_S

RUN = 'permit(principal, action in [Action::"run", Action::"transfer"], resource);'
FORBID_DROP = (
    '@message("Tables stay.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") };'
)
#: What the documentation advises: nothing that is unknown, and nothing that administers.
ADVISED = """
permit(principal, action == Action::"run", resource)
unless { context.effects.contains("unknown") || context.effects.contains("admin") };
"""
TAGS = ["public.customers.mail=email", "public.customers.ssn=ssn", "public.customers.balance=finance"]


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's own limits are for people and their machines; tests of a limit set it themselves."""
    for module in (backend, native, stream, transport):
        monkeypatch.setattr(module, "HANDSHAKE_S", HANG_S)


class Gateway(PluginListener):
    """The PostgreSQL plug-in behind a listener, with a session of its own for every connection."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__()
        self.postgres = postgres
        self.identity = FakeIdentity()
        self.plugin = PostgresPlugin(self.identity)
        self.rules: tuple[str, ...] = (RUN, FORBID_DROP)
        self.options: dict[str, object] = {"columns": TAGS}
        self.login = LOGIN
        self.credential = postgres.credential()
        self.path = "direct"
        self.sid = ""
        self.door: Door | None = None
        self.servings: list[FakeServing] = []

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

    async def serve(self, connection: socket.socket, source_ip: str) -> None:
        if self.door is not None:
            await self.plugin.accept(connection, source_ip, self.sid, self.door)
        else:
            self.notices.append(await self.plugin.serve(connection, self.serving()))

    @property
    def dsn(self) -> str:
        """How a client reaches the gateway."""
        return f"host=127.0.0.1 port={self.port} user=ann dbname=shop sslmode=require"

    async def psql(self, text: str, *arguments: str, dsn: str = "") -> Ran[str]:
        """Run ``text`` through the gateway."""
        return await run_text(["psql", "-X", "-qAt", *arguments, "-d", dsn or self.dsn], text)

    @property
    def record(self) -> list[dict[str, object]]:
        """The transcript of the newest session, without its heading."""
        return self.servings[-1].recorder.lines(1, "jsonl")[1:]

    def recorded(self, event: str, session: int = -1) -> list[dict[str, object]]:
        """Lines of one kind."""
        return [line for line in self.servings[session].recorder.lines(1, "jsonl")[1:] if line["event"] == event]


@pytest.fixture
async def gateway(postgres: Postgres) -> AsyncIterator[Gateway]:
    gate = Gateway(postgres)
    await gate.listen()
    yield gate
    await gate.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path
