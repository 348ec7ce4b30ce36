"""Conditions, `[ ]`, `[[ ]]` and `(( ))`: commands that start nothing, and evaluate what they compare."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tree_sitter import Node

from agent.core.shell import builtins, dialects, substitutions
from agent.core.shell.substitutions import WORD_NODES

if TYPE_CHECKING:
    from agent.core.shell.walk import Walk

#: Expansions that are numbers.
_NUMBER = re.compile(r"\$[?#$!]|\$\{#")

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: Whether a descriptor is a terminal: to zsh, its number is arithmetic.
_TERMINAL = re.compile(r"(?<=\s)-t\s+(?![0-9]+\s)")
# `-eq` and its kin in `[[ ]]`.
_OPERATOR = re.compile(r"(?<=\s)-[A-Za-z]{1,2}(?=\s)")


def test(walk: Walk, node: Node) -> None:
    """`[ ]`, `[[ ]]` and `(( ))` are commands, though they start nothing."""
    raw = walk.raw(node)
    walk.reading.command([], [])
    if not raw.startswith("((") and (
        raw.lstrip("[")[:1] not in {" ", "\t", "\n"} or walk.before(node.children[-1]) not in b" \t\n"
    ):
        walk.flag("parse_error")  # `[x]` is a word
    if raw.startswith("(("):
        walk.arithmetic(node)
        walk.reading.bare_arithmetic.update(dialects.arithmetic_names(raw))
    # `-eq` and its kin evaluate both sides as arithmetic, -v and -R a subscript.
    elif walk.reading.zsh and _TERMINAL.search(raw):
        walk.arithmetic(node)
    elif re.search(r"-(?:[vR]|eq|ne|lt|le|gt|ge)\b" if raw.startswith("[[") else r"-[vR]\b", raw):
        walk.arithmetic(node, _OPERATOR.sub("", raw))
    elif not raw.startswith("[["):
        for word in _below(walk, node):
            _unquoted(walk, word)
    if raw.startswith("[[") and dialects.test_hides_command(_without_words(walk, node)):
        walk.flag("parse_error")


def _below(walk: Walk, node: Node) -> Iterator[Node]:
    """What a test compares: its words, whatever operators hold them together."""
    stack = [*node.named_children]
    while stack:
        child = stack.pop()
        if child.type in WORD_NODES:
            yield child
        else:
            stack.extend(child.named_children)


def _unquoted(walk: Walk, word: Node) -> None:
    """`[ $x ]`: what is not quoted may become several words, `-v` and a subscript among them."""
    for part in word.named_children if word.type == "concatenation" else [word]:
        raw = walk.raw(part)
        if part.type in {"word", "extglob_pattern"} and builtins.is_operator(raw):
            walk.flag("dynamic_code")
        if part.type in {"simple_expansion", "expansion"} and not _NUMBER.match(raw):
            walk.reading.evaluates(_NAME.findall(raw) or {"?"})
        elif part.type == "command_substitution" and not substitutions.INERT.fullmatch(raw.strip("`$()").encode()):
            walk.flag("dynamic_code")


def _without_words(walk: Walk, node: Node) -> str:
    """The text of a node with an x for every quoted string and substitution in it."""
    kept, at, stack = [], node.start_byte, list(reversed(node.children))
    while stack:
        child = stack.pop()
        if child.type in dialects.SAME_EXTENT:
            kept.append(walk.source[at : child.start_byte] + b"x")
            at = child.end_byte
        else:
            stack.extend(reversed(child.children))
    return b"".join([*kept, walk.source[at : node.end_byte]]).decode("utf-8", "replace")
