"""Ports that are forwarded in tests: a server that echoes, a gateway that may, and what it has recorded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.ssh.conftest import Gateway, Sshd, serving_for


class Echo:
    """A server that says everything back, and ends its side when the client ended its own."""

    def __init__(self) -> None:
        self.connections = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye")
        writer.close()

    async def close(self) -> None:
        self._server.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    await server.open()
    yield server
    await server.close()


@pytest.fixture
async def forwarding(gateway: Gateway, sshd: Sshd, echo: Echo) -> Gateway:
    """A gateway that forwards to anywhere on this machine, and has the target listen there."""
    gateway.serving = serving_for(sshd, forward=["127.0.0.1:*"], listen=["localhost:*", "127.0.0.1:*"])
    return gateway


def events(gateway: Gateway) -> list[dict[str, Any]]:
    assert gateway.serving is not None
    return gateway.serving.recorder.lines(0, "jsonl")[1:]


async def forwarded(gateway: Gateway, *options: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *gateway.ssh("-N", options=[*options, "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=INFO"]),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> bytes:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    return (await process.communicate())[1]
