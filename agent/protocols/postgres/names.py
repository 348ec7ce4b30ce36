"""Names that the two ends agree on: prepared statements and portals, as the server will know them when a message reaches it.

A client may send many messages before the server answers the first. The server answers in order, and after an error it skips
everything up to the next Sync (§55.2.3). So a change that is not yet acknowledged is certain for later messages of the *same*
segment (they are skipped together with it), and uncertain for every later segment. ``get`` raises :class:`Wait` where the answer
would be a guess: otherwise a skipped Parse could make one statement run under the name, and in the record, of another.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

_NONE: Final[frozenset[str]] = frozenset()

T = TypeVar("T")

#: Names that one connection may hold.
NAMES_LIMIT: Final = 10_000


class Wait(Exception):  # noqa: N818 - not an error: the server has to answer first
    """What the client asked for depends on an answer that is still under way."""


class Names(Generic[T]):
    """One namespace of a connection."""

    def __init__(self) -> None:
        self._confirmed: dict[str, T] = {}
        self._segment: dict[str, T | None] = {}
        self._under_way: dict[str, int] = {}

    def get(self, name: str) -> T | None:
        """Return what ``name`` will mean to the server. Raises Wait."""
        if name in self._segment:
            return self._segment[name]
        if name in self._under_way:
            raise Wait
        return self._confirmed.get(name)

    def confirmed(self, name: str) -> T | None:
        """Return what the server is known to understand by ``name`` now."""
        return self._confirmed.get(name)

    def change(self, name: str, value: T | None) -> None:
        """The client sent a change of ``name`` in the segment that is being sent. None removes it."""
        self._segment[name] = value

    def end_segment(self) -> frozenset[str]:
        """A Sync was sent. Returns the names that are uncertain until :meth:`settle`."""
        if not self._segment:
            return _NONE
        names = frozenset(self._segment)
        self._segment = {}
        for name in names:
            self._under_way[name] = self._under_way.get(name, 0) + 1
        return names

    def confirm(self, name: str, value: T | None) -> None:
        """The server acknowledged a change."""
        if value is None:
            self._confirmed.pop(name, None)
        elif len(self._confirmed) < NAMES_LIMIT or name in self._confirmed:
            # A name past the limit stays unknown, and what is unknown is refused.
            self._confirmed[name] = value

    def settle(self, names: frozenset[str]) -> None:
        """The segment that changed ``names`` was answered to its end."""
        for name in names:
            left = self._under_way.pop(name, 0) - 1
            if left > 0:
                self._under_way[name] = left

    def clear(self) -> None:
        """The server has dropped every confirmed name."""
        self._confirmed.clear()
