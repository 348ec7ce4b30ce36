"""The packets that bulk is made of, on a short road through asyncssh: CHANNEL_DATA and WINDOW_ADJUST under AES-GCM.

asyncssh's own road costs a dozen copies of what was read and a new key schedule for every packet. Here a read is walked by
offset, a packet is opened once where it lies, and what it says goes straight to its channel; what is written is sealed in one
piece. A turn of the loop takes what it can in :data:`TURN_S` and leaves the rest to the next, so that a peer with a million
packets of one byte does not keep everybody else waiting. That is all. Whatever else a packet is (another type, a channel that is
not there, a length that does not fit, padding that is too short) goes to asyncssh's own code, opened already, and every state
other than "logged in, keys agreed, AES-GCM, no compression" is asyncssh's own too. So every decision about the protocol, and
every disconnect, stays in one place: there.

This leans on private names of asyncssh, so it is used only with versions that were read (:data:`READ`); with others everything
still works, at asyncssh's speed. A test compares what was read with what is installed.
"""

from __future__ import annotations

import asyncio
import os
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import asyncssh
from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_WINDOW_ADJUST
from asyncssh.encryption import Encryption, GCMEncryption
from asyncssh.misc import MACError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.protocols.ssh.adapted import own_code
from agent.protocols.ssh.leg import Ear

#: Versions of asyncssh that were read.
READ: Final = ("2.24.",)

#: Seconds of packets of one leg in one turn of the loop. Legs that all want more than that share it, down to so little for each:
#: a crowd that floods the agent keeps somebody who types waiting for a tenth of the time.
TURN_S: Final = 0.002
LEAST_S: Final = 0.0002

#: A read that is smaller is the last one that libuv makes of its socket for now: it left room in the buffer.
FULL: Final = 32 * 1024
_SOON_S: Final = 0.001

_TURN: Final = "others have their turn"
_TAG: Final = 16
_U32: Final = struct.Struct(">I")
_TWO_U32: Final = struct.Struct(">II")
_WRAP: Final = 0xFFFF_FFFF
_COUNTER: Final = 0xFFFF_FFFF_FFFF_FFFF
#: RFC 4253 §6: four bytes of padding at least; and the smallest packet of 16-byte blocks behind its length.
_PADDING: Final = 4
_SMALLEST: Final = 16
#: A length before a packet, and a tag behind it; the least that both are around, and the most that is a key or a few.
_AROUND: Final = _U32.size + _TAG
_LONE_LEAST: Final = _AROUND + _SMALLEST
LONE: Final = 1024
#: How a packet with a channel's data begins: length of padding, type, channel, length of data.
_DATA: Final = struct.Struct(">BBII")
_SENT: Final = frozenset({MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_WINDOW_ADJUST})


class _Chance:
    """Random bytes, asked of the kernel a page at a time: each is given once."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._bytes, self._at = b"", 0

    def __call__(self, size: int) -> bytes:
        at = self._at
        if at + size > len(self._bytes):
            self._bytes, at = os.urandom(4096), 0
        self._at = at + size
        return self._bytes[at : at + size]


_chance: Final = _Chance()


def known() -> bool:
    """Tell whether this asyncssh is one that was read."""
    return asyncssh.__version__.startswith(READ)


class Gcm(Encryption):
    """AES-GCM in one direction (RFC 5647 §7.1): asyncssh's own, with its key schedule kept."""

    def __init__(self, stock: GCMEncryption) -> None:
        cipher = stock._cipher
        self._aead: Final = AESGCM(cipher._key)
        self._fixed: Final = cipher._iv[:4]
        self._count = int.from_bytes(cipher._iv[4:], "big")
        self.opened: bytes | None = None
        """A packet that was opened already, for asyncssh, which is about to open it."""
        self.taken = 0
        """Bytes that were received under this key."""

    def seal(self, length: bytes, packet: bytes) -> bytes:
        """Return ``packet`` encrypted, its tag behind it."""
        count = self._count
        self._count = (count + 1) & _COUNTER
        return self._aead.encrypt(self._fixed + count.to_bytes(8, "big"), packet, length)

    def open(self, length: bytes | memoryview, sealed: bytes | memoryview) -> bytes:
        """Return the packet in ``sealed``, which ends with its tag. Raises MACError."""
        count = self._count
        self._count = (count + 1) & _COUNTER
        try:
            return self._aead.decrypt(self._fixed + count.to_bytes(8, "big"), sealed, length)
        except InvalidTag:
            raise MACError("MAC verification failed") from None

    def look(self, read: bytes) -> bytes | None:
        """Return the packet that ``read`` is; it is not taken yet. None where its tag is not right."""
        try:
            return self._aead.decrypt(self._fixed + self._count.to_bytes(8, "big"), read[4:], read[:4])
        except InvalidTag:
            return None

    def passed(self, size: int) -> None:
        """What was looked at is taken: ``size`` bytes."""
        self._count = (self._count + 1) & _COUNTER
        self.taken += size

    def encrypt_packet(self, seq: int, header: bytes, packet: bytes) -> tuple[bytes, bytes]:
        """asyncssh's question."""
        return header + self.seal(header, packet), b""

    def decrypt_header(self, seq: int, first_block: bytes, header_len: int) -> tuple[bytes, bytes]:
        """asyncssh's question: the length is not encrypted."""
        return first_block, first_block[:header_len]

    def decrypt_packet(self, seq: int, first: bytes, rest: bytes, header_len: int, mac: bytes) -> bytes:
        """asyncssh's question."""
        opened, self.opened = self.opened, None
        return opened if opened is not None else self.open(first[:header_len], first[header_len:] + rest + mac)


#: Legs that had their turn, and have more: each until it goes on, which the next turn of the loop sees to.
_resting: Final[set[Quick]] = set()


def share() -> float:
    """Return the seconds of a turn that begins now."""
    return max(min(LEAST_S, TURN_S), TURN_S / (1 + len(_resting)))


class Quick(SSHConnection):
    """Either leg of a connection."""

    ear: Ear
    _turn_ends = 0.0
    _in_turn = False
    _begun = False
    _resting = False
    _heard_s = 0.0
    _walks = False
    lone = False
    """What is heard now was read alone: nothing follows it soon."""
    plain = False
    """Nobody has to see what is sent; :class:`~agent.protocols.ssh.leg.Guard` says so."""
    _behind: Sequence[Callable[[], object]] = ()

    def behind(self, act: Callable[[], object]) -> None:
        """Have ``act`` done when everything was taken that was read; by the next turn where nothing is being taken."""
        if self._walks:
            self._behind = (*self._behind, act)
        else:
            asyncio.get_running_loop().call_soon(act)

    def data_received(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """Take what was read. One packet of the common kind alone, as a key is, is taken in as few steps as can be."""
        opener = self._recv_encryption
        size = len(data)
        if (
            _LONE_LEAST <= size <= LONE
            and _U32.unpack_from(data)[0] == size - _AROUND
            and type(opener) is Gcm
            and not self._inpbuf
            and not self._resting
            and self._decompressor is None
            and self._auth_complete
            and opener.taken + size < self._rekey_bytes
            and (packet := opener.look(data)) is not None
        ):
            self._heard_s = time.monotonic()
            if self._keepalive_timer is None:
                self._reset_keepalive_timer()
            self.lone = True
            try:
                if self._take(packet):
                    opener.passed(size)
                    return
            except Exception as error:  # noqa: BLE001 - it tells the connection's owner
                self._broke(error)
                return
            finally:
                self.lone = False
        self._inpbuf += data
        self._recv_data()

    def _recv_data(self) -> None:
        """Take packets until there are no more, or the turn is over."""
        if self._resting:
            return  # it goes on by itself
        self._heard_s = now = time.monotonic()
        if not self._in_turn:
            self._turn_ends, self._begun = now + (share() if _resting else TURN_S), False
            if len(self._inpbuf) >= FULL:
                # libuv reads a busy socket up to 32 times before it looks at any other: together they are one turn.
                self._in_turn = True
                asyncio.get_running_loop().call_soon(self._end_turn)
        if self._keepalive_timer is None:
            self._reset_keepalive_timer()
        try:
            while self._inpbuf and self._recv_handler():
                pass
        except Exception as error:  # noqa: BLE001 - it tells the connection's owner
            self._broke(error)

    def _broke(self, error: Exception) -> None:
        # As asyncssh does.
        if isinstance(error, asyncssh.DisconnectError):
            self._send_disconnect(error.code, error.reason, error.lang)
            self._force_close(error)
        else:
            self.internal_error()

    def _end_turn(self) -> None:
        self._in_turn = False

    def _reset_keepalive_timer(self) -> None:
        """The peer lives. asyncssh arms a timer anew for every read; here one that is armed looks when it is due."""
        self._heard_s = time.monotonic()
        if self._keepalive_timer is None and self._auth_complete:
            self._set_keepalive_timer()

    def _keepalive_timer_callback(self) -> None:
        rest = self._heard_s + self._keepalive_interval - time.monotonic()
        if rest > _SOON_S:
            self._keepalive_timer = self._loop.call_later(rest, self._keepalive_timer_callback)
        else:
            super()._keepalive_timer_callback()

    def _turn_is_over(self) -> bool:
        if time.monotonic() < self._turn_ends:
            return False
        # Nothing is read in the meantime: what waits here stays bounded, and the end of the connection comes behind it.
        self._resting = True
        _resting.add(self)
        self.ear.close(_TURN)
        asyncio.get_running_loop().call_soon(self._go_on)
        return True

    def _go_on(self) -> None:
        self._resting = False
        _resting.discard(self)
        if self._transport is not None:
            self._recv_data()
        if not self._resting:
            self.ear.open(_TURN)

    def _recv_pkthdr(self) -> bool:
        """Take what may be taken from what was read; leave the first other packet, if it is whole, to asyncssh."""
        if self._begun and self._turn_is_over():
            return False
        self._begun = True  # every turn takes one packet at least, however late it comes to it
        opener = self._recv_encryption
        if type(opener) is GCMEncryption:
            opener = self._recv_encryption = Gcm(opener)
        if type(opener) is not Gcm or self._decompressor is not None or not self._auth_complete:
            return super()._recv_pkthdr()
        self._walks = True
        try:
            other = self._walk(opener)
        finally:
            self._walks = False
            behind, self._behind = self._behind, ()
        for act in behind:
            act()
        return super()._recv_pkthdr() if other and self._transport is not None else False

    def _walk(self, opener: Gcm) -> bool:
        """Take packets of the common kind. Returns True where the first of those that are left is another."""
        read, at, end = self._inpbuf, 0, len(self._inpbuf)
        view = memoryview(read)
        other = False
        while self._transport is not None and end - at >= _U32.size:
            body = at + _U32.size
            (size,) = _U32.unpack_from(read, at)
            other = not _SMALLEST <= size <= self._max_recv_pktlen
            stop = body + size + _TAG
            if other or stop > end:
                break
            packet = opener.open(view[at:body], view[body:stop])
            if not self._take(packet):
                opener.opened, other = packet, True
                break
            at = stop
            if at < end and self._turn_is_over():
                break
        self._inpbuf = read[at:]
        if opener.taken + at < self._rekey_bytes:
            opener.taken += at
        else:
            self._wear(opener, at)
        return other

    def _wear(self, opener: Gcm, size: int) -> None:
        """Count what was received. asyncssh counts what it sends; a peer that sends a lot need not change keys by itself."""
        before = opener.taken
        opener.taken += size
        # Not while keys change already: between its own new keys and the peer's, asyncssh would begin once more.
        if before < self._rekey_bytes <= opener.taken and self._kex_complete and self._next_recv_encryption is None:
            self._rekey_bytes_sent = self._rekey_bytes  # whatever is sent next begins it

    def _take(self, packet: bytes) -> bool:
        """Pass on what ``packet`` says if it is of the common kind and right in every respect."""
        padding, kind = packet[0], packet[1]
        if padding < _PADDING:
            return False
        number, value = _TWO_U32.unpack_from(packet, 2)
        channel: Any = self._channels.get(number)
        if channel is None:
            return False
        end = len(packet) - padding
        if kind == MSG_CHANNEL_DATA:
            if channel._recv_state != "open" or end != 10 + value or value > channel._recv_window:
                return False
            self._auth_final = True
            self._recv_seq = (self._recv_seq + 1) & _WRAP
            left = channel._recv_window - value
            if (
                value
                and left >= channel._init_recv_window / 2
                and channel._send_state == "open"
                and not channel._recv_paused
                and not channel._encoding
                and channel._session is not None
            ):
                # Somebody hears it at once, and as it came.
                channel._recv_window = left
                channel._session.data_received(packet[10:end], None)
            else:
                channel._accept_data(packet[10:end])
            return True
        if kind == MSG_CHANNEL_WINDOW_ADJUST:
            if channel._recv_state not in {"open", "eof_pending", "eof"} or end != 10:
                return False
            self._auth_final = True
            self._recv_seq = (self._recv_seq + 1) & _WRAP
            channel._send_window += value
            channel._flush_send_buf()
            return True
        return False

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet; the common kind in one piece."""
        sealer = self._send_encryption
        if type(sealer) is GCMEncryption:
            sealer = self._send_encryption = Gcm(sealer)
        if (
            pkttype not in _SENT
            or type(sealer) is not Gcm
            or not self._kex_complete
            or not self._auth_complete
            or self._compressor is not None
            or self._rekey_bytes_sent >= self._rekey_bytes
            or (self._rekey_seconds and time.monotonic() >= self._rekey_time)
        ):
            super().send_packet(pkttype, *args, handler=handler)
            return
        padding = -(self._send_enchdrlen + 1 + sum(map(len, args))) % self._send_blocksize
        if padding < _PADDING:
            padding += self._send_blocksize
        packet = b"".join((bytes((padding, pkttype)), *args, _chance(padding)))
        length = _U32.pack(len(packet))
        self._send(length + sealer.seal(length, packet))
        self._send_seq = (self._send_seq + 1) & _WRAP
        self._rekey_bytes_sent += len(packet)

    def send_data(self, number: int, data: bytes, handler: Any) -> None:
        """Send ``data`` to the peer's channel ``number``, in as few steps as can be."""
        sealer = self._send_encryption
        if (
            type(sealer) is not Gcm
            or not self.plain
            or not self._kex_complete
            or not self._auth_complete
            or self._compressor is not None
            or self._rekey_bytes_sent >= self._rekey_bytes
            or (self._rekey_seconds and time.monotonic() >= self._rekey_time)
        ):
            self.send_packet(MSG_CHANNEL_DATA, _TWO_U32.pack(number, len(data)), data, handler=handler)
            return
        size = len(data)
        padding = -(self._send_enchdrlen + _DATA.size - 1 + size) % self._send_blocksize
        if padding < _PADDING:
            padding += self._send_blocksize
        packet = _DATA.pack(padding, MSG_CHANNEL_DATA, number, size) + data + _chance(padding)
        size = len(packet)
        length = _U32.pack(size)
        self._send(length + sealer.seal(length, packet))
        self._send_seq = (self._send_seq + 1) & _WRAP
        self._rekey_bytes_sent += size


class _QuickServer(Quick, asyncssh.SSHServerConnection):
    """The leg of a client."""


class _QuickClient(Quick, asyncssh.SSHClientConnection):
    """The leg towards a target."""


for _leg in (_QuickServer, _QuickClient):
    own_code(_leg, "data_received", "_recv_data", "_recv_pkthdr", "_walk", "_take", "send_data", "send_packet", "_send")


def behind(conn: Any) -> Callable[[Callable[[], object]], object]:
    """Return what has something done once all was taken that was read from ``conn``, or in the next turn of the loop."""
    return conn.behind if isinstance(conn, Quick) else asyncio.get_running_loop().call_soon


def quicken(conn: asyncssh.SSHServerConnection | asyncssh.SSHClientConnection, ear: Ear) -> None:
    """Put ``conn`` on the short road, where asyncssh is one that was read. To be called before anything is read from it."""
    if known():
        conn.__class__ = _QuickServer if isinstance(conn, asyncssh.SSHServerConnection) else _QuickClient
        cast(Quick, conn).ear = ear
