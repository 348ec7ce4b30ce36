"""The relay: a tunnel to the agent through the control plane's WebSockets, for agents that nobody can reach directly.

Standard input and output belong to whoever started us. Reading waits until there is something to read, so input need not be made
non-blocking (a terminal shares that flag with the shell). Output to a pipe or socket is made non-blocking for as long as we run,
because a client that stops reading must stop the agent and not our keepalives.

ssh sends SIGHUP to its ProxyCommand as soon as it has written its goodbye. That goodbye is still delivered: a signal starts a
short grace, in which input is read to its end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from agent.runtime.tunnel import Tunnel, TunnelError
from chalicelib.contracts.faults import CODES, Fault

_READ: Final = 256 * 1024
#: Seconds in which input may still end after a signal.
_GRACE_S: Final = 2.0


def carry(url: str, ticket: str, source: int, sink: int) -> None:
    """Carry bytes between the descriptors and the agent until either side ends. Raises Fault.

    The ticket admits the first connection and opens the stream; later connections are admitted by the relay's own token.
    """
    try:
        asyncio.run(_carry(url, ticket, source, sink))
    except TunnelError as error:
        # What the relay or the agent gave as its reason says more than that the tunnel ended.
        raise Fault(error.reason if error.reason in CODES else error.code, error.message) from None


async def _carry(url: str, ticket: str, source: int, sink: int) -> None:
    async def credentials(resume: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {ticket}" if resume is None else f"Resume {resume}"}

    hung_up = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGHUP, signal.SIGTERM):
        loop.add_signal_handler(number, hung_up.set)
    with _not_blocking(sink):
        async with Tunnel.connect(url, credentials, opening=ticket.encode("ascii")) as tunnel:
            await _both_ways(tunnel, source, sink, hung_up)


async def _both_ways(tunnel: Tunnel, source: int, sink: int, hung_up: asyncio.Event) -> None:
    """Copy until the agent's side has ended, or ours has after a signal."""
    upward = asyncio.ensure_future(_upward(tunnel, source))
    downward = asyncio.ensure_future(_downward(tunnel, sink))
    hurry = asyncio.ensure_future(hung_up.wait())
    try:
        done, _ = await asyncio.wait({downward, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if downward in done:
            downward.result()
        else:
            await asyncio.wait({upward}, timeout=_GRACE_S)
    finally:
        for task in (upward, downward, hurry):
            task.cancel()
        await asyncio.gather(upward, downward, hurry, return_exceptions=True)


async def _upward(tunnel: Tunnel, source: int) -> None:
    # Whatever ends this direction is seen and told by the other one.
    with suppress(OSError, TunnelError):
        while data := await _read(source):
            await tunnel.write(data)
    tunnel.write_eof()


async def _downward(tunnel: Tunnel, sink: int) -> None:
    with suppress(BrokenPipeError):  # whoever started us has gone, and knows why
        while data := await tunnel.read():
            await _write(sink, data)


async def _read(source: int) -> bytes:
    """Return the next bytes of ``source``, ``b""`` at its end."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(source, _settle, ready)
    except PermissionError:  # a regular file: epoll refuses it, and it is always ready
        return os.read(source, _READ)
    try:
        await ready
    finally:
        loop.remove_reader(source)
    try:
        return os.read(source, _READ)
    except BlockingIOError:  # somebody else shares it and was faster
        return await _read(source)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():  # it may be called once more before it is removed
        ready.set_result(None)


async def _write(sink: int, data: bytes) -> None:
    """Write every byte of ``data`` without holding up anything else."""
    loop = asyncio.get_running_loop()
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(sink, view) :]
        except BlockingIOError:
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_writer(sink, _settle, ready)
            try:
                await ready
            finally:
                loop.remove_writer(sink)


@contextmanager
def _not_blocking(sink: int) -> Iterator[None]:
    mode = os.fstat(sink).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        yield  # a file never blocks for long, and a terminal is only watched by a person
        return
    before = os.get_blocking(sink)
    os.set_blocking(sink, False)
    try:
        yield
    finally:
        os.set_blocking(sink, before)
