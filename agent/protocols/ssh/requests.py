"""Channel requests as asyncssh reads them, before :class:`~agent.protocols.ssh.channel.ClientSide` is asked.

asyncssh refuses some requests without a word and grants some without a question. This subclass of its channel puts the first into
words and puts the question to the second. It overrides private methods: if they were renamed, requests would still be refused,
only silently, and variables of the environment would still be filtered where they are passed on.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import asyncssh

from agent.core.units import Refused
from agent.protocols.ssh import engine


class Hearer(Protocol):
    """Whoever hears of requests that asyncssh would refuse by itself."""

    def request_refused(self, refused: Refused) -> bool:
        """Something that cannot be read was asked for."""
        ...

    def forwarding_requested(self, kind: str) -> None:
        """Agent or X11 forwarding was asked for."""
        ...


class ServerChannel(asyncssh.SSHServerChannel[bytes]):
    """asyncssh's channel, with its silent refusals put into words. Without this class they would still be refusals."""

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

    def _process_x11_req_request(self, packet: Any) -> bool:
        self._hearer.forwarding_requested("x11-req")
        return False
