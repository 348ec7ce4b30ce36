"""Expansions inside words: `$x`, `${…}`, `$(…)`, backquotes, `<(…)`, `$((…))`, double quotes and here-documents.

Each function reports the commands it finds to the walk it is given. The rule throughout: find every substitution the
parser found, then look at what is left of the text; if the shell could still find one there, the line is dynamic.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tree_sitter import Node

from agent.core.shell import parts
from agent.core.shell.options import names
from agent.core.shell.words import UNKNOWN, Pieces

if TYPE_CHECKING:
    from agent.core.shell.walk import Walk

_LEFT_OVER = re.compile(r"`|\$\(|\$\[|<\(|>\(")
_PLAIN = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
_SIMPLE = re.compile(r"\$(?:\w+|[@*#?$!-]|\{\w+\})", re.ASCII)
_ASSIGNS = re.compile(r"\$\{([A-Za-z_]\w*)(?:\[[^\]]*\])?:?=", re.ASCII)
_SUBSCRIPT = re.compile(rb"\[([^\]]*)")
_NUMBERS = re.compile(rb"[-0-9,@*]*")
_NUMERIC = frozenset({"$#", "$?", "$$", "$!"})
_STATUS = re.compile(r"\$\{PIPESTATUS\[\d+\]\}", re.ASCII)
_POSITIONAL = re.compile(r"\$\{?[0-9@*]")
_NAMES = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_INDIRECT = re.compile(r"\$\{!(?!\w+(?:\[[@*]\]|[@*])\}$)")
# Programs whose output, with these arguments, is a plain token: no blanks, no leading dash, nothing to evaluate.
INERT = re.compile(
    rb"""\s*(?:hostname(?:\ -[fs])?|whoami|nproc|id\ -(?:u|g|un|gn)|uname(?:\ -[rmns])?|arch
    |date\ (?:-u\ )?['"]?\+%[-_.:%a-zA-Z0-9T]*['"]?|date\ -I)\s*""",
    re.VERBOSE,
)
WORD_NODES = names("""
    word number raw_string string ansi_c_string translated_string simple_expansion expansion command_substitution
    process_substitution arithmetic_expansion concatenation brace_expression
""")
NESTING = frozenset({"expansion", "simple_expansion", "command_substitution", "process_substitution", "arithmetic_expansion"})


def expand(walk: Walk, node: Node, pieces: Pieces, *, quoted: bool) -> None:
    """One expansion node: report what it runs, and add its value to the word."""
    if not walk.reading.enter():
        pieces.unknown(splits=True)
        return
    kind = node.type
    if kind == "simple_expansion" or (kind == "expansion" and _PLAIN.fullmatch(walk.raw(node))):
        variable(walk, node, pieces, quoted=quoted)
    elif kind == "expansion":
        parameter(walk, node)
        status = _STATUS.fullmatch(walk.raw(node))
        pieces.unknown(splits=not quoted or "@" in walk.raw(node), of="PIPESTATUS" if status else "")
    elif kind == "command_substitution":
        inert = command(walk, node, in_double=quoted)
        pieces.unknown(splits=not quoted, inert=inert)
    elif kind == "process_substitution":
        block(walk, node)
        pieces.unknown(splits=False)
    elif kind == "arithmetic_expansion":
        walk.arithmetic(node)
        block(walk, node)
        pieces.unknown(splits=False, inert=True)
    else:
        walk.flag("parse_error")
        pieces.unknown(splits=True)
    walk.reading.leave()


def variable(walk: Walk, node: Node, pieces: Pieces, *, quoted: bool) -> None:
    """`$x` and `${x}`: a literal assigned earlier in the same line, or unknown."""
    raw = walk.raw(node)
    if not _SIMPLE.fullmatch(raw):
        walk.flag("parse_error")  # the parser lets a blank stand after the dollar
    subscript(walk, node)
    match = _PLAIN.fullmatch(raw)
    value = walk.reading.variables.get(match[1] or match[2]) if match else None
    if value is None or not walk.straight or (not quoted and re.search(r"[\s*?\[\\]|^$", value)):
        of = match[1] or match[2] if match else ""
        pieces.unknown(splits=not quoted or raw == "$@", inert=raw in _NUMERIC, of=of)
    else:
        pieces.literal(value, quoted=True)


def subscript(walk: Walk, node: Node) -> None:
    """`$a[x]`: to bash a set of characters behind a value, to zsh arithmetic, which runs what the values of its names say."""
    found = _SUBSCRIPT.match(walk.source, node.end_byte)
    if found and not _NUMBERS.fullmatch(found[1]):
        text = found[1].decode("utf-8", "replace")
        if _POSITIONAL.search(text) or "`" in text or "$(" in text:
            walk.flag("dynamic_code")
        walk.reading.evaluates(_NAMES.findall(text) or {"?"})


def parameter(walk: Walk, node: Node) -> None:
    """`${x:-word}` and its kin."""
    raw = walk.raw(node)
    if _INDIRECT.match(raw) or raw.endswith(("@P}", "@E}")):
        walk.flag("dynamic_code")  # the value of one variable is evaluated: as a name with a subscript, or as a prompt
    if not re.match(r"\$\{[!#]?[\w@*#?$!-]", raw):
        walk.flag("parse_error")  # zsh flags, or nothing we know
    assigned = _ASSIGNS.match(raw)
    if assigned:
        walk.reading.assign(assigned[1], UNKNOWN, straight=False)
    if "[" in raw or re.match(r"\$\{\w+:[^-+=?]", raw):
        walk.reading.evaluates(_NAMES.findall(raw)[1:])
    inside(walk, node)


def inside(walk: Walk, node: Node) -> None:
    """Report every substitution below `node`; anything like one in the text that remains makes the line dynamic."""
    rest, at = [], node.start_byte
    stack = list(reversed(node.children))
    while stack:
        child = stack.pop()
        if child.type in NESTING:
            rest.append(walk.source[at : child.start_byte])
            at = child.end_byte
            expand(walk, child, Pieces(), quoted=True)
        elif child.is_error or child.is_missing:
            walk.flag("parse_error")
        else:
            if child.type == "subscript":
                walk.arithmetic(child)
            stack.extend(reversed(child.children))
    rest.append(walk.source[at : node.end_byte])
    if _LEFT_OVER.search(b" ".join(rest).decode("utf-8", "replace")[2:]):
        walk.flag("dynamic_code")


def command(walk: Walk, node: Node, *, in_double: bool) -> bool:
    """`$(…)` or backquotes; true if the output can only be a plain token."""
    raw = walk.source[node.start_byte : node.end_byte]
    if raw.startswith(b"`"):
        parts.backquoted(walk, node, in_double=in_double)
        return bool(INERT.fullmatch(raw[1:-1]))
    if not raw.startswith(b"$("):
        walk.flag("parse_error")
    if raw.startswith(b"$(("):
        walk.flag("parse_error")  # arithmetic to bash, a subshell to us
    block(walk, node)
    return bool(INERT.fullmatch(raw[2:-1]))


def block(walk: Walk, node: Node) -> None:
    """Statements between the brackets of a substitution."""
    walk.gaps(node)
    walk.nesting += 1
    outer, walk.block_end = walk.block_end, node.end_byte - 1
    for child in node.children:
        if child.type == "&":
            walk.flag("background")
        if child.is_named:
            walk.substatements(child)
    walk.nesting -= 1
    walk.block_end = outer


def double_quoted(walk: Walk, node: Node, pieces: Pieces) -> None:
    """`"…"`: expansions by node, everything between them by bytes (the parser leaves blanks out of its content)."""
    at = node.start_byte + (2 if walk.source[node.start_byte : node.start_byte + 1] == b"$" else 1)
    pieces.literal("", quoted=True)
    for child in node.children:
        if child.type not in NESTING:
            if child.is_named and child.type != "string_content":
                walk.flag("parse_error")
            continue
        parts.quoted_text(walk, walk.source[at : child.start_byte].decode("utf-8", "replace"), pieces)
        at = child.end_byte
        expand(walk, child, pieces, quoted=True)
    parts.quoted_text(walk, walk.source[at : max(at, node.end_byte - 1)].decode("utf-8", "replace"), pieces)


def check_arithmetic(walk: Walk, node: Node) -> None:
    """bash evaluates variables in arithmetic again, subscripts and all: `a[$(cmd)]` in a value runs cmd."""
    raw = walk.raw(node)
    if _POSITIONAL.search(raw):
        walk.flag("dynamic_code")
    stack = [node]
    while stack:
        child = stack.pop()
        if child.type == "command_substitution":
            text = walk.source[child.start_byte : child.end_byte]
            if not INERT.fullmatch(text[2:-1]):
                walk.flag("dynamic_code")
        elif child.type in {"raw_string", "ansi_c_string"} and re.search(r"\$\(|`|\\", walk.raw(child)):
            walk.flag("dynamic_code")
        else:
            stack.extend(child.children)
