"""What is found while one statement is walked: the only mutable thing here. Lives for one statement and knows the limits."""

from __future__ import annotations

from typing import Any

from agent.core.sql.catalogue import TEMPORARY, Catalogue, Function, Relation
from agent.core.sql.model import ANYTHING, NOTHING, TAINT, UNKNOWN, UNKNOWN_FLAGS, Carry, Limits, Opened, Session


class TooDeep(Exception):  # noqa: N818  # not a fault: it ends a walk that has reached a limit, and `analyse` catches it
    """A limit is reached; what was found so far stands, and the rest is unknown."""


class Findings:
    """Facts about one statement, filled by the walk."""

    def __init__(self, catalogue: Catalogue, session: Session, path: tuple[str, ...], limits: Limits) -> None:
        self.catalogue = catalogue
        self.session = session
        self.path = self.session_path = path
        self.others = tuple(catalogue.path(earlier) for earlier in session.earlier)
        self.limits = limits
        self.effects: set[str] = set()
        self.verbs: set[str] = set()
        self.tables: set[str] = set()
        self.columns: set[str] = set()
        self.functions: set[str] = set()
        self.flags: set[str] = set()
        self.probed: set[str] = set()
        self.stored: set[str] = set()
        self.reached: set[str] = set()
        self.named: dict[str, Carry] = {}
        self.orders: dict[str, tuple[str, ...]] = {}
        self.settings: list[tuple[str, str | None]] = []
        self.opened: list[Opened] = []
        self.calls_user_code = False
        self.views: dict[str, Any] = {}
        self.bodies: dict[tuple[str, str, Carry], Carry] = {}
        self.running: set[tuple[str, str]] = set()
        self.expanding = 0
        self.depth = 0
        self.work = 0

    def relation(self, schema: str, name: str) -> Relation | None:
        """The relation of that name, if it is the same one whichever search path is in force."""
        foreign = schema.startswith(TEMPORARY) and schema != TEMPORARY
        if name in self.session.changed or foreign or (self.session.uncertain and not schema):
            return None
        found = self.catalogue.relation(schema, name, self.path)
        if not schema and self.path is self.session_path:
            for path in self.others:
                if self.catalogue.relation("", name, path) != found:
                    return None
        return found

    def overloads(self, schema: str, name: str) -> tuple[Function, ...]:
        """The functions outside pg_catalog that a call may mean, whichever search path is in force."""
        return self.catalogue.overloads(schema, name, tuple(part for path in (self.path, *self.others) for part in path))

    def enter(self) -> None:
        """One node deeper; pair with `leave`."""
        self.depth += 1
        self.work += 1
        if self.depth > self.limits.max_depth * (1 + self.expanding) or self.work > self.limits.max_work:
            raise TooDeep

    def spend(self, work: int) -> None:
        """Work that is not a node: columns that were looked through."""
        self.work += work
        if self.work > self.limits.max_work:
            raise TooDeep

    def leave(self) -> None:
        """Undo `enter`."""
        self.depth -= 1

    def unknown(self, flag: str) -> Carry:
        """Something is not understood: say so. What it returns may be anything."""
        self.flags.add(flag)
        return ANYTHING

    def read(self, carry: Carry, *, test: bool) -> Carry:
        """Columns were read; `test`: by something that decides on their values."""
        for column in carry:
            if column is not TAINT:
                self.columns.add(column)
        if test:
            self.probed |= carry
        return carry

    def tested(self, carry: Carry) -> None:
        """Values that were read elsewhere decide something here."""
        self.probed |= carry

    def store(self, carry: Carry, target: str | None = None) -> None:
        """The values of `carry` are copied to `target`, or to somewhere without a name."""
        self.stored |= {column for column in carry if column != target}

    def opens(self, texts: tuple[str, ...], variables: Carry, names: tuple[str, ...]) -> None:
        """A routine may leave cursors for these queries open."""
        paths = (self.path, *self.others) if self.path is self.session_path else (self.path,)
        self.opened += [Opened(text, path, variables, names) for text in texts for path in paths]

    def finished_effects(self) -> frozenset[str]:
        """Effects, with `unknown` where a flag demands it or nothing at all was found."""
        if self.flags & UNKNOWN_FLAGS or not self.effects:
            self.effects.add(UNKNOWN)
        return frozenset(self.effects)


def union(carries: Any) -> Carry:
    """All of them."""
    merged: set[str] = set()
    for carry in carries:
        merged |= carry
    return frozenset(merged) if merged else NOTHING
