"""Looking on at a session: what is recorded goes to watchers too, and whoever works there is told that they look.

    plug-in ─► Tapped ─► recorder
                  └────► Audience ─► tails (the last of each channel)
                             └─────► Watch ─► watcher        one for each, with a bound of its own

A watcher gets lines of the recording, so nothing that the recording does not have. Feeding a watch never waits: who takes less
than the session says loses what is between, and is shown every channel anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

from agent.core.recording.tail import Tail
from agent.runtime.serving import Recorder
from chalicelib.contracts import watching
from chalicelib.contracts.capability import WatchClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.recording import Kind

#: Bytes of lines that wait for one watcher, at most.
WAITING_BYTES: Final = 256 * 1024
#: People who may look on at one session at once.
WATCHERS: Final = 8
#: Channels whose end is kept for whoever begins to look on: a terminal and its transcript, and the newest others.
CHANNELS: Final = 8

LEFT: Final = Notice("ok", "The watcher left.")
_TYPED: Final = Notice("protocol_error", "A watcher only looks on, and this one sent something.")


class Sink(Protocol):
    """Where a watch writes: a ``StreamWriter``, or what tests have instead of one."""

    def write(self, data: bytes) -> None:
        """Take bytes."""
        ...

    async def drain(self) -> None:
        """Return when more may be written. Raises OSError where nobody reads."""
        ...


class Source(Protocol):
    """What a watcher would say, if it might."""

    async def read(self, n: int) -> bytes:
        """Return up to ``n`` bytes, nothing at the end."""
        ...


class Watch:
    """One watcher. ``feed`` never waits; ``run`` carries what was fed."""

    def __init__(self, claims: WatchClaims, ticket: str, repaint: Callable[[], Iterator[watching.Fresh]]) -> None:
        self.claims = claims
        self.ticket = ticket
        self.shown = 0
        """Bytes of lines that were sent."""
        self.over: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self._repaint = repaint
        self._waiting: deque[tuple[int, Kind, bytes]] = deque()
        self._size = 0
        self._anew = True
        self._behind = False
        self._news = asyncio.Event()
        self._news.set()

    def feed(self, channel: int, kind: Kind, lines: bytes) -> None:
        """Show ``lines`` soon. What does not fit is left out, with everything that waits, for the channels are shown anew."""
        if self._anew:
            return
        self._waiting.append((channel, kind, lines))
        self._size += len(lines)
        if self._size > WAITING_BYTES:
            self._waiting.clear()
            self._size, self._anew, self._behind = 0, True, True
        self._news.set()

    def end(self, notice: Notice) -> None:
        """End the watch, and say why. The first reason stands."""
        if not self.over.done():
            self.over.set_result(notice)

    async def run(self, source: Source, sink: Sink, seconds: float) -> Notice:
        """Show until the watch is over, ``seconds`` have passed, or the watcher leaves or says anything. Returns why it ended."""
        sending: asyncio.Future[Any] = asyncio.ensure_future(self._send(sink))
        listening: asyncio.Future[Any] = asyncio.ensure_future(source.read(1))
        try:
            ends: set[asyncio.Future[Any]] = {sending, listening, self.over}
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if listening.done() and not self.over.done():
                said = not listening.exception() and listening.result()
                self.end(_TYPED if said else LEFT)
            elif sending.done():
                self.end(LEFT)
            self.end(Notice("session_ended", "The time of this watch is over."))
        finally:
            for task in (sending, listening):
                task.cancel()
            await asyncio.gather(sending, listening, return_exceptions=True)
        return self.over.result()

    async def last_words(self, sink: Sink, seconds: float) -> None:
        """Show what still waits and say why it is over, to a watcher who takes it within ``seconds``."""
        notice = self.over.result()
        try:
            async with asyncio.timeout(seconds):
                await self._send_waiting(sink)
                sink.write(watching.encode(watching.Over(code=notice.code, message=notice.message)))
                await sink.drain()
        except (OSError, TimeoutError):
            return

    async def _send(self, sink: Sink) -> None:
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await self._send_waiting(sink)
        except OSError:
            return

    async def _send_waiting(self, sink: Sink) -> None:
        while self._anew or self._waiting:
            if self._anew:
                if self._behind:
                    sink.write(watching.encode(watching.Behind()))
                self._anew = self._behind = False
                for sight in self._repaint():
                    self.shown += len(sight.lines)
                    sink.write(watching.encode(sight))
            else:
                channel, kind, lines = self._waiting.popleft()
                self._size -= len(lines)
                self.shown += len(lines)
                sink.write(watching.encode(watching.Seen(channel=channel, kind=kind, lines=lines.decode("utf-8", "replace"))))
            await sink.drain()


class Audience:
    """Who looks on at one session, and what they are shown. ``tell`` has words shown to whoever works in it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._tails: dict[tuple[int, Kind], Tail] = {}
        self._watches: list[Watch] = []
        self._closed: Notice | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def seen(self, channel: int, kind: Kind, lines: bytes) -> None:
        """``lines`` are recorded."""
        if kind == "sealed" or self._closed is not None:
            return
        tail = self._tails.get((channel, kind))
        if tail is None:
            tail = self._begin(channel, kind)
        tail.add(lines)
        for watch in self._watches:
            watch.feed(channel, kind, lines)

    def _begin(self, channel: int, kind: Kind) -> Tail:
        if len(self._tails) >= CHANNELS:
            # The first channel is the one that somebody sits at; of the others the newest matter.
            keys = list(self._tails)
            del self._tails[keys[1] if len(keys) > 1 else keys[0]]
        tail = self._tails[channel, kind] = Tail(kind)
        return tail

    def names(self) -> list[str]:
        """Return who looks on, each once, in the order in which they came."""
        return list(dict.fromkeys(watch.claims.sub for watch in self._watches))

    def enter(self, claims: WatchClaims, ticket: str) -> Watch:
        """Let a watcher in, and tell whoever works there. Raises Fault(session_ended | too_many)."""
        if self._closed is not None:
            raise Fault("session_ended", "The session is over.")
        if len(self._watches) >= WATCHERS:
            raise Fault("too_many", f"{WATCHERS} people look on at this session already.")
        watch = Watch(claims, ticket, self._repaint)
        self._watches.append(watch)
        self._empty.clear()
        self._tell(f"{claims.sub} is watching this session.")
        return watch

    def leave(self, watch: Watch) -> None:
        """A watcher looks on no more; tell whoever works there."""
        if watch in self._watches:
            self._watches.remove(watch)
            if not self._watches:
                self._empty.set()
            if self._closed is None and watch.claims.sub not in self.names():
                self._tell(f"{watch.claims.sub} stopped watching this session.")

    def recheck(self, refusal: Callable[[WatchClaims], Notice | None]) -> None:
        """End every watch that ``refusal`` has words against."""
        for watch in list(self._watches):
            if (notice := refusal(watch.claims)) is not None:
                watch.end(notice)

    def close(self, notice: Notice) -> None:
        """The session is over: so is everything here."""
        self._closed = notice
        for watch in list(self._watches):
            watch.end(notice)
        self._tails.clear()

    async def emptied(self) -> None:
        """Return when nobody looks on."""
        await self._empty.wait()

    def _repaint(self) -> Iterator[watching.Fresh]:
        for (channel, kind), tail in self._tails.items():
            lines = tail.lines().decode("utf-8", "replace")
            yield watching.Fresh(channel=channel, kind=kind, lines=lines, left_out=tail.operations)


class Tapped:
    """A recorder that an audience hears. Implements ``serving.Recorder``."""

    def __init__(self, recorder: Recorder, seen: Callable[[int, Kind, bytes], None]) -> None:
        self._recorder = recorder
        self._seen = seen

    async def write(self, channel: int, kind: Kind, lines: bytes, *, durable: bool = False) -> None:
        """See ``serving.Recorder``."""
        self._seen(channel, kind, lines)
        await self._recorder.write(channel, kind, lines, durable=durable)

    def write_then(self, channel: int, kind: Kind, lines: bytes, done: Callable[[Fault | None], None]) -> None:
        """See ``serving.Recorder``."""
        self._seen(channel, kind, lines)
        self._recorder.write_then(channel, kind, lines, done)

    def write_soon(self, channel: int, kind: Kind, lines: bytes) -> None:
        """See ``serving.Recorder``."""
        self._seen(channel, kind, lines)
        self._recorder.write_soon(channel, kind, lines)

    def pressure(self) -> bool:
        """See ``serving.Recorder``."""
        return self._recorder.pressure()

    async def relieved(self) -> None:
        """See ``serving.Recorder``."""
        await self._recorder.relieved()

    async def give_way(self) -> None:
        """See ``serving.Recorder``."""
        await self._recorder.give_way()
