"""One SSH channel between a client and the target: requests become units, effects become writes.

    client ──► ClientSide ──► engine ──► gate ──► (record) ──► TargetSide ──► target
    client ◄── ClientSide ◄── (record) ◄── gate ◄────────────── TargetSide ◄── target

Order rules that real programs depend on: an exit status may arrive before the last output, so it is passed on when the target's
channel has closed; a client may send before the target's channel exists, so its reading is paused then; the end of either
stream is passed on without closing the other; a client that closes its end is answered only when the program has ended, because
the exit status needs a channel to travel in.

Nothing here is buffered without a bound: whoever is slow (a side's window, its transport, the recording) holds the *other* side's
:class:`Valve`, and SSH's own window does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

import asyncssh
import structlog

from agent.core.effects import Ask
from agent.core.gate import Gate
from agent.core.policy import Decider, Yes
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Answered, Event, Exited, Output, Refused, Remark, Resized, Stream, Tick
from agent.protocols.ssh import engine
from agent.protocols.ssh.algorithms import PACKET, window
from agent.protocols.ssh.denial import EXIT_FAILED, Words, exit_status, say
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.files import FileRelay
from agent.protocols.ssh.held import Hold
from agent.protocols.ssh.leg import Gather
from agent.protocols.ssh.requests import ServerChannel
from agent.protocols.ssh.sftp import SftpEngine
from agent.protocols.ssh.valve import Valve
from agent.runtime.relay import Performer
from agent.runtime.serving import HANDSHAKE_S
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.operation import Operation

if TYPE_CHECKING:
    from agent.protocols.ssh.transport import Connection

_log: Final = structlog.get_logger()


class TargetSide(asyncssh.SSHClientSession[bytes]):
    """The target's end of a channel."""

    def __init__(self, owner: ClientSide) -> None:
        self._owner = owner
        self._gather = Gather(owner.on_output, asyncio.get_running_loop().call_soon)
        self._channel: Any = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; what was asked for did not start yet."""
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Output: to the gate."""
        self._gather.add(data, "out" if datatype is None else "err")

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
        """Keep it until all output was passed on."""
        self._owner.exit = (signal, core_dumped, msg, lang)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel closed, or its connection broke: now the exit status may follow the output."""
        # asyncssh drops what waits behind a pause when a connection breaks; it arrived, so it is shown and recorded.
        waiting = self._channel._recv_buf
        while waiting:
            self.data_received(*waiting.pop(0))
        self._gather.flush()
        self._owner.on_target_closed(exc)


class ClientSide(asyncssh.SSHServerSession[bytes]):
    """The client's end of a channel, and what happens on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.valve: Final = Valve()
        self._target_valve: Final = Valve()
        self._channel: ServerChannel | None = None
        self._target: asyncssh.SSHClientChannel[bytes] | None = None
        self._terminal: Terminal | None = None
        self._early: list[bytes] = []
        self._early_eof = False
        self._launch: bytes | None = None
        self._files: FileRelay | None = None
        self._tasks: set[asyncio.Future[Any]] = set()
        self._gate: Gate | None = None
        self._performer: Performer | None = None
        self._hold: Hold | None = None
        """Other people are being asked."""
        self._started = False
        self._starting = False
        self._over = False
        self.exit: int | tuple[str, bool, str, str] | None = None

    # -- what the client does ------------------------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open; nothing was asked for yet."""
        assert isinstance(chan, ServerChannel)
        self._channel = chan
        self.valve.fit(chan)
        self._connection.channels.add(self)

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Any) -> bool:
        """Remember the terminal; it is asked for at the target when the program starts."""
        if not engine.is_term(term_type):
            return False
        columns, rows, *pixels = term_size
        self._terminal = Terminal(term_type, columns, rows, (pixels[0], pixels[1]), dict(term_modes))
        return True

    def exec_requested(self, command: str) -> bool:
        """A single command."""
        return self._begin(Wish(kind="exec", text=command, terminal=self._terminal, environment=self._environment()))

    def shell_requested(self) -> bool:
        """A login shell."""
        return self._begin(Wish(kind="shell", terminal=self._terminal, environment=self._environment()))

    def subsystem_requested(self, subsystem: str) -> bool:
        """File transfer, or something we do not know."""
        return self._begin(Wish(kind="subsystem", text=subsystem))

    def request_refused(self, refused: Refused) -> bool:
        """Something that cannot even be read was asked for. Granted, so that there is a channel to say no in."""
        if self._started:
            return False
        self._started = True
        self.spawn(self._refuse(refused))
        return True

    def forwarding_requested(self, kind: str) -> None:
        """Agent or X11 forwarding: refused, and said when the program starts."""
        self._connection.refuse_quietly(engine.forwarding(kind, ""))

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Pass the new size on, and record it."""
        if self._target is not None:
            self._target.change_terminal_size(width, height, pixwidth, pixheight)
            self._tell(Resized(width, height))
        elif self._terminal is not None:
            self._terminal = Terminal(self._terminal.term, width, height, (pixwidth, pixheight), self._terminal.modes)

    def signal_received(self, signal: str) -> None:
        """Pass a signal on."""
        if self._hold is not None:
            self._hold.withdraw()
        elif self._target is not None:
            self._target.send_signal(signal)

    def break_received(self, msec: int) -> bool:
        """Pass a break on."""
        if self._hold is not None:
            self._hold.withdraw()
            return True
        if self._target is None:
            return False
        self._target.send_break(msec)
        return True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Input, which is forwarded and never recorded: passwords are typed."""
        if self._target is None:
            # asyncssh resumes reading when a request was granted; one read is kept, the window keeps the rest.
            self._early.append(data)
            if self._hold is None or not self._hold.typed(data):
                self.valve.hold("not started")
        else:
            self._from_client(data)

    def eof_received(self) -> bool:
        """End of input; output may still come."""
        if self._target is None:
            self._early_eof = True
        elif self._files is not None:
            self._files.client_eof()
        else:
            self.send_target_eof()
        return True

    def closed_early(self) -> bool:
        """The client closes its end: it stays half open while the program runs, which is told once it has all of its input."""
        if self._hold is not None:
            self._hold.withdraw()
        return self._target is not None or self._starting

    def pause_writing(self) -> None:
        """The client takes no more for now. Where its requests make our own answers, it may not ask more either."""
        self._target_valve.hold("client's window")
        if self._files is not None:
            self.valve.hold("client's window")

    def resume_writing(self) -> None:
        """The client takes more again."""
        self._target_valve.release("client's window")
        self.valve.release("client's window")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone: so is its program."""
        self._connection.channels.discard(self)
        self._channel = None
        if not self._starting:
            # A channel that is being opened at the target is let to open, so that it can be closed.
            for task in self._tasks:
                task.cancel()
        if self._target is not None:
            self._target.close()

    # -- what the target does ------------------------------------------------------------------------------------------------

    def on_output(self, data: bytes, stream: Stream) -> None:
        """Mask, record and show one read; then see whether the recording keeps up."""
        if self._files is not None and stream == "out":
            try:
                self._files.from_target(data)
            except Fault as fault:
                self._fail(fault.notice)
        else:
            self._tell(Output(data, stream))
        recorder = self._connection.opened.recorder
        if recorder.pressure() and not self._target_valve.held:
            self._target_valve.hold("recording")
            self.spawn(self._relieve())

    def on_target_eof(self) -> None:
        """The program closed its output; it may still read, and has not ended."""
        if self._channel is not None:
            self._channel.write_eof()

    def on_target_closed(self, exc: Exception | None) -> None:
        """Everything was shown: say how it ended."""
        self._target = None
        if self._files is not None:
            self._files.finish()
        if self._channel is None:
            self._tell(Remark({"event": "left", "text": "the client left"}))
            return
        if self.exit is None and exc is not None:
            self._fail(Notice("target_closed", "The connection to the target was lost."))
        elif isinstance(self.exit, tuple):
            self._tell(Exited(self.exit[0]))
            self._channel.exit_with_signal(*self.exit)
        elif self.exit is not None:
            self._tell(Exited(self.exit))
            self._channel.exit(self.exit)
        else:
            self._channel.close()

    def press(self, *, target: bool, full: bool) -> None:
        """A leg's transport is full, or no longer: hold the other leg's channel."""
        valve = self.valve if target else self._target_valve
        if full:
            valve.hold("transport")
        else:
            valve.release("transport")

    def end(self, notice: Notice) -> None:
        """The session is over: say why and close."""
        self._fail(notice)

    # -- what the gate orders ------------------------------------------------------------------------------------------------

    def to_target(self, data: bytes) -> None:
        """Keep what was permitted; it is what the target's channel is opened with."""
        self._launch = data

    def to_client(self, data: bytes, stream: Stream) -> None:
        """Show ``data``."""
        if self._channel is not None and not self._channel.is_closing() and not self._channel.left:
            self._channel.write(data, None if stream == "out" else asyncssh.EXTENDED_DATA_STDERR)

    def hold_client(self, held: bool) -> None:
        """Stop or go on reading requests."""
        if held:
            self.valve.hold("deciding")
        else:
            self.valve.release("deciding")

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[Any]:
        """Run something that has to wait; its failure is this channel's failure."""
        task = asyncio.ensure_future(self._guard(coroutine))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def send_target(self, data: bytes) -> None:
        """Forward what was permitted, or belongs to it."""
        if self._target is not None and not self._target.is_closing():
            self._target.write(data)

    def send_target_eof(self) -> None:
        """End the program's input, and close its channel behind a client that closed its own."""
        if self._target is not None:
            self._target.write_eof()
            if self._channel is not None and self._channel.left:
                self._target.close()

    # -- in between ----------------------------------------------------------------------------------------------------------

    def _environment(self) -> tuple[tuple[str, str], ...]:
        assert self._channel is not None
        # Filtered when they arrived, and here once more, where it counts.
        pairs = self._channel.get_environment_bytes().items()
        return tuple(sorted((name.decode(), value.decode()) for name, value in pairs if engine.passes(name, value)))

    def _begin(self, wish: Wish) -> bool:
        if self._started:
            return False
        self._started = True
        self.spawn(self._run(wish))
        return True

    async def _guard(self, running: Coroutine[Any, Any, None]) -> None:
        try:
            await running
        except Fault as fault:
            if fault.code == "recording_failed":
                self._connection.end(fault.notice)
            self._fail(fault.notice)
        except Exception:  # noqa: BLE001 - a bug of ours must end in words and an exit status, not in a client that hangs
            _log.exception("ssh.channel.failed", sid=self._connection.sid)
            self._fail(Notice("internal", "Something went wrong inside the gateway."))

    async def _run(self, wish: Wish) -> None:
        serving = await self._connection.serving()
        # The configuration in force counts: shells may have been switched off since the session opened.
        target_now = serving.policy.document.target(serving.target.name) or serving.target
        unit = engine.read(wish, shell=target_now.options.get("shell"))
        self._open_recording(unit.operation.text, wish)
        await self._perform(unit)
        if self._launch is None:
            if not self._over:
                self._close(126)
            return
        target = await self._connection.target()
        if self._over:
            return  # the session ended while the target was dialled
        self._show_notes()
        if wish.kind == "shell":
            banner = f"sallyport: this shell is recorded ({self._connection.sid})\r\n"
            self._tell(Output(banner.encode(), "err"))
        await self._start(target, wish, self._launch)

    def _show_notes(self) -> None:
        for words in self._connection.take_notes():
            self._tell(Output(words, "err"))

    async def _refuse(self, refused: Refused) -> None:
        await self._connection.serving()
        self._open_recording(refused.operation.text, Wish(kind="exec"))
        await self._perform(refused)
        self._close(126)

    def _open_recording(self, command: str, wish: Wish) -> None:
        serving = self._connection.opened
        claims = serving.claims
        heading = Heading(
            sid=claims.sid,
            target=claims.target,
            principal=claims.sub,
            login=claims.login,
            channel=self._connection.next_channel(),
            opened_ms=serving.now_ms(),
            command=command,
            title=f"{claims.sub} on {claims.login}@{claims.target}",
        )
        decider = Decider(claims, lambda: serving.policy)
        words = Words(claims.sid, terminal=self._terminal is not None)
        self._performer = Performer(serving, self)
        if wish.kind == "subsystem":
            transcript = JsonlWriter(heading, protocol="sftp")
            self._gate = Gate(decider, transcript, words, says_on="err", asks=True)
            self._files = FileRelay(serving, SftpEngine(claims.sid), lambda engine: Gate(decider, transcript, engine), self)
            return
        terminal = self._terminal or Terminal("", 0, 0)
        cast = CastWriter(heading, term=terminal.term, columns=terminal.columns, rows=terminal.rows, environment=wish.environment)
        self._gate = Gate(decider, cast, words, says_on="err", asks=True)

    async def _perform(self, event: Event) -> None:
        assert self._gate is not None
        assert self._performer is not None
        self._gate.handle(Tick(self._connection.opened.now_ms()))
        effects = self._gate.handle(event)
        if not effects or not isinstance(effects[-1], Ask):
            await self._performer.perform(effects)
            return
        await self._performer.perform(effects[:-1])
        asked = effects[-1].asked
        try:
            answered = Answered(asked, await self._agreed(asked.operation))
            self._gate.handle(Tick(self._connection.opened.now_ms()))
            await self._performer.perform(self._gate.handle(answered))
        except Fault as fault:
            if fault.code == "recording_failed":
                raise
            self._gate.handle(Tick(self._connection.opened.now_ms()))
            await self._performer.perform(self._gate.handle(Refused(asked.operation, fault.code, fault.message)))

    async def _agreed(self, operation: Operation) -> Yes:
        """Wait for others. Raises Fault for every no."""
        self._hold = Hold(self._connection.opened, self._said_while_waiting, terminal=self._terminal is not None)
        try:
            # What was typed before it began to wait may end it, and Ctrl-C may stand behind that.
            if self._hold.typed(b"".join(self._early)):
                self.valve.release("not started")
            return await self._hold.agreed(operation)
        except asyncio.CancelledError:
            self._tell(Remark({"event": "withdrawn", "text": "withdrawn: the client left"}))
            raise
        finally:
            self._hold = None

    def _said_while_waiting(self, data: bytes, recorded: bool) -> None:
        self._tell(Output(data, "err", recorded))

    def _tell(self, event: Event) -> None:
        if self._gate is None or self._performer is None:
            return
        self._gate.handle(Tick(self._connection.opened.now_ms()))
        left = self._performer.perform_now(self._gate.handle(event))
        assert not left, "only decisions wait for the disk"

    async def _start(self, target: asyncssh.SSHClientConnection, wish: Wish, permitted: bytes) -> None:
        terminal = wish.terminal
        size = self._terminal or terminal
        self._starting = True
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                channel, _ = await target.create_session(
                    lambda: TargetSide(self),
                    command=permitted.decode() if wish.kind == "exec" else None,
                    subsystem=permitted.decode() if wish.kind == "subsystem" else None,
                    env=dict(wish.environment),
                    send_env=(),
                    request_pty="force" if terminal else False,
                    term_type=terminal.term if terminal else None,
                    term_size=(size.columns, size.rows, *size.pixels) if size else (),
                    term_modes=terminal.modes if terminal else {},
                    encoding=None,
                    window=window(len(self._connection.channels) - 1),
                    max_pktsize=PACKET,
                )
        except TimeoutError:
            raise Fault("target_timeout", f"The target did not start it within {HANDSHAKE_S:.0f} s.") from None
        except asyncssh.ChannelOpenError as error:
            detail = f"The target refused the channel: {error.reason}"
            raise Fault("target_closed", detail[:300]) from None
        except (asyncssh.Error, OSError) as error:
            raise Fault("target_closed", "The target hung up while it was being started.", detail=str(error)) from None
        finally:
            self._starting = False
        self._adopt(channel)

    def _adopt(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        self._target_valve.fit(channel)
        if self._channel is None or self._over:
            channel.close()
            return
        self._target = channel
        early, self._early = self._early, []
        for data in early:
            self._from_client(data)
        if self._early_eof:
            self.eof_received()
        self.valve.release("not started")

    def _from_client(self, data: bytes) -> None:
        if self._files is None:
            self.send_target(data)
            return
        try:
            self._files.from_client(data)
        except Fault as fault:
            self._fail(fault.notice)

    async def _relieve(self) -> None:
        await self._connection.opened.recorder.relieved()
        self._target_valve.release("recording")

    def _fail(self, notice: Notice) -> None:
        if self._channel is None:
            return
        words = say(notice, self._connection.sid, terminal=self._terminal is not None)
        if self._gate is None:
            self.to_client(words, "err")
        else:
            self._tell(Output(words, "err"))
        self._close(exit_status(notice.code) if notice.code else EXIT_FAILED)

    def _close(self, status: int) -> None:
        self._over = True
        self._tell(Exited(status))
        if self._channel is not None:
            self._channel.exit(status)
        if self._target is not None:
            self._target.close()
