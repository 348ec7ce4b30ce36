"""A denial is a failure that really happens. Pure.

In place of what was denied, the server gets a statement that cannot be parsed. So the server itself is in a failed transaction,
skips to the next Sync, and says so in its own ReadyForQuery: there is no shadow of PostgreSQL's state here that could be wrong.
Its error is replaced by the policy's words on the way back (``answers``). Of a text of several statements nothing runs, and where
it had begun a block by then, it fails in one (``blocks``).

A FunctionCall is refused: it runs a function by number, without a text that could be decided or shown to an auditor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.core.effects import Effect, Housekeep
from agent.core.units import Side
from agent.protocols.postgres import complaints, messages
from agent.protocols.postgres.classify import Unreadable
from agent.protocols.postgres.codec import Message
from agent.protocols.postgres.denial import denial, refusal
from agent.protocols.postgres.expected import Expected, Kind
from agent.protocols.postgres.judge import Judge, Ruling, forward
from agent.protocols.postgres.masks import Masks
from agent.protocols.postgres.shared import Shared
from chalicelib.contracts.operation import UNKNOWN, Operation

_FUNCTION: Final = "Functions are called with SELECT or CALL behind the gateway: a call by number cannot be decided."
#: The name under which the server is asked to prepare what cannot be prepared. It never comes to exist.
_NOWHERE: Final = "sallyport_denied"
#: What begins a block and fails in it. PostgreSQL parses a whole text before it runs any of it, so this is one that it can parse.
_FAILS_IN_A_BLOCK: Final = 'BEGIN; SELECT "denied by the gateway"'
#: Of a text that is refused, the record keeps as many bytes.
_KEPT: Final = 4_096


class Refusals:
    """Says no on one connection. Each method returns what follows, in order."""

    def __init__(self, shared: Shared, judge: Judge, masks: Masks, sid: str, alone: Callable[[], bool]) -> None:
        """``alone`` returns True where the client's message follows a Sync, or another simple query."""
        self._shared = shared
        self._judge = judge
        self._masks = masks
        self._sid = sid
        self._alone = alone
        self._failing: Final = f"denied by the gateway (session {sid})"
        self.skipping = False
        """The server skips what it is sent up to the next Sync, because of what was sent in place of a message."""

    def by_policy(self, ruling: Ruling, kind: Kind, *, begins: bool = False) -> list[Effect]:
        """Deny what policy denied. With ``begins``, the server fails in a block, which that text itself would have begun."""
        words = denial(ruling.decision, self._sid, ruling.denied)
        return self._fail_instead(ruling, words, kind, begins=begins)

    def by_gateway(self, ruling: Ruling, why: Unreadable, kind: Kind) -> list[Effect]:
        """Deny what was read, recorded as ``ruling`` says, and what the gateway itself lets nobody do."""
        return self._fail_instead(ruling, refusal(why, self._sid), kind)

    def unread(self, text: bytes, why: Unreadable, kind: Kind, word: str) -> list[Effect]:
        """Deny ``text``, which the gateway lets nobody send; ``word`` is its kind in the record.

        Where its grammar is what is wrong, and policy permits it, the server is asked what it says of it (``complaints``).
        """
        short, asks = len(text) <= complaints.LONGEST, self._shared.book.asks
        if why.complaint and short and asks and (kind is Kind.PARSE or self._alone()):
            asked = self._asked(text.decode(), why, kind)
            if asked is not None:
                return asked
        kept = text[:_KEPT].decode(errors="replace")
        operation = Operation(kind=word, text=kept, effects=frozenset({UNKNOWN}), flags=frozenset({"unreadable"}))
        ruling = self._judge.refuse(operation, self._masks.recorded(kept, (), None), why.code, why.message)
        return self.by_gateway(ruling, why, kind)

    def call(self, _found: Message) -> list[Effect]:
        """Refuse a FunctionCall."""
        return self.unread(b"function call", Unreadable("not_supported", "0A000", _FUNCTION), Kind.QUERY, "function-call")

    def _fail_instead(self, ruling: Ruling, words: bytes, kind: Kind, *, begins: bool = False) -> list[Effect]:
        """Have the server fail in place of what was denied, and remember whose ``words`` the client is to read."""
        expected = self._shared.queue.push(Expected(kind))
        expected.denial, expected.begins = words, begins
        if kind is Kind.QUERY:
            return [*ruling.effects, Housekeep(Side.TARGET, messages.query(_FAILS_IN_A_BLOCK if begins else self._failing))]
        self.skipping = True
        return [*ruling.effects, Housekeep(Side.TARGET, messages.parse(_NOWHERE, self._failing))]

    def _asked(self, text: str, why: Unreadable, kind: Kind) -> list[Effect] | None:
        """Have the server say what is wrong with ``text``, or return None where policy does not permit to ask."""
        operation = Operation(kind="prepare", text=text, effects=frozenset({UNKNOWN}), flags=frozenset({"unreadable"}))
        if self._judge.again(operation).permit is None:
            return None
        ruling = self._judge.ask([operation], [self._masks.recorded(text, (), None)])
        words, judge = refusal(why, self._sid), self._judge
        self.skipping = kind is Kind.PARSE
        data = complaints.ask(
            self._shared.queue, text, _NOWHERE, self._failing, words, ruling.number, judge.now_ms, simple=kind is Kind.QUERY
        )
        return [*ruling.effects, *forward([operation], ruling.permits, data)]
