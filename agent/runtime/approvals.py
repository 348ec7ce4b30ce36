"""Operations of one session that wait for other people: asked for, waited for, used.

    ask ─► a signed yes is pushed on the control socket, or asked for now and then, and after a reconnect ─► Yes, or a Fault
     └──► cancelled: withdrawn, so that nobody answers what nobody waits for

A yes is believed for its signature alone, whatever way it came, and what it covers is checked by the gate, where it is used. So
the one that is pushed saves a question, and everything else that is pushed is a hint: it wakes whoever waits, who then asks.
Whatever goes wrong, the operation does not run.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

from agent.core.policy import Yes
from agent.runtime.backoff import Backoff, is_final, persist
from agent.runtime.serving import Told
from agent.telemetry import logger
from chalicelib.contracts.api_requests import ApprovalUse, ApprovalUsed, OperationAsk, RequestStanding
from chalicelib.contracts.approval import RequestState, refusal
from chalicelib.contracts.capability import ApprovalClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation

#: Seconds after which a request is asked about although nobody said that anything happened.
POLL_S: Final = 15.0
#: Seconds in which asking is tried again while the control plane is away.
ASK_S: Final = 60.0
#: Seconds that a use may take to be counted, and that the control plane may take to hear that nobody waits any more.
USE_S: Final = 30.0
WITHDRAW_S: Final = 5.0
#: Requests whose answers are remembered although nobody waits for them yet: an answer may come before its question was confirmed.
_EARLY: Final = 32


class Control(Protocol):
    """The part of the control plane that is needed here."""

    async def ask(self, sid: str, request: OperationAsk) -> RequestStanding:
        """Ask others about an operation."""
        ...

    async def asked(self, sid: str, rid: str) -> RequestStanding:
        """What became of a request."""
        ...

    async def withdraw(self, sid: str, rid: str) -> RequestStanding:
        """Nobody waits any more."""
        ...

    async def use(self, sid: str, rid: str, use: ApprovalUse) -> ApprovalUsed:
        """Count a use."""
        ...


class Surface(NamedTuple):
    """What approvals need of the agent."""

    control: Control
    verify: Callable[[str], ApprovalClaims]
    """Returns the claims of a signed yes. Raises Fault."""
    now_ms: Callable[[], int]
    backoff: Callable[[], Backoff] = Backoff


class Approvals:
    """The requests of one session."""

    def __init__(self, sid: str, surface: Surface, *, poll_s: float = POLL_S, ask_s: float = ASK_S) -> None:
        self._sid = sid
        self._of = surface
        self._poll_s = poll_s
        self._ask_s = ask_s
        self._waiting: dict[str, asyncio.Event] = {}
        self._pushed: dict[str, str] = {}
        """Signed yeses that came by themselves, of requests that are waited for."""
        self._early: deque[tuple[str, str]] = deque(maxlen=_EARLY)
        self._leaving: set[asyncio.Task[None]] = set()

    # -- what the control socket says ----------------------------------------------------------------------------------------

    def decided(self, rid: str, approval: str = "") -> None:
        """Something became of a request; ``approval`` is the signed yes, if it was one."""
        waiting = self._waiting.get(rid)
        if waiting is None:
            self._early.append((rid, approval))
            return
        if approval:
            self._pushed[rid] = approval
        waiting.set()

    def connected(self) -> None:
        """The control socket is new: what was said meanwhile was said to nobody."""
        for waiting in self._waiting.values():
            waiting.set()

    # -- what a plug-in does -------------------------------------------------------------------------------------------------

    async def agreed(self, operation: Operation, risks: list[str], told: Told) -> Yes:
        """Ask others about ``operation`` and wait. ``told`` hears at once who is asked and where, or that asking is tried again.

        Raises Fault: approval_denied, approval_expired, approval_withdrawn, approval_revoked, control_plane_unreachable,
        or the control plane's own refusal. Cancelled, it withdraws the request.
        """
        # An answer may be lost although the question arrived; with its key, asking again calls nobody twice.
        ask = OperationAsk(operation=operation, risks=risks, key=secrets.token_urlsafe(16))
        standing = await self._ask(ask, told)
        request = standing.request
        if request.digest != operation.digest():
            self._leave(request.rid)
            raise Fault("approval_mismatch", "The control plane asks about another operation than this one.")
        waiting = self._waiting[request.rid] = asyncio.Event()
        decided = False
        try:
            for rid, approval in self._early:
                if rid == request.rid:
                    self.decided(rid, approval)
            told(standing)
            yes = await self._until_decided(standing, waiting)
            decided = True
        except Fault as fault:
            decided = fault.code != "control_plane_unreachable"
            raise
        finally:
            del self._waiting[request.rid]
            self._pushed.pop(request.rid, None)
            if not decided:
                self._leave(request.rid)
        return yes

    async def use(self, rid: str, digest: str) -> None:
        """Count one use. Raises Fault; then the operation must not run."""
        use = ApprovalUse(digest=digest, key=secrets.token_urlsafe(16))
        try:
            async with asyncio.timeout(USE_S):
                await self._persist(lambda: self._of.control.use(self._sid, rid, use), "approval.use_delayed")
        except TimeoutError:
            raise Fault("control_plane_unreachable", "The use of the approval could not be counted, so nothing ran.") from None

    async def finish(self) -> None:
        """Return when everything that was withdrawn is known to be, or a few seconds have passed."""
        if self._leaving:
            await asyncio.wait(set(self._leaving), timeout=WITHDRAW_S)

    # -- in between ----------------------------------------------------------------------------------------------------------

    async def _ask(self, ask: OperationAsk, told: Told) -> RequestStanding:
        backoff, said = self._of.backoff(), False
        try:
            async with asyncio.timeout(self._ask_s):
                while True:
                    try:
                        return await self._of.control.ask(self._sid, ask)
                    except Fault as fault:
                        if is_final(fault):
                            raise
                        logger(sid=self._sid).warning("approval.ask_delayed", code=fault.code, detail=fault.detail)
                    if not said:
                        said = True
                        told(None)
                    await backoff.wait()
        except (TimeoutError, asyncio.CancelledError) as ended:
            # Whether the question arrived is not known, and nobody may be asked what nobody waits for.
            self._later(self._withdraw_asked(ask))
            if isinstance(ended, TimeoutError):
                raise Fault("control_plane_unreachable", "Nobody could be asked, so nothing ran.", hint="Try again.") from None
            raise

    async def _until_decided(self, standing: RequestStanding, waiting: asyncio.Event) -> Yes:
        request, backoff = standing.request, self._of.backoff()
        while True:
            late = self._of.now_ms() >= request.deadline_ms
            if request.state is RequestState.APPROVED and standing.approval:
                approvers = tuple(vote.voter for vote in request.votes if vote.approve)
                return Yes(claims=self._of.verify(standing.approval), approvers=approvers)
            if (yes := self._pushed_yes(request.rid)) is not None:
                return yes
            if request.state not in (RequestState.PENDING, RequestState.APPROVED):
                raise refusal(request)
            if late and request.state is RequestState.PENDING:
                raise Fault("approval_expired", "Nobody answered in time.")
            left_s = max(0.0, (request.deadline_ms - self._of.now_ms()) / 1000)
            patience = min(self._poll_s, left_s + 0.1) if request.state is RequestState.PENDING else backoff.next_s()
            try:
                async with asyncio.timeout(patience):
                    await waiting.wait()
            except TimeoutError:
                pass
            waiting.clear()
            if request.rid not in self._pushed:
                standing = await self._ask_again(standing)
                request = standing.request

    def _pushed_yes(self, rid: str) -> Yes | None:
        """Return the yes that was pushed. What is not a yes to this request is as if nobody had said anything."""
        text = self._pushed.pop(rid, "")
        try:
            claims = self._of.verify(text) if text else None
        except Fault as fault:
            logger(sid=self._sid).warning("approval.push_unusable", request=rid, code=fault.code)
            claims = None
        if claims is None or claims.rid != rid or claims.approvers is None:
            if text:
                self._waiting[rid].set()  # whatever it was, there may be an answer to ask for
            return None
        return Yes(claims=claims, approvers=tuple(claims.approvers))

    async def _ask_again(self, standing: RequestStanding) -> RequestStanding:
        """Return what became of it; as it was where that cannot be learned now. Raises Fault once it is too late to learn it."""
        request = standing.request
        try:
            return await self._of.control.asked(self._sid, request.rid)
        except Fault as fault:
            if is_final(fault):
                raise
            if self._of.now_ms() >= request.deadline_ms:
                raise Fault("control_plane_unreachable", "What was answered could not be learned in time.") from None
            logger(sid=self._sid).warning("approval.delayed", request=request.rid, code=fault.code)
        await self._of.backoff().wait()
        self._waiting[request.rid].set()
        return standing

    async def _persist(self, action: Callable[[], Awaitable[object]], event: str) -> None:
        await persist(action, event=event, backoff=self._of.backoff(), sid=self._sid)

    def _leave(self, rid: str) -> None:
        self._later(self._withdraw(rid))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _withdraw_asked(self, ask: OperationAsk) -> None:
        """Withdraw what may have been asked: the same key finds it, or makes what is withdrawn at once."""
        try:
            async with asyncio.timeout(USE_S):
                ask_again = lambda: self._of.control.ask(self._sid, ask)  # noqa: E731
                standing = await persist(ask_again, event="approval.withdraw_delayed", backoff=self._of.backoff(), sid=self._sid)
        except (Fault, TimeoutError) as error:
            logger(sid=self._sid).info("approval.not_withdrawn", reason=str(error))
            return
        if standing.request.state is RequestState.PENDING:
            await self._withdraw(standing.request.rid)

    async def _withdraw(self, rid: str) -> None:
        try:
            async with asyncio.timeout(USE_S):
                await self._persist(lambda: self._of.control.withdraw(self._sid, rid), "approval.withdraw_delayed")
        except (Fault, TimeoutError) as error:
            # It ends by itself at its deadline, and no agent waits for it.
            logger(sid=self._sid).info("approval.not_withdrawn", request=rid, reason=str(error))
