"""What every object of the evidence bucket is told about how long it must be kept."""

from __future__ import annotations

from chalicelib.contracts.retention import Lock, lock
from chalicelib.contracts.session import Session
from chalicelib.ports import Ports


def lock_of(ports: Ports, session: Session) -> Lock:
    """Return the lock of an object of ``session`` that is written now: what was promised when the session opened."""
    return lock(session.retention or ports.settings.keeping.default, ports.clock.now_ms())


def lock_for_good(ports: Ports) -> Lock:
    """Return the lock of an object of the log: it is kept at least as long as anything that it speaks of."""
    return lock(ports.settings.keeping.longest, ports.clock.now_ms())
