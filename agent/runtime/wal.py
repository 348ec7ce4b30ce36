"""The write-ahead log's bytes: framing, and reading back what a crash left. No I/O here.

    segment = head ‖ frame ‖ frame ‖ … ‖ zeros
    head    = "SLYWAL02" ‖ u64 number ‖ u64 first ‖ tag[16]
    frame   = header ‖ sealed payload ‖ tag[16]
    header  = "SWF2" ‖ u8 type ‖ u8 form ‖ u16 channel ‖ u32 session ‖ u64 counter ‖ u64 acknowledged ‖ u64 seq ‖ u64 time_ms
              ‖ u32 operations ‖ u32 denied ‖ u32 length

Integers are big-endian, ``length`` is the payload's, which is what it is (form 0) or a zstd frame of that (form 1, ``packing``).
One log holds the frames of all sessions. A *run* is what one process wrote; its segments share a salt, which keys are made of and
which is in their names. Frames of a run count ``counter`` up by one from segment to segment, those of a session count ``seq``; a
CHECKPOINT has a counter and no seq of its own, it carries the one that follows. A checkpoint says whose a session's number is,
and all that earlier segments said about its chunks. Every segment begins with one for each session, so an earlier one may go once
its lines are in chunks.

Every frame is sealed (AES-GCM; the header is authenticated with it, the counter is the nonce), so whole frames can be searched
for behind a damaged one: nobody who fills a terminal with bytes can place a frame there. A frame names the last counter that was
on disk before it was written. What is missing up to there was acknowledged, so that is *damage*; what is missing behind it is of
the last write, which a crash may have *torn*. A segment is allocated before it is written, so its log ends where zeros begin.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Final, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.runtime.packing import Lines, Packed, text
from chalicelib.contracts.recording import Kind

#: The longest payload, in bytes. Longer lengths are damage, whatever follows them.
PAYLOAD_LIMIT: Final = 2 * 1024 * 1024

_MAGIC: Final = b"SWF2"
_HEADER: Final = struct.Struct(">4sBBHIQQQQIII")
_HEAD: Final = struct.Struct(">8sQQ")
_HEAD_MAGIC: Final = b"SLYWAL02"
_TAG_BYTES: Final = 16
#: A frame has this many bytes besides its payload.
FRAME_BYTES: Final = _HEADER.size + _TAG_BYTES
HEAD_BYTES: Final = _HEAD.size + _TAG_BYTES
#: The form of a payload that is a zstd frame.
_PACKED: Final = 1
#: Disks write whole sectors of this many bytes.
_SECTOR: Final = 512
_FRAME_NONCE: Final = struct.Struct(">4xQ")
_HEAD_NONCE: Final = struct.Struct(">I Q")


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
    """One frame as its session sees it. ``operations`` and ``denied`` are the session's counters when it was written."""

    type: Type
    channel: int
    seq: int
    time_ms: int
    operations: int
    denied: int
    payload: Lines

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


class Head(NamedTuple):
    """The beginning of a segment. ``first`` is the counter of its first frame."""

    number: int
    first: int


class Place(NamedTuple):
    """Where a frame stands in the log: its session's number, its counter, and the last counter that was on disk before it."""

    session: int
    counter: int
    acknowledged: int


class Placed(NamedTuple):
    """A frame that was read, and where it stood."""

    place: Place
    frame: Frame


class Segment(NamedTuple):
    """What could be read of one segment behind its head. What stands between frames was never written, or is spoiled."""

    frames: list[Placed]
    state: Literal["whole", "torn", "damaged"]


#: The cipher of a frame: by its type and its session's number. None where nobody knows the session.
Ciphers = Callable[[int, int], AESGCM | None]


def encode_head(head: Head, cipher: AESGCM) -> bytes:
    """Return the bytes that a segment begins with."""
    plain = _HEAD.pack(_HEAD_MAGIC, *head)
    return plain + cipher.encrypt(_HEAD_NONCE.pack(0xFFFFFFFF, head.number), b"", plain)


def read_head(data: bytes, cipher: AESGCM) -> Head | None:
    """Return how a segment begins; None where that is not genuine."""
    if len(data) < HEAD_BYTES:
        return None
    _, number, first = _HEAD.unpack_from(data)
    try:
        cipher.decrypt(_HEAD_NONCE.pack(0xFFFFFFFF, number), data[_HEAD.size : HEAD_BYTES], data[: _HEAD.size])
    except InvalidTag:
        return None
    return Head(number, first)


def begun(data: bytes) -> bool:
    """Tell whether a segment was allocated, but not even its head was written whole: nothing can have been in it."""
    written = data.rstrip(b"\0")
    return len(written) < HEAD_BYTES and written[:8] == _HEAD_MAGIC[: len(written[:8])]


def encode(frame: Frame, place: tuple[int, int, int], cipher: AESGCM) -> bytes:
    """Return the bytes of ``frame``; ``place`` is a :class:`Place`. Raises ValueError for a payload past ``PAYLOAD_LIMIT``."""
    kind, channel, seq, time_ms, operations, denied, payload = frame
    form = 0
    if isinstance(payload, Packed):
        form, payload = _PACKED, payload.body()
    if len(payload) > PAYLOAD_LIMIT:
        raise ValueError(f"a frame holds at most {PAYLOAD_LIMIT} bytes")
    session, counter, acknowledged = place
    header = _HEADER.pack(
        _MAGIC, kind, form, channel, session, counter, acknowledged, seq, time_ms, operations, denied, len(payload)
    )
    return header + cipher.encrypt(_FRAME_NONCE.pack(counter), payload, header)


def checkpoint(progress: Progress, next_seq: int) -> Frame:
    """Return the frame that says all about a session whose next frame is ``next_seq``."""
    return Frame(Type.CHECKPOINT, 0, next_seq, 0, progress.operations, progress.denied, msgspec.json.encode(progress))


def read_checkpoint(frame: Frame) -> Progress:
    """Return what a CHECKPOINT says. It is genuine, so a payload that does not decode is our bug, and raises."""
    return msgspec.json.decode(text(frame.payload), type=Progress)


def cut_payload(cut: Cut) -> bytes:
    """Return the payload of a CUT frame."""
    return msgspec.json.encode(cut)


def read_cut(frame: Frame) -> Cut:
    """Return what a CUT frame says. It is genuine, so a payload that does not decode is our bug, and raises."""
    return msgspec.json.decode(text(frame.payload), type=Cut)


def read_frames(data: bytes, ciphers: Ciphers, on_frame: Callable[[Placed], None] = lambda placed: None) -> Segment:
    """Read every frame of a segment that can be read. Never raises: what cannot be read must still be reported and kept.

    ``on_frame`` hears of each before the next is read, which may need to know what it said.
    """
    frames: list[Placed] = []
    end = len(data.rstrip(b"\0"))
    at = after = HEAD_BYTES
    damaged = False
    while 0 <= at < end:
        found = _frame_at(data, at, ciphers)
        if found is None:
            at = data.find(_MAGIC, at + 1)
            continue
        damaged = damaged or (at > after and not _unwritten(data, after, at))
        frames.append(found)
        on_frame(found)
        at = after = at + FRAME_BYTES + _stored(found.frame.payload)
    if damaged or (after < end and not _cut_off(data, after, end)):
        return Segment(frames, "damaged")
    return Segment(frames, "whole" if after >= end else "torn")


def _frame_at(data: bytes, at: int, ciphers: Ciphers) -> Placed | None:
    start = at + _HEADER.size
    if len(data) < start + _TAG_BYTES:
        return None
    magic, kind, form, channel, session, counter, acked, seq, time_ms, operations, denied, length = _HEADER.unpack_from(data, at)
    if magic != _MAGIC or form > _PACKED or kind not in Type._value2member_map_ or length > PAYLOAD_LIMIT:
        return None
    cipher = ciphers(kind, session)
    sealed = data[start : start + length + _TAG_BYTES]
    if cipher is None or len(sealed) < length + _TAG_BYTES:
        return None
    try:
        payload = cipher.decrypt(_FRAME_NONCE.pack(counter), sealed, data[at:start])
    except InvalidTag:
        return None
    lines = Packed.read(payload) if form == _PACKED else payload
    frame = Frame(Type(kind), channel, seq, time_ms, operations, denied, lines)
    return Placed(Place(session, counter, acked), frame)


def _stored(payload: Lines) -> int:
    """Bytes that a payload has in the log."""
    return len(payload.body() if isinstance(payload, Packed) else payload)


def _cut_off(data: bytes, at: int, end: int) -> bool:
    """Tell whether the bytes from ``at`` to ``end``, the last that is not zero, look like a write that did not finish.

    Then they break off in the middle of a frame, or a whole sector among them was never written.
    """
    if end - at < _HEADER.size or data[at : at + 4] != _MAGIC:
        return _MAGIC.startswith(data[at : min(end, at + 4)]) or _unwritten(data, at, end)
    length: int = _HEADER.unpack_from(data, at)[-1]
    return end < at + FRAME_BYTES + min(length, PAYLOAD_LIMIT) or _unwritten(data, at, end)


def _unwritten(data: bytes, at: int, end: int) -> bool:
    return any(not any(sector) for sector in _sectors(data, at, end))


def _sectors(data: bytes, at: int, end: int) -> Iterator[bytes]:
    """The sectors from ``at`` to ``end``; of the first one only what is behind ``at``."""
    while at < end:
        upto = (at // _SECTOR + 1) * _SECTOR
        yield data[at:upto]
        at = upto
