"""Channel requests as asyncssh reads them, before :class:`~agent.protocols.ssh.channel.ClientSide` is asked.

asyncssh refuses some requests without a word and grants some without a question. This subclass of its channel puts the first into
words and puts the question to the second. It overrides private methods: if they were renamed, requests would still be refused,
only silently, and variables of the environment would still be filtered where they are passed on.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import asyncssh
from asyncssh.constants import MSG_CHANNEL_CLOSE

from agent.core.units import Refused
from agent.protocols.ssh import engine
from agent.protocols.ssh.algorithms import LEAST_PACKET


async def _crumbs() -> asyncssh.SSHServerSession[bytes]:
    words = f"sallyport: packets of less than {LEAST_PACKET} bytes are not sent"
    raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, words)


class Hearer(Protocol):
    """Whoever hears of requests that asyncssh would refuse by itself."""

    def request_refused(self, refused: Refused) -> bool:
        """Something that cannot be read was asked for."""
        ...

    def forwarding_requested(self, kind: str) -> None:
        """Agent or X11 forwarding was asked for."""
        ...

    def closed_early(self) -> bool:
        """The client closes its end. True where a program runs, whose end it is to hear."""
        ...

    def eof_received(self) -> bool:
        """All input was delivered."""
        ...

    def reads_no_more(self) -> None:
        """The client takes no more output."""
        ...


class ServerChannel(asyncssh.SSHServerChannel[bytes]):
    """asyncssh's channel, with its silent refusals put into words. Without this class they would still be refusals.

    asyncssh answers a client's CLOSE at once. A server may answer later (RFC 4254 §5.3), and sshd does: when the program ended,
    with its exit status before the answer. OpenSSH's client counts on it, for it closes as soon as both streams have ended.
    """

    left = False
    """True once the client closed its end, and until it is answered."""

    @classmethod
    def open(cls, conn: asyncssh.SSHServerConnection, *, window: int, packet: int) -> ServerChannel:
        """Return a channel of raw bytes without asyncssh's line editor."""
        plain = conn.create_server_channel(encoding=None, window=window, max_pktsize=packet)
        plain.__class__ = cls
        assert isinstance(plain, cls)
        return plain

    @property
    def _hearer(self) -> Hearer:
        return cast(Hearer, self._session)

    def process_open(self, send_chan: int, send_window: int, send_pktsize: int, session: Any) -> None:
        """The client opens the channel, and says how large packets may be."""
        super().process_open(send_chan, send_window, send_pktsize, session if send_pktsize >= LEAST_PACKET else _crumbs())

    def _process_close(self, kind: int, number: int, packet: Any) -> None:
        if self.left:
            raise asyncssh.ProtocolError("Channel closed twice")
        if self._send_state in {"close_pending", "closed"} or not self._hearer.closed_early():
            super()._process_close(kind, number, packet)
            return
        packet.check_end()
        self.left = True
        # Nobody takes output any more; who waits for room to write must not wait for ever.
        self._send_buf, self._send_buf_len = [], 0
        self._pause_resume_writing()
        if self._recv_state == "open":
            self._recv_state = "eof_pending"
            self._flush_recv_buf()
        elif self._recv_state == "eof":
            self._hearer.eof_received()

    def _close_send(self) -> None:
        answers = self.left and self._send_state != "closed"
        super()._close_send()
        if answers:
            self.left = False
            self._recv_buf = []
            self._recv_state = "closed"
            self._loop.call_soon(self._cleanup)

    _packet_handlers = {**asyncssh.SSHServerChannel._packet_handlers, MSG_CHANNEL_CLOSE: _process_close}

    def _process_env_request(self, packet: Any) -> bool:
        name, value = packet.get_string(), packet.get_string()
        packet.check_end()
        if len(self._env) >= engine.ENVIRONMENT_LIMIT or not engine.passes(name, value):
            return False
        self._env[name] = value
        return True

    def _process_exec_request(self, packet: Any) -> bool:
        data = packet.get_string()
        packet.check_end()
        try:
            command = data.decode()
        except UnicodeDecodeError:
            return self._hearer.request_refused(engine.unreadable("exec"))
        return self._start_session(command=command)

    def _process_subsystem_request(self, packet: Any) -> bool:
        data = packet.get_string()
        packet.check_end()
        try:
            subsystem = data.decode()
        except UnicodeDecodeError:
            return self._hearer.request_refused(engine.unreadable("subsystem"))
        return self._start_session(subsystem=subsystem)

    def _process_auth_agent_req_at_openssh_dot_com_request(self, packet: Any) -> bool:  # type: ignore[override]
        packet.check_end()
        self._hearer.forwarding_requested("auth-agent-req")
        return False

    def _process_eow_at_openssh_dot_com_request(self, packet: Any) -> bool:
        packet.check_end()
        self._hearer.reads_no_more()
        return False

    def _process_x11_req_request(self, packet: Any) -> bool:
        self._hearer.forwarding_requested("x11-req")
        return False
