"""Frames: what two ends of a tunnel say to each other, one frame per relayed message.

Every frame tells how far its sender has received, so an acknowledgement costs a message of its own only when there is
nothing else to say. Integers are big-endian; the bits of `sack` are counted from the least significant of its first byte.

    0       kind (low four bits) and flags: 0x80 complete, 0x40 confirm (ABORT only)
    1..8    ack     the next sequence number that the sender of this frame expects
    9..16   limit   how many payload bytes, counted from the start of the stream, it is prepared to take
    17      length of sack, 0..32; the last byte is never zero
    18..    sack    bit i: sequence number ack + 1 + i has arrived
    then    OPEN    seq (8 bytes, always 0)   version (1 byte)       opaque payload, at most 8 KB
            DATA    seq (8 bytes)             1 to 96,000 bytes
            EOF     seq (8 bytes)
            ABORT   length of code (1 byte)   code (ASCII)           message (UTF-8, at most 1,000 bytes)
            ACK     nothing
            PROBE   nothing; asks for an ACK

A decoder checks every length before it copies anything. What it refuses is a `FrameFault`.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import Final

import msgspec

VERSION: Final = 1
SPREAD: Final = 256
"""Sequence numbers that may be under way at once: a receiver holds no more frames than this out of order."""
INITIAL_CREDIT: Final = 16 * 1024
"""Payload bytes that may be sent before the peer's first `limit` is known."""
OPEN_LIMIT: Final = 8 * 1024
PAYLOAD_LIMIT: Final = 96_000
"""Payload bytes in one frame. In base64, with a route, it fits one API Gateway message of 128 KB."""
MESSAGE_LIMIT: Final = 1_000

_HEAD: Final = struct.Struct(">BQQB")
_SEQ: Final = struct.Struct(">Q")
_SACK_LIMIT: Final = SPREAD // 8
_CODE: Final = re.compile(r"[a-z0-9_]{1,64}")
_COMPLETE: Final = 0x80
_CONFIRM: Final = 0x40
FRAME_LIMIT: Final = _HEAD.size + _SACK_LIMIT + _SEQ.size + PAYLOAD_LIMIT


class FrameFault(ValueError):  # noqa: N818 - "fault" is the field's term
    """The peer's fault: bytes that no honest peer of this version sends. Nothing was changed by them."""

    code: Final = "tunnel_protocol"


class VersionFault(FrameFault):
    """The peer speaks another version of this protocol."""


class Kind(IntEnum):
    """What a frame is for."""

    OPEN = 1
    DATA = 2
    EOF = 3
    ACK = 4
    PROBE = 5
    ABORT = 6


SEQUENCED: Final = frozenset({Kind.OPEN, Kind.DATA, Kind.EOF})
"""Kinds that take a sequence number, and so are retransmitted until acknowledged."""


class Frame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One frame. Fields that its kind does not have keep their defaults."""

    kind: Kind
    ack: int
    limit: int
    sack: int = 0
    """The bits as one integer."""
    complete: bool = False
    """The sender has had our EOF, and knows that we have had its."""
    seq: int = 0
    payload: bytes = b""
    code: str = ""
    message: str = ""
    confirm: bool = False
    """ABORT only: an answer to an ABORT."""


def is_code(code: str) -> bool:
    """Tell whether ``code`` can travel in an ABORT: 1 to 64 of ``a-z 0-9 _``."""
    return _CODE.fullmatch(code) is not None


def encode(frame: Frame) -> bytes:
    """Return the frame's bytes, at most `FRAME_LIMIT`. The caller keeps the ranges; ``message`` is cut to its limit."""
    flags = (_COMPLETE if frame.complete else 0) | (_CONFIRM if frame.confirm else 0)
    sack = frame.sack.to_bytes((frame.sack.bit_length() + 7) // 8, "little")
    head = _HEAD.pack(frame.kind | flags, frame.ack, frame.limit, len(sack)) + sack
    match frame.kind:
        case Kind.DATA | Kind.EOF:
            return head + _SEQ.pack(frame.seq) + frame.payload
        case Kind.OPEN:
            return head + _SEQ.pack(frame.seq) + bytes([VERSION]) + frame.payload
        case Kind.ABORT:
            code = frame.code.encode("ascii")
            message = frame.message.encode("utf-8", "replace")[:MESSAGE_LIMIT].decode("utf-8", "ignore").encode()
            return head + bytes([len(code)]) + code + message
        case _:
            return head


def decode(data: bytes) -> Frame:
    """Return the frame that ``data`` holds. Raises FrameFault, VersionFault; never anything else for any bytes."""
    if not _HEAD.size <= len(data) <= FRAME_LIMIT:
        raise FrameFault(f"a frame of {len(data)} bytes")
    first, ack, limit, sack_length = _HEAD.unpack_from(data)
    body = _HEAD.size + sack_length
    if sack_length > _SACK_LIMIT or body > len(data):
        raise FrameFault("a frame's selective acknowledgement is longer than allowed")
    if sack_length and data[body - 1] == 0:
        raise FrameFault("a frame's selective acknowledgement is padded")
    sack = int.from_bytes(data[_HEAD.size : body], "little")
    kind, complete, confirm = first & 0x0F, bool(first & _COMPLETE), bool(first & _CONFIRM)
    if first & 0x30 or (confirm and kind != Kind.ABORT):
        raise FrameFault("a frame has unknown flags")
    match kind:
        case Kind.DATA | Kind.OPEN | Kind.EOF:
            seq, payload = _sequenced(kind, data, body)
            return Frame(kind=Kind(kind), ack=ack, limit=limit, sack=sack, complete=complete, seq=seq, payload=payload)
        case Kind.ABORT:
            code, message = _abort(data, body)
            return Frame(
                kind=Kind.ABORT, ack=ack, limit=limit, sack=sack, complete=complete, code=code, message=message, confirm=confirm
            )
        case Kind.ACK | Kind.PROBE:
            if len(data) != body:
                raise FrameFault("bytes after the end of an acknowledgement")
            return Frame(kind=Kind(kind), ack=ack, limit=limit, sack=sack, complete=complete)
        case _:
            raise FrameFault(f"a frame of unknown kind {kind}")


def _sequenced(kind: int, data: bytes, body: int) -> tuple[int, bytes]:
    """Return sequence number and payload of an OPEN, DATA or EOF frame."""
    start = body + _SEQ.size
    size = len(data) - start
    if size < 0:
        raise FrameFault("a frame ends inside its sequence number")
    (seq,) = _SEQ.unpack_from(data, body)
    if (kind == Kind.OPEN) != (seq == 0):
        raise FrameFault("OPEN, and only OPEN, has sequence number 0")
    if kind == Kind.OPEN:
        if size == 0 or data[start] != VERSION:
            raise VersionFault(f"the peer does not speak version {VERSION} of the tunnel protocol")
        start, size = start + 1, size - 1
    smallest, largest = {Kind.OPEN: (0, OPEN_LIMIT), Kind.DATA: (1, PAYLOAD_LIMIT)}.get(Kind(kind), (0, 0))
    if not smallest <= size <= largest:
        raise FrameFault(f"a payload of {size} bytes")
    return seq, data[start:]


def _abort(data: bytes, body: int) -> tuple[str, str]:
    """Return code and message of an ABORT frame."""
    if body == len(data):
        raise FrameFault("an ABORT without a code")
    start = body + 1
    end = start + data[body]
    if not end <= len(data) <= end + MESSAGE_LIMIT:
        raise FrameFault("an ABORT's length is wrong")
    try:
        code, message = data[start:end].decode("ascii"), data[end:].decode("utf-8")
    except UnicodeDecodeError:
        raise FrameFault("an ABORT's text is malformed") from None
    if not is_code(code):
        raise FrameFault("an ABORT's code is malformed")
    return code, message
