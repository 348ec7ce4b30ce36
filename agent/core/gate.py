"""The gate: what follows from what was read. It owns order, and nothing else.

    asked     → decide, count, record (durable), forward
    held      → record (durable), ask others; and once they agreed: decide again, use, count, record (durable), forward
    refused   → count, record (durable), report, say why
    output    → mask, record, show; words of our own behind everything that was held back
    lull      → the same with what was held back

Effects are plain lists, so that tests compare lists. Where nobody can be asked, a hold is a denial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from agent.core.effects import Ask, Count, Effect, Housekeep, Record, Report, ToClient, ToTarget, Use
from agent.core.masking import Clean, CleanOutputs, Masker
from agent.core.masking.outputs import Part
from agent.core.originals import line, output_line
from agent.core.plugin import Denier
from agent.core.policy import Decider, Decision
from agent.core.recording.transcript import Transcript
from agent.core.units import Answered, Asked, Event, Exited, Housekeeping, Lull, Output, Refused, Remark, Resized, Stream, Tick
from chalicelib.contracts.operation import Operation
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
        outputs: CleanOutputs | None = None,
        says_on: Stream = "out",
        asks: bool = False,
        originals: bool = False,
        beside: Transcript | None = None,
    ) -> None:
        """``denier`` has the words of denials, shown on the stream ``says_on``. With ``asks``, what policy holds can wait.

        With ``originals``, output goes with its record as it came, where the transcript does not hold it as it came. ``outputs``
        masks what the target says as streams; without it, ``masker`` masks each piece for itself. What waits for others is
        recorded in ``beside``, where a transcript has one marker for each command: that of what was decided in the end.
        """
        self._beside: Final = beside or transcript
        self._outputs: Final = outputs
        self._masked: Final[Counter[str]] = Counter()
        self._originals: Final = originals
        self._asks: Final = asks
        self._decider = decider
        self._transcript = transcript
        self._denier = denier
        self._masker = masker or Masker()
        self._says_on: Final = says_on
        self._now_ms = 0
        self._said_last = False
        """What was shown last are words of ours."""
        self.decision: Decision | None = None
        """What was decided last."""
        self._rules: dict[type, Callable[[Any], list[Effect]]] = {
            Asked: self._asked,
            Answered: self._answered,
            Refused: self._refused,
            Output: self._output,
            Housekeeping: lambda unit: [Housekeep(unit.to, unit.data)],
            Remark: lambda unit: self._record(self._transcript.remark(unit.entry, self._now_ms)),
            Resized: self._resized,
            Exited: self._exited,
            Lull: self._lull,
            Tick: self._tick,
        }

    @property
    def due_ms(self) -> int | None:
        """When a :class:`Lull` shows what is held back, or records what was shown, or None where there is nothing of either."""
        shows = None if self._outputs is None else self._outputs.due_ms
        records = self._transcript.due_ms
        return records if shows is None else shows if records is None else min(shows, records)

    @property
    def masked(self) -> dict[str, int]:
        """How many values of each class were replaced so far."""
        if self._outputs is not None:
            self._masked.update(self._outputs.report().hits)
        return dict(self._masked)

    def kept(self, text: str) -> str:
        """Return the text of an operation as it may be kept."""
        return text if self._outputs is None else self._outputs.text(text)

    def handle(self, event: Event) -> list[Effect]:
        """Return what must be done about ``event``, in order. A :class:`Tick` has to come first."""
        return self._rules[type(event)](event)

    def said(self, data: bytes, stream: Stream, now_ms: int) -> list[Effect]:
        """The target said ``data`` just now: what follows from a :class:`Tick` and an :class:`Output`, in one step."""
        self._now_ms = now_ms
        if self._outputs is None:
            return self._output(Output(data, stream))
        self._said_last = False
        return self._shown(self._outputs.feed(data, stream, now_ms))

    def _tick(self, event: Tick) -> list[Effect]:
        self._now_ms = event.now_ms
        return []

    def _asked(self, asked: Asked) -> list[Effect]:
        decision = self._decider.decide(asked.operation, self._now_ms)
        if decision.held and self._asks:
            held = {"event": "held", "text": f"held: {self.kept(asked.operation.text)}", "digest": asked.operation.digest()}
            lines = self._beside.remark(held, self._now_ms)
            record = Record(self._beside.channel, self._beside.kind, lines, durable=True)
            return [record, Ask(asked, decision.verdict)]
        if decision.permit is None:
            return self._deny(asked, decision)
        return [Count(operations=1), self._decided(asked.operation, decision), ToTarget(asked, decision.permit)]

    def _answered(self, answered: Answered) -> list[Effect]:
        asked, yes = answered.asked, answered.yes
        decision = self._decider.approved(asked.operation, yes, self._now_ms)
        if decision.permit is None:
            return self._deny(asked, decision)
        use = Use(yes.claims.rid, asked.operation.digest())
        return [use, Count(operations=1), self._decided(asked.operation, decision), ToTarget(asked, decision.permit)]

    def _refused(self, refused: Refused) -> list[Effect]:
        return self._deny(refused, Decision(verdict=Verdict(DENY, message=refused.message), code=refused.code))

    def _deny(self, asked: Asked | Refused, decision: Decision) -> list[Effect]:
        before = self._lull(Lull())
        clean = self._own(self._denier.deny(asked, decision))
        shown = self.kept(asked.operation.text)
        return [
            *before,
            Count(operations=1, denied=1),
            self._decided(asked.operation, decision, clean),
            Report(asked.operation, decision.verdict, None if shown == asked.operation.text else shown),
            ToClient(clean, self._says_on),
        ]

    def _decided(self, operation: Operation, decision: Decision, said: Clean | None = None) -> Record:
        self.decision = decision
        shown, objects = self.kept(operation.text), self._kept_objects(operation)
        told = operation
        if (shown, objects) != (operation.text, operation.objects):
            told = msgspec.structs.replace(operation, text=shown, objects=objects)
        lines = self._transcript.decided(told, decision, self._now_ms, exact=operation)
        if said is not None:
            lines += self._transcript.shown(said, self._says_on, self._now_ms)
        if told is operation or not self._originals:
            return self._durable(lines)
        entry = {"event": "operation", "kind": operation.kind, "text": operation.text, "digest": operation.digest()}
        return self._durable(lines, (line(self._transcript.channel, self._now_ms, entry),))

    def _kept_objects(self, operation: Operation) -> frozenset[str]:
        """Return the objects as they may be kept, where the transcript names them."""
        if self._outputs is None or self._transcript.kind != "jsonl":
            return operation.objects
        return frozenset(map(self.kept, operation.objects))

    def _output(self, output: Output) -> list[Effect]:
        if self._outputs is not None and not output.own:
            self._said_last = False
            return self._shown(self._outputs.feed(output.data, output.stream, self._now_ms), recorded=output.recorded)
        before = self._lull(Lull())
        clean = self._own(output.data)
        if not output.recorded:
            return [*before, ToClient(clean, output.stream)]
        lines = self._transcript.shown(clean, output.stream, self._now_ms)
        kept: tuple[bytes, ...] = ()
        if self._originals and not (clean.data == output.data and self._transcript.holds(output.data)):
            kept = (output_line(self._transcript.channel, self._now_ms, output.stream, output.data),)
        return [*before, *self._record(lines, kept), ToClient(clean, output.stream)]

    def _own(self, data: bytes) -> Clean:
        if self._outputs is not None:
            self._outputs.tell(data)
            self._said_last = True
        return self._masker.mask(data)

    def _resized(self, event: Resized) -> list[Effect]:
        if self._outputs is not None:
            self._outputs.resize(event.columns, event.rows)
        return self._record(self._transcript.resized(event.columns, event.rows, self._now_ms))

    def _lull(self, lull: Lull) -> list[Effect]:
        held = self._held(lull) if self._outputs is not None else []
        due = self._transcript.due_ms
        if due is None or (lull.due_ms is not None and due > lull.due_ms):
            return held
        return [*held, *self._record(self._transcript.rest())]

    def _held(self, lull: Lull) -> list[Effect]:
        assert self._outputs is not None
        if lull.last:
            # Behind words of ours, which say why it ended, the beginning of a sequence would swallow what follows on the screen.
            return self._shown(self._outputs.end(self._now_ms), silent=self._said_last)
        return self._shown(self._outputs.flush() if lull.due_ms is None else self._outputs.tick(lull.due_ms))

    def _shown(self, parts: list[tuple[Clean, Part]], *, recorded: bool = True, silent: bool = False) -> list[Effect]:
        effects: list[Effect] = []
        for clean, part in parts:
            stream: Stream = "err" if part.stream == "err" else "out"
            lines = self._transcript.remark({"text": part.note}, self._now_ms) if part.note else b""
            lines += self._transcript.shown(clean, stream, self._now_ms) if clean.data and recorded else b""
            kept: tuple[bytes, ...] = ()
            if self._originals and (part.raw or not recorded or not self._transcript.holds(part.data)):
                kept = (output_line(self._transcript.channel, self._now_ms, stream, part.raw or part.data),)
            effects += self._record(lines, kept)
            if clean.data and not silent:
                effects.append(ToClient(clean, stream))
        return effects

    def _exited(self, event: Exited) -> list[Effect]:
        effects = self._lull(Lull(last=True))
        masked = self.masked
        lines = b""
        if masked:
            entry = {"event": "masked", "text": f"masked: {_counted(masked)}", "masked": masked}
            lines = self._transcript.remark(entry, self._now_ms)
        return [*effects, *self._record(lines + self._transcript.exited(event.status, self._now_ms))]

    def _record(self, lines: bytes, originals: tuple[bytes, ...] = ()) -> list[Effect]:
        if not lines and not originals:
            return []
        return [Record(self._transcript.channel, self._transcript.kind, lines, originals=originals)]

    def _durable(self, lines: bytes, originals: tuple[bytes, ...] = ()) -> Record:
        return Record(self._transcript.channel, self._transcript.kind, lines, durable=True, originals=originals)


def _counted(masked: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(masked.items()))
