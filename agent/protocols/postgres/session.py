"""What earlier statements of a connection have left behind, and how the gateway makes sure of it. Pure.

``agent.core.sql`` keeps the books (`Session`): a statement may have failed or been rolled back, so after a SET search_path a
name has to mean the same in both paths, and after a CREATE TABLE its name means nothing that is known. That is safe and soon of
little use. Two questions settle it, asked of the server on this very connection and not seen by the client:

- which search path is in force: SHOW;
- what the changed names mean: one SELECT, which sees what only this connection can see (``snapshot``).

A third one puts the session's identifier back into ``application_name``, which drivers set for themselves (JDBC does so as it
connects): outside of blocks, before the next statement is sent.

They are asked where nothing else is under way, and leave nothing behind: in a block between a savepoint and the way back to it,
outside in a transaction that is rolled back. Where a question fails (a statement_timeout, a cancel), the way back is sent all
the same, and what was asked stays unknown.

**Blocks.** What was learned inside a block may be gone after it, or after a ROLLBACK TO. So from the moment in which a statement
is *sent* that ends or unwinds a block, those names are changed again and the path is lost, whatever the server will answer.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent.core.sql.model import Session
from agent.protocols.postgres import messages
from agent.protocols.postgres.expected import Expected, Kind, Queue
from agent.protocols.postgres.snapshot import PATH, Known, question, read_answer

#: The name of the gateway's own statements, portals and savepoints. Clients may not use it.
NAME: Final = "sallyport_asks"
_SHOW: Final = "SHOW search_path"
_LABEL: Final = "SELECT pg_catalog.set_config('application_name', $1, false)"
_AROUND: Final = {
    "T": ((f"SAVEPOINT {NAME}",), (f"ROLLBACK TO SAVEPOINT {NAME}", f"RELEASE SAVEPOINT {NAME}")),
    "I": (("BEGIN",), ("ROLLBACK",)),
}
#: Kinds of statements after which a block, or a part of it, may not have happened.
UNWINDING: Final = frozenset({"commit", "rollback", "prepare_transaction", "commit_prepared", "rollback_prepared"})
#: Names that are asked about at once.
_MOST_NAMES: Final = 2_000


class SessionBook:
    """The session of one connection, and what is known for certain of it."""

    def __init__(self, known: Known, label: str = "", *, asks: bool = True) -> None:
        """``label`` is what ``application_name`` begins with. Without ``asks``, nothing is ever asked of this server."""
        self.asks: Final = asks
        """The server answers questions of the gateway's own."""
        self.now = Session()
        self.known = known
        self._label: Final = label
        self._named: str | None = None
        self._naming = False
        self.now_ms = 0
        self._path_known: Session | None = self.now
        self._read_for: Session | None = None
        self._asked_in_block = False
        self._learned_in_block: frozenset[str] = frozenset()
        self._failed_for: Session | None = None
        self._asked: tuple[frozenset[str], str] = (frozenset(), "I")
        self._answer = ""
        self._broken = False
        self._going_back = self._went_back = False
        self._temporaries_unsure = False
        self.asking = False
        """A question of the gateway's own is under way."""
        self.learned = False
        """The catalogue has changed since somebody last looked here."""
        self.altered = False
        """Something was changed that other sessions should read again."""

    # -- what statements leave behind ----------------------------------------------------------------------------------------

    def leave(self, session: Session, kinds: frozenset[str] = frozenset()) -> None:
        """Statements of these ``kinds`` were sent that leave ``session`` behind."""
        if session != self.now:
            self.altered = self.altered or session.changed != self.now.changed or session.uncertain
            self.now = session
        if kinds & UNWINDING:
            self._unwound()
        if "discard" in kinds:
            self._change(self.known.temporaries())

    def _unwound(self) -> None:
        self._change(self._learned_in_block)
        if self._asked_in_block:
            self._path_known = None

    def _change(self, names: frozenset[str]) -> None:
        if not names <= self.now.changed:
            self._adopt(msgspec.structs.replace(self.now, changed=self.now.changed | names))

    def _adopt(self, session: Session) -> None:
        """The same path is in force as before, or as little known."""
        known = self._path_known is self.now
        self.now = session
        self._path_known = session if known else self._path_known

    def prepared(self, name: str, text: str) -> None:
        """A Parse gave ``name`` to ``text``: EXECUTE can run it as well."""
        self._adopt(self.now.with_prepared(name, text))

    def bound(self, name: str, text: str) -> None:
        """A Bind gave ``name`` to a portal of ``text``: FETCH can read from it as well."""
        self._adopt(self.now.with_cursor(name, text))

    def ended(self, status: str) -> None:
        """The server is ready. Where a block has ended, what was learned inside it may be gone again."""
        if status == "I" and not self.asking:
            if self._asked_in_block:
                self._unwound()
            self._asked_in_block, self._learned_in_block = False, frozenset()
            self.known.block_ended()

    def nothing_open(self) -> None:
        """No transaction is open, and nothing is under way that could have begun one: with it went what routines had opened."""
        if self.now.opened:
            self._adopt(msgspec.structs.replace(self.now, opened=()))

    # -- questions -----------------------------------------------------------------------------------------------------------

    @property
    def reading(self) -> Session:
        """The session to read the next text after: without a path that is known, an unqualified name means nothing."""
        if self._path_known is None and not self.now.uncertain:
            self.now = msgspec.structs.replace(self.now, uncertain=True)
        return self.now

    @property
    def outside(self) -> bool:
        """True where nothing is known that the end of a block could take back."""
        return not (self._asked_in_block or self._learned_in_block or self.known.in_block or self.now.opened)

    @property
    def settled(self) -> bool:
        """True where nothing has to be asked, learned or undone before the next text is read."""
        return not (self.asking or self.learned or self._going_back or self.unlabelled or self.path_unsure() or self.path_lost())

    def path_unsure(self) -> bool:
        """True where the path in force has to be asked for."""
        if not self.asks:
            return False
        unsure = bool(self.now.earlier) or self.now.uncertain or self._path_known is None
        return (unsure and self._path_known is not self.now) or (self._temporaries_unsure and self._failed_for is not self.now)

    def askable(self) -> bool:
        """True where asking would tell what a name means that is not known."""
        return self.asks and bool(self.now.changed) and self._failed_for is not self.now

    def path_lost(self) -> bool:
        """True where a name that is not qualified would be a guess until the path was asked for."""
        return self.asks and self._path_known is None

    def ask(self, queue: Queue, status: str, *, names: bool) -> bytes:
        """Return the questions, as messages, and expect their answers. They leave the client's own statements and portals alone.

        ``names``: also ask what the changed names mean.
        """
        self.asking = True
        wanted = frozenset(sorted(self.now.changed)[:_MOST_NAMES]) if names else frozenset[str]()
        self._asked, self._answer, self._broken, self._went_back = (wanted, status), "", False, False
        self._asked_in_block = self._asked_in_block or status == "T"
        # Without a mark of its own, a session that changes while the question is under way would count as known.
        self._path_known = self.now
        asks_names = bool(wanted) or self._temporaries_unsure
        before, after = _AROUND[status] if asks_names or status == "T" else ((), ())
        steps = [_step(queue, sql) for sql in before]
        steps.append(_step(queue, _SHOW, asks="path"))
        if asks_names:
            steps.append(_step(queue, PATH))
            steps.append(_step(queue, question(self.known.current.version), _array(wanted), asks="names"))
        steps += [_step(queue, sql) for sql in after]
        return b"".join(steps) + _sync(queue)

    def go_back(self, queue: Queue) -> bytes:
        """Return what undoes questions that failed, or nothing where nothing has to be undone."""
        if not self._going_back:
            return b""
        self._going_back = False
        return b"".join(_step(queue, sql) for sql in _AROUND[self._asked[1]][1]) + _sync(queue)

    @property
    def going_back(self) -> bool:
        """True where :meth:`go_back` has something to send."""
        return self._going_back

    def told(self, asks: str, value: str) -> None:
        """The server has answered a question."""
        if asks == "names":
            self._answer = value
        elif asks == "path":
            path = tuple(part.strip().strip('"') for part in value.split(",") if part.strip())
            self.now = msgspec.structs.replace(self.now, search_path=path, earlier=frozenset())
            self._path_known = self.now

    def failed(self) -> None:
        """A question failed."""
        self._broken = not self._naming

    def answered(self, status: str) -> None:
        """The questions are over, whatever came of them. Raises Malformed."""
        if self._naming:
            self.asking = self._naming = False
            return
        names, asked_in = self._asked
        if self._broken and status == "E" and not self._went_back:
            self._broken, self._answer, self._going_back, self._went_back = False, "", True, True
            self._failed_for = self.now
            return
        self.asking = False
        if not self._answer:
            self._failed_for = self.now if self._broken or names else self._failed_for
            return
        self.known.learn(names, read_answer(self._answer), self.now_ms, in_block=asked_in == "T")
        self._adopt(msgspec.structs.replace(self.now, changed=self.now.changed - names))
        if asked_in == "T":
            self._learned_in_block |= names
        self._answer, self.learned, self._temporaries_unsure = "", True, False

    # -- whose statements the server's own log says they are -----------------------------------------------------------------

    @property
    def unlabelled(self) -> bool:
        """True where the client has given ``application_name`` another value than the session's."""
        return self.asks and self._named is not None

    def named(self, value: str) -> None:
        """The server says that ``application_name`` is ``value``."""
        self._named = None if value.startswith(self._label) else value

    def label(self, queue: Queue) -> bytes:
        """Return what puts the session's label before the client's name. Once for each name, whatever comes of it."""
        assert self._named is not None
        name, self._named = f"{self._label} {self._named}".strip(), None
        self.asking = self._naming = True
        return _step(queue, _LABEL, name) + _sync(queue)

    # -- the catalogue that all sessions share -------------------------------------------------------------------------------

    def unread(self, status: str) -> bool:
        """True where only reading the whole catalogue again would help: outside of a block, where others can see the changes."""
        return self.now.uncertain and status == "I" and self._read_for is not self.now

    def catalogue_read(self, mark: Session, *, fresh: bool) -> None:
        """A reading that was begun at ``mark`` is over. ``fresh`` is False where it failed: what changed stays unknown."""
        if mark is not self.now:
            return
        if fresh:
            known = self._path_known is self.now
            if self.now.uncertain:
                # What was not understood may have made or dropped temporary relations too, which only this connection sees.
                self._temporaries_unsure = True
                self._change(self.known.temporaries())
            self.now = msgspec.structs.replace(self.now, uncertain=self.now.uncertain and not known)
            self._path_known = self.now if known else self._path_known
        self._read_for = self.now


def _step(queue: Queue, sql: str, *values: str, asks: str = "") -> bytes:
    for kind in (Kind.PARSE, Kind.BIND, Kind.EXECUTE, Kind.CLOSE, Kind.CLOSE):
        expected = queue.push(Expected(kind))
        expected.silent = True
        expected.asks = asks if kind is Kind.EXECUTE else ""
    return b"".join(
        [
            messages.parse(NAME, sql),
            messages.bind(NAME, NAME, values),
            messages.message("E", messages.text(NAME) + b"\0\0\0\0"),
            messages.close("P", NAME),
            messages.close("S", NAME),
        ]
    )


def _sync(queue: Queue) -> bytes:
    queue.push(Expected(Kind.SYNC)).silent = True
    return messages.message("S")


def _array(names: frozenset[str]) -> str:
    """An array of names as PostgreSQL reads it (documentation, §8.15.2)."""
    quoted = [name.replace("\\", "\\\\").replace('"', '\\"') for name in sorted(names)]
    return "{" + ",".join(f'"{name}"' for name in quoted) + "}"
