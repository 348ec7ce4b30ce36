"""What follows from asking: decide, count, record, and the permit that forwarding needs. Pure.

The core's gate decides one operation and forwards it. PostgreSQL has messages of several statements that run or do not run
together, so here a *list* of operations is decided, and there are permits only where every one of them was allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from agent.core import originals
from agent.core.effects import Count, Effect, Record, Report, ToTarget
from agent.core.policy import Decision, Permit, Standing, Yes
from agent.core.recording.jsonl import JsonlWriter, Shown
from agent.core.units import Asked
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import DENY, Verdict


class Decides(Protocol):
    """Whoever decides: ``agent.core.policy.Decider``."""

    def decide(self, operation: Operation, now_ms: int) -> Decision:
        """Return what policy says about ``operation``."""
        ...

    def approved(self, operation: Operation, yes: Yes, now_ms: int) -> Decision:
        """Return what policy says about an operation that others have agreed to."""
        ...

    def standing(self, operations: Sequence[Operation]) -> Standing | None:
        """Return what tells :meth:`repeat` of the yeses that were just given to ``operations``."""
        ...

    def repeat(self, standing: Standing, text: str, data: bytes, now_ms: int) -> Permit | None:
        """Decide bytes that ask for the operations of ``standing`` again, with ``text``."""
        ...


class Held(Exception):  # noqa: N818 - a state, not an error
    """Others have to agree to ``operation`` first; nothing was recorded, and nothing may follow."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        super().__init__(operation.kind)


class Ruling(msgspec.Struct, frozen=True):
    """What was decided about a list of operations, and what has to happen before anything else does."""

    effects: list[Effect]
    permits: list[Permit]
    """One for each operation, or none at all."""
    decision: Decision
    """The first refusal, or the last yes."""
    number: int
    """The number of the first operation's line in the transcript, from 1."""
    refused: int = 0
    """Where the first refused operation stands in the list, from 0."""
    denied: Operation | None = None
    """The first refused operation, where policy refused it."""

    @property
    def allowed(self) -> bool:
        """True where every operation was allowed."""
        return bool(self.permits)


class Judge:
    """Decides and records the operations of one connection."""

    def __init__(self, decider: Decides, transcript: JsonlWriter, *, originals: bool = False) -> None:
        """With ``originals``, records carry what their lines leave out, to be sealed."""
        self.originals: Final = originals
        self._left_out: list[bytes] = []
        self._decider = decider
        self._transcript = transcript
        self.channel: Final = transcript.channel
        self.kind: Final = transcript.kind
        self.opened_ms: Final = transcript.opened_ms
        self.lines = 0
        """Lines of operations that were written."""
        self.repeat: Final = decider.repeat
        """Decides bytes that ask for the like of what a standing is about. Returns None where operations have to be decided."""
        self.now_ms = 0
        self.answers: dict[str, Yes | Decision] = {}
        """What others have answered about operations of the message that is decided now, by digest. A yes is counted already."""

    def ask(self, operations: list[Operation], shown: list[Shown], *, counted: bool = True) -> Ruling:
        """Decide ``operations``, which are forwarded together or not at all. ``counted`` is for those that were allowed.

        ``shown`` has, for each, the text and the arguments that may be kept. Raises Held where others could still agree to all.
        """
        if len(operations) == 1:
            (only,) = operations
            decision = self._decide(only)
            if decision.permit is not None:
                line = self.decided(only, decision, shown[0])
                effects: list[Effect] = [Count(operations=1)] if counted else []
                return Ruling([*effects, self._record(line, durable=True)], [decision.permit], decision, self.lines)
            decisions = [decision]
        else:
            decisions = [self._decide(operation) for operation in operations]
        if all(each.permit is not None or each.held for each in decisions):
            waiting = next((one for one, each in zip(operations, decisions, strict=True) if each.permit is None), None)
            if waiting is not None:
                raise Held(waiting)
        refused = next((at for at, each in enumerate(decisions) if each.permit is None), None)
        number = self.lines + 1
        lines = b"".join(self.decided(one, each, kept) for one, each, kept in zip(operations, decisions, shown, strict=True))
        if refused is None:
            count: list[Effect] = [Count(operations=len(operations))] if counted else []
            permits = [each.permit for each in decisions if each.permit is not None]
            return Ruling([*count, self._record(lines, durable=True)], permits, decisions[-1], number)
        reports = [
            Report(one, each.verdict, kept[0])
            for one, each, kept in zip(operations, decisions, shown, strict=True)
            if each.permit is None
        ]
        count = [Count(operations=len(operations), denied=len(reports))]
        record = self._record(lines, durable=True)
        return Ruling([*count, record, *reports], [], decisions[refused], number, refused, operations[refused])

    def refuse(self, operation: Operation, shown: Shown, code: str, message: str) -> Ruling:
        """Record that the gateway itself refuses ``operation``, whatever policy says."""
        decision = Decision(verdict=Verdict(DENY, message=message), code=code)
        number = self.lines + 1
        line = self.decided(operation, decision, shown)
        effects: list[Effect] = [
            Count(operations=1, denied=1),
            self._record(line, durable=True),
            Report(operation, decision.verdict, shown[0]),
        ]
        return Ruling(effects, [], decision, number)

    def again(self, operation: Operation, yes: Yes | None = None) -> Decision:
        """Decide an operation that is recorded already, with the yes that it was: policy may have changed since."""
        decision = self._decider.decide(operation, self.now_ms)
        return decision if yes is None or not decision.held else self._decider.approved(operation, yes, self.now_ms)

    def waits(self, operations: list[Operation]) -> bool:
        """Tell whether others would be asked about ``operations``."""
        decisions = [self._decider.decide(operation, self.now_ms) for operation in operations]
        return any(each.held for each in decisions) and all(each.held or each.permit is not None for each in decisions)

    def agreed(self, operation: Operation) -> Yes | None:
        """Return the yes to an operation of this message."""
        found = self.answers.get(operation.digest()) if self.answers else None
        return found if isinstance(found, Yes) else None

    def _decide(self, operation: Operation) -> Decision:
        decision = self._decider.decide(operation, self.now_ms)
        if not self.answers or not decision.held:
            return decision
        found = self.answers.get(operation.digest())
        if isinstance(found, Yes):
            return self._decider.approved(operation, found, self.now_ms)
        return found or decision

    # -- what was asked before -----------------------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """True where lines can be written by their form: the heading is behind them."""
        return self._transcript.begun

    def standing(self, operations: list[Operation]) -> Standing | None:
        """Return what :meth:`repeat` needs to decide the like of ``operations``, which were all allowed just now."""
        return self._decider.standing(operations)

    def since(self) -> int:
        """Return the time of a line that is written now."""
        return self._transcript.since(self.now_ms)

    def wrote(self, count: int) -> int:
        """So many lines of operations were written by their form. Returns the number of the last one."""
        self.lines += count
        return self.lines

    def line(self, entry: dict[str, Any]) -> bytes:
        """Return the line about a fact."""
        return self._transcript.remark(entry, self.now_ms)

    # -- writing -------------------------------------------------------------------------------------------------------------

    def remark(self, entry: dict[str, Any], *, durable: bool = False) -> Effect:
        """Record a fact."""
        return self._record(self.line(entry), durable=durable)

    def decided(self, operation: Operation, decision: Decision, shown: Shown) -> bytes:
        """Return the line of a decision."""
        self.lines += 1
        if self.originals:
            self.keep_operation(operation, shown)
        return self._transcript.decided(operation, decision, self.now_ms, shown)

    def keep(self, entry: dict[str, Any]) -> None:
        """Have ``entry``, which the transcript leaves out, sealed with the next record. Only where originals are kept."""
        self._left_out.append(originals.line(self._transcript.channel, self.now_ms, entry))

    def left_out(self) -> tuple[bytes, ...]:
        """Return and forget what the next record has to carry."""
        if not self._left_out:
            return ()
        left_out, self._left_out = tuple(self._left_out), []
        return left_out

    def keep_operation(self, operation: Operation, shown: Shown) -> None:
        """Have the operation sealed whose line was the last, where that shows anything else."""
        if shown == (operation.text, operation.arguments):
            return
        entry: dict[str, Any] = {"event": "operation", "statement": self.lines, "kind": operation.kind, "text": operation.text}
        if operation.arguments:
            entry["arguments"] = operation.arguments
        self.keep(entry | {"digest": operation.digest()})

    def _record(self, lines: bytes, *, durable: bool) -> Record:
        return Record(self.channel, self.kind, lines, durable, self.left_out())


def forward(operations: list[Operation], permits: list[Permit], data: bytes) -> list[Effect]:
    """Return the effects that forward ``data``, which carries all of ``operations``. The bytes travel with the last proof."""
    last = len(operations) - 1
    return [
        ToTarget(Asked(operation, data if place == last else b""), permit)
        for place, (operation, permit) in enumerate(zip(operations, permits, strict=True))
    ]


def recorded_first(effects: list[Effect]) -> list[Effect]:
    """Return ``effects`` with everything that must be on disk gathered into one write before them: one wait for many records.

    Only ever moves a record forward, so nothing is forwarded that was not recorded before.
    """
    durable = [effect for effect in effects if type(effect) is Record and effect.durable]
    if not durable or (len(durable) == 1 and effects[0] is durable[0]):
        return effects
    first = durable[0]
    rest = [effect for effect in effects if not (type(effect) is Record and effect.durable)]
    lines = first.lines if len(durable) == 1 else b"".join([each.lines for each in durable])
    left_out = tuple(line for each in durable for line in each.originals)
    return [Record(first.channel, first.kind, lines, durable=True, originals=left_out), *rest]
