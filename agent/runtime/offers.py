"""Offers that wait for their client, and tickets that were used. Both are bounded and forget what has expired."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agent.runtime.identity import Identity
from chalicelib.contracts.capability import SKEW_S, TicketClaims
from chalicelib.contracts.faults import Fault

#: Offers that may wait at once. An offer lives for a minute, so this is also a rate.
PENDING_LIMIT: Final = 1_000
_USED_LIMIT: Final = 100_000


class Offers:
    """What the control plane offered to this agent and nobody took yet. Taking is once, whichever way comes first."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._pending: dict[str, TicketClaims] = {}
        self._relays: dict[str, asyncio.Task[None]] = {}
        self._used: dict[str, int] = {}
        self._arrivals = asyncio.Event()

    def add(self, claims: TicketClaims) -> bool:
        """Remember an offer; tell whether somebody should wait for its client on the relay now.

        The control plane repeats an offer while its client asks for the agent, so one that is waited for already is old news;
        one whose waiting failed is tried again.
        """
        self._forget()
        if claims.sid in self._pending:
            relay = self._relays.get(claims.sid)
            return relay is None or relay.done()
        if claims.sid in self._used or len(self._pending) >= PENDING_LIMIT:
            return False
        self._pending[claims.sid] = claims
        self._arrivals.set()
        self._arrivals = asyncio.Event()
        return True

    def waits_in(self, sid: str, relay: asyncio.Task[None]) -> None:
        """Remember the task that waits for the client of ``sid`` on the relay; it is cancelled if the client comes directly."""
        self._relays[sid] = relay

    def find(self, sid: str) -> TicketClaims | None:
        """Return a pending offer that is still good."""
        self._forget()
        return self._pending.get(sid)

    async def arrived(self, sid: str, within_s: float) -> TicketClaims | None:
        """Return a pending offer, or wait for it for at most ``within_s``.

        The client may be faster than the offer: it comes on a socket of its own, right after the gateway's answer.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.find(sid) is None and sid not in self._used:
                    await self._arrivals.wait()
        return self.find(sid)

    def withdraw(self, sid: str) -> None:
        """Forget an offer, and stop waiting for its client."""
        self._pending.pop(sid, None)
        relay = self._relays.pop(sid, None)
        if relay is not None and relay is not asyncio.current_task():
            relay.cancel()

    def withdraw_all(self) -> None:
        """Forget every offer."""
        for sid in list(self._pending):
            self.withdraw(sid)

    def take(self, claims: TicketClaims) -> None:
        """Use a ticket, once in this process. Raises Fault(ticket_used)."""
        self._forget()
        if claims.sid in self._used or len(self._used) >= _USED_LIMIT:
            raise Fault("ticket_used", "The ticket was used before.", hint="Connect again for a new one.")
        self._used[claims.sid] = claims.exp + SKEW_S
        self.withdraw(claims.sid)

    def _forget(self) -> None:
        now_s = self._now_ms() / 1000
        for sid in [sid for sid, claims in self._pending.items() if now_s >= claims.exp]:
            self._pending.pop(sid)
            self._relays.pop(sid, None)
        for sid in [sid for sid, until in self._used.items() if now_s > until]:
            self._used.pop(sid)


def presented(identity: Identity, offered: TicketClaims, text: str) -> TicketClaims:
    """Return the claims of the ticket that a client presented in a tunnel for ``offered``. Raises Fault."""
    claims = identity.ticket(text)
    if claims.sid != offered.sid:
        raise Fault("ticket_mismatch", "The ticket is for another session.")
    return claims
