"""What runs on one SSH channel: asked for, decided, recorded, started at the target, and ended with its status or in words.

    client ──► ClientSide ──► Program ──► engine ──► gate ──► (record) ──► TargetSide ──► target
    client ◄───────────────── Program ◄── (record) ◄── gate ◄───────────── TargetSide ◄── target

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

from agent.core.shell.guard.broken import Unguardable
from agent.core.units import Answered, Asked, Event, Exited, Lull, Output, Refused, Remark, Resized, Stream
from agent.protocols.ssh.asides import Asides
from agent.protocols.ssh.denial import EXIT_FAILED, exit_status, say
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.feed import Feed
from agent.protocols.ssh.files import FileRelay
from agent.protocols.ssh.held import INTERRUPT, QUIT, TYPED_LIMIT, Hold, Waits, interrupts
from agent.protocols.ssh.launch import Launch
from agent.protocols.ssh.recorded import Recorded
from agent.protocols.ssh.requests import ServerChannel
from agent.protocols.ssh.shell import ShellRelay
from agent.protocols.ssh.valve import Valve
from agent.protocols.ssh.wire import Wire
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.operation import Operation

if TYPE_CHECKING:
    from agent.protocols.ssh.transport import Connection

_log: Final = structlog.get_logger()


def _tells(channel: asyncssh.SSHClientChannel[bytes]) -> bool:
    """Return True where the server knows OpenSSH's word for a client that reads no more (PROTOCOL, §2.1)."""
    return "OpenSSH" in str(channel.get_extra_info("server_version", ""))


class Program:
    """One program, from the request for it to its end."""

    def __init__(self, connection: Connection, channel: ServerChannel) -> None:
        self._connection = connection
        self._channel: ServerChannel | None = channel
        self.valve: Final = Valve()
        self._target_valve: Final = Valve()
        self._target: asyncssh.SSHClientChannel[bytes] | None = None
        self.terminal: Terminal | None = None
        """The client's terminal, as large as it is by now."""
        self.feed: Final = Feed(self.valve)
        """What the client says before the program runs."""
        self._launch: Final = Launch(self, connection)
        self._relay: FileRelay | ShellRelay | Wire | None = None
        """Who reads between the two streams, where that is not nobody."""
        self._tasks: set[asyncio.Future[Any]] = set()
        self._recorded: Recorded | None = None
        self._waits: Final = Waits(self._said_while_waiting, self._left_while_waiting)
        self._deaf = False
        """The client takes no more output."""
        self.over = False
        """The client was told how it ended."""
        self._asides = Asides(terminal=False)
        self.exit: int | tuple[str, bool, str, str] | None = None
        self.valve.fit(channel)

    # -- what the client does ------------------------------------------------------------------------------------------------

    def begin(self, wish: Wish) -> None:
        """Decide about ``wish``, and start it if that is permitted."""
        self.terminal = wish.terminal
        self._asides = Asides(terminal=wish.terminal is not None)
        self.spawn(self._launch.run(wish))

    def refuse(self, refused: Refused, terminal: Terminal | None) -> None:
        """Record and say that something unreadable was asked for."""
        self.terminal = terminal
        self.spawn(self._launch.refuse(refused))

    def resize(self, width: int, height: int, pixels: tuple[int, int]) -> None:
        """Pass the terminal's new size on, and record it."""
        if self._target is not None:
            self._target.change_terminal_size(width, height, *pixels)
            self.tell(Resized(width, height))
            if isinstance(self._relay, ShellRelay):
                self._relay.resized(width, height)
            if self._recorded is not None:
                self._recorded.resized(width, height)
            self._connection.mind_requests(self._target)
        if self.terminal is not None:
            self.terminal = Terminal(self.terminal.term, width, height, pixels, self.terminal.modes)

    def signal(self, name: str) -> None:
        """Pass a signal on."""
        if not self.withdraw() and self._target is not None:
            self._target.send_signal(name)
            self._connection.mind_requests(self._target)

    def send_break(self, milliseconds: int) -> bool:
        """Pass a break on. False where there is nobody to get it."""
        if self.withdraw():
            return True
        if self._target is None:
            return False
        self._target.send_break(milliseconds)
        self._connection.mind_requests(self._target)
        return True

    def on_input(self, data: bytes) -> None:
        """Input, which is forwarded and never recorded: passwords are typed."""
        if self._target is None:
            # asyncssh resumes reading when a request was granted.
            more = self._waits.typed(data)
            if self.terminal is not None and interrupts(data):
                self.withdraw()
            room = self.terminal is not None and len(self.feed.kept) < TYPED_LIMIT
            self.feed.add(data, more=more or room)
        elif self._relay is None:
            self.send_target(data)
        elif not (isinstance(self._relay, ShellRelay) and interrupts(data) and self.withdraw()):
            self._from_client(data)

    def on_input_eof(self) -> None:
        """End of input; output may still come."""
        if self._target is None:
            self.feed.end()
        elif self._relay is not None:
            self._relay.client_eof()
        else:
            self.send_target_eof()

    def on_client_closing(self) -> bool:
        """The client closes its end. True where the target was asked for the program and has not told its end."""
        self.withdraw()
        return self._target is not None or self._launch.starting

    def on_client_deaf(self) -> None:
        """The client takes no more output (``ssh host yes | head``). sshd stops reading then, and the program learns of it."""
        if not self._deaf:
            self._deaf = True
            self._pass_on_deafness()

    def _pass_on_deafness(self) -> None:
        if self._target is None:
            return
        self.tell(Remark({"event": "unread", "text": "the client reads no more"}))
        if self.terminal is None and _tells(self._target):
            self._target._send_request(b"eow@openssh.com")
        else:
            self._target.close()

    def on_client_full(self, full: bool) -> None:
        """The client takes no more, or more again. Where its requests make our own answers, it may not ask more either."""
        if not full:
            self._target_valve.release("client's window")
            self.valve.release("client's window")
            return
        self._target_valve.hold("client's window")
        if isinstance(self._relay, FileRelay):
            self.valve.hold("client's window")

    def on_client_left(self) -> None:
        """The client is gone: so is its program."""
        self._channel = None
        if not self._launch.starting:
            # A channel that is being opened at the target is let to open, so that it can be closed.
            for task in self._tasks:
                task.cancel()
            if self._target is None:
                self._recorded_over()
        if self._target is not None:
            self._target.close()

    # -- what the target does ------------------------------------------------------------------------------------------------

    def on_output(self, data: bytes, stream: Stream) -> None:
        """Mask, record and show one read; then see whether the recording keeps up."""
        try:
            if self._relay is not None and stream == "out":
                self._relay.from_target(data)
                self.keep_pace()
            elif self._recorded is not None:
                self._recorded.hear(data, stream)
        except Exception as error:  # noqa: BLE001 - asyncssh would end the leg with all that runs on it, and nobody would be told
            self._failed(error)
        if self._asides.waiting:
            self._say_asides()
        recorder = self._connection.opened.recorder
        if recorder.pressure() and not self._target_valve.held:
            self._target_valve.hold("recording")
            self.spawn(self._relieve())

    def on_target_eof(self) -> None:
        """The program closed its output; it may still read, and has not ended."""
        if isinstance(self._relay, ShellRelay):
            try:
                self._relay.target_eof()
            except Exception as error:  # noqa: BLE001 - as above
                self._failed(error)
        self.tell(Lull(last=True))
        if self._channel is not None:
            self._channel.write_eof()

    def on_target_closed(self, exc: Exception | None) -> None:
        """Everything was shown: say how it ended."""
        self._target = None
        self.tell(Lull())
        if self._recorded is not None:
            self._recorded.note_lines()
        if self._relay is not None:
            self._relay.finish(self.exit if isinstance(self.exit, int) else None)
        if self._channel is None:
            self.tell(Lull(last=True))
            self.tell(Remark({"event": "left", "text": "the client left"}))
            self._recorded_over()
            return
        if self.exit is None and exc is not None:
            self._fail(Notice("target_closed", "The connection to the target was lost."))
        elif isinstance(self.exit, tuple):
            self.tell(Exited(self.exit[0]))
            self._channel.exit_with_signal(*self.exit)
        elif self.exit is not None:
            self.tell(Exited(self.exit))
            self._channel.exit(self.exit)
        else:
            self._recorded_over()
            self._channel.close()

    def press(self, *, target: bool, full: bool) -> None:
        """A leg's transport is full, or no longer: hold the other leg's channel."""
        valve = self.valve if target else self._target_valve
        if full:
            valve.hold("transport")
        else:
            valve.release("transport")

    def warn(self, words: str) -> bool:
        """Say ``words`` beside the program's own output and never inside of it. False where nothing is shown yet."""
        if self._recorded is None or self.over:
            return False
        self._asides.add(words)
        self._say_asides()
        return True

    def end(self, notice: Notice) -> None:
        """The session is over: say why and close."""
        if self._target is not None and self.terminal is None and not self.over:
            # Behind a terminal that closes comes a hangup; a program without one would go on, and nobody would see it.
            self._target.send_signal("KILL" if notice.code == "session_killed" else "TERM")
        self._fail(notice)

    def fail(self, fault: Fault) -> None:
        """It cannot go on: say why and close."""
        if fault.code == "masking_failed":
            _log.error("ssh.masking.failed", sid=self._connection.sid, detail=fault.detail)
        self._fail(fault.notice)

    def keep_pace(self) -> None:
        """Something was said: what masking holds back of it is shown in time."""
        if self._recorded is not None:
            self._recorded.keep_pace()

    # -- what the gate orders ------------------------------------------------------------------------------------------------

    def to_target(self, data: bytes) -> None:
        """Keep what was permitted; it is what the target's channel is opened with."""
        self._launch.permit(data)

    def to_client(self, data: bytes, stream: Stream) -> None:
        """Show ``data``."""
        if self._channel is not None and not self._channel.is_closing() and not self._channel.left:
            self._channel.write(data, None if stream == "out" else asyncssh.EXTENDED_DATA_STDERR)
            self._asides.shown(data)
            if self._recorded is not None and stream == "out":
                self._recorded.shown(data)

    def guardable(self) -> None:
        """The account's shell has a guard: say that it is guarded."""
        self._launch.greet()

    def unguardable(self, other: Unguardable) -> None:
        """The account's shell has no guard: open it locked, where the target lists that and policy permits it."""
        self.spawn(self._launch.lock(other))

    def tell(self, event: Event) -> None:
        """Have ``event`` recorded, and what follows done. Nothing where nothing was opened yet."""
        if self._recorded is None:
            return
        self._recorded.tell(event)
        if isinstance(event, Lull) and not self.over:
            self._say_asides()

    async def target(self) -> asyncssh.SSHClientConnection:
        """Return where something can be run beside the program."""
        return await self._connection.target()

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
        task.add_done_callback(lambda _: coroutine.close())  # a task that is cancelled at once has not begun it
        return task

    def send_target(self, data: bytes) -> None:
        """Forward what was permitted, or belongs to it."""
        if self._recorded is not None:
            self._recorded.typed(data)
        if self._target is not None and not self._target.is_closing():
            self._target.write(data)

    def send_target_eof(self) -> None:
        """End the program's input, and close its channel behind a client that closed its own."""
        if self._target is not None:
            self._target.write_eof()
            self.hang_up()

    def hang_up(self) -> None:
        """Close the program's channel behind a client that closed its own."""
        if self._target is not None and self._channel is not None and self._channel.left:
            self._target.close()

    # -- how it comes to run -------------------------------------------------------------------------------------------------

    def record(self, recorded: Recorded) -> None:
        """From now on, what happens is recorded there."""
        self._recorded = recorded

    def read_by(self, relay: FileRelay | ShellRelay | Wire | None) -> None:
        """From now on ``relay`` reads between the two streams; nobody where that is None."""
        self._relay = relay

    def adopt(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        """It runs on ``channel`` of the target's."""
        self._target_valve.fit(channel)
        if self._channel is None or self.over:
            channel.close()
            return
        self._target = channel
        for data in self.feed.take():
            self._from_client(data)
        if self.feed.eof:
            self.on_input_eof()
        if self._deaf:
            self._pass_on_deafness()
        self.valve.release("not started")

    async def answered(self, asked: Asked) -> Answered | Refused:
        """Wait for others, who are asked about ``asked``. Returns what they said."""
        key = QUIT if isinstance(self._relay, FileRelay) else INTERRUPT
        terminal = self.terminal is not None
        return await self._waits.answered(self._connection.opened, asked, terminal=terminal, key=key, more=self._typed_before)

    def withdraw(self) -> bool:
        """Nobody wants what others are asked about now. False where nobody is asked."""
        return self._launch.withdraw() or self._waits.withdraw()

    def say(self, words: bytes, stream: Stream = "err", *, recorded: bool = True) -> None:
        """Say ``words`` of ours, behind everything that was held back."""
        self.tell(Output(words, stream, recorded, own=True))

    def close(self, status: int) -> None:
        """End it with ``status``, which is told once."""
        if self.over:
            return
        self.over = True
        self.tell(Exited(status))
        if self._channel is not None:
            self._channel.exit(status)
        if self._target is not None:
            self._target.close()

    # -- in between ----------------------------------------------------------------------------------------------------------

    async def _guard(self, running: Coroutine[Any, Any, None]) -> None:
        try:
            await running
        except Exception as error:  # noqa: BLE001 - a bug of ours must end in words and an exit status, not in a client that hangs
            if isinstance(error, Fault) and error.code == "recording_failed":
                self._connection.end(error.notice)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, Fault):
            self.fail(error)
            return
        _log.error("ssh.channel.failed", sid=self._connection.sid, exc_info=error)
        self._fail(Notice("internal", "Something went wrong inside the gateway."))

    def _typed_before(self, hold: Hold) -> None:
        # What was typed before it began to wait may end it, and Ctrl-C may stand behind that.
        if hold.typed(self.feed.kept):
            self.valve.release("not started")

    def _left_while_waiting(self, operation: Operation) -> None:
        if self._recorded is not None:
            self._recorded.withdrawn(operation)

    def _said_while_waiting(self, data: bytes, recorded: bool) -> None:
        self.say(data, "out" if isinstance(self._relay, ShellRelay) else "err", recorded=recorded)

    def _recorded_over(self) -> None:
        if self._recorded is not None:
            self._recorded.over()

    def _from_client(self, data: bytes) -> None:
        if self._relay is None:
            self.send_target(data)
            return
        try:
            self._relay.from_client(data)
        except Exception as error:  # noqa: BLE001 - as what the target says
            self._failed(error)

    def _say_asides(self) -> None:
        if words := self._asides.due():
            self.say(words, "out" if isinstance(self._relay, ShellRelay) else "err")
            if isinstance(self._relay, ShellRelay):
                self._relay.interrupted()

    async def _relieve(self) -> None:
        await self._connection.opened.recorder.relieved()
        self._target_valve.release("recording")

    def _fail(self, notice: Notice) -> None:
        if self._channel is None:
            return
        words = self._asides.leave() + say(notice, self._connection.sid, terminal=self.terminal is not None)
        if self._recorded is None:
            self.to_client(words, "err")
        else:
            self.say(words)
        self.close(exit_status(notice.code) if notice.code else EXIT_FAILED)
