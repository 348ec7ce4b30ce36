"""The client's end of one SSH channel: what asyncssh hears there becomes one :class:`Wish`, and then the life of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncssh

from agent.core.units import Refused
from agent.protocols.ssh import engine
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.program import Program
from agent.protocols.ssh.requests import ServerChannel

if TYPE_CHECKING:
    from agent.protocols.ssh.transport import Connection


class ClientSide(asyncssh.SSHServerSession[bytes]):
    """The client's end of a channel. Nothing but what prepares a program can be asked before one, and only one ever."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._terminal: Terminal | None = None
        self._asked = False

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open; nothing was asked for yet."""
        assert isinstance(chan, ServerChannel)
        self._channel = chan
        self._program = Program(self._connection, chan)
        self._connection.programs.add(self._program)

    # -- what may be asked ---------------------------------------------------------------------------------------------------

    def pty_requested(self, term_type: str, term_size: tuple[int, int, int, int], term_modes: Any) -> bool:
        """Remember the terminal; it is asked for at the target when the program starts."""
        if not engine.is_term(term_type):
            return False
        columns, rows, *pixels = term_size
        self._terminal = Terminal(term_type, columns, rows, (pixels[0], pixels[1]), engine.modes(term_modes))
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
        if self._asked:
            return False
        self._asked = True
        self._program.refuse(refused, self._terminal)
        return True

    def forwarding_requested(self, kind: str) -> None:
        """Agent or X11 forwarding: refused, and said when the program starts."""
        self._connection.refuse_quietly(engine.forwarding(kind, ""))

    def _environment(self) -> tuple[tuple[str, str], ...]:
        # Filtered when they arrived, and here once more, where it counts.
        pairs = self._channel.get_environment_bytes().items()
        return tuple(sorted((name.decode(), value.decode()) for name, value in pairs if engine.passes(name, value)))

    def _begin(self, wish: Wish) -> bool:
        if self._asked:
            return False
        self._asked = True
        self._program.begin(wish)
        return True

    # -- what the program hears ----------------------------------------------------------------------------------------------

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """The terminal's new size: for the program, or for the one that will be asked for."""
        if self._asked:
            self._program.resize(width, height, (pixwidth, pixheight))
        elif self._terminal is not None:
            self._terminal = Terminal(self._terminal.term, width, height, (pixwidth, pixheight), self._terminal.modes)

    def signal_received(self, signal: str) -> None:
        """A signal."""
        self._program.signal(signal)

    def break_received(self, msec: int) -> bool:
        """A break."""
        return self._program.send_break(msec)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Input."""
        self._program.on_input(data)

    def eof_received(self) -> bool:
        """End of input; output may still come."""
        self._program.on_input_eof()
        return True

    def closed_early(self) -> bool:
        """The client closes its end: it stays half open while the program runs, which is told once it has all of its input."""
        return self._program.on_client_closing()

    def reads_no_more(self) -> None:
        """The client takes no more output, and never will."""
        self._program.on_client_deaf()

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        self._program.on_client_full(True)

    def resume_writing(self) -> None:
        """The client takes more again."""
        self._program.on_client_full(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._connection.programs.discard(self._program)
        self._program.on_client_left()
