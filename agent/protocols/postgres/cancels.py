"""Who may cancel what. Clients get process numbers and secrets of the gateway's own, so a request reaches one backend."""

from __future__ import annotations

import hmac

import msgspec

from chalicelib.contracts.gateway import Target


class Cancellable(msgspec.Struct, frozen=True):
    """A backend of the server, and whose it is."""

    shown_secret: bytes
    principal: str
    target: Target
    pid: int
    secret: bytes


class Cancels:
    """The backends behind this agent, by the process number that their client was told."""

    def __init__(self) -> None:
        self._backends: dict[int, Cancellable] = {}

    def add(self, shown_pid: int, shown_secret: bytes, principal: str, target: Target, pid: int, secret: bytes) -> Cancellable:
        """A connection began."""
        entry = Cancellable(shown_secret, principal, target, pid, secret)
        self._backends[shown_pid] = entry
        return entry

    def remove(self, shown_pid: int) -> None:
        """A connection ended."""
        self._backends.pop(shown_pid, None)

    def find(self, shown_pid: int, shown_secret: bytes, principal: str, target: str) -> Cancellable | None:
        """Return the backend to cancel, if the secret is right and it serves the same person on the same target."""
        found = self._backends.get(shown_pid)
        if found is None or not hmac.compare_digest(found.shown_secret, shown_secret):
            return None
        return found if found.principal == principal and found.target.name == target else None
