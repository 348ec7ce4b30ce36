"""Who may cancel what. Clients get secrets of the gateway's own, so a request reaches one backend.

The process number is the server's own: clients tell by it which notifications are theirs, and find themselves in
``pg_stat_activity``. Behind one agent several servers may use the same.

A request that comes with a session of its own must be the same person's on the same target. A native client's has nothing but
the key (§55.2.8), which is all that PostgreSQL itself asks for; so it reaches only connections that came natively too, and stands
in the recording of the session whose statement it ends.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

import msgspec

from chalicelib.contracts.gateway import Target


def _nothing_waits() -> bool:
    return False


class Cancellable(msgspec.Struct, frozen=True):
    """A backend of the server, and whose it is."""

    shown_secret: bytes
    principal: str
    target: Target
    pid: int
    secret: bytes
    on_native: Callable[[int], Awaitable[None]] | None
    """Cancels what a native client's connection does; None for connections that did not come natively."""
    withdraw: Callable[[], bool] = _nothing_waits
    """Ends the wait of a statement that others are asked about; False where none waits."""


class Cancels:
    """The backends behind this agent, by their process numbers."""

    def __init__(self) -> None:
        self._backends: dict[int, list[Cancellable]] = {}

    def add(self, entry: Cancellable) -> None:
        """A connection began."""
        self._backends.setdefault(entry.pid, []).append(entry)

    def remove(self, entry: Cancellable) -> None:
        """A connection ended."""
        left = [each for each in self._backends.pop(entry.pid, []) if each is not entry]
        if left:
            self._backends[entry.pid] = left

    def find(self, pid: int, shown_secret: bytes, principal: str, target: str) -> Cancellable | None:
        """Return the backend to cancel, if the secret is right and it serves the same person on the same target."""
        found = self._keyed(pid, shown_secret)
        if found is None:
            return None
        return found if found.principal == principal and found.target.name == target else None

    async def native(self, pid: int, shown_secret: bytes) -> None:
        """Do what a native client's request asks for, if its key is right. Nobody is told whether that was so."""
        found = self._keyed(pid, shown_secret)
        if found is not None and found.on_native is not None:
            await found.on_native(pid)

    def _keyed(self, pid: int, shown_secret: bytes) -> Cancellable | None:
        found = self._backends.get(pid, ())
        return next((each for each in found if hmac.compare_digest(each.shown_secret, shown_secret)), None)
