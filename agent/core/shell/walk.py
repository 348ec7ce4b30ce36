"""From the parse tree to simple commands: a walk over tree-sitter-bash's tree that trusts it as little as it can.

tree-sitter always returns a tree. So: an ERROR or MISSING node is a parse error, a node type that is not handled here
is a parse error, bytes that no node covers are a parse error, and text that the parser calls literal is looked at
again for anything the shell would still expand. The walk over statements uses a stack, so a long chain costs no
recursion; only substitutions recurse, and they are counted against the depth limit.

Grammar: POSIX Shell Command Language, and the bash reference manual where bash differs.
"""

from __future__ import annotations

import re

from tree_sitter import Node

from agent.core.shell import conditions, dialects, parts, redirecting, substitutions
from agent.core.shell.environment import CHARSET, is_tamper
from agent.core.shell.model import Redirection
from agent.core.shell.options import names
from agent.core.shell.reading import Reading
from agent.core.shell.substitutions import WORD_NODES
from agent.core.shell.words import (
    UNKNOWN,
    Pieces,
    Word,
    decode_ansi,
    is_live,
    literal,
)  # fmt: skip

# Nodes that only hold others; the walk descends into them.
STRUCTURE = names("""
    program list pipeline subshell compound_statement do_group if_statement elif_clause else_clause while_statement
    for_statement c_style_for_statement case_statement case_item negated_command test_command binary_expression
    unary_expression ternary_expression postfix_expression parenthesized_expression variable_assignments
""")
# After these, code no longer runs exactly once and in order, so assignments inside are not propagated.
STRAIGHT = frozenset({"program"})
ATOMS = frozenset({"variable_name", "special_variable_name", "test_operator", "heredoc_start", "heredoc_end", "file_descriptor"})
REDIRECTS = frozenset({"file_redirect", "herestring_redirect", "heredoc_redirect"})
ARITHMETIC = frozenset({"arithmetic_expansion", "c_style_for_statement", "subscript"})
RESERVED = names("{ } ! if then else elif fi for while until do done case esac in function select [[ ]] time coproc")

_ENDS_WORD = frozenset([b" ", b"\t", b"\n", b";", b"&", b"|", b"(", b")", b"<", b">", b"`", b"\\"])
_BLANK = re.compile(rb"(?:[ \t\n]|\\\n)*")
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
# The counter of `for ((i = 0; …))`.
_COUNTER = re.compile(r"\s*\(\(\s*([A-Za-z_]\w*)\s*=\s*-?\d+\s*;", re.ASCII)
# Arithmetic that gives a variable another value: `(PATH = 1)`, `PATH += 1`, `PATH++`.
_CHANGES = re.compile(r"(?:<<|>>|[^=!<>])=(?!=)|\+\+|--")
_SUBSCRIPT = re.compile(r"\[([^\]]*)\]\+?=")
# Nothing the shell would expand or remove.
_PLAIN_WORD = re.compile(r"[\w./:=@%+,-]+")
_INDIRECT = re.compile(r"\$\{!(?!.*[*@]\]?\}$)", re.DOTALL)


class Walk:
    """One walk over one parsed text."""

    def __init__(self, source: bytes, reading: Reading) -> None:
        self.source = source
        self.reading = reading
        self.straight = True
        # Substitutions and arrays around what is being read.
        self.nesting = 0
        self.block_end = 0

    def flag(self, name: str) -> None:
        self.reading.flags.add(name)

    def raw(self, node: Node) -> str:
        return self.source[node.start_byte : node.end_byte].decode("utf-8", "replace")

    def before(self, node: Node) -> bytes:
        """The byte before a node, empty at the start."""
        return self.source[max(node.start_byte - 1, 0) : node.start_byte]

    # -- statements ------------------------------------------------------------------------------------------------

    def statements(self, root: Node) -> None:
        """Everything below `root`, in the order it is written."""
        outside = self.reading.piped
        if root.parent is None:
            # The parser drops what it takes for blanks at either end, `\\ ` among them.
            self.gap(0, root.start_byte)
            self.gap(root.end_byte, len(self.source))
        stack = [(root, self.straight, outside)]
        while stack:
            node, self.straight, self.reading.piped = stack.pop()
            if "too_long" in self.reading.flags:
                break  # the rest cannot change the answer: it is unknown
            if node.type in STRUCTURE or node.is_error:
                stack.extend(self.structure(node))
            else:
                self.statement(node)
        self.reading.piped = outside

    def structure(self, node: Node) -> list[tuple[Node, bool, bool]]:
        """What is below a node that only holds others: (node, straight, piped), last first."""
        kind = node.type
        self.gaps(node)
        children = node.children
        if kind == "c_style_for_statement":
            self.loop_header(node)
        elif kind == "for_statement":
            self.loop_variable(node)
        elif kind == "test_command" or (kind == "compound_statement" and children[0].type == "(("):
            conditions.test(self, node)
        straight = self.straight and kind in STRAIGHT
        piped = self.reading.piped
        below: list[tuple[Node, bool, bool]] = []
        for position, child in enumerate(children):
            if child.is_named:
                after = children[position + 1].type if position + 1 < len(children) else ""
                below.append((child, straight and after != "&", piped or (kind == "pipeline" and bool(below))))
            elif child.type == "&":
                self.flag("background")
        below.reverse()
        return below

    def loop_variable(self, node: Node) -> None:
        name = node.child_by_field_name("variable")
        if name is not None:
            self.reading.assign(self.raw(name), UNKNOWN, straight=False)

    def statement(self, node: Node) -> None:
        kind = node.type
        if kind == "command":
            self.command(node, [])
        elif kind == "redirected_statement":
            self.redirected(node)
        elif kind in {"declaration_command", "unset_command"}:
            self.declaration(node, [])
        elif kind == "variable_assignment":
            self.assignment(node, straight=self.straight)
            self.reading.command([], [])
        elif kind == "function_definition":
            self.function(node)
        elif kind in WORD_NODES:
            self.word(node)
        elif kind == "array":
            self.nested_words(node)
        elif kind == "subscript":
            self.arithmetic(node)
            self.nested_words(node)
        elif kind in REDIRECTS:
            self.standing_redirect(node)
        else:
            self.leaf(node)

    def leaf(self, node: Node) -> None:
        kind = node.type
        if kind in {"extglob_pattern", "regex"}:
            if is_live(self.raw(node), quoted=False):
                self.flag("parse_error")
        elif kind == "comment":
            self.comment(node)
        elif kind not in ATOMS:
            self.flag("parse_error")

    def nested_words(self, node: Node) -> list[Word]:
        """Words directly below a node that is not itself a word."""
        words = []
        for child in node.named_children:
            if child.type in WORD_NODES:
                words.append(self.word(child))
            elif child.type == "variable_name":
                words.append(literal(self.raw(child)))
            else:
                self.substatements(child)
        return words

    def substatements(self, node: Node) -> None:
        straight = self.straight
        self.straight = False
        self.statements(node)
        self.straight = straight

    def function(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        self.reading.function(self.word(name).text if name is not None else None)
        for child in node.named_children:
            if child != name:
                self.substatements(child)

    def comment(self, node: Node) -> None:
        if self.nesting:
            self.flag("parse_error")  # bash prints substitutions and reads them again; comments do not survive it
        if self.before(node) not in b" \t\n;&|(":
            self.flag("parse_error")
        self.flag("comment")

    def gaps(self, node: Node) -> None:
        """Bytes between children that no child covers must be blanks."""
        at = node.start_byte
        for child in node.children:
            self.gap(at, child.start_byte)
            at = child.end_byte
            # `!x` and `{x` are words; a reserved word must end where it is recognised.
            if not child.is_named and child.type in RESERVED and (self.source[at : at + 1] or b"\n") not in _ENDS_WORD:
                self.flag("parse_error")
        self.gap(at, node.end_byte)

    def gap(self, start: int, end: int) -> None:
        if start < end and not _BLANK.fullmatch(self.source, start, end):
            self.flag("parse_error")

    def loop_header(self, node: Node) -> None:
        """`for ((i = 0; …; …))`: the first part sets what the others use."""
        body = node.child_by_field_name("body")
        end = body.start_byte if body is not None else node.end_byte
        text = self.source[node.start_byte + len("for") : end].decode("utf-8", "replace")
        counter = _COUNTER.match(text)
        if counter:
            if is_tamper(counter[1]):
                self.flag("tamper")
            text = re.sub(rf"\b{counter[1]}\b", " ", text)
        self.arithmetic(node, text)

    def arithmetic(self, node: Node, text: str | None = None) -> None:
        raw = self.raw(node) if text is None else text
        names = _NAME.findall(raw)
        self.reading.evaluates(names[1:] if node.type == "subscript" else names)
        if _CHANGES.search(raw) and any(is_tamper(name) for name in names):
            self.flag("tamper")
        substitutions.check_arithmetic(self, node)

    # -- simple commands -------------------------------------------------------------------------------------------

    def command(self, node: Node, redirections: list[Redirection], more: list[Word] | None = None) -> None:
        words: list[Word] = []
        self.gaps(node)
        end, was_redirect = node.start_byte, True
        for child in node.children:
            kind = child.type
            redirect = kind in REDIRECTS
            if child.start_byte == end and not (redirect or was_redirect):
                self.flag("parse_error")  # two words that touch are one word to the shell
            end, was_redirect = child.end_byte, redirect
            if redirect:
                words.extend(redirecting.redirect(self, child, redirections))
            elif kind == "variable_assignment":
                self.assignment(child, straight=False)
            elif kind == "command_name":
                inner = child.children
                words.append(self.name(inner[0]) if len(inner) == 1 else UNKNOWN)
            elif kind in WORD_NODES:
                words.append(self.word(child))
            elif kind in {"$", "==", "="}:
                if kind == "$":
                    parts.lone_dollar(self, child)
                words.append(literal(kind))
            else:
                self.flag("parse_error")
                words.append(UNKNOWN)
                if child.is_named:
                    self.substatements(child)
        self.reading.command(words + (more or []), redirections)

    def name(self, node: Node) -> Word:
        word = self.word(node)
        if not word.quoted and word.text in RESERVED and word.text not in {"time", "coproc"}:
            self.flag("parse_error")
        return word

    def declaration(self, node: Node, redirections: list[Redirection], more: list[Word] | None = None) -> None:
        words = [literal(self.raw(node.children[0]))]
        self.gaps(node)
        end = node.children[0].end_byte
        for child in node.children[1:]:
            if child.start_byte == end:
                self.flag("parse_error")  # `export}` is one word
            end = child.end_byte
            if child.type == "variable_assignment":
                value = self.assignment(child, straight=False)
                name = child.child_by_field_name("name")
                text = self.raw(name) if name else ""
                # Of a locale, the value has been judged already.
                words.append(literal(text) if text in CHARSET else Word(None, f"{text}=" if name else "", inert=value))
            elif child.type in WORD_NODES:
                words.append(self.word(child))
            elif child.type == "variable_name":
                words.append(literal(self.raw(child)))
            else:
                self.flag("parse_error")
                self.substatements(child)
        self.reading.command(words + (more or []), redirections)

    def redirected(self, node: Node) -> None:
        redirections: list[Redirection] = []
        more: list[Word] = []
        self.gaps(node)
        body = node.child_by_field_name("body")
        for child in node.children:
            if child.type in REDIRECTS:
                more.extend(redirecting.redirect(self, child, redirections))
            elif child != body:
                self.flag("parse_error")
        if more and any(each.operator.startswith("&>") for each in redirections):
            self.flag("parse_error")  # `echo a &>f rm x`: to dash, `&` ends the command and `rm x` is the next one
        if body is not None and body.type == "command":
            self.command(body, redirections, more)
        elif body is not None and body.type in {"declaration_command", "unset_command"}:
            self.declaration(body, redirections, more)
        else:
            if more:
                self.flag("parse_error")
            self.reading.command([], redirections)
            if body is not None:
                piped = self.reading.piped
                self.reading.piped = piped or any(each.feeds for each in redirections)
                self.substatements(body)
                self.reading.piped = piped

    def standing_redirect(self, node: Node) -> None:
        redirections: list[Redirection] = []
        if redirecting.redirect(self, node, redirections):
            self.flag("parse_error")
        self.reading.command([], redirections)

    def assignment(self, node: Node, *, straight: bool) -> bool:
        """Report one assignment; True where its value is known, or plain, or a list whose elements were reported."""
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        self.gaps(node)
        if name is None:
            self.flag("parse_error")
            return False
        listed = name.type == "subscript"
        if listed:
            self.statement(name)
            straight = False
            inner = name.child_by_field_name("name")
            name = inner if inner is not None else name
        text = self.raw(name)
        if not _NAME.fullmatch(text):
            self.flag("parse_error")
        word: Word | None = None
        if value is not None and value.type in WORD_NODES:
            word = self.word(value)
        elif value is not None:
            self.nesting += 1
            for subscript in _SUBSCRIPT.findall(self.raw(value)):
                self.reading.evaluates(_NAME.findall(subscript))
            self.nested_words(value)
            self.nesting -= 1
            word, listed = UNKNOWN, True
        if listed:
            self.reading.arrays.add(text)
        if any(child.type == "+=" for child in node.children):
            straight = False
        self.reading.assign(text, word, straight=straight)
        return word is None or word.text is not None or word.inert or word is UNKNOWN

    # -- words -----------------------------------------------------------------------------------------------------

    def word(self, node: Node) -> Word:
        """The value of a word; commands inside its expansions are reported on the way."""
        if node.type == "word":
            raw = self.raw(node)
            if _PLAIN_WORD.fullmatch(raw):
                return Word(raw, raw)
        pieces = Pieces()
        self.piece(node, pieces)
        return pieces.word()

    def piece(self, node: Node, pieces: Pieces) -> None:
        kind = node.type
        if kind in {"word", "number"}:
            parts.plain(self, node, pieces)
        elif kind == "raw_string":
            if dialects.string_extent_differs(self.raw(node)):
                self.flag("parse_error")
            pieces.literal(self.raw(node)[1:-1], quoted=True)
        elif kind == "string":
            substitutions.double_quoted(self, node, pieces)
        elif kind == "ansi_c_string":
            if dialects.string_extent_differs(self.raw(node)):
                self.flag("parse_error")
            text = decode_ansi(self.raw(node)[2:-1])
            if text is None:
                pieces.unknown(splits=False)
            else:
                pieces.literal(text, quoted=True)
        elif kind in {"concatenation", "translated_string"}:
            parts.concatenation(self, node, pieces)
        elif kind == "brace_expression":
            for child in node.named_children:
                self.piece(child, pieces)
            pieces.literal("{", quoted=False)
            pieces.brace = True
        else:
            substitutions.expand(self, node, pieces, quoted=False)
