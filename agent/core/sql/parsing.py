"""Text to parse tree, without the ways in which a text can hurt the parser.

libpg_query is PostgreSQL's grammar in C. It is called with a C string, so a NUL would end the text early: such texts are refused.
Its printer recurses once per operator and has no bound, so operators that may nest are counted first, from the tokens. Its
protobuf decoder accepts a tree of some hundred levels; deeper ones are refused by the decoder itself.
"""

from __future__ import annotations

import re
from typing import Any

from agent.core.sql.grammar import DecodeError, PgQueryError, postgast
from agent.core.sql.model import DEFAULT, Limits

# A superset of the tokens that can make the tree deeper. Counted in everything, quoted text included, because it is quick.
_CHEAP = re.compile(
    r"[-+*/%<>=~!@#^&|`?:(\[$]|(?i:case|union|except|intersect|join|is|notnull|collate|at|not|in|like|and|or|similar)"
)
_PIECE = 32_768
_TOKENS = postgast.pg_query_pb2.Token
# Tokens that never make the tree deeper. Every other one is taken to.
_FLAT = frozenset(
    number
    for name, number in _TOKENS.items()
    if name in {"IDENT", "UIDENT", "FCONST", "SCONST", "USCONST", "BCONST", "XCONST", "ICONST", "PARAM", "SQL_COMMENT",
                "C_COMMENT", "ASCII_46"}
)  # fmt: skip
_OPEN = frozenset({_TOKENS.Value("ASCII_40"), _TOKENS.Value("ASCII_91")})
_CLOSE = frozenset({_TOKENS.Value("ASCII_41"), _TOKENS.Value("ASCII_93")})
_COMMA, _SEMICOLON = _TOKENS.Value("ASCII_44"), _TOKENS.Value("ASCII_59")
_ATOMIC = _TOKENS.Value("ATOMIC")
_SET_OPERATIONS = frozenset({_TOKENS.Value("UNION"), _TOKENS.Value("EXCEPT"), _TOKENS.Value("INTERSECT")})


def nesting(text: str, enough: int) -> int:
    """An upper bound on how deep the parser's tree for `text` can become, from its tokens.

    Tokens between two commas of one bracket may hold each other; set operations may do so across commas, and a routine's
    ``BEGIN ATOMIC`` across semicolons: such a body may create a routine. Stops above `enough`.
    """
    levels: list[list[int]] = [[0, 0]]
    peak = 0
    atomic = False
    for token in postgast.scan(text).tokens:
        kind = token.token
        if kind in _FLAT:
            continue
        top = levels[-1]
        if kind in _OPEN:
            levels.append([top[0] + top[1] + 1, 0])
        elif kind in _CLOSE:
            inner = levels.pop() if len(levels) > 1 else top
            levels[-1][0] = max(levels[-1][0], inner[0] + inner[1])
        elif atomic and kind in (_COMMA, _SEMICOLON):
            top[0] += 1
        elif kind == _COMMA:
            top[0] = levels[-2][0] + levels[-2][1] + 1 if len(levels) > 1 else 0
        elif kind == _SEMICOLON and len(levels) == 1:
            levels = [[0, 0]]
        else:
            atomic = atomic or kind == _ATOMIC
            top[1 if kind in _SET_OPERATIONS else 0] += 1
        peak = max(peak, levels[-1][0] + levels[-1][1])
        if peak > enough:
            break
    return peak


def screen(text: str, limits: Limits) -> str | None:
    """The flag that says why `text` must not be parsed, or None."""
    if "\x00" in text:
        return "parse_error"
    try:
        length = len(text) if text.isascii() else len(text.encode("utf-8"))
    except UnicodeEncodeError:
        return "parse_error"
    if length > limits.max_bytes or (length > limits.max_parts and text.count(",") + text.count("(") > limits.max_parts):
        return "too_long"
    if length <= limits.max_operators or not _may_nest(text, limits.max_operators):
        return None
    try:
        return "too_deep" if nesting(text, limits.max_operators) > limits.max_operators else None
    except PgQueryError:
        return "parse_error"


def _may_nest(text: str, most: int) -> bool:
    """Whether more than `most` of the text may nest. Looked at piece by piece: a search lets nobody else have the interpreter."""
    found = 0
    for at in range(0, len(text), _PIECE):
        # One more for what the cut may have hidden.
        found += len(_CHEAP.findall(text, at, at + _PIECE)) + 1
        if found > most:
            return True
    return False


def parse(text: str, limits: Limits) -> tuple[Any, str | None]:
    """The tree, or None and the flag that says why there is none."""
    flag = screen(text, limits)
    if flag is not None:
        return None, flag
    try:
        return postgast.parse(text), None
    except PgQueryError:
        return None, "parse_error"
    except (DecodeError, RecursionError):
        return None, "too_deep"


def complaint(text: str) -> tuple[str, int]:
    """What PostgreSQL's parser says against `text`, and the position in characters, from 1; empty where it says nothing."""
    if screen(text, DEFAULT) is not None:
        return "", 0
    try:
        postgast.parse(text)
    except PgQueryError as error:
        return str(getattr(error, "message", "")), int(getattr(error, "cursorpos", 0))
    except (DecodeError, RecursionError):
        return "", 0
    return "", 0


def statements(text: str, tree: Any) -> list[tuple[int, str, Any]]:
    """Position in characters, exact text, and node of each statement. The parser counts UTF-8 bytes."""
    raw = text.encode("utf-8")
    found = []
    for statement in tree.stmts:
        start = statement.stmt_location
        end = start + statement.stmt_len if statement.stmt_len else len(raw)
        piece = raw[start:end].decode("utf-8", "replace")
        lead = len(piece) - len(piece.lstrip())
        position = start if text.isascii() else len(raw[:start].decode("utf-8", "replace"))
        found.append((position + lead, piece.strip(), statement.stmt))
    return found
