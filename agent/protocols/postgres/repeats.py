"""Statements that were seen before, asked and answered in one read each: the same happens, with fewer steps. Pure.

Most of what a busy client sends is one of these, whole and alone, while nothing else is under way:

    Query                                             one statement of a shape that was read before
    Bind, Describe portal?, Execute, Sync             of a prepared statement
    Parse, Bind, Describe portal?, Execute, Sync      all unnamed, the Parse byte for byte as before

What does not depend on the values is compiled once (``_Form``): the reading, the operation, the line of the transcript up to its
digest, the mask of the result. Policy is asked each time, through the same decider, and without a permit nothing is forwarded.
Nothing is decided here that ``engine`` would decide otherwise: whatever is unusual, it is asked instead.

**Unfolding.** A round under way is not in the queue of questions. When anything but its whole answer arrives (another message of
the client, an error, a notice, half of a row), ``unfold`` puts there what the long road would have put, and that goes on from
there. So there is one form of the protocol's state, and this is an abbreviation of it; a property test holds both roads to the
same bytes, lines and counters.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent.core.effects import Count, Effect, ToClient, ToTarget
from agent.core.masking import Masker
from agent.core.policy import Decision
from agent.core.recording.jsonl import Form
from agent.core.sql.model import Session
from agent.core.units import Asked
from agent.protocols.postgres import messages
from agent.protocols.postgres.answers import Answers, Shared
from agent.protocols.postgres.classify import Classifier, Meaning, Reading, Unreadable, keep
from agent.protocols.postgres.codec import Rows, run_of_rows
from agent.protocols.postgres.expected import Expected, Kind, Portal, Prepared, Run
from agent.protocols.postgres.judge import Judge
from agent.protocols.postgres.masks import Masks, ResultMask
from agent.protocols.postgres.messages import Bind, Field, Malformed
from agent.protocols.postgres.session import NAME, UNWINDING
from agent.protocols.postgres.values import arguments
from chalicelib.contracts.operation import Operation

#: Longer reads go the long road: what is compiled is kept, and small statements are what it is for.
LONGEST: Final = 4_096
_KEPT: Final = 128

_EXECUTE_SYNC: Final = messages.message("E", bytes(5)) + messages.message("S")
#: What may follow a Bind, and whether it asks for the columns.
_TAILS: Final = {messages.describe("P", "") + _EXECUTE_SYNC: True, _EXECUTE_SYNC: False}
_PARSED: Final = messages.message("1")
_BOUND: Final = messages.message("2")
_NO_DATA: Final = messages.message("n")
_IDLE: Final = messages.ready("I")
#: Bytes of a CommandComplete that is looked at here.
_LONGEST_TAG: Final = 100
_RESERVED: Final = NAME.encode()
_QUERY, _PARSE, _BIND, _COLUMNS, _ROW, _COMPLETE = (ord(kind) for kind in "QPBTDC")


class _Form:
    """What does not depend on values, of one statement asked for in one way."""

    __slots__ = ("body", "decision", "fields", "line", "mask", "meaning", "operation", "preparing", "reading", "shown")

    def __init__(self, reading: Reading, kind: str) -> None:
        self.reading = reading
        (self.meaning,) = reading.statements
        (self.operation,) = self.meaning.operations(kind)
        self.preparing: Operation | None = None
        self.line: Form | None = None
        self.decision: Decision | None = None
        self.shown = ""
        self.fields: tuple[Field, ...] = ()
        self.body: object = None
        """The RowDescription, or the columns and formats, that ``mask`` was made for."""
        self.mask: ResultMask | None = None


class _Round(msgspec.Struct, gc=False):
    """One statement under way."""

    form: _Form
    meaning: Meaning
    reading: Reading
    operation: Operation
    number: int
    started_ms: int
    bind: Bind | None = None
    """None for a Query."""
    prepared: Prepared | None = None
    parsed: bool = False
    described: bool = False


class Repeats:
    """The short road of one connection."""

    def __init__(self, shared: Shared, answers: Answers, judge: Judge, classifier: Classifier, masks: Masks) -> None:
        self._shared = shared
        self._answers = answers
        self._judge = judge
        self._classifier = classifier
        self._masks = masks
        self._as_clean: Final = Masker().mask
        self._session: Session | None = None
        self._generation = -1
        self._forms: dict[object, _Form | None] = {}
        self._round: _Round | None = None

    @property
    def under_way(self) -> bool:
        """True where an answer belongs to a round that the queue does not know of."""
        return self._round is not None

    # -- asking --------------------------------------------------------------------------------------------------------------

    def asked(self, data: bytes) -> list[Effect] | None:
        """Return what follows from ``data``, which is all that the client has sent; None where the long road has to say.

        The caller knows that no segment is begun and nothing of the client waits. Nothing is changed where it is None.
        """
        shared, book = self._shared, self._shared.book
        if self._round is not None or shared.status != "I" or len(data) > LONGEST or len(shared.queue) or not book.settled:
            return None
        if not self._answers.idle or shared.copy_in is not None:
            return None
        if self._session is not book.now or self._generation != self._classifier.generation:
            self._session, self._generation = book.now, self._classifier.generation
            self._forms.clear()
        try:
            return self._query(data) if data[0] == _QUERY else self._extended(data)
        except (Malformed, Unreadable):
            return None

    def _query(self, data: bytes) -> list[Effect] | None:
        if int.from_bytes(data[1:5]) != len(data) - 1:
            return None
        text = messages.read_query(data[5:])
        if _RESERVED in text:
            return None
        reading = self._classifier.read(text, self._shared.book.now)
        if len(reading.statements) != 1:
            return None
        (meaning,) = reading.statements
        # Readings of one shape share everything but the text, and so this very set, which every other reading has for itself.
        form = self._known(id(reading.kinds), reading, "query")
        if form is None or form.reading.kinds is not reading.kinds:
            return None
        operation = form.operation
        if meaning is not form.meaning:
            operation = msgspec.structs.replace(operation, text=meaning.text)
        return self._ask(_Round(form, meaning, reading, operation, 0, self._judge.now_ms), b"", data)

    def _extended(self, data: bytes) -> list[Effect] | None:
        at = 1 + int.from_bytes(data[1:5]) if data[0] == _PARSE else 0
        end = at + 1 + int.from_bytes(data[at + 1 : at + 5])
        described = _TAILS.get(data[end:])
        if described is None or end < at + 5 or data[at] != _BIND:
            return None
        bind = messages.read_bind(data[at + 5 : end])
        if bind.portal or (at and bind.statement):
            return None
        prepared = self._parsed(data[:at]) if at else self._shared.statements.get(bind.statement)
        if prepared is None or not (described or prepared.described):
            return None
        key: object = data[:at] if at else prepared
        form = self._forms.get(key)
        if form is None:
            form = self._known(key, self._classifier.read(prepared.raw, self._shared.book.now), "execute")
            if form is None:
                return None
            if at:
                (form.preparing,) = form.meaning.operations("prepare")
        values = arguments(bind, prepared.types)
        operation = msgspec.structs.replace(form.operation, arguments=values) if values else form.operation
        found = _Round(form, form.meaning, form.reading, operation, 0, self._judge.now_ms, bind, prepared, bool(at), described)
        return self._ask(found, data[:at], data[at:])

    def _parsed(self, raw: bytes) -> Prepared | None:
        parse = messages.read_parse(raw[5:])
        return None if parse.name or _RESERVED in parse.text else Prepared(parse.text, parse.types)

    def _known(self, key: object, reading: Reading, kind: str) -> _Form | None:
        """Return the form under ``key``. It is compiled when something is asked for the second time: most texts never are."""
        if key not in self._forms:
            keep(self._forms, key, None, _KEPT)
            return None
        form = self._forms[key]
        if form is None and self._plain(reading):
            form = self._forms[key] = _Form(reading, kind)
        return form

    def _plain(self, reading: Reading) -> bool:
        """True for one statement that is understood, moves no data by COPY and leaves nothing behind."""
        if len(reading.statements) != 1 or reading.session != self._shared.book.now or reading.kinds & {*UNWINDING, "discard"}:
            return False
        (one,) = reading.statements
        return not one.copy and not one.flags & {"unknown_relation", "unknown_column", "unknown_function"}

    def _ask(self, found: _Round, parse: bytes, rest: bytes) -> list[Effect] | None:
        """Decide and record what is asked. The caller's bytes travel with the permits."""
        judge, form = self._judge, found.form
        before: list[Effect] = []
        lines = b""
        # The long road asks again for the Execute: of the same policy, at the same time, with the same answer. What others would
        # have to agree to has no permit here.
        decision = judge.again(found.operation)
        if decision.permit is None or not judge.repeats:
            return None
        if form.preparing is not None:
            preparing = judge.again(form.preparing)
            if preparing.permit is None:
                return None
            text, _ = self._masks.recorded(form.meaning.text, (), form.meaning)
            lines = judge.decided(form.preparing, preparing, (text, ()))
            before = [ToTarget(Asked(form.preparing, parse), preparing.permit)]
        kept, values = self._masks.recorded(found.meaning.text, found.operation.arguments, found.meaning)
        line = form.line
        known = form.decision
        if line is None or known is None or known.verdict is not decision.verdict or known.version != decision.version:
            line, form.decision = Form(found.operation, decision), decision
            form.line = line
        lines += judge.repeated(line, found.operation, (kept, values))
        found.number = judge.number
        self._round = found
        record = judge.durable(lines)
        return [record, *before, Count(operations=1), ToTarget(Asked(found.operation, rest), decision.permit)]

    # -- answering -----------------------------------------------------------------------------------------------------------

    def answered(self, data: bytes, now_ms: int) -> list[Effect] | None:
        """Return what follows from the server's ``data``; None where it is not the whole answer, and the round was unfolded."""
        found = self._round
        assert found is not None
        try:
            effects = self._answered(found, data, now_ms)
        except Malformed:
            effects = None
        if effects is None:
            self.unfold()
        return effects

    def _answered(self, found: _Round, data: bytes, now_ms: int) -> list[Effect] | None:
        begins = b"" if found.bind is None else _PARSED + _BOUND if found.parsed else _BOUND
        if not data.endswith(_IDLE) or not data.startswith(begins):
            return None
        at, run, mask = len(begins), Run(found.meaning, found.number, found.started_ms), None
        if data[at] == _COLUMNS and (found.bind is None or found.described):
            end = at + 1 + int.from_bytes(data[at + 1 : at + 5])
            mask = self._mask(found, data[at + 5 : end], run)
            at = end
        elif found.described:
            if not data.startswith(_NO_DATA, at):
                return None
            at += len(_NO_DATA)
        end, starts = run_of_rows(data, at)
        last = len(data) - len(_IDLE)
        if not end + 5 < last <= end + _LONGEST_TAG or data[end] != _COMPLETE:
            return None
        if end + 1 + int.from_bytes(data[end + 1 : end + 5]) != last:
            return None
        tag = messages.read_tag(data[end + 5 : last])
        shown = data
        if starts:
            if mask is None and found.bind is not None and not found.described:
                mask = self._mask(found, None, run)
            if mask is None:
                return None
            rows = data[at:end]
            masked = self._answers.masked(Rows(rows, starts), run, mask, found.form.fields, None)
            if masked is not rows:
                shown = data[:at] + masked + data[end:]
        run.tag = tag
        self._over(found, now_ms)
        return [self._judge.remark(self._answers.over(run, "ok", now_ms)), ToClient(self._as_clean(shown))]

    def _mask(self, found: _Round, body: bytes | None, run: Run) -> ResultMask:
        """Return the mask of the result that ``body`` describes, or of the columns that are known already."""
        form = found.form
        key: Any = body
        if body is None:
            assert found.bind is not None
            assert found.prepared is not None
            key = (found.bind.result_formats, found.prepared.fields)
        if form.mask is None or form.body != key:
            form.fields = self._answers.described(body) if body is not None else _columns(found)
            if found.bind is None:
                form.mask = self._answers.result(key, run)
            else:
                form.mask = self._answers.portal(form.fields, run)
            form.body = key
        return form.mask

    def _over(self, found: _Round, now_ms: int) -> None:
        """The server is ready, in no block: what the long road leaves behind is left behind here."""
        self._round = None
        shared = self._shared
        shared.book.now_ms = now_ms
        if found.parsed:
            shared.statements.confirm("", found.prepared)
        shared.book.ended("I")
        shared.portals.clear()

    def unfold(self) -> None:
        """Expect the answers one by one."""
        found, self._round = self._round, None
        if found is None:
            return
        queue, shared = self._shared.queue, self._shared
        run = Run(found.meaning, found.number, found.started_ms)
        if found.bind is None:
            expected = queue.push(Expected(Kind.QUERY))
            expected.runs, expected.segment = [run], (shared.statements.end_segment(), shared.portals.end_segment())
            return
        assert found.prepared is not None
        if found.parsed:
            expected = queue.push(Expected(Kind.PARSE))
            expected.prepared, expected.name, expected.about = found.prepared, ("S", ""), found.meaning
            shared.statements.change("", found.prepared)
        portal = _portal(found)
        expected = queue.push(Expected(Kind.BIND))
        expected.portal, expected.name, expected.about = portal, ("P", ""), found.meaning
        shared.portals.change("", portal)
        if found.described:
            portal.asked = True
            queue.push(Expected(Kind.DESCRIBE_PORTAL)).portal = portal
        expected = queue.push(Expected(Kind.EXECUTE))
        expected.portal, expected.runs = portal, [run]
        portal.started = True
        queue.push(Expected(Kind.SYNC)).segment = (shared.statements.end_segment(), shared.portals.end_segment())


def _portal(found: _Round) -> Portal:
    assert found.prepared is not None
    assert found.bind is not None
    portal = Portal(found.prepared, found.reading, [found.operation], found.number)
    portal.formats, portal.yes = found.bind.result_formats, [None]
    return portal


def _columns(found: _Round) -> Any:
    return _portal(found).columns()
