"""Redirections and here-documents: where they point, and the arguments that may follow them on the line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tree_sitter import Node

from agent.core.shell.model import Redirection
from agent.core.shell.substitutions import NESTING, WORD_NODES, expand
from agent.core.shell.words import Pieces, Word, is_live, unescape_unquoted

if TYPE_CHECKING:
    from agent.core.shell.walk import Walk

#: `{name}> file` puts a number into the variable, and leaves it there; the parser takes it for an argument.
_NAMED = re.compile(rb"\{([A-Za-z_]\w*)(\[[^\n]*\])?\}$")
_NUMBER = Word(None, inert=True)
#: The parser takes the zero of `0>&3` for an argument.
_ZERO = re.compile(rb"(?:^|[ \t\n;&|()<>])0+$")


def redirect(walk: Walk, node: Node, found: list[Redirection]) -> list[Word]:
    """Add the redirection to `found`; return the words of the command that follow it on the same line."""
    variable(walk, node)
    if node.type == "heredoc_redirect":
        return heredoc(walk, node, found)
    walk.gaps(node)
    operator, descriptor = "", None
    words: list[Word] = []
    for child in node.children:
        if child.type == "file_descriptor":
            descriptor = walk.raw(child)
            if walk.before(child) not in b" \t\n;&|()<>":
                walk.flag("parse_error")  # `rm2>x` is the word rm2
        elif child.type in WORD_NODES:
            words.append(walk.word(child))
        elif child.is_named:
            walk.flag("parse_error")
            walk.substatements(child)
        else:
            operator = child.type
    if len(words) != 1 and not (not words and operator.endswith("&-")):
        # The parser lets `> a b` be two targets; to the shell b is an argument.
        extra = words[1:]
        words = words[:1]
        if not words:
            walk.flag("parse_error")
    else:
        extra = []
    if descriptor is None and _ZERO.search(walk.source[max(node.start_byte - 8, 0) : node.start_byte]):
        descriptor = "0"
    redirection = Redirection(operator, words[0].text if words else None, descriptor)
    found.append(redirection)
    walk.reading.redirect(redirection)
    return extra


def variable(walk: Walk, node: Node) -> None:
    """`{name}> file`: what the redirection sets, for every later command too."""
    named = _NAMED.search(walk.source, max(node.start_byte - 256, 0), node.start_byte)
    if named:
        walk.reading.assign(named[1].decode(), _NUMBER, straight=False)
        if named[2] and not re.fullmatch(rb"\[\d+\]", named[2]):
            walk.flag("dynamic_code")


def heredoc(walk: Walk, node: Node, found: list[Redirection]) -> list[Word]:
    """`<<word`: expansions in the body run too, unless any part of the delimiter is quoted (POSIX 2.7.4)."""
    # bash prints a substitution and reads it again. It loses track of a here-document that is two deep, or that is
    # not the last thing inside, and runs its body.
    if walk.nesting > 1 or (walk.nesting == 1 and walk.source[node.end_byte : walk.block_end].strip()):
        walk.flag("parse_error")
    start = body = end = None
    words: list[Word] = []
    for child in node.children:
        kind = child.type
        if kind == "heredoc_start":
            start = child
        elif kind == "heredoc_body":
            body = child
        elif kind == "heredoc_end":
            end = child
        elif kind in {"file_redirect", "herestring_redirect", "heredoc_redirect"}:
            words.extend(redirect(walk, child, found))
        elif kind == "file_descriptor":
            walk.flag("parse_error")
        elif child.is_named:
            argument = node.children_by_field_name("argument")
            if child in argument:
                words.append(walk.word(child))
            else:
                walk.substatements(child)
        elif child.type == "&":
            walk.flag("background")
    _check_heredoc(walk, node, start, body, end)
    found.append(Redirection("<<", None))
    return words


def _check_heredoc(walk: Walk, node: Node, start: Node | None, body: Node | None, end: Node | None) -> None:
    if start is None or end is None:
        walk.flag("parse_error")
        return
    raw_delimiter = walk.raw(start)
    delimiter = unescape_unquoted(re.sub(r"^(['\"])([^'\"\\]*)\1$", r"\2", raw_delimiter))
    strip = "\t" if walk.raw(node).startswith("<<-") else ""
    if not re.fullmatch(r"[\w.+-]+", delimiter) or walk.raw(end).lstrip(strip or "\n") != delimiter:
        walk.flag("parse_error")
        return
    line = walk.source.rfind(b"\n", 0, end.start_byte) + 1
    if walk.source[line : end.start_byte].strip(strip.encode() or b"\n"):
        walk.flag("parse_error")  # the parser takes an indented delimiter; the shell reads on
    if walk.source[end.end_byte : end.end_byte + 1] not in {b"", b"\n"}:
        walk.flag("parse_error")
    if body is None:
        return
    text = walk.raw(body)
    if any(line.lstrip(strip) == delimiter if strip else line == delimiter for line in text.split("\n")):
        walk.flag("parse_error")
    if raw_delimiter != delimiter:
        return
    rest, at = [], body.start_byte
    for child in body.children:
        if child.type in NESTING:
            rest.append(walk.source[at : child.start_byte].decode("utf-8", "replace"))
            at = child.end_byte
            expand(walk, child, Pieces(), quoted=True)
        elif child.is_named and child.type != "heredoc_content":
            walk.flag("parse_error")
    rest.append(walk.source[at : body.end_byte].decode("utf-8", "replace"))
    if any(is_live(piece, quoted=True) for piece in rest):
        walk.flag("parse_error")
