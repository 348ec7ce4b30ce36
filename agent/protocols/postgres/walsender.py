"""A replication connection: SQL is decided as on any other, and every replication command by policy's action ``replicate``. Pure.

    state       Query                       CopyData Done Fail              Parse Bind Describe Execute Close Call
    ready       decide                      drop                            refuse: a walsender has no extended protocol
    asked       decide (it waits its turn)  wait for the server             "
    streaming   fault                       pass                            fault
    client's part is over: wait, and drop what is still said

The gateway asks nothing of its own on such a connection, because its questions are in the extended protocol too. So what the
session changes about names stays unknown, and is decided as such.

**Nothing here is masked**, and what streams is every row as it is stored. Beside ``replicate``, a command needs that policy
hides no class of data from its principal.
"""

from __future__ import annotations

from typing import Any, Final

from agent.core.effects import Effect, Housekeep
from agent.core.sql.tags import Tagged
from agent.core.units import Side
from agent.protocols.postgres import messages, replication
from agent.protocols.postgres.classify import Classifier, Meaning, Reading, Unreadable
from agent.protocols.postgres.codec import KIB, Message
from agent.protocols.postgres.denial import INSUFFICIENT_PRIVILEGE
from agent.protocols.postgres.engine import Engine
from agent.protocols.postgres.expected import Kind, Run
from agent.protocols.postgres.judge import Judge, forward
from agent.protocols.postgres.kept import ROWS
from agent.protocols.postgres.masks import Masks
from agent.protocols.postgres.names import Wait
from agent.protocols.postgres.replication import Command, NotUnderstood
from agent.protocols.postgres.snapshot import Known
from agent.protocols.postgres.streams import Asked, Streams
from chalicelib.contracts.faults import Fault

_STRANGE: Final = "This is not a replication command that the gateway can read, so it was not run."
_NOT_UTF8: Final = "The text is not valid UTF-8, so it was not run."
_NO_SQL: Final = "A physical replication connection takes replication commands only. Connect with replication=database for SQL."
_EXTENDED: Final = "A replication connection has no prepared statements. Send texts by the simple protocol."
_CHANGED: Final = "What policy reveals to you has changed, so the stream has ended."
#: What a standby says in a stream: its position, its oldest transaction, a question about the primary's (§55.4).
_STANDBY: Final = b"rhp"
_MOST_SAID: Final = 64 * KIB
_UNTAGGED: Final = Tagged((), aligned=False, every=frozenset(), probed=frozenset(), stored=frozenset(), reached=frozenset())


def unmasked(hidden: frozenset[str]) -> str:
    """Return why replication is refused to a principal from whom these classes are hidden, and what would change that."""
    names = ", ".join(sorted(hidden)[:4]) + (f" and {len(hidden) - 4} more" if len(hidden) > 4 else "")
    return f"Replication shows rows that nothing can mask, so it needs a rule that reveals every class of data to you: {names}."


class Walsender(Engine):
    """One replication connection between a client that is logged in and a server that is ready."""

    _answers: Streams
    _reader = Streams
    _asks = False

    def __init__(
        self, judge: Judge, classifier: Classifier, masks: Masks, sid: str, known: Known, rows: int = ROWS, *, physical: bool
    ) -> None:
        """``physical`` connections have no database, and so no SQL."""
        super().__init__(judge, classifier, masks, sid, known, rows)
        self._physical = physical
        self._answers.still = self._still
        self._rules |= dict.fromkeys("PBDEC", self._extended) | dict.fromkeys("dcf", self._said)

    def broken_off(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the lines about what is under way as the connection ends."""
        return self._answers.broken_off(now_ms)

    def _fresh(self) -> bool:
        # Every message takes the long road: the short one knows nothing of these commands.
        return False

    def _one(self, found: Message) -> list[Effect]:
        asked = self._answers.asked
        if asked is not None and asked.both and found.kind not in "dcfX":
            raise Fault("protocol_error", "The client sent something else in the middle of a stream.", detail=found.kind)
        return super()._one(found)

    # -- commands ------------------------------------------------------------------------------------------------------------

    def _query(self, found: Message) -> list[Effect]:
        data = messages.read_query(found.body)
        if self._answers.asked is not None:
            raise Wait
        try:
            text = data.decode()
            command = replication.read(text)
        except UnicodeDecodeError:
            return self._refusals.unread(data, Unreadable("bad_request", "22021", _NOT_UTF8), Kind.QUERY, "replication")
        except NotUnderstood:
            return self._refusals.unread(data, Unreadable("bad_request", "42601", _STRANGE), Kind.QUERY, "replication")
        if command is not None:
            return self._replicate(found, text, command)
        if self._physical:
            return self._refusals.unread(data, Unreadable("not_supported", "0A000", _NO_SQL), Kind.QUERY, "query")
        return super()._query(found)

    def _replicate(self, found: Message, text: str, command: Command) -> list[Effect]:
        operation = command.operation(text)
        shown = self._masks.recorded(text, (), None)
        hidden = self._masks.hidden()
        decision = self._judge.again(operation)
        if hidden and (decision.permit is not None or decision.held):
            # Nobody is asked in vain either.
            why = Unreadable("denied", INSUFFICIENT_PRIVILEGE, unmasked(hidden))
            ruling = self._judge.refuse(operation, shown, why.code, why.message)
            return self._refusals.by_gateway(ruling, why, Kind.QUERY)
        ruling = self._judge.ask([operation], [shown])
        if not ruling.allowed:
            return self._refusals.by_policy(ruling, Kind.QUERY)
        meaning = Meaning(
            text=text,
            kind="replication",
            effects=command.effects,
            verbs=frozenset({command.verb}),
            flags=command.flags,
            tagged=_UNTAGGED,
            copy="in" if command.streams == "in" else "",
        )
        expected = self._asking(Kind.QUERY, Reading((meaning,), self._shared.book.reading))
        expected.runs.append(Run(meaning, ruling.number, self._judge.now_ms))
        self._answers.await_answer(expected, Asked(command, operation, self._judge.agreed(operation), self._judge.now_ms))
        self._copy.watch(expected)
        return [*ruling.effects, *forward([operation], ruling.permits, found.raw)]

    def _still(self, asked: Asked) -> None:
        """Raise Fault where what is under way may not go on."""
        if self._masks.hidden():
            raise Fault("denied", _CHANGED)
        decision = self._judge.again(asked.operation, asked.yes)
        if decision.permit is None:
            raise Fault("denied", decision.message or _CHANGED)

    # -- everything else -----------------------------------------------------------------------------------------------------

    def _said(self, found: Message) -> list[Effect]:
        """CopyData, CopyDone and CopyFail."""
        asked = self._answers.asked
        if self._shared.copy_in is not None:
            if asked is not None:
                asked.sent += len(found.raw)
            return self._copy.data(found) if found.kind == "d" else self._copy.end(found)
        if asked is None or asked.client_done:
            return []
        if not asked.opened:
            # Whether it is part of a stream is for the server to say.
            raise Wait
        if not asked.both:
            return []
        if found.kind != "d":
            asked.client_done = True
        elif not found.body or found.body[0] not in _STANDBY or len(found.body) > _MOST_SAID:
            raise Fault("protocol_error", "The client says something in a stream that no standby says.")
        asked.sent += len(found.raw)
        return [Housekeep(Side.TARGET, found.raw)]

    def _extended(self, found: Message) -> list[Effect]:
        self._segment_empty = False
        kind = {"P": Kind.PARSE, "B": Kind.BIND, "E": Kind.EXECUTE, "D": Kind.DESCRIBE_PORTAL, "C": Kind.CLOSE}[found.kind]
        why = Unreadable("not_supported", "0A000", _EXTENDED)
        return self._refusals.unread(b"a message of the extended protocol", why, kind, "query")
