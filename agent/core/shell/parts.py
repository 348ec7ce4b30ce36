"""The parts of a word that stand for themselves: text without quotes and in double ones, dollars that expand nothing, backquotes.

The parser says which they are, and each is looked at again: text that the shell would still expand is a parse error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tree_sitter import Node

from agent.core.shell.words import (
    Pieces,
    is_live,
    unescape_backquoted,
    unescape_double,
    unescape_unquoted,
    unescaped,
)

if TYPE_CHECKING:
    from agent.core.shell.walk import Walk

_WORD_SPECIAL = re.compile(r"[;&|<>()`\n \t\"']")
_GLOB = re.compile(r"[*?\[]")
_BRACE = re.compile(r"\{[^}]*(?:,|\.\.)|^\{.+")


def plain(walk: Walk, node: Node, pieces: Pieces) -> None:
    """Text without quotes, in which the parser has found nothing else."""
    raw = walk.raw(node)
    if node.named_child_count:
        walk.flag("parse_error")
    bare = unescaped(raw)
    if _WORD_SPECIAL.search(bare) or is_live(raw, quoted=False):
        walk.flag("parse_error")
    pieces.glob = pieces.glob or bool(_GLOB.search(bare))
    if "\\" in raw:
        pieces.quoted = True
    pieces.literal(unescape_unquoted(raw), quoted=False)


def concatenation(walk: Walk, node: Node, pieces: Pieces) -> None:
    """Parts that stand side by side, with nothing between them."""
    at = node.start_byte
    bare = []
    for child in node.children:
        if child.start_byte != at:
            walk.flag("parse_error")
        at = child.end_byte
        if child.is_named:
            walk.piece(child, pieces)
            bare.append(unescaped(walk.raw(child)) if child.type in {"word", "number"} else "x")
        elif child.type == "$":
            # `$"…"` is a string to be translated; the parser knows it only at the beginning of a word.
            locale = walk.source[at : at + 1] in {b'"', b"'"}
            lone_dollar(walk, child)
            pieces.literal("" if locale else "$", quoted=locale)
        else:
            walk.flag("parse_error")
    if at != node.end_byte:
        walk.flag("parse_error")
    joined = "".join(bare)
    if joined != "{}" and "{" in joined and _BRACE.search(joined):
        pieces.brace = True


def lone_dollar(walk: Walk, node: Node) -> None:
    """A dollar that the parser calls literal must be one, and must not begin an expansion."""
    following = walk.source[node.end_byte : node.end_byte + 1].decode("utf-8", "replace")
    if walk.raw(node) != "$" or is_live("$" + following, quoted=True):
        walk.flag("parse_error")


def quoted_text(walk: Walk, raw: str, pieces: Pieces) -> None:
    """Literal text inside double quotes."""
    if is_live(raw, quoted=True):
        walk.flag("parse_error")
    pieces.literal(unescape_double(raw), quoted=True)


def backquoted(walk: Walk, node: Node, *, in_double: bool) -> None:
    """Backquotes are read again from their text: escapes inside must be removed before parsing."""
    if "`" in unescaped(walk.raw(node)[1:-1]):
        walk.flag("parse_error")  # to the shell the first one that is not escaped ends it, whatever the quotes
    walk.reading.text(unescape_backquoted(walk.raw(node)[1:-1], in_double=in_double))
