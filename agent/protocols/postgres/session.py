"""What earlier statements of a connection have left behind, and how the gateway makes sure of it. Pure.

``agent.core.sql`` keeps the books (`Session`): a statement may have failed or been rolled back, so after a SET search_path a
name has to mean the same in both paths. That is safe and soon of little use. Two questions settle it, before the next statement
is read:

- which search path is in force: asked of the server on this very connection, by a SHOW that the client does not see;
- which tables and functions there are: read again on the side connection, where the last transaction has ended.
"""

from __future__ import annotations

from typing import Final

import msgspec

from agent.core.sql.model import Session
from agent.protocols.postgres import messages
from agent.protocols.postgres.expected import Expected, Kind, Queue

#: Names under which the gateway asks its own question. A client that uses them too is told by the server that they exist.
_NAME: Final = "sallyport_path"
_SHOW: Final = "SHOW search_path"


class SessionBook:
    """The session of one connection, and what is known for certain of it."""

    def __init__(self) -> None:
        self.now = Session()
        self._path_known: Session | None = self.now
        self._read_for: Session | None = None
        self._asked_in_block = False
        self.asking = False
        """The server has not said yet which path is in force."""

    def leave(self, session: Session) -> None:
        """A statement was sent that leaves ``session`` behind."""
        if session != self.now:
            self.now = session

    def prepared(self, name: str, text: str) -> None:
        """A Parse gave ``name`` to ``text``: EXECUTE can run it as well."""
        known = self._path_known is self.now
        self.now = self.now.with_prepared(name, text)
        self._path_known = self.now if known else self._path_known

    def bound(self, name: str, text: str) -> None:
        """A Bind gave ``name`` to a portal of ``text``: FETCH can read from it as well."""
        known = self._path_known is self.now
        self.now = self.now.with_cursor(name, text)
        self._path_known = self.now if known else self._path_known

    # -- the search path -----------------------------------------------------------------------------------------------------

    def ended(self, status: str) -> None:
        """The server is ready. Where a block has ended, a path that was set inside it may be gone again."""
        if status == "I" and self._asked_in_block:
            self._asked_in_block = False
            self._path_known = None

    def rolled_back(self) -> None:
        """A statement that may have undone a SET has ended."""
        if self._asked_in_block:
            self._path_known = None

    def path_unsure(self) -> bool:
        """True where the path in force has to be asked for."""
        return (bool(self.now.earlier) or self.now.uncertain or self._path_known is None) and self._path_known is not self.now

    def ask_path(self, queue: Queue, status: str) -> bytes:
        """Return the question, as messages, and expect its answers. It leaves the client's own statements and portals alone."""
        self.asking = True
        self._asked_in_block = status == "T"
        # Without a mark of its own, a session that changes while the question is under way would count as known.
        self._path_known = self.now
        for kind in (Kind.PARSE, Kind.BIND, Kind.EXECUTE, Kind.CLOSE, Kind.CLOSE, Kind.SYNC):
            queue.push(Expected(kind)).silent = True
        return b"".join(
            [
                messages.parse(_NAME, _SHOW),
                messages.message("B", messages.text(_NAME) * 2 + b"\0\0\0\0\0\0"),
                messages.message("E", messages.text(_NAME) + b"\0\0\0\0"),
                messages.close("P", _NAME),
                messages.close("S", _NAME),
                messages.message("S"),
            ]
        )

    def path_is(self, shown: str) -> None:
        """The server said which path is in force."""
        path = tuple(part.strip().strip('"') for part in shown.split(",") if part.strip())
        self.now = msgspec.structs.replace(self.now, search_path=path, earlier=frozenset())
        self._path_known = self.now

    def path_answered(self) -> None:
        """The question is over, whatever came of it."""
        self.asking = False

    # -- the catalogue -------------------------------------------------------------------------------------------------------

    def unread(self, status: str) -> bool:
        """True where reading the catalogue again would help: outside of a block, where others can see what has changed."""
        return (bool(self.now.changed) or self.now.uncertain) and status == "I" and self._read_for is not self.now

    def catalogue_read(self, mark: Session, *, fresh: bool) -> None:
        """A reading that was begun at ``mark`` is over. ``fresh`` is False where it failed: what changed stays unknown."""
        if mark is not self.now:
            return
        if fresh:
            known = self._path_known is self.now
            self.now = msgspec.structs.replace(self.now, changed=frozenset(), uncertain=self.now.uncertain and not known)
            self._path_known = self.now if known else self._path_known
        self._read_for = self.now
