"""A statement that waits for others: told at once as a notice; withdrawn by a cancel request, a hangup or the session's end.

The yes is checked, and its use counted, before the engine hears of it. What it hears is a yes to exactly this operation, or a
refusal; it then decides the statement again, records it, and forwards it or has it fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from agent.core import held
from agent.core.policy import Decider, Decision, Yes
from agent.protocols.postgres import messages
from agent.protocols.postgres.stream import Stream
from agent.runtime.serving import Serving
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import DENY, Verdict

WITHDRAWN: Final = "You withdrew the request, so nothing ran."
Facts = Callable[[Operation], Awaitable[list[str]]]

#: successful_completion (PostgreSQL documentation, Appendix A).
_NOTICE: Final = "00000"


def notice(words: str, hint: str = "") -> bytes:
    """Return a NoticeResponse in the gateway's words, which a client shows at once."""
    found = {"S": "NOTICE", "V": "NOTICE", "C": _NOTICE, "M": f"sallyport: {words}"}
    return messages.fields("N", found | ({"H": hint} if hint else {}))


class Hold:
    """One operation's wait."""

    def __init__(self, serving: Serving, decider: Decider, client: Stream, facts: Facts) -> None:
        """``facts`` finds out what else approvers should know of an operation; it raises nothing."""
        self._facts = facts
        self._serving = serving
        self._decider = decider
        self._client = client
        self._withdrawn = asyncio.Event()

    def withdraw(self) -> None:
        """Its owner does not want it any more."""
        self._withdrawn.set()

    async def answer(self, operation: Operation) -> Yes | Decision:
        """Return a yes whose use is counted, or why there is none."""
        try:
            yes = await self._agreed(operation)
            decision = self._decider.approved(operation, yes, self._serving.now_ms())
            if decision.permit is None:
                return decision
            await self._serving.approvals.use(yes.claims.rid, operation.digest())
        except Fault as fault:
            return Decision(verdict=Verdict(DENY, message=fault.message), code=fault.code, version=self._serving.policy.version)
        return yes

    async def _agreed(self, operation: Operation) -> Yes:
        asking = asyncio.ensure_future(self._ask(operation))
        left = [asyncio.ensure_future(each) for each in (self._withdrawn.wait(), self._client.gone())]
        try:
            await asyncio.wait({asking, *left}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and not any(each.done() for each in left):
                return asking.result()
            raise Fault("approval_withdrawn", WITHDRAWN)
        finally:
            for task in (asking, *left):
                task.cancel()
            await asyncio.gather(asking, *left, return_exceptions=True)

    async def _ask(self, operation: Operation) -> Yes:
        risks = held.risks(operation) + await self._facts(operation)
        return await self._serving.approvals.agreed(operation, risks, self._told)

    def _told(self, standing: RequestStanding | None) -> None:
        self._client.write(notice(held.waiting(standing), f"Session {self._serving.claims.sid}."))
