"""The write-ahead log's bytes: framing, and reading back what a crash left. No I/O here.

    frame  = header ‖ u32 crc ‖ payload
    header = "SWL1" ‖ u8 type ‖ u8 zero ‖ u16 channel ‖ u64 seq ‖ u64 time_ms ‖ u32 operations ‖ u32 denied ‖ u32 length

Integers are big-endian; ``crc`` is CRC-32 over everything else in the frame. A log is a row of *segments*. Each begins with a
CHECKPOINT, which holds all that earlier segments said about chunks, so that an earlier one may go once its lines are in chunks.
Frames after it count ``seq`` up by one; the checkpoint carries the number of the frame that follows it and takes none itself.

Reading stops at the first frame that is not whole. A cut-off last frame is what a crash leaves (*torn*); anything else is
*damage*. There is no search for later frames: whoever fills a terminal with bytes could place forged ones there.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum
from typing import Final, Literal, NamedTuple

import msgspec

from chalicelib.contracts.recording import Kind

MAGIC: Final = b"SWL1"
#: The longest payload, in bytes. Longer lengths are damage, whatever follows them.
PAYLOAD_LIMIT: Final = 2 * 1024 * 1024

_HEADER: Final = struct.Struct(">4sBBHQQIII")
_CRC: Final = struct.Struct(">I")
HEADER_BYTES: Final = _HEADER.size + _CRC.size


class Type(IntEnum):
    """What a frame holds."""

    CHECKPOINT = 1
    CUT = 2
    CAST = 3
    JSONL = 4
    SEALED = 5


LINES: Final[dict[Type, Kind]] = {Type.CAST: "cast", Type.JSONL: "jsonl", Type.SEALED: "sealed"}
TYPES: Final[dict[Kind, Type]] = {name: number for number, name in LINES.items()}


class Frame(NamedTuple):
    """One frame. ``operations`` and ``denied`` are the session's counters when it was written."""

    type: Type
    channel: int
    seq: int
    time_ms: int
    operations: int
    denied: int
    payload: bytes

    @property
    def kind(self) -> str:
        """The chunk kind that lines of this frame belong to: ``ch01.cast``."""
        return f"ch{self.channel:02d}.{LINES[self.type]}"


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of ``kind`` up to frame ``upto`` are in chunk ``n``, after which the chain's head is ``chain``."""

    n: int
    kind: str
    upto: int
    chain: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about a session's chunks. ``n`` is the number of the next one."""

    sid: str
    n: int = 0
    chain: str
    upto: dict[str, int] = {}
    operations: int = 0
    denied: int = 0

    def after(self, cut: Cut) -> Progress:
        """Return the progress once ``cut`` is known; a cut that is known already changes nothing."""
        if cut.n < self.n:
            return self
        return msgspec.structs.replace(self, n=cut.n + 1, chain=cut.chain, upto=self.upto | {cut.kind: cut.upto})


class Segment(NamedTuple):
    """What could be read of one segment. ``end`` is the offset after the last whole frame."""

    progress: Progress | None
    """From its checkpoint; None where not even that is whole, and then there are no frames."""
    first_seq: int
    frames: list[Frame]
    end: int
    state: Literal["whole", "torn", "damaged"]


def encode(frame: Frame) -> bytes:
    """Return the bytes of ``frame``. Raises ValueError for a payload past ``PAYLOAD_LIMIT``."""
    if len(frame.payload) > PAYLOAD_LIMIT:
        raise ValueError(f"a frame holds at most {PAYLOAD_LIMIT} bytes")
    header = _HEADER.pack(
        MAGIC, frame.type, 0, frame.channel, frame.seq, frame.time_ms, frame.operations, frame.denied, len(frame.payload)
    )
    return header + _CRC.pack(zlib.crc32(frame.payload, zlib.crc32(header))) + frame.payload


def checkpoint(progress: Progress, next_seq: int) -> bytes:
    """Return the first frame of a segment whose next frame is ``next_seq``."""
    payload = msgspec.json.encode(progress)
    return encode(Frame(Type.CHECKPOINT, 0, next_seq, 0, progress.operations, progress.denied, payload))


def cut_payload(cut: Cut) -> bytes:
    """Return the payload of a CUT frame."""
    return msgspec.json.encode(cut)


def read_cut(frame: Frame) -> Cut:
    """Return what a CUT frame says. Its CRC was right, so a payload that does not decode is our bug, and raises."""
    return msgspec.json.decode(frame.payload, type=Cut)


def read_segment(data: bytes) -> Segment:
    """Read one segment. Never raises: a spool that cannot be read must still be reported and kept."""
    first = _frame_at(data, 0)
    if not isinstance(first, Frame) or first.type is not Type.CHECKPOINT:
        return Segment(None, 0, [], 0, first if isinstance(first, str) and first != "end" else _empty(data))
    try:
        progress = msgspec.json.decode(first.payload, type=Progress)
    except msgspec.DecodeError:
        return Segment(None, 0, [], 0, "damaged")
    at = HEADER_BYTES + len(first.payload)
    frames: list[Frame] = []
    while True:
        found = _frame_at(data, at)
        if found == "end":
            return Segment(progress, first.seq, frames, at, "whole")
        if not isinstance(found, Frame):
            return Segment(progress, first.seq, frames, at, found)
        if found.type is Type.CHECKPOINT or found.seq != first.seq + len(frames):
            return Segment(progress, first.seq, frames, at, "damaged")
        frames.append(found)
        at += HEADER_BYTES + len(found.payload)


def _empty(data: bytes) -> Literal["torn", "damaged"]:
    return "damaged" if data else "torn"


def _frame_at(data: bytes, at: int) -> Frame | Literal["end", "torn", "damaged"]:
    left = len(data) - at
    if left == 0:
        return "end"
    if left < HEADER_BYTES:
        # The start of a frame, as far as there is one, must at least be the start of a frame.
        return "torn" if MAGIC.startswith(data[at : at + 4]) else "damaged"
    magic, kind, zero, channel, seq, time_ms, operations, denied, length = _HEADER.unpack_from(data, at)
    if magic != MAGIC or zero != 0 or kind not in Type._value2member_map_ or length > PAYLOAD_LIMIT:
        return "damaged"
    start = at + HEADER_BYTES
    if left < HEADER_BYTES + length:
        return "torn"
    payload = data[start : start + length]
    (crc,) = _CRC.unpack_from(data, at + _HEADER.size)
    if crc != zlib.crc32(payload, zlib.crc32(data[at : at + _HEADER.size])):
        return "damaged"
    return Frame(Type(kind), channel, seq, time_ms, operations, denied, payload)
