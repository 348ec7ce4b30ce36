"""How a program is opened: what it is decided and recorded with, and who reads between its two streams."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import asyncssh

from agent.core.gate import Gate
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Event, Stream
from agent.protocols.ssh import engine, files, masked, shell
from agent.protocols.ssh.decider import decider
from agent.protocols.ssh.denial import Words
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.files import FileRelay
from agent.protocols.ssh.recorded import Recorded
from agent.protocols.ssh.sftp import SftpEngine
from agent.protocols.ssh.shell import ShellRelay
from agent.protocols.ssh.shells import Shells
from agent.protocols.ssh.single import Single
from agent.protocols.ssh.wire import Wire
from agent.runtime.relay import Stage
from agent.runtime.serving import Serving


class Owner(files.Owner, shell.Owner, Stage, Protocol):
    """Whose program it is."""

    def tell(self, event: Event) -> None:
        """Have ``event`` recorded, and what follows done."""
        ...

    async def target(self) -> asyncssh.SSHClientConnection:
        """Return where something can be run beside the program."""
        ...


class Opened(NamedTuple):
    """A program that may be decided now."""

    recorded: Recorded
    relay: FileRelay | ShellRelay | Wire | None
    """Who reads between the two streams, where that is not nobody."""
    shells: Shells | None
    """Where another kind of shell comes from."""
    lines: JsonlWriter
    """What stands in JSON lines."""


def transfer(serving: Serving, heading: Heading, wish: Wish, owner: Owner) -> Opened:
    """Return files' transfer: one gate decides whether there may be any, and another one about each of them."""
    decide, transcript = decider(serving), JsonlWriter(heading, protocol="sftp")
    words = Words(serving.claims.sid, terminal=wish.terminal is not None)
    gate = Gate(decide, transcript, words, says_on="err", asks=True, originals=serving.sealer is not None)
    relay = FileRelay(serving, SftpEngine(serving.claims.sid), lambda engine: Gate(decide, transcript, engine, asks=True), owner)
    return Opened(Recorded(serving, gate, owner, owner.fail), relay, None, transcript)


def screen(
    serving: Serving, heading: Heading, wish: Wish, modes: list[str], owner: Owner, *, stream: bool = False, fed: bool = False
) -> Opened:
    """Return a program that is recorded as it is seen. ``modes`` are those of a shell, best first.

    With ``stream`` it speaks a protocol of its own on its output; ``fed``, it is a script.
    """
    terminal = wish.terminal
    lines = JsonlWriter(heading, protocol="script" if fed else "shell")
    gate, cast = _gate(serving, heading, wish, modes, lines, stream=stream)
    recorded = Recorded(serving, gate, owner, owner.fail, None if modes else Single(serving, gate, cast, lines))
    recorded.paced(masked.Pace(gate, owner.tell))
    shells = Shells(serving, gate, (cast, lines), owner, owner.target)
    if stream:
        return Opened(recorded, Wire(owner.tell, owner.send_target, owner.send_target_eof), shells, lines)
    if not modes or terminal is None:
        return Opened(recorded, None, shells, lines)
    relay = shells.relay(modes[0], terminal)
    if relay is None:
        recorded.read(terminal.columns, terminal.rows)
    return Opened(recorded, relay, shells, lines)


def _gate(
    serving: Serving, heading: Heading, wish: Wish, modes: list[str], lines: JsonlWriter, *, stream: bool
) -> tuple[Gate, CastWriter]:
    size = wish.terminal or Terminal("", 0, 0)
    cast = CastWriter(heading, term=size.term, columns=size.columns, rows=size.rows, environment=wish.environment)
    # In the middle of a terminal's output, what we say must stand exactly where it belongs: the streams have no common order.
    says_on: Stream = "out" if modes and modes[0] != engine.RECORDED else "err"
    gate = Gate(
        decider(serving),
        cast,
        Words(serving.claims.sid, terminal=wish.terminal is not None),
        outputs=masked.outputs(serving, wish.terminal, opaque=stream),
        says_on=says_on,
        asks=True,
        originals=serving.sealer is not None,
        beside=lines,
    )
    return gate, cast
