"""A forwarded connection in motion: two asyncssh channels, and what goes from one to the other as it is.

Whoever is slow (a side's window, its transport) holds the other side's :class:`Valve`, so what waits is bounded by two windows.
The end of one direction is passed on without ending the other, as TCP has it; the end of a channel ends the other behind what was
written to it. What arrives within one turn of the loop is passed on as one, so that crumbs cost a packet for each turn and not
for each byte; :mod:`agent.protocols.ssh.packets` bounds what one turn takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import asyncssh

from agent.protocols.ssh.leg import Gather
from agent.protocols.ssh.spoken import HEAD
from agent.protocols.ssh.valve import Valve

#: Runs a function after what runs now.
Soon = Callable[[Callable[[], None]], object]

#: Why the end that was opened first does not read: there is nobody yet to pass it on to.
_ALONE: Final = "nobody at the other end"


#: Bytes of one direction that are hashed. All of it would cost bulk half as much again as passing it on does.
HASHED: Final = 16 * 1024 * 1024


class Passed:
    """What is known of the bytes of one direction: how many, and the first ones, of which only a word is told.

    ``sha256`` is that of the first :data:`HASHED` bytes; mostly these are all.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.head = b""
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """In hexadecimal digits."""
        return self._hash.hexdigest()

    def add(self, data: bytes) -> None:
        """Count ``data``."""
        if self.bytes < HEAD:
            self.head = (self.head + data)[:HEAD]
        if self.bytes < HASHED:
            self._hash.update(data[: HASHED - self.bytes])
        self.bytes += len(data)


class End(asyncssh.SSHTCPSession[bytes]):
    """One end of a forwarded connection. ``passed`` is what came from it."""

    other: End

    def __init__(self, over: Callable[[], None], stands: Callable[[], bool], soon: Soon) -> None:
        self._over = over
        self._stands = stands
        self._channel: Any = None
        self.valve: Final = Valve()
        self.passed: Final = Passed()
        self._gather: Final = Gather(self._pass_on, soon)
        self.done = False

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """The channel is open. The first of the two waits for the second."""
        self._channel = chan
        self.valve.fit(chan)  # type: ignore[arg-type]
        if self.other._channel is None:
            self.valve.hold(_ALONE)
        else:
            self.other.valve.release(_ALONE)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Pass it on, while that is permitted."""
        if not self._stands():
            self.close()
            self.other.close()
            return
        self._gather.add(data, datatype)

    def _pass_on(self, data: bytes, datatype: object) -> None:
        self.passed.add(data)
        self.other.write(data)

    def flush(self) -> None:
        """Pass on what arrived in this turn of the loop."""
        self._gather.flush()

    def eof_received(self) -> bool:
        """Pass it on. The other direction goes on."""
        self.flush()
        if self.other._channel is not None:
            self.other._channel.write_eof()
        return True

    def pause_writing(self) -> None:
        """It takes no more for now."""
        self.other.valve.hold("window")

    def resume_writing(self) -> None:
        """It takes more again."""
        self.other.valve.release("window")

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, or its connection lost: so is the other."""
        # asyncssh drops what waits behind a pause when a connection breaks; it arrived, so it is passed on.
        waiting = self._channel._recv_buf
        while waiting:
            self.data_received(*waiting.pop(0))
        self.flush()
        self.done = True
        self.other.close()
        self._over()

    def write(self, data: bytes) -> None:
        """Send ``data``, unless the channel is closing."""
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)

    def close(self) -> None:
        """Close the channel behind what was written to it."""
        self.other.flush()
        if self._channel is not None and not self.done:
            self._channel.close()


class Pipe:
    """Two ends. ``over`` is told once both are closed; ``stands`` is asked at every read, and a no closes both."""

    def __init__(self, over: Callable[[], None], stands: Callable[[], bool], soon: Soon) -> None:
        self._over = over
        self.client: Final = End(self._ended, stands, soon)
        self.target: Final = End(self._ended, stands, soon)
        self.client.other, self.target.other = self.target, self.client

    def _ended(self) -> None:
        if self.client.done and self.target.done:
            self._over()

    def press(self, *, target: bool, full: bool) -> None:
        """A leg's transport is full, or no longer: hold what is read for it on the other leg."""
        valve = (self.client if target else self.target).valve
        if full:
            valve.hold("transport")
        else:
            valve.release("transport")

    def close(self) -> None:
        """Close both ends."""
        self.client.close()
        self.target.close()
