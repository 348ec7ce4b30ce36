"""The name that PostgreSQL gives to an output column without AS, so that queries around it can refer to it (FigureColname)."""

from __future__ import annotations

from typing import Any

_FIXED = {
    "a_array_expr": "array",
    "row_expr": "row",
    "coalesce_expr": "coalesce",
    "grouping_func": "grouping",
    "xml_serialize": "xmlserialize",
    "merge_support_func": "merge_action",
    "json_parse_expr": "json",
    "json_scalar_expr": "json_scalar",
    "json_serialize_expr": "json_serialize",
    "json_object_constructor": "json_object",
    "json_array_constructor": "json_array",
    "json_array_query_constructor": "json_array",
    "json_object_agg": "json_objectagg",
    "json_array_agg": "json_arrayagg",
}
_XML = ("?column?", "xmlconcat", "xmlelement", "xmlforest", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "?column?")
_JSON = ("?column?", "json_exists", "json_query", "json_value", "?column?")
_SQL_VALUES = (
    "?column?", "current_date", "current_time", "current_time", "current_timestamp", "current_timestamp", "localtime",
    "localtime", "localtimestamp", "localtimestamp", "current_role", "current_user", "user", "session_user", "current_catalog",
    "current_schema",
)  # fmt: skip
_NULLIF = 6  # A_Expr_Kind.AEXPR_NULLIF


def column_name(node: Any) -> str:
    """The name of an expression (a Node) as an output column."""
    name, _ = _name(node, 0)
    return name or "?column?"


def _name(node: Any, depth: int) -> tuple[str, int]:
    """A name and how good it is: 2 from the expression itself, 1 from a type or a construct, 0 none."""
    which = node.WhichOneof("node")
    if which is None or depth > 100:
        return "", 0
    inner = getattr(node, which)
    if which == "column_ref":
        names = [field.string.sval for field in inner.fields if field.WhichOneof("node") == "string"]
        return (names[-1], 2) if names else ("", 0)
    if which == "func_call":
        return inner.funcname[-1].string.sval, 2
    if which == "a_indirection":
        names = [step.string.sval for step in inner.indirection if step.WhichOneof("node") == "string"]
        return (names[-1], 2) if names else _name(inner.arg, depth + 1)
    if which in _FIXED:
        return _FIXED[which], 2
    return _constructed(which, inner, depth)


def _constructed(which: str, inner: Any, depth: int) -> tuple[str, int]:
    if which == "type_cast":
        name, strength = _name(inner.arg, depth + 1)
        if strength < 2 and len(inner.type_name.names):
            return inner.type_name.names[-1].string.sval, 1
        return name, strength
    if which == "collate_clause":
        return _name(inner.arg, depth + 1)
    if which == "sub_link":
        return _sublink(inner, depth)
    if which == "case_expr":
        name, strength = _name(inner.defresult, depth + 1)
        return (name, strength) if strength == 2 else ("case", 1)
    if which == "a_expr" and inner.kind == _NULLIF:
        return "nullif", 2
    if which == "min_max_expr":
        return ("greatest" if inner.op == 1 else "least"), 2
    tables = {"sqlvalue_function": _SQL_VALUES, "xml_expr": _XML, "json_func_expr": _JSON}
    if which in tables and inner.op < len(tables[which]):
        return tables[which][inner.op], 2
    return "", 0


def _sublink(inner: Any, depth: int) -> tuple[str, int]:
    kind = inner.sub_link_type
    if kind == 1:
        return "exists", 2
    if kind == 7:
        return "array", 2
    if kind == 5 and inner.subselect.WhichOneof("node") == "select_stmt":
        select = inner.subselect.select_stmt
        while select.HasField("larg"):
            select = select.larg
        if len(select.target_list):
            target = select.target_list[0].res_target
            return (target.name, 2) if target.name else _name(target.val, depth + 1)
    return "", 0
