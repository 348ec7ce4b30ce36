"""The channels on which people are told of requests, by name. Each is a callable; a deployment names those that it has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.ports import Notice, Undelivered

Channel = Callable[[Notice, ApprovalRequest | None], None]


class Channels:
    """Implements ``ports.Notifier``. Without any channel nobody is told; requests are still listed and can be answered."""

    def __init__(self, read: Callable[[], Mapping[str, Channel]]) -> None:
        """``read`` is asked once, when the first notice is due: most requests of most containers tell nobody anything."""
        self._read = functools.cache(read)

    def channels(self) -> list[str]:
        """Return the names of the channels, in order."""
        return sorted(self._read())

    def send(self, channel: str, notice: Notice, request: ApprovalRequest | None) -> None:
        """Hand ``notice`` to one channel. Raises Undelivered, also for a channel that was taken away meanwhile."""
        found = self._read().get(channel)
        if found is None:
            raise Undelivered(f"this deployment has no channel called {channel}")
        found(notice, request)
