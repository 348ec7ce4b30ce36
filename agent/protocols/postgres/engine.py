"""What a client's messages mean, and what follows: nothing reaches the server that was not decided and recorded. Pure.

    state       Query            Parse  Bind  Execute    Sync        Describe Close Flush   CopyData Done Fail   anything else
    ready       decide           decide decide decide again  pass    pass                   drop                 fault
    skipping    drop             drop   drop  drop       → ready     drop                   drop                 fault
    copy sent   wait             wait   wait  wait       pass        wait, wait, pass       pass                 fault
    copying     fault            fault  fault fault      drop        fault, fault, drop     pass                 fault
    waiting     (the client is not read until the server has answered)

**A denial is a failure that really happens**, of the server itself (``refusals``).

**Skipping.** After a denial in the extended protocol, the server skips up to the next Sync, and so do we: what would be skipped
is neither decided nor forwarded. When the *server* fails first, messages under way are decided and recorded as asked for, and
their line in the transcript says ``skipped``.

**Names.** What a name means is decided when it is sent, and sometimes only the server can tell (``names``); the client waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from agent.core.effects import Effect, Housekeep, ToClient
from agent.core.masking import Masker
from agent.core.policy import Decision, Yes
from agent.core.sql.model import Session
from agent.core.units import Side
from agent.protocols.postgres import describing, messages
from agent.protocols.postgres.answers import Answers
from agent.protocols.postgres.blocks import in_block
from agent.protocols.postgres.classify import Classifier, Reading, Unreadable
from agent.protocols.postgres.codec import CLIENT_LIMITS, SERVER_LIMITS, Framer, Message, Rows
from agent.protocols.postgres.copy_in import CopyIn
from agent.protocols.postgres.denial import INSUFFICIENT_PRIVILEGE
from agent.protocols.postgres.expected import OUTSTANDING_LIMIT, Expected, Kind, Portal, Prepared, Run
from agent.protocols.postgres.judge import Held, Judge, forward, recorded_first
from agent.protocols.postgres.kept import ROWS
from agent.protocols.postgres.login import label
from agent.protocols.postgres.masks import Masks, asked, copies, kept
from agent.protocols.postgres.messages import Malformed
from agent.protocols.postgres.missing import Missing
from agent.protocols.postgres.names import Wait
from agent.protocols.postgres.questions import close, describe, described
from agent.protocols.postgres.refusals import Refusals
from agent.protocols.postgres.repeats import Repeats
from agent.protocols.postgres.session import NAME
from agent.protocols.postgres.shared import Shared
from agent.protocols.postgres.snapshot import Known
from agent.protocols.postgres.values import arguments
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation

_BINARY: Final = "This form of COPY cannot be masked, so it is not shown. Use the text or the CSV format, or copy a table."
_ALONE: Final = "The columns of a COPY in binary have to be asked for first, so send it alone."
_RESERVED: Final = NAME.encode()
_TAKEN: Final = f"The name {NAME} is the gateway's own."
_COPIES: Final = "Only one COPY FROM STDIN at a time can be followed. Send them one by one."
_UNKNOWN_NAME: Final = "There is no prepared statement or portal of that name that the gateway knows."

#: Bytes that take some 10 ms to read, where they are constants of one statement.
LONG_TEXT: Final = 16 * 1024

#: Flags of ``agent.core.sql`` for what a newer catalogue may know.
_MISSING: Final = frozenset({"unknown_relation", "unknown_column", "unknown_function"})


class Engine:
    """One connection between a client that is logged in and a server that is ready."""

    _reader: type[Answers] = Answers
    """What reads the server's answers."""
    _asks = True
    """The gateway may ask the server questions of its own."""

    def __init__(self, judge: Judge, classifier: Classifier, masks: Masks, sid: str, known: Known, rows: int = ROWS) -> None:
        """``rows`` is how many of each result the transcript keeps."""
        self._judge = judge
        self._classifier = classifier
        self._masks = masks
        self._shared = Shared(known, label(sid), asks=self._asks)
        self._answers = self._reader(self._shared, masks, rows, keep=judge.keep if judge.originals else None)
        self.repeats: Final = Repeats(self._shared, self._answers, judge, classifier, masks, self._fresh)
        """What was asked before; what it does not take goes to :meth:`receive`."""
        self._copy = CopyIn(self._shared)
        self._refusals = Refusals(self._shared, judge, masks, sid, lambda: self._segment_empty)
        self._client = Framer(CLIENT_LIMITS, whose="client")
        self._server = Framer(SERVER_LIMITS, whose="target", rows=True)
        self._inbox: deque[Message] = deque()
        self._segment_empty = True
        self._segment_begins = True
        self._wanted = False
        self.missing: Final = Missing()
        self._long_prepared = False
        """A long text was prepared, which every Bind and Execute reads again."""
        self._as_clean: Final = Masker().mask
        self.held: Operation | None = None
        """Others have to agree to it before anything else of the client is read; see :meth:`answered`."""
        self.over = False
        """The client has said goodbye."""
        self._rules: dict[str, Callable[[Message], list[Effect]]] = {
            "Q": self._query,
            "P": self._parse,
            "B": self._bind,
            "D": self._describe,
            "E": self._execute,
            "C": self._close,
            "S": self._sync,
            "H": self._flush,
            "X": self._terminate,
            "F": self._refusals.call,
            "d": self._copy.data,
            "c": self._copy.end,
            "f": self._copy.end,
        }

    @property
    def waiting(self) -> bool:
        """True while the client must not be read: what it sent last depends on the server's next answer."""
        return bool(self._inbox)

    def long(self, data: bytes = b"") -> bool:
        """Return whether ``data`` of the client's, or what had to wait, may take long to read. Then it is best read apart."""
        if self._shared.copying:
            return False
        waiting = len(self._inbox[0].raw) if self._inbox else 0
        return self._long_prepared or max(waiting, self._client.completes(data)) > LONG_TEXT

    @property
    def stale(self) -> bool:
        """True when the catalogue should be read again, and no transaction is open that would hide what changed."""
        return self.missing.wanted or self._shared.book.unread(self._shared.status)

    def altered(self) -> bool:
        """True once after statements that other sessions should know of, where they can see what became of them."""
        book = self._shared.book
        if self._shared.status != "I" or not book.altered:
            return False
        book.altered = False
        return True

    def mark(self) -> Session:
        """Return what tells :meth:`adopt` whether anything has changed since."""
        return self._shared.book.now

    def adopt(self, mark: Session, *, fresh: bool) -> None:
        """The catalogue was read again after ``mark``, or could not be. What is known has changed either way."""
        self.repeats.calm = False
        self._classifier.adopt(self._shared.book.known.current.catalogue)
        self._shared.book.catalogue_read(mark, fresh=fresh)
        self.missing.wanted = False

    def answered(self, answer: Yes | Decision, now_ms: int) -> list[Effect]:
        """Others have answered about what is :attr:`held`. Returns what follows."""
        assert self.held is not None, "nobody was asked"
        self._judge.now_ms = now_ms
        self._judge.answers[self.held.digest()] = answer
        self.held = None
        return self.proceed()

    def waits(self) -> Effect:
        """Record that others are asked about what is :attr:`held`."""
        assert self.held is not None, "nobody is asked"
        return self._judge.remark({"event": "held", "kind": self.held.kind, "digest": self.held.digest()}, durable=True)

    def broken_off(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the lines about what is under way as the connection ends, where it is more than statements."""
        return []

    def receive(self, side: Side, data: bytes, now_ms: int) -> list[Effect]:
        """Return what follows from ``data``, in order. Raises Fault(protocol_error | target_protocol | target_unmaskable).

        After the server's data, :meth:`proceed` has to be called where the client was :attr:`waiting`.
        """
        self.repeats.calm = False
        self._judge.now_ms = now_ms
        if side is Side.TARGET:
            # What was not offered there, because it is large, may answer a repeated statement too.
            self.repeats.unfold()
            return self._receive_target(self._server.feed(data))
        self._inbox.extend([found for found in self._client.feed(data) if isinstance(found, Message)])
        return self.proceed()

    def proceed(self) -> list[Effect]:
        """Return what follows from messages of the client that had to wait. All that reaches the server comes from here."""
        self.repeats.calm = False
        self.repeats.unfold()
        return recorded_first(self._proceed())

    def _fresh(self) -> bool:
        """Return True where what the client sends next begins a message and a segment, and nothing waits in front of it."""
        waits = self._inbox or self._refusals.skipping or self._wanted or self.over or self.held
        return self._segment_empty and not (waits or self._client.partial or self._server.partial)

    def _receive_target(self, found: list[Message | Rows]) -> list[Effect]:
        shown = self._answers.receive(found, self._judge.now_ms)
        effects: list[Effect] = [self._judge.remark(entry) for entry in self._answers.take_done()]
        if shown:
            effects.append(ToClient(self._as_clean(shown)))
        return effects

    def _proceed(self) -> list[Effect]:
        effects: list[Effect] = []
        shared = self._shared
        book = shared.book
        if book.going_back:
            effects.append(Housekeep(Side.TARGET, book.go_back(shared.queue)))
        if book.learned:
            book.learned = False
            self._classifier.adopt(book.known.current.catalogue)
        if self._inbox and book.unlabelled and not book.asking and self._quiet() and shared.status == "I":
            effects.append(Housekeep(Side.TARGET, book.label(shared.queue)))
        if self._inbox and not book.asking and self._quiet() and (self._wanted or book.path_unsure()):
            effects.append(Housekeep(Side.TARGET, book.ask(shared.queue, shared.status, names=self._wanted)))
            self._wanted = False
        while self._inbox and self.held is None and len(self._shared.queue) < OUTSTANDING_LIMIT:
            begins = self._segment_begins = self._segment_empty
            try:
                effects += self._one(self._inbox[0])
            except Wait:
                self._segment_empty = begins
                if self._wanted and self._quiet() and not book.asking:
                    effects.append(Housekeep(Side.TARGET, book.ask(shared.queue, shared.status, names=True)))
                    self._wanted = False
                break
            except Held as held:
                self._segment_empty, self.held = begins, held.operation
                break
            except Malformed:
                raise Fault("protocol_error", "The client sent a message that cannot be read.") from None
            self._inbox.popleft()
            self._judge.answers.clear()
        return effects

    def _quiet(self) -> bool:
        """True where the gateway can ask something of its own: nothing is under way, and the server would listen."""
        return self._segment_empty and not len(self._shared.queue) and self._shared.status in "IT"

    def _one(self, found: Message) -> list[Effect]:
        rule = self._rules.get(found.kind)
        if rule is None or self.over:
            raise Fault("protocol_error", "The client sent a message that has no place here.", detail=found.kind)
        if self._shared.book.asking and found.kind != "X":
            raise Wait
        if self._refusals.skipping and found.kind not in "SX":
            return []
        if self._shared.copy_in is not None and found.kind not in "SHXdcf":
            if self._shared.copying:
                raise Fault("protocol_error", "The client sent something else in the middle of a COPY.", detail=found.kind)
            raise Wait
        return rule(found)

    # -- deciding ------------------------------------------------------------------------------------------------------------

    def _read(self, text: bytes) -> Reading:
        if _RESERVED in text:
            raise Unreadable("not_supported", "42939", _TAKEN)
        book, shared = self._shared.book, self._shared
        can_ask = self._segment_begins and (len(shared.queue) > 0 or shared.status in "IT")
        if can_ask and book.path_lost():
            raise Wait
        reading = self._classifier.read(text, book.reading)
        if not any(each.flags & _MISSING for each in reading.statements):
            self.missing.known()
            return reading
        # It may well exist by now. Whoever drives this engine has the catalogue read again, or the server itself is asked.
        if self.stale or (can_ask and book.askable()):
            self._wanted = not self.stale
            raise Wait
        # In a block, or behind what is under way, another reading might wait for what is locked there.
        if self._segment_begins and not len(shared.queue) and shared.status == "I" and self.missing.miss():
            raise Wait
        return reading

    def _end_segment(self) -> tuple[frozenset[str], frozenset[str]]:
        self._segment_empty = True
        shared = self._shared
        return shared.statements.end_segment(), shared.portals.end_segment()

    # -- the simple protocol -------------------------------------------------------------------------------------------------

    def _query(self, found: Message) -> list[Effect]:
        text = messages.read_query(found.body)
        try:
            reading = self._read(text)
            if sum(meaning.copy == "in" for meaning in reading.statements) > 1:
                raise Unreadable("not_supported", "0A000", _COPIES)
            if not copies(self._masks, reading):
                raise Unreadable("not_supported", INSUFFICIENT_PRIVILEGE, _BINARY)
            asks = asked(self._masks, reading)
            if asks and not (len(reading.statements) == 1 and self._segment_empty):
                raise Unreadable("not_supported", INSUFFICIENT_PRIVILEGE, _ALONE)
        except Unreadable as why:
            return self._refusals.unread(text, why, Kind.QUERY, "query")
        operations = [one for meaning in reading.statements for one in meaning.operations("query")]
        if not operations:
            self._asking(Kind.QUERY, reading)
            return [Housekeep(Side.TARGET, messages.query(""))]
        ruling = self._judge.ask(operations, kept(self._masks, reading))
        if not ruling.allowed:
            return self._refusals.by_policy(ruling, Kind.QUERY, begins=in_block(reading.statements, ruling.refused))
        question, described = describing.ask(self._shared.queue, *asks[0], apart=True) if asks else (b"", None)
        expected = self._asking(Kind.QUERY, reading)
        expected.described = described
        number = ruling.number
        for meaning in reading.statements:
            expected.runs.append(Run(meaning, number, self._judge.now_ms))
            number += 2 if meaning.copy else 1
        self._copy.watch(expected)
        return [*ruling.effects, *forward(operations, ruling.permits, question + found.raw)]

    def _asking(self, kind: Kind, reading: Reading) -> Expected:
        expected = self._shared.queue.push(Expected(kind))
        self._shared.book.leave(reading.session, reading.kinds)
        self._shared.hears(reading)
        if kind is Kind.QUERY and self._segment_empty:
            # Nothing before it can make the server skip it, so its own ReadyForQuery settles what it changes.
            expected.segment = self._end_segment()
        return expected

    # -- the extended protocol -----------------------------------------------------------------------------------------------

    def _parse(self, found: Message) -> list[Effect]:
        parse = messages.read_parse(found.body)
        self._segment_empty = False
        try:
            if parse.name == NAME:
                raise Unreadable("not_supported", "42939", _TAKEN)
            reading = self._read(parse.text)
            if len(reading.statements) > 1:
                # The server refuses it too; this way it is refused before it is forwarded.
                raise Unreadable("bad_request", "42601", "A prepared statement is one statement.")
            if not copies(self._masks, reading):
                raise Unreadable("not_supported", INSUFFICIENT_PRIVILEGE, _BINARY)
        except Unreadable as why:
            return self._refusals.unread(parse.text, why, Kind.PARSE, "prepare")
        self._long_prepared = self._long_prepared or len(parse.text) > LONG_TEXT
        prepared = Prepared(parse.text, parse.types)
        operations = [one for meaning in reading.statements for one in meaning.operations("prepare")]
        # Preparing runs nothing: others are asked once the values are there, which they are to see.
        waits = self._judge.waits(operations)
        ruling = self._judge.ask(operations, kept(self._masks, reading), counted=False) if operations and not waits else None
        if ruling is not None and not ruling.allowed:
            return self._refusals.by_policy(ruling, Kind.PARSE)
        expected = self._shared.queue.push(Expected(Kind.PARSE))
        expected.prepared, expected.name = prepared, ("S", parse.name)
        expected.about = reading.statements[0] if reading.statements else None
        self._shared.statements.change(parse.name, prepared)
        if parse.name:
            self._shared.book.prepared(parse.name, prepared.text)
        if waits:
            prepares = {"event": "prepared", "digest": operations[0].digest()}
            return [self._judge.remark(prepares, durable=True), Housekeep(Side.TARGET, found.raw)]
        if ruling is None:
            return [Housekeep(Side.TARGET, messages.parse(parse.name, ""))]
        return [*ruling.effects, *forward(operations, ruling.permits, found.raw)]

    def _bind(self, found: Message) -> list[Effect]:
        bind = messages.read_bind(found.body)
        self._segment_empty = False
        prepared = self._shared.statements.get(bind.statement)
        text = prepared.raw if prepared is not None else bind.statement.encode()
        if prepared is None:
            return self._refusals.unread(text, Unreadable("bad_request", "26000", _UNKNOWN_NAME), Kind.BIND, "execute")
        try:
            if bind.portal == NAME:
                raise Unreadable("not_supported", "42939", _TAKEN)
            # Read again: what an unqualified name means may have changed since the Parse, and the server plans anew as well.
            reading = self._read(text)
        except Unreadable as why:
            return self._refusals.unread(text, why, Kind.BIND, "execute")
        values = arguments(bind, prepared.types)
        operations = [one for meaning in reading.statements for one in meaning.operations("execute", values)]
        ruling = self._judge.ask(operations, kept(self._masks, reading, values)) if operations else None
        if ruling is not None and not ruling.allowed:
            return self._refusals.by_policy(ruling, Kind.BIND)
        portal = Portal(prepared, reading, operations, ruling.number if ruling is not None else 0)
        portal.formats = bind.result_formats
        portal.yes = [self._judge.agreed(operation) for operation in operations]
        expected = self._shared.queue.push(Expected(Kind.BIND))
        expected.portal, expected.name = portal, ("P", bind.portal)
        expected.about = reading.statements[0] if reading.statements else None
        self._shared.portals.change(bind.portal, portal)
        if bind.portal:
            self._shared.book.bound(bind.portal, prepared.text)
        if ruling is None:
            return [Housekeep(Side.TARGET, found.raw)]
        return [*ruling.effects, *forward(operations, ruling.permits, found.raw)]

    def _execute(self, found: Message) -> list[Effect]:
        name, _ = messages.read_execute(found.body)
        self._segment_empty = False
        portal = self._shared.portals.get(name)
        if portal is None:
            why = Unreadable("bad_request", "34000", _UNKNOWN_NAME)
            return self._refusals.unread(name.encode(), why, Kind.EXECUTE, "execute")
        # What it leaves behind follows from what is there when it runs, not from what was there when it was bound.
        after = self._read(portal.prepared.raw).session
        decisions = [self._judge.again(one, yes) for one, yes in zip(portal.operations, portal.yes, strict=True)]
        refusing = next((place for place, each in enumerate(decisions) if each.permit is None), None)
        if refusing is not None:
            shown = kept(self._masks, portal.reading, portal.operations[0].arguments)
            return self._refusals.by_policy(self._judge.ask(portal.operations, shown), Kind.EXECUTE)
        effects: list[Effect] = []
        if portal.started:
            effects.append(self._judge.remark({"event": "continued", "statement": portal.number}, durable=True))
        effects += described(self._shared, name, portal)
        asks = asked(self._masks, portal.reading)
        question, description = describing.ask(self._shared.queue, *asks[0], apart=False) if asks else (b"", None)
        expected = self._shared.queue.push(Expected(Kind.EXECUTE))
        expected.portal, expected.described = portal, description
        expected.runs = [Run(meaning, portal.number, self._judge.now_ms) for meaning in portal.reading.statements]
        if not portal.started:
            self._shared.book.leave(after, portal.reading.kinds)
            self._shared.hears(portal.reading)
        portal.started = True
        self._copy.watch(expected)
        if not portal.operations:
            return [*effects, Housekeep(Side.TARGET, found.raw)]
        permits = [each.permit for each in decisions if each.permit is not None]
        return [*effects, *forward(portal.operations, permits, question + found.raw)]

    def _describe(self, found: Message) -> list[Effect]:
        self._segment_empty = False
        return describe(self._shared, found)

    def _close(self, found: Message) -> list[Effect]:
        self._segment_empty = False
        return close(self._shared, found)

    def _sync(self, found: Message) -> list[Effect]:
        self._refusals.skipping = False
        if self._shared.copying and not self._copy.ended():
            return []
        expected = self._shared.queue.push(Expected(Kind.SYNC))
        expected.segment = self._end_segment()
        return [Housekeep(Side.TARGET, found.raw)]

    def _flush(self, found: Message) -> list[Effect]:
        return [Housekeep(Side.TARGET, found.raw)]

    # -- the rest ------------------------------------------------------------------------------------------------------------

    def _terminate(self, found: Message) -> list[Effect]:
        self.over = True
        return [Housekeep(Side.TARGET, found.raw)]
