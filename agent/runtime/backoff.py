"""Trying again: exponential delays with full jitter, so that a returning control plane is not met by every agent at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from agent.telemetry import logger
from chalicelib.contracts.faults import Fault

FIRST_S: Final = 0.25
LONGEST_S: Final = 30.0

#: The client's faults that time or an administrator may heal: clocks drift, two changes of a row collide, and a lost identity
#: must not cost evidence.
HEALABLE: Final = frozenset({"agent_proof_invalid", "agent_unknown", "conflict", "login_required", "handshake_timeout"})

_T = TypeVar("_T")


class Backoff:
    """Delays of one thing that is tried again and again."""

    def __init__(self, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures = 0

    def succeeded(self) -> None:
        """Start over with short delays."""
        self._failures = 0

    def next_s(self) -> float:
        """Seconds until the next attempt."""
        ceiling: float = min(self._longest_s, self._first_s * 2 ** min(self._failures, 16))
        self._failures += 1
        return ceiling * (0.5 + secrets.randbelow(1000) / 2000)

    async def wait(self) -> None:
        """Sleep until the next attempt."""
        await asyncio.sleep(self.next_s())


def is_final(fault: Fault) -> bool:
    """Tell whether asking again cannot help."""
    return fault.kind.owner == "client" and fault.code not in HEALABLE


async def persist(action: Callable[[], Awaitable[_T]], *, event: str, backoff: Backoff | None = None, **bound: str) -> _T:
    """Repeat ``action`` until it succeeds. Raises only a Fault that asking again cannot help; logs the others as ``event``."""
    backoff = backoff or Backoff()
    while True:
        try:
            return await action()
        except Fault as fault:
            if is_final(fault):
                raise
            logger(**bound).warning(event, code=fault.code, detail=fault.detail)
        await backoff.wait()
