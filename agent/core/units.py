"""What bytes mean: the units that a protocol engine reads out of a stream, and the other facts that reach the gate.

Units are as large as the read that made them (a batch, not a row), because Python pays per object. They are nouns: nothing here
decides, records or forwards. Time is one of the facts (:class:`Tick`); nothing in this room asks a clock.
"""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec

from agent.core.policy import Yes
from chalicelib.contracts.operation import Operation

#: Where output is shown; protocols with a single stream use ``out``.
Stream = Literal["out", "err"]


class Side(enum.Enum):
    """One end of the data path."""

    CLIENT = "client"
    TARGET = "target"


class Asked(msgspec.Struct, frozen=True):
    """The client asks for an operation; ``data`` is exactly what would be forwarded if policy permits it."""

    operation: Operation
    data: bytes
    tag: int = 0
    """The engine's own mark (a request id), so that it can answer the right question when it must refuse."""


class Output(msgspec.Struct, frozen=True):
    """Bytes of the target on their way to the client: masked, recorded, shown."""

    data: bytes
    stream: Stream = "out"
    recorded: bool = True
    """False only where a transcript records the content by its hash (files), never to hide it."""
    own: bool = False
    """Words of the gateway itself, which stand behind everything that the target has said so far and are not masked."""


class Housekeeping(msgspec.Struct, frozen=True):
    """The protocol's own bytes, which no policy speaks of: handshakes, acknowledgements, parts of what was already permitted."""

    to: Side
    data: bytes


class Remark(msgspec.Struct, frozen=True):
    """A fact that belongs in the recording and needs no decision, such as the hash of a file that was closed."""

    entry: dict[str, Any]


class Refused(msgspec.Struct, frozen=True):
    """The client asks for an operation that the gateway itself refuses, whatever policy says."""

    operation: Operation
    code: str
    message: str
    tag: int = 0


class Answered(msgspec.Struct, frozen=True):
    """Others said yes to an operation that policy holds."""

    asked: Asked
    yes: Yes


class Resized(msgspec.Struct, frozen=True):
    """The client's terminal has a new size, in characters."""

    columns: int
    rows: int


class Exited(msgspec.Struct, frozen=True):
    """A program ended: its exit status, or the name of the signal that ended it."""

    status: int | str


class Lull(msgspec.Struct, frozen=True):
    """Nothing has come for a while: what masking holds back is shown, or so much of it as was due at ``due_ms``.

    Also a line of a shell that has ended: what comes behind it is not its own.
    With ``last`` nothing will come: also an escape sequence that has only begun is shown.
    """

    due_ms: int | None = None
    last: bool = False


class Tick(msgspec.Struct, frozen=True):
    """It is now ``now_ms`` (Unix milliseconds, the control plane's clock). Sent before the facts that happened then."""

    now_ms: int


#: What engines return.
Unit = Asked | Refused | Output | Housekeeping | Remark | Lull
#: What the gate is told.
Event = Unit | Answered | Resized | Exited | Tick
