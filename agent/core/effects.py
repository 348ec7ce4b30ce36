"""What follows: the orders that the gate gives, performed one by one by whoever owns the sockets.

The order of the list is the promise. An order that fails is the last one performed, so a :class:`Record` that fails means that
the :class:`ToTarget` behind it never happens. Orders demand a proof that only one room can mint: ``ToTarget`` a
:class:`~agent.core.policy.Permit` for exactly its operation, ``ToClient`` bytes that went through masking.

What a busy client repeats all day is two orders in one: :class:`Repeat` and :class:`Show`. They demand the same proofs.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from agent.core.masking import Clean
from agent.core.policy import Permit
from agent.core.units import Asked, Side, Stream
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Verdict

RecordKind = Literal["cast", "jsonl"]


class Record(msgspec.Struct, frozen=True):
    """Write whole lines of ``channel`` to the recording. With ``durable`` the next effect waits until they are on disk."""

    channel: int
    kind: RecordKind
    lines: bytes
    durable: bool = False
    originals: tuple[bytes, ...] = ()
    """Whole lines of what ``lines`` leave out, to be sealed and written before them; only where originals are kept."""


class ToTarget(msgspec.Struct, frozen=True):
    """Forward what was asked. Raises PermissionError unless ``permit`` covers exactly this operation."""

    asked: Asked
    permit: Permit

    def __post_init__(self) -> None:
        if not isinstance(self.permit, Permit) or not self.permit.covers(self.asked.operation):
            raise PermissionError("an operation is forwarded only with a permit that policy minted for it")


class ToClient(msgspec.Struct, frozen=True):
    """Show masked bytes. Raises PermissionError for anything that did not come from masking."""

    clean: Clean
    stream: Stream = "out"

    def __post_init__(self) -> None:
        if not isinstance(self.clean, Clean) or not self.clean.genuine:
            raise PermissionError("bytes are shown only after masking")


class Repeat(msgspec.Struct, frozen=True, gc=False):
    """Have ``lines`` on disk, then count one operation and forward the bytes that ``permit`` holds.

    A Record, a Count and a ToTarget in one, for what was asked before. There are no other bytes in it than the permit's, so
    nothing has to be compared. :func:`~agent.core.policy.permitted` gives them to whoever performs this.
    """

    channel: int
    kind: RecordKind
    lines: bytes
    permit: Permit
    originals: tuple[bytes, ...] = ()
    """As in :class:`Record`."""


class Show(msgspec.Struct, frozen=True, gc=False):
    """Write ``lines`` to the recording, and show masked bytes: a Record that nobody waits for, and a ToClient.

    Whoever performs this takes the bytes with :func:`~agent.core.masking.shown`, which gives nothing else.
    """

    channel: int
    kind: RecordKind
    lines: bytes
    clean: Clean
    originals: tuple[bytes, ...] = ()
    """As in :class:`Record`."""


class Housekeep(msgspec.Struct, frozen=True):
    """Pass on the protocol's own bytes."""

    to: Side
    data: bytes


class Count(msgspec.Struct, frozen=True):
    """Add to the session's counters."""

    operations: int = 0
    denied: int = 0


class Report(msgspec.Struct, frozen=True):
    """Have the control plane remember a refused operation."""

    operation: Operation
    verdict: Verdict
    shown: str | None = None
    """Its text as it may be kept, where that is not the operation's own."""


class Ask(msgspec.Struct, frozen=True):
    """Ask others about what policy holds, and wait. Always the last order; their answer comes back to the gate as a fact."""

    asked: Asked
    verdict: Verdict


class Use(msgspec.Struct, frozen=True):
    """Have the control plane count the use of an approval. What follows happens only once it has."""

    rid: str
    digest: str


class Close(msgspec.Struct, frozen=True):
    """End the session; nothing after this is performed."""

    notice: Notice


Effect = Record | ToTarget | ToClient | Housekeep | Count | Report | Ask | Use | Close
