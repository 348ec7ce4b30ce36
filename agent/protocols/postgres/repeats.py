"""Statements that were seen before, asked and answered in one read each: the same happens, with fewer steps. Pure.

Most of what a busy client sends is one of these, whole and alone, while nothing else is under way, inside a block or outside:

    Query                                             one statement of a shape that was read before
    Bind, Describe portal?, Execute, Sync             of a prepared statement
    Parse, Bind, Describe portal?, Execute, Sync      all unnamed, the Parse byte for byte as before

What does not depend on the values is compiled once (``forms``): the reading, the operations, the line of the transcript up to its
digest, the beginning of the answer, the mask of the result. Policy is asked each time, through the same decider, and without a
permit for exactly these bytes nothing is forwarded. Nothing is decided here that ``asking`` would decide otherwise: whatever is
unusual, it is asked instead.

**Unfolding.** A round under way is not in the queue of questions. When anything but its whole answer arrives (another message of
the client, an error, a notice, half of a row), ``unfold`` puts there what the long road would have put, and that goes on from
there. So there is one form of the protocol's state, and this is an abbreviation of it; a property test holds both roads to the
same bytes, lines and counters.

**Twice over.** ``asked`` and ``answered`` are what runs for nearly every statement, so each is one method that reads, writes and
decides nothing that does not depend on the very bytes, and leaves all else to the ones below it, which learn.

**Texts that differ in numbers.** A Query carries its constants in its text. Without any of its digits, a text finds the form of
the last one that looked so, and one regular expression says whether it is the same but for numbers that its shape leaves out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import msgspec

from agent.core.effects import Repeat, Show
from agent.core.masking import Masker
from agent.core.policy import Permit, joined
from agent.core.recording.jsonl import encoded
from agent.core.sql.model import Session
from agent.core.sql.shapes import alike, shape
from agent.protocols.postgres import messages
from agent.protocols.postgres.answers import Answers
from agent.protocols.postgres.classify import Classifier, Reading, Unreadable, keep
from agent.protocols.postgres.codec import Rows, run_of_rows
from agent.protocols.postgres.expected import Expected, Kind, Prepared, Run, Shown, ended
from agent.protocols.postgres.few import READY_SIZE, plain_rows, quiet
from agent.protocols.postgres.forms import FEW, TAILS, Form
from agent.protocols.postgres.judge import Judge
from agent.protocols.postgres.left import Left, left
from agent.protocols.postgres.masks import DIGITS, Masks
from agent.protocols.postgres.messages import Malformed
from agent.protocols.postgres.numbered import Numbered, numbered
from agent.protocols.postgres.session import NAME
from agent.protocols.postgres.shared import Shared
from agent.protocols.postgres.values import arguments

#: Longer reads go the long road: what is compiled is kept, and small statements are what it is for.
LONGEST: Final = 4_096
_KEPT: Final = 128

#: How the server says that it is ready, outside of a block and inside.
_READY: Final = {messages.ready(status): status for status in "IT"}
#: Bytes of a CommandComplete that is looked at here.
_LONGEST_TAG: Final = 100
_RESERVED: Final = NAME.encode()
_QUERY, _PARSE, _BIND, _ROW, _COMPLETE = (ord(kind) for kind in "QPBDC")
_DIGITS: Final = b"0123456789"


class _Alike(msgspec.Struct, frozen=True, gc=False):
    """The Queries that are one but for their numbers."""

    matches: Callable[[str], object]
    """Whether a text is one of them."""
    form: Form
    behind: int
    """Characters of the text behind the statement."""


class Repeats:
    """The short road of one connection."""

    def __init__(
        self,
        shared: Shared,
        answers: Answers,
        judge: Judge,
        classifier: Classifier,
        masks: Masks,
        fresh: Callable[[], bool] = lambda: True,
    ) -> None:
        """``fresh`` says whether what the client sends next begins a message and a segment, and nothing waits in front of it."""
        self.calm = False
        """Since ``fresh`` and :attr:`possible` were asked for last, nothing has happened that could change them."""
        self._fresh = fresh
        self._shared = shared
        self._answers = answers
        self._judge = judge
        self._classifier = classifier
        self._masks = masks
        self._as_clean: Final = Masker().mask
        self._left: Left | None = None
        """The unnamed portal of an open block, while it is not among the portals."""
        self._session: Session | None = None
        self._generation = -1
        self._forms: dict[object, Form | None] = {}
        self._alike: dict[bytes, _Alike] = {}
        self._numbered: dict[bytes, Numbered | None] = {}
        """The same, where they differ in one number; None where they do not."""
        self._tags: dict[bytes, bytes] = {}
        """What the transcript calls a CommandComplete, by the message."""
        self._few: Final = min(answers.keep, FEW)
        self._named: dict[bytes, Form] = {}
        """Forms by the name of the statement that they bind."""
        self._form: Form | None = None
        """What is under way: asked for with ``_data``, by a line of this number, at that time; ``_text`` is its own text."""
        self._data = b""
        self._text: str | Numbered = ""
        self._number = 0
        self._started_ms = 0

    @property
    def under_way(self) -> bool:
        """True where an answer belongs to a round that the queue does not know of."""
        return self._form is not None

    @property
    def possible(self) -> bool:
        """True where nothing is under way that has to be looked at before, or after, a statement is asked for again.

        It stays so until something is read that does not go this road.
        """
        shared, book = self._shared, self._shared.book
        if self._form is not None or shared.status not in "IT" or len(shared.queue) or shared.copy_in is not None:
            return False
        if not (self._answers.idle and book.settled and book.outside and self._judge.begun):
            return False
        if book.altered or book.unread(shared.status):
            return False
        if self._session is not book.now or self._generation != self._classifier.generation:
            self._session, self._generation = book.now, self._classifier.generation
            for forms in (self._forms, self._alike, self._numbered, self._named):
                forms.clear()
        return True

    # -- asking --------------------------------------------------------------------------------------------------------------

    def asked(self, data: bytes, now_ms: int) -> Repeat | None:
        """Return what follows from ``data``, all that the client has sent, where it was asked before; else None.

        Nothing is changed where it is None.
        """
        if not self.calm and not (self._fresh() and self.possible):
            return None
        judge = self._judge
        judge.now_ms = now_ms
        size = len(data)
        self.calm = True
        if not 5 <= size <= LONGEST or self._generation != self._classifier.generation:
            return None
        if data[0] == _QUERY:
            if int.from_bytes(data[1:5]) != size - 1:
                return None
            bare = data[5:].translate(None, _DIGITS)
            known = self._numbered.get(bare)
            if known is not None and data.startswith(known.lead, 5) and data.endswith(known.tail):
                digits = data[known.at : known.behind]
                if digits.isdigit() and len(digits) <= DIGITS:
                    permit = judge.repeat(known.standing, "", data, now_ms)
                    if permit is not None:
                        self.calm = False
                        self._form, self._text, self._data, self._started_ms = known.form, known, data, now_ms
                        self._number = judge.lines = judge.lines + 1
                        t = now_ms - judge.opened_ms
                        return Repeat(judge.channel, judge.kind, known.line(t if t > 0 else 0, digits), permit)
        try:
            found = self._query(data, bare) if data[0] == _QUERY else self._extended(data)
        except (Malformed, Unreadable):
            return None
        self.calm = found is None
        return found

    def _query(self, data: bytes, bare: bytes) -> Repeat | None:
        body = data[5:]
        known = self._alike.get(bare)
        if known is not None:
            text = body[:-1].decode()
            if known.matches(text):
                found = self._worded(known.form, text[: len(text) - known.behind], data)
                if found is not None and bare not in self._numbered and not self._judge.originals:
                    keep(self._numbered, bare, numbered(known.form, text, known.behind), _KEPT)
                return found
        raw = messages.read_query(body)
        if _RESERVED in raw:
            return None
        reading = self._classifier.read(raw, self._shared.book.now)
        if len(reading.statements) != 1:
            return None
        # Readings of one shape share everything but the text, and so this very set, which every other reading has for itself.
        form = self._known(id(reading.kinds), reading, "query")
        if form is None or form.reading.kinds is not reading.kinds:
            return None
        text, own = raw.decode(), reading.statements[0].text
        matches: Callable[[str], object] | None = text.__eq__ if shape(text) is None else alike(text)
        if matches is not None and text.startswith(own):
            keep(self._alike, bare, _Alike(matches, form, len(text) - len(own)), _KEPT)
        return self._worded(form, own, data)

    def _worded(self, form: Form, text: str, data: bytes) -> Repeat | None:
        permit = self._permit(form, text, (), data)
        return None if permit is None else self._ask(form, text, (), form.worded(self._judge.since(), text), data, permit)

    def _extended(self, data: bytes) -> Repeat | None:
        at = 1 + int.from_bytes(data[1:5]) if data[0] == _PARSE else 0
        if at:
            form, prepared = self._forms.get(data[:at]), None
        else:
            form = self._named.get(data[6 : data.find(0, 6)])
            prepared = form.prepared if form is not None else None
            if form is not None and self._shared.statements.confirmed(form.name) is not prepared:
                form = None
        values = form.values(data, at, prepared) if form is not None else None
        judge = self._judge
        if form is not None and values is not None and form.standing is not None and not judge.originals:
            permit = judge.repeat(form.standing, form.meaning.text, data, judge.now_ms)
            if permit is not None:
                self._form, self._text, self._data, self._started_ms = form, form.meaning.text, data, judge.now_ms
                self._number = judge.lines = judge.lines + form.asks
                t = judge.now_ms - judge.opened_ms
                return Repeat(judge.channel, judge.kind, form.valued(t if t > 0 else 0, values), permit)
        if form is None or values is None:
            found = self._read(data, at)
            if found is None:
                return None
            form, values = found
        text = form.meaning.text
        permit = self._permit(form, text, values, data)
        return None if permit is None else self._ask(form, text, values, form.valued(self._judge.since(), values), data, permit)

    def _read(self, data: bytes, at: int) -> tuple[Form, tuple[str, ...]] | None:
        """Read the Bind at ``at``, and remember its looks. Returns what it runs, with which values."""
        end = at + 1 + int.from_bytes(data[at + 1 : at + 5])
        tail = data[end:]
        described = TAILS.get(tail)
        if described is None or end < at + 5 or data[at] != _BIND:
            return None
        body = data[at + 5 : end]
        bind = messages.read_bind(body)
        if bind.portal or (at and bind.statement):
            return None
        prepared = _parsed(data[:at]) if at else self._shared.statements.get(bind.statement)
        if prepared is None or not (described or prepared.described):
            return None
        key: object = data[:at] if at else prepared
        form = self._forms.get(key)
        if form is None:
            reading = self._classifier.read(prepared.raw, self._shared.book.now)
            form = self._known(key, reading, "execute", prepares=bool(at))
            if form is None:
                return None
        if not at:
            keep(self._named, bind.statement.encode(), form, _KEPT)
        form.bound(body, bind, prepared, tail)
        return form, arguments(bind, prepared.types)

    def _known(self, key: object, reading: Reading, kind: str, *, prepares: bool = False) -> Form | None:
        """Return the form under ``key``. It is compiled when something is asked for the second time: most texts never are."""
        if key not in self._forms:
            keep(self._forms, key, None, _KEPT)
            return None
        form = self._forms[key]
        if form is None and self._plain(reading):
            form = self._forms[key] = Form(reading, kind, prepares=prepares)
        return form

    def _plain(self, reading: Reading) -> bool:
        """True for one statement that is understood, moves no data by COPY and leaves nothing behind."""
        # What ends or unwinds a block takes back what was learned inside it, and there is nothing of that on this road.
        if len(reading.statements) != 1 or reading.session != self._shared.book.now or "discard" in reading.kinds:
            return False
        (one,) = reading.statements
        return not one.copy and not one.flags & {"unknown_relation", "unknown_column", "unknown_function"}

    def _permit(self, form: Form, text: str, values: tuple[str, ...], data: bytes) -> Permit | None:
        """Decide what is asked. What others would have to agree to has no permit here.

        The long road asks once more for the Execute: of the same policy, at the same time, with the same answer.
        """
        judge = self._judge
        permit = judge.repeat(form.standing, text, data, judge.now_ms) if form.standing is not None else None
        return permit if permit is not None else self._decide(form, text, values, data)

    def _decide(self, form: Form, text: str, values: tuple[str, ...], data: bytes) -> Permit | None:
        """Ask for each operation: for the first time, or because policy has changed, or would not be the same twice."""
        judge = self._judge
        operations = form.like(text, values)
        decisions = [judge.again(operation) for operation in operations]
        permits = [(each.permit, one) for each, one in zip(decisions, operations, strict=True) if each.permit is not None]
        if len(permits) < len(operations):
            return None
        form.decided(decisions, self._masks)
        self._numbered.clear()
        form.standing = judge.standing(operations)
        return joined(permits, data)

    def _ask(self, form: Form, text: str, values: tuple[str, ...], lines: bytes, data: bytes, permit: Permit) -> Repeat:
        judge = self._judge
        self._form, self._text, self._data = form, text, data
        self._started_ms = judge.now_ms
        if not judge.originals:
            self._number = judge.wrote(len(form.operations))
            return Repeat(judge.channel, judge.kind, lines, permit)
        for operation in form.like(text, values):
            self._number = judge.wrote(1)
            judge.keep_operation(operation, self._masks.recorded(text, operation.arguments, form.meaning))
        return Repeat(judge.channel, judge.kind, lines, permit, judge.left_out())

    # -- answering -----------------------------------------------------------------------------------------------------------

    def answered(self, data: bytes, now_ms: int) -> Show | None:
        """Return what follows from the server's ``data``; None where it is not the whole answer, and the round was unfolded."""
        form, judge = self._form, self._judge
        if form is None:
            return None
        judge.now_ms = now_ms
        # One that begins as the last one did, and whose few rows are shown as they come.
        status = _READY.get(data[-READY_SIZE:])
        if status is not None and form.swift is not None and data.startswith(form.swift) and not judge.originals:
            at = len(form.swift)
            try:
                rows = plain_rows(data, at, form.width, self._few)
            except (struct.error, UnicodeDecodeError):
                rows = None
            tag = self._tags.get(data[rows[0] : -READY_SIZE]) if rows is not None else None
            if rows is not None and form.looks and not quiet(form, rows[1]):
                tag = None
            if rows is not None and tag is not None and rows[0] - at <= form.room:
                t, ms = now_ms - judge.opened_ms, now_ms - self._started_ms
                shown = Shown(data[at : rows[0]], 0, form.columns, rows[1]) if rows[1] else None
                lines = ended(t if t > 0 else 0, self._number, tag, ms if ms > 0 else 0, shown)
                self._form, self._shared.book.now_ms, self.calm = None, now_ms, True
                if form.prepared is not None or status != self._shared.status:
                    self._ready(form, status)
                return Show(judge.channel, judge.kind, lines, self._as_clean(data))
        try:
            show = self._answered(form, data, now_ms, status) if status is not None else None
        except Malformed:
            show = None
        if show is None:
            self.unfold()
        self.calm = show is not None
        return show

    def _answered(self, form: Form, data: bytes, now_ms: int, status: str) -> Show | None:
        at = form.begins(data, self._answers)
        if at < 0:
            return None
        end, starts = run_of_rows(data, at) if data[at] == _ROW else (at, ())
        last = len(data) - READY_SIZE
        if not end + 5 < last <= end + _LONGEST_TAG or data[end] != _COMPLETE:
            return None
        if end + 1 + int.from_bytes(data[end + 1 : end + 5]) != last or (starts and form.mask is None):
            return None
        tag = messages.read_tag(data[end + 5 : last])
        rows = data[at:end]
        plain = not self._judge.originals
        shown = form.shown(rows, starts, self._answers.keep) if starts and plain else None
        if tag and (shown is not None or not starts):
            keep(self._tags, data[end:last], encoded(tag), _KEPT)
            masked = shown.data if shown is not None else b""
            lines = ended(self._judge.since(), self._number, encoded(tag), max(0, now_ms - self._started_ms), shown)
        else:
            run = Run(form.meaning, self._number, self._started_ms)
            run.tag = tag
            masked = self._answers.masked(Rows(rows, starts), run, form.mask, form.fields, None) if form.mask is not None else b""
            lines = self._judge.line(self._answers.over(run, "ok", now_ms))
        self._form, self._shared.book.now_ms = None, now_ms
        self._ready(form, status)
        clean = self._as_clean(data if masked == rows else data[:at] + masked + data[end:])
        return Show(self._judge.channel, self._judge.kind, lines, clean, self._judge.left_out())

    def _ready(self, form: Form, status: str) -> None:
        """The server is ready: what the long road leaves behind is left behind here.

        The unnamed statement may be another one now, and inside a block the unnamed portal is. Where a block has ended, nothing
        was learned inside it: this road is taken only then.
        """
        shared, prepared = self._shared, form.prepared
        if form.prepares:
            prepared = form.unnamed()
            shared.statements.confirm("", prepared)
        if prepared is not None and status == "T":
            self._left = left(form, prepared, self._data, self._number)
        if status != shared.status:
            shared.status = status
            shared.book.ended(status)
            if status == "I":
                # Portals live as long as their transaction (§55.2.3).
                self._left = None
                shared.portals.clear()

    def unfold(self) -> None:
        """Expect the answers one by one."""
        if self._left is not None:
            # Something may ask for it now.
            self._shared.portals.confirm("", self._left.portal())
            self._left = None
        form, self._form = self._form, None
        if form is None:
            return
        queue, shared, data = self._shared.queue, self._shared, self._data
        text = self._text if isinstance(self._text, str) else self._text.text(data)
        meaning = form.meaning if form.meaning.text == text else msgspec.structs.replace(form.meaning, text=text)
        run = Run(meaning, self._number, self._started_ms)
        if form.prepared is None:
            expected = queue.push(Expected(Kind.QUERY))
            expected.runs, expected.segment = [run], (shared.statements.end_segment(), shared.portals.end_segment())
            return
        at, prepared = 0, form.prepared
        if form.prepares:
            at, prepared = 1 + int.from_bytes(data[1:5]), form.unnamed()
            expected = queue.push(Expected(Kind.PARSE))
            expected.prepared, expected.name, expected.about = prepared, ("S", ""), meaning
            shared.statements.change("", prepared)
        bind = messages.read_bind(data[at + 5 : at + 1 + int.from_bytes(data[at + 1 : at + 5])])
        portal = form.portal(prepared, arguments(bind, prepared.types), self._number)
        expected = queue.push(Expected(Kind.BIND))
        expected.portal, expected.name, expected.about = portal, ("P", ""), meaning
        shared.portals.change("", portal)
        if form.described:
            portal.asked = True
            queue.push(Expected(Kind.DESCRIBE_PORTAL)).portal = portal
        expected = queue.push(Expected(Kind.EXECUTE))
        expected.portal, expected.runs = portal, [run]
        portal.started = True
        queue.push(Expected(Kind.SYNC)).segment = (shared.statements.end_segment(), shared.portals.end_segment())


def _parsed(raw: bytes) -> Prepared | None:
    parse = messages.read_parse(raw[5:])
    return None if parse.name or _RESERVED in parse.text else Prepared(parse.text, parse.types)
