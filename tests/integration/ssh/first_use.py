"""Hosts whose keys nobody has pinned: a real sshd behind an address that can be taken over, and one who listens for secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import msgspec

from agent.runtime.host_keys import HostKeys
from chalicelib.contracts.gateway import Target
from tests.fakes.agent_runtime import make_policy
from tests.integration.ssh.conftest import Gateway, Sshd

RUN = 'permit(principal, action in [Action::"connect", Action::"run", Action::"transfer"], resource);'
TRUST = 'permit(principal, action == Action::"trust_host_key", resource == Target::"web");'


def key_line(key: asyncssh.SSHKey) -> str:
    """A key as gateway.yaml has it."""
    return key.export_public_key().decode().strip()


def unpinned(gateway: Gateway, sshd: Sshd, state: Path, *rules: str, **options: object) -> HostKeys:
    """Have the gateway's target trust its first host key, in a policy of ``rules`` that says the same; return what it learns."""
    options = {"shell": "recorded", "trust_first_host_key": True} | options
    target = msgspec.structs.replace(sshd.target(), options={name: value for name, value in options.items() if value is not None})
    aim(gateway, target, *rules)
    gateway.serving.host_keys = HostKeys(state)
    return gateway.serving.host_keys


def behind(gateway: Gateway, port: int, state: Path) -> HostKeys:
    """The same, where the target is whoever answers on ``port``."""
    options = {"shell": "recorded", "trust_first_host_key": True}
    aim(gateway, msgspec.structs.replace(gateway.serving.target, address=f"127.0.0.1:{port}", options=options))
    gateway.serving.host_keys = HostKeys(state)
    return gateway.serving.host_keys


def aim(gateway: Gateway, target: Target, *rules: str) -> None:
    """Have the session's target, and the policy's, be ``target``."""
    gateway.serving.target = target
    gateway.serving.in_force = make_policy(*(rules or (RUN, TRUST)), target=target)


class Listening(asyncssh.SSHServer):
    """Lets everybody try everything, and writes down what it is given."""

    def __init__(self, given: list[str]) -> None:
        self._given = given

    def begin_auth(self, username: str) -> bool:
        self._given.append(f"user {username}")
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._given.append(f"password {password}")
        return True

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> asyncssh.auth.KbdIntChallenge:
        return "", "", "", [("Password:", False)]

    def validate_kbdint_response(self, username: str, responses: object) -> bool:
        self._given.append(f"answers {responses}")
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._given.append(f"key {key.get_fingerprint()}")
        return True


@asynccontextmanager
async def impostor(*keys: Any) -> AsyncIterator[tuple[int, list[str]]]:
    """Somebody who answers with ``keys``, as asyncssh takes them: their port, and what they were given."""
    given: list[str] = []
    async with await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: Listening(given),
        server_host_keys=list(keys),
        process_factory=lambda process: process.exit(0),
        encoding=None,
    ) as server:
        yield server.get_port(), given


class Crossroads:
    """An address that leads to one host, and later to another: what somebody in between does."""

    def __init__(self) -> None:
        self.leads_to = 0
        self.port = 0
        self.connections = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Crossroads]:
        """Listen."""
        tasks: set[asyncio.Task[None]] = set()

        async def come(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            there, on = await asyncio.open_connection("127.0.0.1", self.leads_to)
            for pair in ((reader, on), (there, writer)):
                task = asyncio.ensure_future(_pump(*pair))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        server = await asyncio.start_server(come, "127.0.0.1", 0)
        self.port = int(server.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            server.close()
            for task in [*tasks]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
