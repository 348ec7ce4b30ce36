"""What every recording can be told. Writers return whole lines; nothing here writes to a file."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from agent.core.effects import RecordKind
from agent.core.masking import Clean
from agent.core.policy import Decision
from agent.core.units import Stream
from chalicelib.contracts.operation import Operation


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What the head of a recording says: whose session it is, and what was asked for in this channel."""

    sid: str
    target: str
    principal: str
    login: str
    channel: int
    opened_ms: int
    command: str = ""
    title: str = ""


class Transcript(Protocol):
    """One channel's recording. Every method returns the lines to append, or nothing; the first lines carry the heading."""

    @property
    def channel(self) -> int:
        """Number of the channel within its session."""
        ...

    @property
    def kind(self) -> RecordKind:
        """The kind of chunk that the lines belong to."""
        ...

    def decided(self, operation: Operation, decision: Decision, now_ms: int, *, exact: Operation | None = None) -> bytes:
        """An operation and what was decided about it. ``exact`` is the operation where this one leaves something out."""
        ...

    def shown(self, clean: Clean, stream: Stream, now_ms: int) -> bytes:
        """Bytes that the client is shown."""
        ...

    @property
    def due_ms(self) -> int | None:
        """When :meth:`rest` has to be written, or None where there is none. Whatever else is written has it in front."""
        ...

    def rest(self) -> bytes:
        """What was shown and not written yet."""
        ...

    def holds(self, data: bytes) -> bool:
        """Tell whether what is shown can be read back from the recording: False for bytes that it has no form for."""
        ...

    def remark(self, entry: dict[str, Any], now_ms: int) -> bytes:
        """A fact without a decision."""
        ...

    def resized(self, columns: int, rows: int, now_ms: int) -> bytes:
        """The terminal changed its size."""
        ...

    def exited(self, status: int | str, now_ms: int) -> bytes:
        """The program ended."""
        ...


def verdict_word(decision: Decision) -> str:
    """``allowed``, ``denied``, or ``held`` for what an approval could lift."""
    if decision.permit is not None:
        return "allowed"
    return "held" if decision.code == "hold_unavailable" else "denied"
