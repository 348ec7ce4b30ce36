"""Announcing: telling the control plane what this agent speaks, and learning what it serves and how it decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from agent.runtime.backoff import Backoff, persist
from agent.runtime.clock import ServerClock
from agent.runtime.configuration import Configuration
from agent.runtime.control_client import ControlClient
from agent.runtime.credentials import CredentialFolder
from agent.runtime.identity import Identity
from agent.runtime.spool import Disk
from agent.telemetry import logger
from chalicelib.contracts.api import AgentAnnounce, AgentConfig
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Protocol

#: Announce again at least this often, and when this share of the host certificate's life is left.
_OFTEN_S: Final = 3600.0
_SHARE_LEFT: Final = 0.5
_SOON_S: Final = 5.0


class Announcer:
    """Announces at the start, whenever asked, and before the host certificate ends."""

    def __init__(
        self,
        control: ControlClient,
        identity: Identity,
        configuration: Configuration,
        credentials: CredentialFolder,
        clock: ServerClock,
        disk: Disk,
        *,
        protocols: Sequence[Protocol],
        direct: str,
        witness_key: str = "",
        backoff: Callable[[], Backoff] = Backoff,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._control = control
        self._identity = identity
        self._configuration = configuration
        self._credentials = credentials
        self._clock = clock
        self._disk = disk
        self._protocols = list(protocols)
        self._direct = direct
        self._witness_key = witness_key
        self._backoff = backoff
        self.on_change = on_change
        """Called after every configuration that was put in force."""
        self.answered = asyncio.Event()
        """Set once the control plane has answered an announcement, whatever it said."""
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Announce soon."""
        self._asked.set()

    async def announce(self) -> AgentConfig:
        """Announce now, once. Raises Fault."""
        names = await self._disk.run(self._credentials.names)
        request = AgentAnnounce(protocols=self._protocols, credentials=names, direct=self._direct, witness_key=self._witness_key)
        config = await self._control.announce(request)
        self._identity.renew(config.ssh_host_certificate, config.trust)
        self._configuration.replace(config.document)
        logger().info(
            "agent.announced", version=config.document.version, targets=len(config.document.targets), credentials=len(names)
        )
        self.on_change()
        return config

    async def run(self) -> None:
        """Announce for as long as the agent runs."""
        while True:
            self._asked.clear()
            try:
                config = await persist(self.announce, event="agent.announce_delayed", backoff=self._backoff())
                wait_s = self._wait_s(config.expires_ms)
            except Fault as fault:
                # Refused for good, as far as the control plane knows; an operator may yet mend it without a restart.
                logger().error("agent.announce_refused", code=fault.code, reason=fault.message, detail=fault.detail)
                wait_s = 60.0
            self.answered.set()
            try:
                async with asyncio.timeout(wait_s):
                    await self._asked.wait()
            except TimeoutError:
                pass

    def _wait_s(self, expires_ms: int) -> float:
        left_s = (expires_ms - self._clock.now_ms()) / 1000
        return min(_OFTEN_S, max(_SOON_S, left_s * _SHARE_LEFT))
