"""A hop that only passes bytes on, in Python on uvloop: what any such hop costs on this machine, whatever it does besides.

python -m bench.pump PORT       prints its own port, passes on to PORT until it is terminated
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

_SCRATCH = memoryview(bytearray(64 * 1024))


class Pump(asyncio.BufferedProtocol):
    """One side of one connection; ``other`` is the other one, which it dials where it was accepted."""

    def __init__(self, port: int, other: Pump | None = None) -> None:
        self._port = port
        self._other = other
        self._waiting: list[bytes] = []
        self._dialling: asyncio.Task[object] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        if self._other is None:
            self._other = Pump(self._port, self)
            loop, other = asyncio.get_running_loop(), self._other
            self._dialling = loop.create_task(loop.create_connection(lambda: other, "127.0.0.1", self._port))
        for data in self._other._waiting:
            self.transport.write(data)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _SCRATCH

    def buffer_updated(self, nbytes: int) -> None:
        data = _SCRATCH[:nbytes].tobytes()
        assert self._other is not None
        if self._other.transport is None:
            self._waiting.append(data)
        else:
            self._other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.close()


async def main(port: int) -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(lambda: Pump(port), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
