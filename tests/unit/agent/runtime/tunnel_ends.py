"""Both ends of a tunnel in tests: who they are, what they are told, and what they commonly do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import TypeVar

from agent.runtime.tunnel import Credentials, Limits, Timing, Tunnel
from tests.patience import HANG_S
from tests.unit.agent.runtime.relay_server import SIDE, RelayServer

QUICK = Timing(first_pause=0.01, last_pause=0.05, drain=0.1)
T = TypeVar("T")
U = TypeVar("U")


def credentials(side: str) -> Credentials:
    async def headers(resume: str | None) -> Mapping[str, str]:
        return {SIDE: side, "Authorization": resume or f"ticket of {side}"}

    return headers


def blob(size: int, seed: int = 7) -> bytes:
    return Random(seed).randbytes(size)


class Notes(list[str]):
    """What a tunnel's observer was told."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def append(self, name: str) -> None:
        super().append(name)
        self._changed.set()

    async def until(self, name: str) -> None:
        while name not in self:
            self._changed.clear()
            await self._changed.wait()


async def read_all(tunnel: Tunnel) -> bytes:
    parts = []
    while data := await tunnel.read():
        parts.append(data)
    return b"".join(parts)


async def converse(
    server: RelayServer,
    client: Callable[[Tunnel], Awaitable[T]],
    agent: Callable[[Tunnel], Awaitable[U]],
    *,
    timing: Timing = QUICK,
    limits: Limits | None = None,
    observed: dict[str, Notes] | None = None,
) -> tuple[T, U]:
    """Run both ends, each in its context; return what they return."""

    async def end(side: str, act: Callable[[Tunnel], Awaitable[object]]) -> object:
        notes = (observed if observed is not None else {}).setdefault(side, Notes())
        opening = f"opening of {side}".encode()
        async with Tunnel.connect(
            server.url, credentials(side), opening=opening, limits=limits, timing=timing, observe=notes.append
        ) as tunnel:
            return await act(tunnel)

    tasks = [asyncio.ensure_future(end("client", client)), asyncio.ensure_future(end("agent", agent))]
    async with asyncio.timeout(HANG_S):
        await asyncio.wait(tasks)
    return tuple(task.result() for task in tasks)  # type: ignore[return-value]


async def ask(tunnel: Tunnel, question: bytes) -> bytes:
    await tunnel.write(question)
    tunnel.write_eof()
    return await read_all(tunnel)


async def answer_with_hash(tunnel: Tunnel) -> bytes:
    everything = await read_all(tunnel)
    await tunnel.write(hashlib.sha256(everything).digest())
    tunnel.write_eof()
    return everything


async def wait_for_end(tunnel: Tunnel) -> bytes:
    return await read_all(tunnel)
