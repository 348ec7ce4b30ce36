"""Cuts each direction of a PostgreSQL connection into messages. Sans-io, bounded, and as fast as the header walk allows.

A message is a type byte, an Int32 that counts itself and what follows, and a body (PostgreSQL documentation, §55.7). The length
is checked against a limit of its type before anything is kept for it: neither side can make the agent hold more than one largest
message. An unknown type is a fault: what cannot be named cannot be decided.

Rows come as one :class:`Rows` per read, not one object per row, because Python pays per object.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from agent.protocols.postgres.walk import Starts, run
from chalicelib.contracts.faults import Fault

_HEADER: Final = struct.Struct(">BI")
_SIZE: Final = struct.Struct(">I")

KIB: Final = 1024
MIB: Final = 1024 * 1024

#: Largest body of each message that a client may send, in bytes (§55.7, "F"). Texts past what can be decided are refused later.
CLIENT_LIMITS: Final[dict[int, int]] = {
    ord("Q"): 16 * MIB,
    ord("P"): 16 * MIB,
    ord("B"): 64 * MIB,
    ord("D"): 4 * KIB,
    ord("E"): 4 * KIB,
    ord("C"): 4 * KIB,
    ord("H"): 0,
    ord("S"): 0,
    ord("X"): 0,
    ord("F"): 16 * MIB,
    ord("d"): 64 * MIB,
    ord("c"): 0,
    ord("f"): 64 * KIB,
    ord("p"): 64 * KIB,
}

#: Largest body of each message that a server may send (§55.7, "B"). A row past this cannot be masked, so it is not shown.
SERVER_LIMITS: Final[dict[int, int]] = {
    ord("D"): 64 * MIB,
    ord("d"): 64 * MIB,
    ord("T"): MIB,
    ord("t"): 512 * KIB,
    ord("C"): 4 * KIB,
    ord("Z"): 1,
    ord("E"): MIB,
    ord("N"): MIB,
    ord("A"): 64 * KIB,
    ord("S"): 64 * KIB,
    ord("K"): KIB,
    ord("R"): 64 * KIB,
    ord("1"): 0,
    ord("2"): 0,
    ord("3"): 0,
    ord("I"): 0,
    ord("n"): 0,
    ord("s"): 0,
    ord("c"): 0,
    ord("G"): 8 * KIB,
    ord("H"): 8 * KIB,
    ord("W"): 8 * KIB,
    ord("V"): 64 * MIB,
    ord("v"): 64 * KIB,
}

#: A startup packet is as large as the server itself accepts (MAX_STARTUP_PACKET_LENGTH).
STARTUP_LIMIT: Final = 10_000

_DATA_ROW: Final = ord("D")
_COPY_DATA: Final = ord("d")


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message, with its header. ``kind`` is its type as a character."""

    kind: str
    raw: bytes

    @property
    def body(self) -> bytes:
        """What follows the length."""
        return self.raw[5:]


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Consecutive DataRow messages, with their headers, in the order in which they came."""

    raw: bytes
    starts: Starts
    """Where each begins in ``raw``: an array where there are many."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.starts)

    def bodies(self) -> list[bytes]:
        """Return the body of every row."""
        raw, starts = self.raw, self.starts if isinstance(self.starts, tuple) else self.starts.tolist()
        return [raw[start + 5 : end] for start, end in zip(starts, (*starts[1:], len(raw)), strict=True)]


class Copied(Rows, frozen=True, gc=False):
    """Consecutive CopyData messages of the server."""


def join_rows(bodies: list[bytes]) -> bytes:
    """Return DataRow messages of ``bodies``."""
    pack = _HEADER.pack
    return b"".join([part for body in bodies for part in (pack(_DATA_ROW, len(body) + 4), body)])


def join_copied(bodies: list[bytes]) -> bytes:
    """Return CopyData messages of ``bodies``."""
    pack = _HEADER.pack
    return b"".join([part for body in bodies for part in (pack(_COPY_DATA, len(body) + 4), body)])


class Framer:
    """Cuts one direction. With ``rows``, consecutive DataRows become :class:`Rows`, and CopyData :class:`Copied`."""

    def __init__(self, limits: dict[int, int], *, whose: str, rows: bool = False) -> None:
        """``whose`` is ``client`` or ``target``: who has broken the protocol when it is broken."""
        self._limits = limits
        self._whose = whose
        self._batches: dict[int, type[Rows]] = {_DATA_ROW: Rows, _COPY_DATA: Copied} if rows else {}
        self._kept: list[bytes] = []
        self._held = 0
        self._needed = 5

    @property
    def partial(self) -> bool:
        """True in the middle of a message."""
        return self._held > 0

    def completes(self, data: bytes) -> int:
        """Return the length of the message that ``data`` completes, if one was begun, or else how much there is."""
        if not self._held:
            return len(data)
        return self._needed if self._held + len(data) >= self._needed else 0

    def rest(self) -> bytes:
        """Return and forget what was kept: for a connection that stops speaking messages."""
        data, self._kept, self._held, self._needed = b"".join(self._kept), [], 0, 5
        return data

    def feed(self, data: bytes) -> list[Message | Rows]:
        """Return the messages that ``data`` completes. Raises Fault for an unknown type or a length past its limit."""
        if self._held:
            self._kept.append(data)
            self._held += len(data)
            if self._held < self._needed:
                return []
            data, self._kept, self._held = b"".join(self._kept), [], 0
        return self._walk(data)

    def _walk(self, data: bytes) -> list[Message | Rows]:
        found: list[Message | Rows] = []
        size, at = len(data), 0
        unpack, limits, batches = _HEADER.unpack_from, self._limits, self._batches
        self._needed = 5
        while size - at >= 5:
            kind, length = unpack(data, at)
            limit = limits.get(kind, -1)
            if length < 4 or length - 4 > limit:
                raise self._fault(kind, length, limit)
            end = at + 1 + length
            if end > size:
                self._needed = 1 + length
                break
            batch = batches.get(kind)
            if batch is not None:
                end, starts = run(data, at, kind, limit)
                found.append(batch(data if end - at == size else data[at:end], starts))
            else:
                found.append(Message(chr(kind), data[at:end]))
            at = end
        if at < size:
            self._kept, self._held = [data[at:]], size - at
        return found

    def _fault(self, kind: int, length: int, limit: int) -> Fault:
        who = "The client" if self._whose == "client" else "The target"
        code = "protocol_error" if self._whose == "client" else "target_protocol"
        if limit < 0:
            return Fault(code, f"{who} sent a message that PostgreSQL's protocol does not have.", detail=f"type {kind}")
        if length - 4 > limit:
            return Fault(code, f"{who} sent a message that is too long.", detail=f"type {kind}, {length} bytes")
        return Fault(code, f"{who} sent a length that cannot be.", detail=f"type {kind}, {length} bytes")


def run_of_rows(data: bytes, at: int) -> tuple[int, tuple[int, ...]]:
    """Walk over the whole DataRows from ``at`` on. Returns where they end, and where each begins after ``at``."""
    end, starts = run(data, at, _DATA_ROW, SERVER_LIMITS[_DATA_ROW])
    return end, starts if isinstance(starts, tuple) else tuple(starts.tolist())


class StartupFramer:
    """Cuts what comes before the protocol is agreed upon: packets without a type byte (§55.7, StartupMessage and its kin)."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> bytes | None:
        """Return the first whole packet after its length, or None while there is none. Raises Fault(protocol_error)."""
        self._kept += data
        if len(self._kept) < 4:
            return None
        (length,) = _SIZE.unpack_from(self._kept)
        if not 8 <= length <= STARTUP_LIMIT:
            raise Fault("protocol_error", "The client does not speak PostgreSQL.", detail=f"startup packet of {length} bytes")
        if len(self._kept) < length:
            return None
        packet, self._kept = self._kept[4:length], self._kept[length:]
        return packet

    def rest(self) -> bytes:
        """Return and forget what came behind the last packet."""
        data, self._kept = self._kept, b""
        return data
