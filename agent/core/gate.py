"""The gate: what follows from what was read. It owns order, and nothing else.

    asked     → decide, count, record (durable), forward
    held      → record (durable), ask others; and once they agreed: decide again, use, count, record (durable), forward
    refused   → count, record (durable), report, say why
    output    → mask, record, show

Effects are plain lists, so that tests compare lists. Where nobody can be asked, a hold is a denial.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent.core.effects import Ask, Count, Effect, Housekeep, Record, Report, ToClient, ToTarget, Use
from agent.core.masking import Masker
from agent.core.originals import output_line
from agent.core.plugin import Denier
from agent.core.policy import Decider, Decision
from agent.core.recording.transcript import Transcript
from agent.core.units import Answered, Asked, Event, Exited, Housekeeping, Output, Refused, Remark, Resized, Stream, Tick
from chalicelib.contracts.policy import DENY, Verdict


class Gate:
    """The order of things on one channel of a session."""

    def __init__(
        self,
        decider: Decider,
        transcript: Transcript,
        denier: Denier,
        *,
        masker: Masker | None = None,
        says_on: Stream = "out",
        asks: bool = False,
        originals: bool = False,
    ) -> None:
        """``denier`` has the words of denials, shown on the stream ``says_on``. With ``asks``, what policy holds can wait.

        With ``originals``, output goes with its record as it came, where the transcript does not hold it as it came.
        """
        self._originals: Final = originals
        self._asks: Final = asks
        self._decider = decider
        self._transcript = transcript
        self._denier = denier
        self._masker = masker or Masker()
        self._says_on: Final = says_on
        self._now_ms = 0
        self._rules: dict[type, Callable[[Any], list[Effect]]] = {
            Asked: self._asked,
            Answered: self._answered,
            Refused: self._refused,
            Output: self._output,
            Housekeeping: lambda unit: [Housekeep(unit.to, unit.data)],
            Remark: lambda unit: self._record(self._transcript.remark(unit.entry, self._now_ms)),
            Resized: lambda event: self._record(self._transcript.resized(event.columns, event.rows, self._now_ms)),
            Exited: lambda event: self._record(self._transcript.exited(event.status, self._now_ms)),
            Tick: self._tick,
        }

    def handle(self, event: Event) -> list[Effect]:
        """Return what must be done about ``event``, in order. A :class:`Tick` has to come first."""
        return self._rules[type(event)](event)

    def _tick(self, event: Tick) -> list[Effect]:
        self._now_ms = event.now_ms
        return []

    def _asked(self, asked: Asked) -> list[Effect]:
        decision = self._decider.decide(asked.operation, self._now_ms)
        if decision.held and self._asks:
            held = {"event": "held", "text": f"held: {asked.operation.text}", "digest": asked.operation.digest()}
            return [self._durable(self._transcript.remark(held, self._now_ms)), Ask(asked, decision.verdict)]
        if decision.permit is None:
            return self._deny(asked, decision)
        lines = self._transcript.decided(asked.operation, decision, self._now_ms)
        return [Count(operations=1), self._durable(lines), ToTarget(asked, decision.permit)]

    def _answered(self, answered: Answered) -> list[Effect]:
        asked, yes = answered.asked, answered.yes
        decision = self._decider.approved(asked.operation, yes, self._now_ms)
        if decision.permit is None:
            return self._deny(asked, decision)
        lines = self._transcript.decided(asked.operation, decision, self._now_ms)
        use = Use(yes.claims.rid, asked.operation.digest())
        return [use, Count(operations=1), self._durable(lines), ToTarget(asked, decision.permit)]

    def _refused(self, refused: Refused) -> list[Effect]:
        return self._deny(refused, Decision(verdict=Verdict(DENY, message=refused.message), code=refused.code))

    def _deny(self, asked: Asked | Refused, decision: Decision) -> list[Effect]:
        clean = self._masker.mask(self._denier.deny(asked, decision))
        lines = self._transcript.decided(asked.operation, decision, self._now_ms)
        lines += self._transcript.shown(clean, self._says_on, self._now_ms)
        return [
            Count(operations=1, denied=1),
            self._durable(lines),
            Report(asked.operation, decision.verdict),
            ToClient(clean, self._says_on),
        ]

    def _output(self, output: Output) -> list[Effect]:
        clean = self._masker.mask(output.data)
        if not output.recorded:
            return [ToClient(clean, output.stream)]
        lines = self._transcript.shown(clean, output.stream, self._now_ms)
        kept: tuple[bytes, ...] = ()
        if self._originals and not (clean.data == output.data and self._transcript.holds(output.data)):
            kept = (output_line(self._transcript.channel, self._now_ms, output.stream, output.data),)
        return [*self._record(lines, kept), ToClient(clean, output.stream)]

    def _record(self, lines: bytes, originals: tuple[bytes, ...] = ()) -> list[Effect]:
        if not lines and not originals:
            return []
        return [Record(self._transcript.channel, self._transcript.kind, lines, originals=originals)]

    def _durable(self, lines: bytes) -> Record:
        return Record(self._transcript.channel, self._transcript.kind, lines, durable=True)
