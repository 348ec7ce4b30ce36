"""What tests of a plug-in share, whatever it speaks: a listener before it, real clients run to their end, and patience."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import AnyStr, Generic

import pytest

from chalicelib.contracts.faults import Notice
from tests.patience import HANG_S


class PluginListener(ABC):
    """A listener that gives every connection to a plug-in, as the runtime would."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def serve(self, connection: socket.socket, source_ip: str) -> None:
        """Give one connection to the plug-in."""

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
            task = asyncio.ensure_future(self.serve(connection, address[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

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


class Ran(Generic[AnyStr]):
    """How a client ended."""

    def __init__(self, status: int, out: AnyStr, err: AnyStr) -> None:
        self.status, self.out, self.err = status, out, err

    def __repr__(self) -> str:
        return f"Ran({self.status}, {self.out[:2000]!r}, {self.err[:2000]!r})"


async def run_text(command: list[str], text: str = "") -> Ran[str]:
    """Run a client that reads and writes text to its end."""
    ran = await run(command, text.encode())
    return Ran(ran.status, ran.out.decode(), ran.err.decode())


async def run(command: list[str], stdin: bytes | None = b"", env: dict[str, str] | None = None) -> Ran[bytes]:
    """Run a client to its end, in this environment with ``env`` added."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")} | (env or {}),
    )
    try:
        async with asyncio.timeout(HANG_S):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"{command[0]} hung; it said {out[-500:]!r} and {err[-2000:]!r}")
    return Ran(process.returncode or 0, out, err)


async def eventually(happened: Callable[[], object]) -> None:
    """Wait for something that another process does; fails where it does not."""
    deadline = asyncio.get_running_loop().time() + HANG_S
    while not happened():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail("it never happened")
        await asyncio.sleep(0.01)
