"""What is written to a channel, on a short road through asyncssh: cut into packets where it lies.

asyncssh's channel copies what it is given, copies each packet's part of it, moves the rest down, and puts each packet together
twice before the connection does so once more. Here a part is a view until it is put into its packet. Windows, states, pauses and
the end of the stream are asyncssh's own, and so is every channel with a codec. Used with the versions of asyncssh that were read
(:mod:`agent.protocols.ssh.packets`); a test holds a hash over what was read.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import asyncssh
from asyncssh.channel import SSHChannel
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_EXTENDED_DATA

from agent.protocols.ssh.adapted import own_code
from agent.protocols.ssh.packets import known

_TWO_U32: Final = struct.Struct(">II")
_THREE_U32: Final = struct.Struct(">III")

#: A class with the short road for each class of channels that was met.
_made: Final[dict[type, type]] = {}


class Sending(SSHChannel[bytes]):
    """The sending half of a channel; put before a class of asyncssh's."""

    def write(self, data: bytes, datatype: asyncssh.DataType = None) -> None:
        """Send ``data``, as far as the window goes; keep the rest."""
        if self._encoding or self._send_state != "open" or not data or (datatype and datatype not in self._write_datatypes):
            super().write(data, datatype)  # codecs, and what it says about everything that cannot be
            return
        waiting: Any = self._send_buf
        size = len(data)
        if not waiting and datatype is None and size <= self._send_window and size <= self._send_pktsize:
            # A key, mostly. Nobody waits for room, so nobody is told that there is some.
            conn: Any = self._conn
            self._send_window -= size
            conn.send_data(self._send_chan, data, self)
            return
        waiting.append((memoryview(data if isinstance(data, bytes) else bytes(data)), datatype))
        self._send_buf_len += size
        self._flush_send_buf()

    def _flush_send_buf(self) -> None:
        """Send what waits, as far as the window goes."""
        conn: Any = self._conn
        while self._send_buf and self._send_window:
            waiting: Any = self._send_buf
            part, datatype = waiting[0]
            size = min(len(part), self._send_window, self._send_pktsize)
            if size < len(part):
                waiting[0] = part[size:], datatype
                part = part[:size]
            else:
                del waiting[0]
            self._send_buf_len -= size
            self._send_window -= size
            if datatype is None:
                conn.send_packet(MSG_CHANNEL_DATA, _TWO_U32.pack(self._send_chan, size), part, handler=self)
            else:
                head = _THREE_U32.pack(self._send_chan, datatype, size)
                conn.send_packet(MSG_CHANNEL_EXTENDED_DATA, head, part, handler=self)
        self._pause_resume_writing()
        if not self._send_buf:
            if self._send_state == "eof_pending":
                self.send_packet(MSG_CHANNEL_EOF)
                self._send_state = "eof"
            elif self._send_state == "close_pending":
                self._close_send()


def quicken_sending(channel: SSHChannel[bytes]) -> None:
    """Put ``channel`` on the short road, where asyncssh is one that was read and the channel sends as they all do."""
    own = type(channel)
    if not known() or own.write is not SSHChannel.write or own._flush_send_buf is not SSHChannel._flush_send_buf:
        return
    if own not in _made:
        _made[own] = type(f"Quick{own.__name__}", (Sending, own), {})
        own_code(_made[own], "write", "is_closing", "_flush_send_buf")
    channel.__class__ = _made[own]
