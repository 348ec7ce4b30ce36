"""The target's end of one SSH channel: a program is started there, and what it says is told to whoever owns it."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

import asyncssh

from agent.core.units import Stream
from agent.protocols.ssh.algorithms import LEAST_PACKET, PACKET
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.leg import BROKEN, Gather
from agent.protocols.ssh.packets import Quick, behind
from agent.protocols.ssh.valve import Valve
from agent.runtime.serving import HANDSHAKE_S
from chalicelib.contracts.faults import Fault

#: Signals that are passed on by their name (RFC 4254 §6.10), and the word of OpenSSH's server for all others.
SIGNALS: Final = frozenset("ABRT ALRM FPE HUP ILL INT KILL PIPE QUIT SEGV TERM USR1 USR2".split())
OTHER_SIGNAL: Final = "SIG@openssh.com"


class Owner(Protocol):
    """Whose program it is."""

    exit: int | tuple[str, bool, str, str] | None
    """How the program ended: a status, or a signal, whether memory was dumped, and no words."""

    @property
    def valve(self) -> Valve:
        """Holds whoever sends to the program."""
        ...

    def on_output(self, data: bytes, stream: Stream) -> None:
        """The program said something."""
        ...

    def on_target_eof(self) -> None:
        """The program will say no more."""
        ...

    def on_target_closed(self, exc: Exception | None) -> None:
        """The channel is closed, or its connection lost."""
        ...


class TargetSide(asyncssh.SSHClientSession[bytes]):
    """The target's end of a channel."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._gather: Gather
        self._leg: Quick | None = None
        self._channel: Any = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; what was asked for did not start yet."""
        self._channel = chan
        leg = chan.get_connection()
        self._leg = leg if isinstance(leg, Quick) else None
        self._gather = Gather(self._owner.on_output, behind(leg))

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Output: to the gate."""
        stream: Stream = "out" if datatype is None else "err"
        if self._leg is not None and self._leg.lone and not self._gather.crumbs:
            self._owner.on_output(data, stream)
        else:
            self._gather.add(data, stream)

    def eof_received(self) -> bool:
        """End of output; the client may still send."""
        self._gather.flush()
        self._owner.on_target_eof()
        return True

    def pause_writing(self) -> None:
        """The target takes no more for now."""
        self._owner.valve.hold("target's window")

    def resume_writing(self) -> None:
        """The target takes more again."""
        self._owner.valve.release("target's window")

    def exit_status_received(self, status: int) -> None:
        """Keep it until all output was passed on."""
        self._owner.exit = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        """Keep it until all output was passed on. What the target says about it is nobody's to read: it would not be masked."""
        self._owner.exit = (signal if signal in SIGNALS else OTHER_SIGNAL, core_dumped, "", "")

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel closed, or its connection broke: now the exit status may follow the output."""
        # asyncssh drops what waits behind a pause when a connection breaks; it arrived, so it is shown and recorded.
        waiting = self._channel._recv_buf
        while waiting:
            self.data_received(*waiting.pop(0))
        self._gather.flush()
        # A target that disconnects politely breaks the connection all the same; asyncssh tells of nothing then.
        broken = self._channel._conn is None or self._channel._conn._transport is None
        self._owner.on_target_closed(exc or (asyncssh.ConnectionLost("The target disconnected.") if broken else None))


#: Seconds that something beside a program may take.
ASIDE_S: Final = 2.0


async def aside(target: asyncssh.SSHClientConnection, command: str, data: bytes, limit: int) -> bytes:
    """Run ``command`` with ``data`` as its input, on a channel of its own. Returns the first ``limit`` bytes of its output.

    Nothing where the target refuses it, or it takes too long.
    """
    said = bytearray()
    try:
        async with asyncio.timeout(ASIDE_S):
            channel = await target.create_process(command, encoding=None, send_env=(), stderr=asyncssh.DEVNULL)
            try:
                channel.stdin.write(data)
                channel.stdin.write_eof()
                while len(said) < limit and (more := await channel.stdout.read(limit - len(said))):
                    said += more
            finally:
                channel.close()
    except (TimeoutError, asyncssh.Error, OSError):
        return b""
    return bytes(said)


async def start(
    target: asyncssh.SSHClientConnection, owner: Owner, wish: Wish, permitted: bytes, *, terminal: Terminal | None, window: int
) -> asyncssh.SSHClientChannel[bytes]:
    """Start what was ``permitted`` of ``wish``, with the size that ``terminal`` has by now. Raises Fault with a target's code."""
    asked = wish.terminal
    size = terminal or asked
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            channel, _ = await target.create_session(
                lambda: TargetSide(owner),
                command=permitted.decode() if permitted and wish.kind != "subsystem" else None,
                subsystem=permitted.decode() if wish.kind == "subsystem" else None,
                env=dict(wish.environment),
                send_env=(),
                request_pty="force" if asked else False,
                term_type=asked.term if asked else None,
                term_size=(size.columns, size.rows, *size.pixels) if size else (),
                term_modes=asked.modes if asked else {},
                encoding=None,
                window=window,
                max_pktsize=PACKET,
            )
    except TimeoutError:
        raise Fault("target_timeout", f"The target did not start it within {HANDSHAKE_S:.0f} s.") from None
    except asyncssh.ChannelOpenError as error:
        detail = f"The target refused the channel: {error.reason}"
        raise Fault("target_closed", detail[:300]) from None
    except BROKEN as error:
        raise Fault("target_closed", "The target hung up while it was being started.", detail=str(error)) from None
    if channel._send_pktsize < LEAST_PACKET:
        channel.abort()
        raise Fault("target_closed", "The target takes only crumbs.", detail=f"packets of {channel._send_pktsize} bytes")
    return channel
