"""One socket, read by whoever wants to and written without waiting. TLS can begin in the middle, with nothing left behind it.

A read is bounded, and the next one waits until somebody has taken it: whatever is done with the bytes of one connection is done
for one read of them before others have their turn. How large a read may be follows from how long the last ones took
(:class:`Appetite`). All connections share one buffer: it is emptied as it is filled.

PostgreSQL sends whole buffers of 8 KiB only when it has more to say. Such pieces of a server are put together before anybody is
woken, because what is done with a batch costs the same for 100 rows as for ten; but for no longer than ``REST_S``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from agent.runtime.serving import HANDSHAKE_S

#: Bytes of a first read, of the largest, and of the smallest. Clean text takes some 4 ms for a megabyte, and more than ten times
#: that where it is full of secrets; each batch costs some 0.1 ms besides, whatever is in it.
READ: Final = 32 * 1024
MOST: Final = 256 * 1024
LEAST: Final = 8 * 1024
#: Bytes up to which a result is read at once, where that takes no more than ``BURST`` turns: a thousand rows of a few columns.
FIRST: Final = 96 * 1024
BURST: Final = 3
#: Seconds for which others should wait at most while one read is dealt with. A statement of theirs waits for several such turns.
TURN_S: Final = 0.0007
#: Unread bytes after which the peer is not read any more; less where a read is to be small.
_MUCH: Final = READ // 2
#: The server's own buffer (``PQ_SEND_BUFFER_SIZE``), sent when it is full and something is left to say.
FLUSHED: Final = 8 * 1024
#: Seconds after which what a server sent is read although it has more to say, so that a slow result shows as it comes.
REST_S: Final = 0.001
#: What is larger waits for its turn.
_SMALL: Final = 8 * 1024
_SCRATCH: Final = memoryview(bytearray(MOST))


class Appetite:
    """How many bytes one read of a connection may take, so that dealing with them takes about ``TURN_S``."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size = READ

    def fed(self, size: int, seconds: float) -> None:
        """Dealing with ``size`` bytes took ``seconds``. Grows by half at a time, and only for who fills its reads."""
        fitting = int(size * TURN_S / max(seconds, 1e-6))
        if fitting < self.size:
            # A short read says little: its cost is mostly that of any batch.
            if size >= LEAST:
                self.size = max(fitting, LEAST)
        elif size >= self.size // 2:
            self.size = min(fitting, self.size + self.size // 2, MOST)

    def ended(self) -> None:
        """What was read ended an answer. The next one may begin with a larger read: most are no longer than that, and each batch
        costs so much by itself that several turns would take twice the time of one. What is bulk has that once."""
        self.size = max(self.size, min(FIRST, BURST * self.size))


class Stream(asyncio.BufferedProtocol):
    """A connection. ``read`` returns whatever has arrived; an empty answer is the end."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._pieces: list[bytes] = []
        self._held = 0
        self._paused = False
        self._ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.writable = True
        """The peer keeps up."""
        self._idle = False
        """Somebody waits in ``read``, and nothing has happened since."""
        self._called = False
        self.appetite: Final = Appetite()
        self._room = _SCRATCH[:READ]
        self.gathers = False
        """The peer is a server, whose whole buffers are put together."""
        self._resting: asyncio.TimerHandle | None = None
        self.taker: Callable[[bytes], bool] | None = None
        """Is given small pieces at once, without waking whoever reads, while somebody waits in ``read``. Returns whether it took
        them; must not raise."""

    # -- what asyncio calls --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: a transport of uvloop's is one in all but its class.
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        size = self.appetite.size
        if size != len(self._room):
            self._room = _SCRATCH[:size]
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        data = _SCRATCH[:nbytes].tobytes()
        if self._idle and not self._held and nbytes < _SMALL and self.taker is not None and self.taker(data):
            return
        self._pieces.append(data)
        self._held += nbytes
        if self.gathers and not nbytes % FLUSHED and self._held + FLUSHED <= self.appetite.size:
            if self._resting is None:
                self._resting = asyncio.get_running_loop().call_later(REST_S, self._wake)
            return
        self._wake()
        if self._held >= min(_MUCH, self.appetite.size // 2) and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self.writable = True
        self._wake()
        self._writable.set()

    def pause_writing(self) -> None:
        self.writable = False
        self._writable.clear()

    def resume_writing(self) -> None:
        self.writable = True
        self._writable.set()

    def _wake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._idle = False
        self._arrived.set()

    # -- what we call --------------------------------------------------------------------------------------------------------

    @property
    def transport(self) -> asyncio.Transport:
        """The transport under it."""
        assert self._transport is not None
        return self._transport

    @property
    def buffered(self) -> bool:
        """True where bytes have arrived that nobody has read."""
        return self._held > 0

    async def read(self) -> bytes:
        """Return what has arrived, or nothing at the end; or nothing after :meth:`call`, of which ``called`` tells."""
        while (not self._held or self._resting is not None) and not self._ended and not self._called:
            self._arrived.clear()
            self._idle = True
            await self._arrived.wait()
        self._idle = False
        if self._called:
            return b""
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._held = [], 0
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return data

    async def gone(self) -> None:
        """Return once the peer has ended its side. Only for whoever does not read meanwhile."""
        while not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        self._arrived.set()

    def call(self) -> None:
        """Have ``read`` return although nothing has arrived."""
        self._called = True
        self._wake()

    def called(self) -> bool:
        """Tell whether :meth:`call` was what ended ``read``, and forget it."""
        called, self._called = self._called, False
        return called

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        transport = self._transport
        if data and transport is not None and not transport.is_closing():
            transport.write(data)

    async def drain(self) -> None:
        """Return when the peer keeps up, or is gone."""
        await self._writable.wait()

    async def start_tls(self, context: ssl.SSLContext, *, server_side: bool, hostname: str | None = None) -> ssl.SSLObject:
        """Speak TLS from here on. Raises OSError (ssl.SSLError is one)."""
        loop = asyncio.get_running_loop()
        changed = await loop.start_tls(
            self.transport,
            self,
            context,
            server_side=server_side,
            server_hostname=hostname,
            ssl_handshake_timeout=HANDSHAKE_S,
        )
        if changed is None:
            raise ConnectionResetError("the peer has gone")
        self._transport = changed
        found = changed.get_extra_info("ssl_object")
        assert found is not None
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """Send what is left and end the connection."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        if self._transport is not None:
            self._transport.abort()


async def adopted(connection: socket.socket, tls: ssl.SSLContext | None = None) -> Stream:
    """Return the stream of a connected socket, inside TLS where a context is given. Raises OSError."""
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    patience = HANDSHAKE_S if tls is not None else None
    # Kept and not taken from the answer: uvloop returns its own TLS protocol there.
    stream = Stream()
    await loop.connect_accepted_socket(lambda: stream, connection, ssl=tls, ssl_handshake_timeout=patience)
    return stream


async def dialled(host: str, port: int) -> Stream:
    """Connect. Raises OSError."""
    loop = asyncio.get_running_loop()
    transport, stream = await loop.create_connection(Stream, host, port)
    found = transport.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream
