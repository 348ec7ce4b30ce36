"""The options of COPY, as far as they change how the rows look on the wire."""

from __future__ import annotations

from typing import Any

from agent.core.sql.catalogue import Relation
from agent.core.sql.grammar import PgQueryError, postgast
from agent.core.sql.model import CopyForm

_FORMATS = ("text", "csv", "binary")
_UTF8 = ("utf8", "unicode")
_OPEN, _CLOSE = (postgast.pg_query_pb2.Token.Value(name) for name in ("ASCII_40", "ASCII_41"))
#: They change when quotes are used, never which, or concern COPY FROM alone.
_HARMLESS = frozenset(
    {"force_quote", "force_not_null", "force_null", "freeze", "on_error", "log_verbosity", "reject_limit", "null"}
)


def copy_form(node: Any, relation: Relation | None, text: str = "") -> CopyForm:
    """The form of a CopyStmt, which is `text`. `relation` is what it copies, None for a query or where it is not known."""
    form, delimiter, header, plain = "text", "", False, True
    for option in node.options:
        name, value = option.def_elem.defname, _value(option.def_elem)
        if name == "format":
            form = value.lower()
        elif name == "delimiter":
            delimiter = value
        elif name == "header":
            header = value.lower() not in ("false", "off", "0")
        elif name == "encoding":
            plain = plain and value.lower().replace("-", "").replace("_", "") in _UTF8
        elif name in ("quote", "escape"):
            plain = plain and value == '"'
        else:
            plain = plain and name in _HARMLESS
    plain = plain and form in _FORMATS and len(delimiter.encode()) <= 1
    through = "" if node.filename or node.is_program else "in" if node.is_from else "out"
    query = _query(text) if form == "binary" and node.HasField("query") else ""
    return CopyForm(through, form, delimiter, header, plain, _types(node, relation), query)


def _query(text: str) -> str:
    """What stands between the first parenthesis of `text` and the one that closes it, or nothing."""
    raw = text.encode()
    depth = start = 0
    try:
        tokens = postgast.scan(text).tokens
    except PgQueryError:
        return ""
    for token in tokens:
        if token.token == _OPEN:
            start = start or token.end
            depth += 1
        elif token.token == _CLOSE:
            depth -= 1
            if not depth:
                return raw[start : token.start].decode()
    return ""


def _value(option: Any) -> str:
    which = option.arg.WhichOneof("node") if option.HasField("arg") else None
    if which == "string":
        return str(option.arg.string.sval)
    if which == "integer":
        return str(option.arg.integer.ival)
    if which == "boolean":
        return "true" if option.arg.boolean.boolval else "false"
    return ""


def _types(node: Any, relation: Relation | None) -> tuple[int, ...]:
    if relation is None:
        return ()
    known = {column.name: column.type_oid for column in relation.columns}
    # Without a list of columns, COPY leaves out those that are generated.
    names = [name.string.sval for name in node.attlist] or [each.name for each in relation.columns if not each.generated]
    found = tuple(known.get(name, 0) for name in names)
    return found if all(found) else ()
