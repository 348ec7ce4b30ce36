"""`analyse`: what a text means to PostgreSQL, found without running it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.core.sql.catalogue import Catalogue
from agent.core.sql.findings import Findings, TooDeep
from agent.core.sql.model import (
    DEFAULT,
    NOTHING,
    READ,
    TAINT,
    UNKNOWN,
    Analysis,
    Limits,
    OutputColumn,
    Session,
    Statement,
)  # fmt: skip
from agent.core.sql.parsing import parse, statements
from agent.core.sql.scope import UNKNOWN_ROWS, Scope
from agent.core.sql.utilities import Utilities

_FRESH = Session()
#: Statements whose own errors quote nothing but constants and columns of the relations that they name.
_CONTAINED = frozenset(
    {
        "select", "insert", "update", "delete", "merge", "copy_to", "copy_from", "prepare", "execute", "declare_cursor", "fetch",
        "move", "explain", "explain_analyze", "set", "show", "reset", "begin", "rollback", "savepoint", "close", "deallocate",
        "listen", "unlisten", "notify", "create_table", "create_schema", "create_type", "create_domain", "create_sequence",
        "create_view", "drop_table", "drop_view", "drop_schema", "drop_type", "drop_sequence", "drop_function",
    }
)  # fmt: skip
_ANYTHING = (OutputColumn("?", tainted=True),)


def analyse(
    text: str,
    catalogue: Catalogue,
    search_path: Sequence[str] | None = None,
    *,
    session: Session = _FRESH,
    limits: Limits = DEFAULT,
) -> Analysis:
    """What every statement of `text` reads, changes and returns. Never raises, never runs anything.

    `search_path` is what the server said is in force, if it did; otherwise the session's, otherwise the catalogue's.
    Deterministic; work is bounded by `limits`. Whatever cannot be known adds the effect `unknown` and taints what it returns.
    """
    if search_path is not None:
        session = msgspec.structs.replace(session, search_path=tuple(search_path), earlier=frozenset())
    tree, flag = parse(text, limits)
    if tree is not None and len(tree.stmts) > limits.max_statements:
        tree, flag = None, "too_long"
    if tree is None:
        whole = Statement(
            text=text, position=0, kind="unknown", effects=frozenset({UNKNOWN}), flags=frozenset({flag or "parse_error"}),
            outputs=_ANYTHING, aligned=False, probed=frozenset({TAINT}), stored=frozenset({TAINT}),
        )  # fmt: skip
        return _together([whole], msgspec.structs.replace(session, uncertain=True))
    found: list[Statement] = []
    for position, piece, node in statements(text, tree):
        statement, session = _statement(position, piece, node, catalogue, session, limits)
        found.append(statement)
    return _together(found, session)


def _statement(
    position: int, text: str, node: Any, catalogue: Catalogue, session: Session, limits: Limits
) -> tuple[Statement, Session]:
    path = catalogue.path(catalogue.search_path if session.search_path is None else session.search_path)
    findings = Findings(catalogue, session, path, limits)
    walk = Utilities(findings)
    walk.text = text
    try:
        rows = walk.statement(node, Scope())
    except (TooDeep, RecursionError):
        findings.unknown("too_deep")
        findings.probed.add(TAINT)
        findings.stored.add(TAINT)
        rows = UNKNOWN_ROWS
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        # A tree of a shape that the grammar does not make as far as we know: not understood, like any other.
        findings.unknown("opaque")
        findings.probed.add(TAINT)
        findings.stored.add(TAINT)
        rows = UNKNOWN_ROWS
    if findings.probed:
        findings.flags.add("probes")
    effects = findings.finished_effects()
    statement = Statement(
        text=text,
        position=position,
        kind=walk.kind,
        effects=effects,
        verbs=frozenset(findings.verbs),
        tables=frozenset(findings.tables),
        columns=frozenset(findings.columns),
        functions=frozenset(findings.functions),
        flags=frozenset(findings.flags),
        outputs=tuple(_output(name, carry) for name, carry in rows.columns),
        aligned=rows.exact,
        probed=frozenset(findings.probed),
        stored=frozenset(findings.stored),
        reached=_reached(walk.kind, findings, effects),
        named=findings.named,
        orders=findings.orders,
        settings=tuple(findings.settings),
        copy=walk.copy,
    )
    return statement, _next(session, walk, statement, catalogue)


def _reached(kind: str, findings: Findings, effects: frozenset[str]) -> frozenset[str]:
    if kind not in _CONTAINED or UNKNOWN in effects or TAINT in findings.probed:
        return frozenset({TAINT})
    return frozenset(findings.reached | findings.columns | findings.probed)


def _output(name: str, carry: frozenset[str]) -> OutputColumn:
    if TAINT in carry:
        return OutputColumn(name, carry - {TAINT}, tainted=True)
    return OutputColumn(name, carry)


def _next(session: Session, walk: Utilities, statement: Statement, catalogue: Catalogue) -> Session:
    """The session after a statement that may have succeeded, failed, or been rolled back."""
    changes: dict[str, Any] = {}
    if walk.unsettled or UNKNOWN in statement.effects:
        changes["uncertain"] = True
    if walk.renamed:
        changes["changed"] = session.changed | walk.renamed
    for name, value in statement.settings:
        if name == "search_path":
            old = catalogue.search_path if session.search_path is None else session.search_path
            if value is None and statement.kind not in ("reset", "discard", "set"):
                changes["uncertain"] = True
                continue
            changes["search_path"] = _path(value, catalogue)
            changes["earlier"] = session.earlier | {old}
        elif name in ("role", "session_authorization") and "$user" in catalogue.search_path:
            changes["uncertain"] = True
    after = msgspec.structs.replace(session, **changes) if changes else session
    for name, text in walk.prepared:
        after = after.with_prepared(name, text)
    for name, text in walk.cursors:
        after = after.with_cursor(name, text)
    return after.with_opened(tuple(walk.findings.opened))


def _path(value: str | None, catalogue: Catalogue) -> tuple[str, ...]:
    if value is None:
        return catalogue.search_path
    return tuple(part.strip().strip('"') for part in value.split(",") if part.strip())


def _together(found: list[Statement], session: Session) -> Analysis:
    flags = NOTHING.union(*(statement.flags for statement in found))
    effects = NOTHING.union(*(statement.effects for statement in found))
    if len(found) > 1:
        flags |= {"multi"}
    if not found:
        flags, effects = frozenset({"empty"}), frozenset({READ})
    return Analysis(
        statements=tuple(found),
        effects=effects,
        verbs=NOTHING.union(*(statement.verbs for statement in found)),
        tables=NOTHING.union(*(statement.tables for statement in found)),
        columns=NOTHING.union(*(statement.columns for statement in found)),
        functions=NOTHING.union(*(statement.functions for statement in found)),
        flags=flags,
        session=session,
    )
