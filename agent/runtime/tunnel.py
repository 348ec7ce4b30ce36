"""The tunnel: drives `chalicelib.contracts.tunnel` over WebSockets. The agent and the command line use the same one.

    async with Tunnel.connect(url, credentials, opening=ticket) as tunnel:
        await tunnel.write(b"...")
        data = await tunnel.read()

One task per concern, all in one group that ends with the context:

    _pump    performs the stream: what must leave leaves, and time passes. It alone sends frames
    _carry   keeps a carrier: dials, waits until it is worn (gone, old or stalled), dials the next *before* it lets go of it
    _serve   one per carrier: hears the relay, feeds the stream

A new carrier takes over when it has a route; the one before is read from for a while longer, because frames may be on their way
to it. Only the newest is believed when it is refused: the relay refuses hellos of older ones because they are older.

    carriers            how                                           stream
    none                at first; or the only one is gone             carrier_down: keeps what is in flight, patience counts
    newest, no route    dialled, says hello                           as before: an older one may still carry
    newest, with route  Route                                         carrier_up, if it was down or the generation is new
    newest, route lost  Lost                                          carrier_down; says hello
    older, draining     a newer one has a route                       hears what still comes
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from websockets.exceptions import ConnectionClosed

from agent.runtime.carrier import Carrier, Timing, TunnelError, Unreachable, dial, jittered, next_pause
from chalicelib.contracts import relay
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.tunnel import Aborted, Event, FrameFault, Limits, Lost, Opened, PeerEof, Received, Stream

__all__ = ["Credentials", "Limits", "Observe", "Timing", "Tunnel", "TunnelError", "bridge"]

Credentials = Callable[[str | None], Awaitable[Mapping[str, str]]]
"""Headers for the next handshake. The argument is the relay's resume token, None for the first connection."""

Observe = Callable[[str], None]
"""Told of what happens to the connections, by constant dotted names: ``tunnel.dialled`` ``tunnel.unreachable``
``tunnel.carrier_up`` ``tunnel.carrier_down`` ``tunnel.replaced`` ``tunnel.peer_lost`` ``tunnel.over``."""

_READ: Final = 256 * 1024
"""Bytes that a bridge takes from its socket at once."""
_CLOSE: Final = 5.0
"""Seconds that `Tunnel.close` waits for the peer's end before it aborts."""


class Tunnel:
    """A full-duplex byte stream to the peer. Made by `connect`. One reader and one writer at a time."""

    def __init__(self, url: str, credentials: Credentials, stream: Stream, timing: Timing, observe: Observe) -> None:
        self._url = url
        self._credentials = credentials
        self._stream = stream
        self._timing = timing
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        # the way there
        self._newest: Carrier | None = None
        self._current: Carrier | None = None
        self._generation = -1
        self._resume: str | None = None
        self._pause = 0.0
        self._why_lost = ""
        # what the reader and the writer see
        self._opening: bytes | None = None
        self._incoming: deque[bytes] = deque()
        self._ended = False
        self._discarding = False
        self._said_eof = False
        self._failure: TunnelError | None = None
        self._given_up = False
        # who waits for what
        self._tasks = asyncio.TaskGroup()
        self._bridges: list[asyncio.Task[None]] = []
        self._work = asyncio.Event()
        self._ready = asyncio.Event()
        self._introduced = asyncio.Event()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._over = asyncio.Event()

    # -- life

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        credentials: Credentials,
        *,
        opening: bytes = b"",
        limits: Limits | None = None,
        timing: Timing | None = None,
        observe: Observe = lambda _: None,
    ) -> AsyncIterator[Tunnel]:
        """Open a tunnel through the relay at ``url`` (``wss://``), and close it with the context.

        Returns when the way to the peer is known; ``opening`` is what the peer's `opened` returns. Leaving the context normally
        closes (`close`), leaving it by an exception aborts: a Fault's code and message are told to the peer.

        Raises TunnelError: ``tunnel_refused`` if the relay will not let us in, ``tunnel_lost`` if no peer comes in time.
        """
        tunnel = cls(url, credentials, Stream(limits or Limits(), opening), timing or Timing(), observe)
        raised: BaseException | None = None
        async with tunnel._tasks:
            tunnel._tasks.create_task(tunnel._run())
            try:
                await tunnel._ready.wait()
                tunnel._raise_failure()
                yield tunnel
                await tunnel.close()
            except BaseException as error:  # noqa: BLE001 - raised again below; the group would wrap it
                raised = error
                await tunnel._abort_for(error)
            for task in tunnel._bridges:
                task.cancel()
        if raised is not None:
            raise raised

    async def opened(self) -> bytes:
        """Return the peer's opening payload, when it has come. Raises TunnelError."""
        await self._introduced.wait()
        if self._opening is None:
            self._raise_failure()
            raise TunnelError("tunnel_lost", "The tunnel was closed before the other side opened it.")
        return self._opening

    async def read(self) -> bytes:
        """Return the next bytes, ``b""`` at the end. Raises TunnelError, after all that came before it was read."""
        while not self._incoming:
            if self._ended:
                return b""
            self._raise_failure()
            self._readable.clear()
            await self._readable.wait()
        data = self._incoming.popleft()
        self._stream.consume(len(data))
        self._work.set()
        return data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``. Returns when it is in the send buffer: at once, unless the peer is slow. Raises TunnelError."""
        rest = memoryview(data)
        while rest:
            self._raise_failure()
            if self._over.is_set() or self._said_eof:
                # A bridge may still hold last bytes (TLS says goodbye) of a side that has ended.
                raise TunnelError("tunnel_lost", "The tunnel is closed.")
            rest = rest[self._stream.write(rest) :]
            self._work.set()
            if rest:
                self._writable.clear()
                await self._writable.wait()

    def write_eof(self) -> None:
        """Nothing more will be written; reading goes on."""
        self._said_eof = True
        self._stream.write_eof()
        self._work.set()

    async def close(self) -> None:
        """End our side, discard what the peer still sends, and wait for its end; after five seconds abort. Raises nothing."""
        self._discard()
        self.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE):
                await self._over.wait()
        if not self._over.is_set():
            await self.abort("session_ended", "The other side closed the session.")

    async def abort(self, code: str, message: str) -> None:
        """End both sides now and tell the peer why. Reads and writes fail from now on. Returns when the peer knows, or after
        `Limits.linger`."""
        self._stream.abort(code, message)
        self._fail(TunnelError("tunnel_aborted", message, reason=code))
        await self._over.wait()

    def _discard(self) -> None:
        self._discarding = True
        while self._incoming:
            self._stream.consume(len(self._incoming.popleft()))
        self._work.set()

    async def _abort_for(self, error: BaseException) -> None:
        """Leave the context because of ``error``."""
        if self._failure is not None:
            await self._over.wait()
        elif isinstance(error, Fault):
            await self.abort(error.code, error.message)
        else:
            await self.abort("tunnel_aborted", "The other side stopped.")

    def join(self, local: socket.socket) -> None:
        """Copy between ``local`` and the tunnel until both directions have ended. Owns ``local``. See `bridge`."""
        self._bridges.append(self._tasks.create_task(self._copy(local)))

    async def _copy(self, local: socket.socket) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._copy_out(local))
                tasks.create_task(self._copy_in(local))
        finally:
            local.close()

    async def _copy_out(self, local: socket.socket) -> None:
        """From the socket into the tunnel."""
        with suppress(OSError, TunnelError):
            while data := await self._loop.sock_recv(local, _READ):
                await self.write(data)
        self.write_eof()

    async def _copy_in(self, local: socket.socket) -> None:
        """From the tunnel into the socket."""
        ending = socket.SHUT_WR
        try:
            while data := await self.read():
                await self._loop.sock_sendall(local, data)
        except TunnelError:
            ending = socket.SHUT_RDWR  # which also ends the other direction's read
        except OSError:  # nobody reads the socket any more
            self._discard()
        with suppress(OSError):
            local.shutdown(ending)

    # -- the stream

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                carrying = tasks.create_task(self._carry())
                await self._pump()
                self._end()
                carrying.cancel()
        finally:
            self._end()

    async def _pump(self) -> None:
        while not (self._stream.done or self._given_up):
            self._work.clear()
            self._take(self._stream.tick(self._loop.time()))
            await self._send()
            if self._stream.writable():
                self._writable.set()
            if not self._stream.done:
                await self._wait_for_work()

    def _end(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._wake_everybody()
            self._observe("tunnel.over")

    async def _send(self) -> None:
        """Send what must leave now. One frame at a time: the stream decides again after each, and a full socket holds it back."""
        while (carrier := self._current) is not None and carrier.route is not None:
            try:
                frames = self._stream.frames_to_send(self._loop.time(), at_most=1)
                if frames:
                    await carrier.say(relay.Data(carrier.route, relay.pack(frames[0])))
                elif self._loop.time() >= carrier.spoke_at + self._timing.keepalive:
                    await carrier.say(relay.Beat())
                else:
                    return
            except ConnectionClosed:
                self._let_go(carrier)
        self._stream.frames_to_send(self._loop.time())  # nothing can leave, but the stream learns the time

    async def _wait_for_work(self) -> None:
        """Wait until a verb was said to the stream, or a deadline has come."""
        now = self._loop.time()
        due = [self._stream.next_deadline()]
        if self._current is not None:
            due.append(self._current.spoke_at + self._timing.keepalive)
        newest, since = self._newest, self._stream.waiting_since
        if newest is not None and newest.route is not None and not newest.worn.is_set() and since is not None:
            stalls = max(since, newest.opened_at) + self._timing.stall
            if now >= stalls:
                newest.worn.set()
            else:
                due.append(stalls)
        at = min((t for t in due if t is not None), default=None)
        alarm = None if at is None else self._loop.call_at(at, self._work.set)
        try:
            await self._work.wait()
        finally:
            if alarm is not None:
                alarm.cancel()

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Received(data):
                    if self._discarding:
                        self._stream.consume(len(data))
                    else:
                        self._incoming.append(data)
                        self._readable.set()
                case Opened(payload):
                    self._opening = payload
                    self._introduced.set()
                case PeerEof():
                    self._ended = True
                    self._readable.set()
                case Aborted(code, message):
                    self._fail(TunnelError("tunnel_aborted", message or "The other side ended the session.", reason=code))
                case Lost(message):
                    self._fail(TunnelError("tunnel_lost", f"The tunnel is lost: {message}.", reason=self._why_lost))

    def _fail(self, failure: TunnelError, *, at_once: bool = False) -> None:
        """Everybody who waits gets ``failure``. With ``at_once`` nothing more is said to the peer."""
        self._failure = self._failure or failure
        self._given_up |= at_once
        self._wake_everybody()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _wake_everybody(self) -> None:
        for event in (self._work, self._ready, self._introduced, self._readable, self._writable):
            event.set()

    # -- the carriers

    async def _carry(self) -> None:
        """Keep a carrier, for as long as the tunnel lives."""
        async with asyncio.TaskGroup() as tasks:
            while not self._given_up:
                try:
                    carrier = await self._dial()
                except TunnelError as refused:
                    self._fail(refused, at_once=True)
                    return
                self._newest = carrier
                tasks.create_task(self._serve(carrier))
                age = 0.9 * self._timing.max_age + jittered(0.1 * self._timing.max_age)
                alarm = self._loop.call_later(age, carrier.worn.set)
                try:
                    await carrier.worn.wait()
                finally:
                    alarm.cancel()

    async def _dial(self) -> Carrier:
        """Connect, as often as it takes: at once after a carrier that had a route, ever more slowly after others."""
        while True:
            if self._pause:
                await asyncio.sleep(jittered(self._pause))
            self._pause = next_pause(self._pause, self._timing)
            try:
                headers = await self._credentials(self._resume)
                carrier = await dial(self._url, headers, self._timing)
            except (Unreachable, OSError):
                self._observe("tunnel.unreachable")
                continue
            except TunnelError:
                raise
            except Fault as fault:
                raise TunnelError("tunnel_refused", fault.message, reason=fault.code) from fault
            self._observe("tunnel.dialled")
            return carrier

    async def _serve(self, carrier: Carrier) -> None:
        """Hear one carrier until it closes, or has been replaced and drained."""
        try:
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(carrier.ask_for_the_peer())
                with suppress(ConnectionClosed, TimeoutError):
                    async with carrier.draining:
                        while True:
                            self._obey(carrier, await carrier.hear())
                self._let_go(carrier)
                asking.cancel()
        finally:
            self._let_go(carrier)
            await carrier.close()

    def _obey(self, carrier: Carrier, message: relay.Downward | None) -> None:
        if self._over.is_set():
            return
        match message:
            case relay.Deliver(text):
                carrier.heard_the_peer()
                self._receive(text)
            case relay.Route():
                if carrier.learn(message) and carrier is self._newest:
                    self._promote(carrier, message)
            case relay.Lost(code, generation):
                self._why_lost = code
                if carrier.lose_route(generation) and carrier is self._current:
                    self._observe("tunnel.peer_lost")
                    self._stream.carrier_down(self._loop.time())
            case relay.Refused(code, words) if carrier is self._newest and not carrier.worn.is_set():
                self._fail(TunnelError("tunnel_refused", words, reason=code), at_once=True)
            case relay.Refused() | None:  # refused perhaps only because there is a newer one; if not, that one will hear it
                return
        self._work.set()

    def _receive(self, text: str) -> None:
        try:
            self._take(self._stream.receive(relay.unpack(text), self._loop.time()))
        except (FrameFault, relay.RelayFault) as fault:
            self._stream.abort("tunnel_protocol", f"A frame was refused: {fault}.")
            self._fail(TunnelError("tunnel_protocol", f"The other side broke the tunnel's protocol: {fault}."))

    def _promote(self, carrier: Carrier, route: relay.Route) -> None:
        """The newest carrier has a route: it is the one to send by."""
        self._resume = route.resume
        self._pause = 0.0
        if self._current is not carrier:
            if self._current is not None:
                self._current.draining.reschedule(self._loop.time() + self._timing.drain)
                self._observe("tunnel.replaced")
            self._current = carrier
        if not self._stream.carrier or route.gen > self._generation:
            self._generation = route.gen
            self._stream.carrier_up(self._loop.time())
            self._observe("tunnel.carrier_up")
        self._ready.set()

    def _let_go(self, carrier: Carrier) -> None:
        """The carrier is closed, or as good as closed."""
        carrier.worn.set()
        if carrier is self._current:
            self._current = None
            self._stream.carrier_down(self._loop.time())
            self._observe("tunnel.carrier_down")
            self._work.set()


async def bridge(tunnel: Tunnel) -> socket.socket:
    """Return a connected, non-blocking stream socket whose other end is the tunnel, for libraries that want one (``sock=``).

    It ends with the tunnel: normally after the peer's end, and abruptly if the tunnel fails. Closing it ends our side. The tunnel
    must not be read or written beside it. It has no address: `asyncssh.connect` wants a host beside it, `run_server` does not.
    """
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    tunnel.join(ours)
    return theirs
