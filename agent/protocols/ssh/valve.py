"""Back-pressure: who is slow holds the other side, and SSH's own window does the rest."""

from __future__ import annotations

from typing import Any, cast

import asyncssh

from agent.protocols.ssh.leg import Waiting
from agent.protocols.ssh.sending import quicken_sending

AnyChannel = asyncssh.SSHClientChannel[bytes] | asyncssh.SSHServerChannel[bytes]


class Valve:
    """Pauses the reading of a channel while anybody has a reason to hold it."""

    def __init__(self) -> None:
        self._channel: AnyChannel | None = None
        self._reasons: set[str] = set()

    @property
    def held(self) -> bool:
        """True while reading is paused."""
        return bool(self._reasons)

    def fit(self, channel: AnyChannel) -> None:
        """Start to govern ``channel``."""
        self._channel = channel
        cast(Any, channel)._recv_buf = Waiting(channel._recv_buf)
        quicken_sending(channel)
        if self._reasons:
            channel.pause_reading()

    def hold(self, reason: str) -> None:
        """Pause reading for ``reason``."""
        self._reasons.add(reason)
        if self._channel is not None:
            self._channel.pause_reading()

    def release(self, reason: str) -> None:
        """Withdraw ``reason``; reading goes on when it was the last one."""
        if reason in self._reasons:
            self._reasons.discard(reason)
            if not self._reasons and self._channel is not None:
                self._channel.resume_reading()
