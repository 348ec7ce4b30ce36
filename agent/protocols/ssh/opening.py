"""What a program's recording and gate are made of, before the program is decided."""

from __future__ import annotations

from collections.abc import Callable

from agent.core.gate import Gate
from agent.core.policy import Decider
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Stream
from agent.protocols.ssh import engine, masked
from agent.protocols.ssh.denial import Words
from agent.protocols.ssh.engine import Terminal, Wish
from agent.protocols.ssh.sftp import SftpEngine
from agent.runtime.serving import Serving


def decider(serving: Serving) -> Decider:
    """Return who decides the operations of ``serving``, under whatever policy is in force by then."""
    return Decider(serving.claims, lambda: serving.policy)


def screen(
    serving: Serving, heading: Heading, wish: Wish, terminal: Terminal | None, modes: list[str], *, stream: bool
) -> tuple[Gate, CastWriter]:
    """Return the gate of a program that is recorded as it is seen, and its cast. ``modes`` are those of a shell.

    With ``stream`` it speaks a protocol of its own on its output.
    """
    size = terminal or Terminal("", 0, 0)
    cast = CastWriter(heading, term=size.term, columns=size.columns, rows=size.rows, environment=wish.environment)
    # In the middle of a terminal's output, what we say must stand exactly where it belongs: the streams have no common order.
    says_on: Stream = "out" if modes and modes[0] != engine.RECORDED else "err"
    gate = Gate(
        decider(serving),
        cast,
        Words(serving.claims.sid, terminal=terminal is not None),
        outputs=masked.outputs(serving, terminal, opaque=stream),
        says_on=says_on,
        asks=True,
        originals=serving.sealer is not None,
    )
    return gate, cast


def files(serving: Serving, heading: Heading, terminal: Terminal | None) -> tuple[Gate, Callable[[SftpEngine], Gate]]:
    """Return the gate that decides whether files may be transferred, and what makes the one that decides about each of them."""
    decide, transcript = decider(serving), JsonlWriter(heading, protocol="sftp")
    words = Words(serving.claims.sid, terminal=terminal is not None)
    gate = Gate(decide, transcript, words, says_on="err", asks=True, originals=serving.sealer is not None)
    return gate, lambda engine: Gate(decide, transcript, engine, asks=True)
