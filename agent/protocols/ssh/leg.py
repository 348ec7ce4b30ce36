"""What asyncssh leaves unbounded on one connection, bounded.

Channels have windows; four other things have none. Answers to requests are written whether or not the peer reads. Requests that
are passed on (sizes, signals, breaks) are written whether or not the other leg takes them. What is sent during a key exchange is
kept until the peer completes it, which it need not do. And data behind a pause is kept packet by packet, so that packets of one
byte cost a hundred times their size, and a quadratic time to take out again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import asyncssh
from asyncssh.constants import MSG_IGNORE
from asyncssh.packet import PacketDecodeError, String

#: How asyncssh writes an empty string.
_NOTHING: Final = (String(b""),)

#: What ends a leg whose peer sends what cannot be read. Some of it asyncssh lets through as it is.
BROKEN: Final = (asyncssh.Error, OSError, PacketDecodeError, UnicodeError)

Leg = asyncssh.SSHServerConnection | asyncssh.SSHClientConnection

#: Bytes for a peer that does not take them, beyond which nothing more is read from it: its requests make our answers.
ANSWERS: Final = 1024 * 1024
#: Bytes that are written ahead of a peer before its source is paused. Little would mean to pause and resume for every read.
AHEAD: Final = 512 * 1024
#: Bytes kept during a key exchange, beyond which sources are held; and beyond which the peer is given up.
KEPT: Final = 4 * 1024 * 1024
KEPT_HARD: Final = 64 * 1024 * 1024
#: What one packet costs beside its bytes, where packets are kept.
OVERHEAD: Final = 256
#: Bytes that are put together where data waits.
PIECE: Final = 64 * 1024
#: A reason to stop listening.
_UNREAD: Final = "answers that nobody reads"


class Ear:
    """Whether a leg is listened to: not while anybody has a reason against it."""

    def __init__(self, leg: Leg) -> None:
        self._conn: Final = cast(Any, leg)
        self._reasons: set[str] = set()

    def close(self, reason: str) -> None:
        """Read nothing more from the leg, for ``reason``."""
        if not self._reasons and self._conn._transport is not None:
            self._conn._transport.pause_reading()
        self._reasons.add(reason)

    def open(self, reason: str) -> None:
        """Withdraw ``reason``; the leg is read again when it was the last one."""
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons and self._conn._transport is not None:
                self._conn._transport.resume_reading()


def swamped(leg: object) -> bool:
    """Tell whether as much waits for a leg's peer as may: of what has no window, nothing more may come."""
    transport = getattr(leg, "_transport", None)
    return transport is not None and transport.get_write_buffer_size() > ANSWERS


class Guard:
    """Bounds one leg. ``pressed`` is told when the leg cannot take more bytes, and when it can again."""

    def __init__(self, leg: Leg, pressed: Callable[[bool], None], ear: Ear) -> None:
        self._conn = conn = cast(Any, leg)
        self._ear = ear
        self._pressed = pressed
        self._full = False
        self._kept = 0
        self._send = conn.send_packet
        if conn._transport is not None:
            conn._transport.set_write_buffer_limits(high=AHEAD)
        conn.pause_writing = self._pause
        conn.resume_writing = self._resume
        conn.send_packet = self._send_packet
        conn.plain = True

    def _pause(self) -> None:
        self._full = True
        self._conn.plain = False
        self._pressed(True)

    def _resume(self) -> None:
        self._full = False
        self._conn.plain = not self._kept
        self._ear.open(_UNREAD)
        if self._kept <= KEPT:
            self._pressed(False)

    def _send_packet(self, kind: int, *parts: bytes, handler: Any = None) -> None:
        if kind == MSG_IGNORE and parts == _NOTHING:
            # asyncssh sends an empty one before every packet, against an attack on CBC (RFC 4251 §9.3.1). The only ciphers here
            # are AEAD, and each would cost a packet's encryption and a system call.
            return
        conn = self._conn
        if not conn._kex_complete:
            self._keep(parts)
        elif self._kept:
            # The exchange is complete: this is the first of what was kept.
            held, self._kept = self._kept > KEPT, 0
            conn.plain = not self._full
            if held and not self._full:
                self._pressed(False)
        self._send(kind, *parts, handler=handler)
        if self._full and swamped(conn):
            self._ear.close(_UNREAD)

    def _keep(self, parts: tuple[bytes, ...]) -> None:
        before = self._kept
        self._conn.plain = False
        self._kept += OVERHEAD + sum(map(len, parts))
        if self._kept > KEPT_HARD:
            self._conn.abort()
        elif before <= KEPT < self._kept:
            self._pressed(True)


class Waiting(list[tuple[bytes | bytearray, Any]]):
    """A channel's data behind a pause, in asyncssh's own form: pairs of bytes and data type, put together to pieces."""

    def append(self, pair: tuple[bytes | bytearray, Any]) -> None:
        """Add data, to the last piece where there is room."""
        data, kind = pair
        if self and self[-1][1] == kind and len(last := self[-1][0]) + len(data) <= PIECE:
            if isinstance(last, bytearray):
                last += data
            else:
                self[-1] = (bytearray(last) + data, kind)
        else:
            super().append(pair)

    def pop(self, index: Any = -1) -> tuple[bytes, Any]:
        """Take a piece out."""
        data, kind = super().pop(index)
        return bytes(data), kind


class Gather:
    """Puts together what arrives within one turn of the loop, so that crumbs are masked, recorded and sent as one read."""

    def __init__(self, pass_on: Callable[[bytes, Any], None], soon: Callable[[Callable[[], None]], object]) -> None:
        """``soon`` runs a function after what runs now."""
        self._pass_on = pass_on
        self._soon = soon
        self.crumbs = bytearray()
        """What is being put together."""
        self._kind: Any = None

    def add(self, data: bytes, kind: Any) -> None:
        """Take data of ``kind``; the order of kinds is kept."""
        if self.crumbs and (kind != self._kind or len(self.crumbs) + len(data) > PIECE):
            self.flush()
        if not self.crumbs:
            if len(data) >= PIECE // 8:
                self._pass_on(data, kind)
                return
            self._soon(self.flush)
        self._kind = kind
        self.crumbs += data

    def flush(self) -> None:
        """Pass on what was put together."""
        if self.crumbs:
            crumbs, self.crumbs = bytes(self.crumbs), bytearray()
            self._pass_on(crumbs, self._kind)
