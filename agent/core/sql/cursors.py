"""Queries that are remembered under a name: prepared statements and cursors, those of routines too.

What a routine calls its cursor shows only when it runs, so a FETCH of any name may read from any cursor that the statements
before it may have left open. They live as long as their transaction. Triggers open them too, without being called.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from agent.core.sql.catalogue import Catalogue
from agent.core.sql.changes import Changes
from agent.core.sql.findings import TooDeep, union
from agent.core.sql.model import READ, Opened
from agent.core.sql.parsing import parse
from agent.core.sql.scope import UNKNOWN_ROWS, Rows, Scope

#: How ``pg_get_functiondef`` says that it is one, or an event trigger.
_TRIGGER = "trigger\n LANGUAGE "
_OPENS = re.compile(r"(?i)\bopen(?:\s|/\*|--)")


def triggers_open(catalogue: Catalogue) -> bool:
    """Whether some trigger may open a cursor, of a query that nobody knows: the reader of PL/pgSQL cannot read triggers."""
    definitions = (each.definition for overloads in catalogue.functions.values() for each in overloads)
    return any(_TRIGGER in text and "open" in text.lower() and _OPENS.search(text) for text in definitions)


def any_of(found: Iterable[Rows]) -> Rows:
    """What is returned by one of these, whichever it is."""
    each = list(found)
    if not each:
        return UNKNOWN_ROWS
    if len(each) == 1:
        return each[0]
    if all(rows.exact and len(rows.columns) == len(each[0].columns) for rows in each):
        columns = zip(*(rows.columns for rows in each), strict=True)
        return Rows(tuple((column[0][0], union(carry for _, carry in column)) for column in columns))
    return Rows((("?", union(rows.everything() for rows in each)),), exact=False)


class Cursors(Changes):
    """Walks what gives a query a name, and what runs it by that name."""

    kind = "unknown"

    def __init__(self, findings: Any) -> None:
        super().__init__(findings)
        self.text = ""
        self.renamed: set[str] = set()
        self.prepared: list[tuple[str, str]] = []
        self.cursors: list[tuple[str, str]] = []

    def prepare(self, node: Any, scope: Scope) -> Rows:
        """PREPARE. Nothing of it is run."""
        # Of what a routine prepares, the text is not at hand.
        self.prepared.append((node.name, "\x00" if self.findings.expanding else self.text))
        self.body_statement(node.query, scope)
        self.kind = "prepare"
        self.findings.verbs.add("PREPARE")
        self.renamed = set()
        return Rows()

    def execute(self, node: Any, scope: Scope) -> Rows:
        """EXECUTE of what was prepared."""
        self.findings.verbs.add("EXECUTE")
        self.expressions(node.params, scope, test=True)
        rows = self._one_of(self._remembered(self.findings.session.prepared.get(node.name, ()), "prepare_stmt", scope))
        self.kind = "execute"
        return rows

    def _remembered(self, texts: tuple[str, ...], wrapper: str, scope: Scope) -> list[Rows]:
        """What the named query returns, for each text that the name was given."""
        found: list[Rows] = []
        for text in texts:
            tree, _ = parse(text, self.findings.limits)
            if tree is None or len(tree.stmts) != 1:
                found.append(UNKNOWN_ROWS)
                self.findings.unknown("opaque")
                continue
            node = tree.stmts[0].stmt
            which = node.WhichOneof("node")
            self.findings.enter()
            found.append(self.body_statement(getattr(node, which).query if which == wrapper else node, scope))
            self.findings.leave()
        return found

    def _one_of(self, found: list[Rows]) -> Rows:
        if not found:
            self.findings.unknown("opaque")
        return any_of(found)

    def declare(self, node: Any, scope: Scope) -> Rows:
        """DECLARE of a cursor."""
        if self.findings.expanding:  # in a routine, whose text is not at hand
            self.findings.opened.append(Opened(""))
        else:
            self.cursors.append((node.portalname, self.text))
        self.query(node.query, scope)
        self.kind = "declare_cursor"
        self.findings.verbs.add("DECLARE")
        return Rows()

    def fetch(self, node: Any, scope: Scope) -> Rows:
        """FETCH, or MOVE, which shows nothing."""
        self.findings.effects.add(READ)
        rows = self._fetched(self.findings.session.cursors.get(node.portalname, ()))
        self.kind = "move" if node.ismove else "fetch"
        self.findings.verbs.add(self.kind.upper())
        return Rows() if node.ismove else rows

    def any_cursor(self) -> Rows:
        """What a FETCH from a cursor of some name may return."""
        return self._fetched(tuple(text for texts in self.findings.session.cursors.values() for text in texts))

    def _fetched(self, texts: tuple[str, ...]) -> Rows:
        """What a FETCH returns from a cursor that was given one of ``texts`` by name, or was opened by a routine."""
        findings = self.findings
        found = self._remembered(texts, "declare_cursor_stmt", Scope())
        opened = dict.fromkeys((*findings.session.opened, *findings.opened))
        if opened and not texts and (findings.session.uncertain or triggers_open(findings.catalogue)):
            # No statement gave this name. What was not understood, or runs without being called, may have opened others.
            findings.unknown("opaque")
            found.append(UNKNOWN_ROWS)
        return self._one_of(found + [self._opened(each) for each in opened])

    def _opened(self, opened: Opened) -> Rows:
        findings = self.findings
        tree, _ = parse(opened.text, findings.limits)
        if tree is None or len(tree.stmts) != 1:
            findings.unknown("opaque")
            return UNKNOWN_ROWS
        if findings.expanding >= findings.limits.max_expansions:
            raise TooDeep
        scope = Scope(variables=opened.variables)
        scope.positional = opened.variables
        scope.parameters = dict.fromkeys(filter(None, opened.names), opened.variables)
        path, findings.path = findings.path, opened.path
        findings.expanding += 1
        rows = self.body_statement(tree.stmts[0].stmt, scope)
        findings.expanding -= 1
        findings.path = path
        return rows
