"""What an engine is: a pure reading of one protocol."""

from __future__ import annotations

from typing import Protocol

from agent.core.policy import Decision
from agent.core.units import Asked, Refused, Side, Unit


class Denier(Protocol):
    """Whoever knows how a protocol says no."""

    def deny(self, asked: Asked | Refused, decision: Decision) -> bytes:
        """Return the protocol's own words for a refusal, ready to be sent to the client."""
        ...


class Engine(Denier, Protocol):
    """A sans-io state machine for one connection. It says what bytes mean and never acts on them.

    Bad input raises ``Fault(protocol_error)`` and ends the connection. Every length is checked before anything is kept.
    """

    def receive(self, side: Side, data: bytes) -> list[Unit]:
        """Return the units in ``data``, which came from ``side``. Empty ``data`` is the end of that side's stream."""
        ...
