"""Lines that run what only the shell knows: a function, a file that is read into it, the text of an ``eval``.

bash can ask about each simple command of such a line before it runs, in functions and files too, and what is asked then is a
command like any other. What it cannot ask about are the redirections of compound commands, and what runs beside the shell:
substitutions, subshells, jobs. So the text of the function or file comes with the question, is classified as a whole, and a line
is decided step by step only where everything of the second kind in it is known beforehand.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from agent.core.shell.classify import classify
from agent.core.shell.model import UNKNOWN_FLAGS, Classification

#: How many commands a line may run one by one.
STEP_LIMIT: Final = 1000
#: The longest function or file, in characters.
TEXT_LIMIT: Final = 64 * 1024

_BASH: Final = Language(tree_sitter_bash.language())
#: What each step will be asked about.
_STEPPED: Final = frozenset({"eval", "source"})
#: What a function may be called that runs where it is called and nowhere else: no hook, no name of a completion.
_PLAIN_NAME: Final = re.compile(r"(?!precmd|preexec|chpwd)[a-z][a-z0-9]*", re.ASCII)
_PLAIN_PATH: Final = re.compile(r"\s*(?:source|\.)\s+[\w./@%+,:=-]+(?:\s|\Z)", re.ASCII)
#: What runs where the shell cannot ask, and how much of its text is brackets.
_BESIDE: Final = {"command_substitution": (2, 1), "process_substitution": (2, 1), "subshell": (1, 1)}
_SIMPLE: Final = frozenset({"command", "redirected_statement", "test_command", "declaration_command", "variable_assignment"})


def stepped(line: str, meaning: Classification, about: tuple[bytes, ...]) -> Classification | None:
    """Return what ``line`` means where each of its commands is decided before it runs. None where that cannot be had.

    ``about`` is what the shell says of the line's first word: ``F`` and a function's text, ``S`` and a file's. It is trusted
    as far as the shell is, which runs what it says.
    """
    texts, flags = [line], meaning.flags
    known = [meaning]
    if len(about) == 2 and about[0] in (b"F", b"S"):
        text = about[1].decode("utf-8", "replace")
        if len(text) > TEXT_LIMIT or "�" in text:
            return None
        if about[0] == b"S":
            if not _reads_a_file(line, meaning):
                return None
            flags = flags - {"script_file"}
        else:
            head, _, text = text.partition("\n")  # bash writes the name on a line of its own
            if not head.rstrip().endswith("()"):
                return None
        texts.append(text)
        known.append(classify(text, carried=True))
        flags = flags | known[1].flags
    elif not flags & {"eval"} or "source" in flags:
        return None
    evals = [command for each in known for command in each.commands if command.program == "eval"]
    texts += [" ".join(word or "" for word in command.argv[1:]) for command in evals]
    if flags & UNKNOWN_FLAGS - _STEPPED or not all(_in_order(text) for text in texts):
        return None
    return _joined(known, (flags - _STEPPED) | {"steps"})


def defined(line: str, meaning: Classification, about: tuple[bytes, ...]) -> Classification | None:
    """Return what ``line`` means where it only defines a function: nothing yet. None where it does more.

    A function that takes the place of another, or of a program, may run without being called in a line: a prompt or a completion
    names it. So the shell has to say (``D`` and nothing) that the name meant nothing.
    """
    if meaning.flags & UNKNOWN_FLAGS != {"function_definition"} or about != (b"D", b""):
        return None
    nodes = Parser(_BASH).parse(line.encode()).root_node.named_children
    if [node.type for node in nodes] != ["function_definition"]:
        return None
    name = nodes[0].child_by_field_name("name")
    if name is None or not _PLAIN_NAME.fullmatch((name.text or b"").decode("utf-8", "replace")):
        return None
    return _joined([meaning], meaning.flags - {"function_definition"})


def _joined(known: list[Classification], flags: frozenset[str]) -> Classification:
    effects = frozenset().union(*(each.effects for each in known)) - {"unknown"} | {"execute"}
    verbs = frozenset[str]().union(*(each.verbs for each in known))
    objects = frozenset[str]().union(*(each.objects for each in known))
    return msgspec.structs.replace(known[0], effects=effects, verbs=verbs, objects=objects, flags=flags)


def _reads_a_file(line: str, meaning: Classification) -> bool:
    """`source ./x`, and nothing beside it: by a path, because another name is looked for in several places.

    A plain one: the shell has read the file of the path as it was typed, before quotes and patterns were taken from it.
    """
    if not _PLAIN_PATH.match(line) or len(meaning.commands) != 1:
        return False
    command = meaning.commands[0]
    path = command.argv[1] if len(command.argv) > 1 else None
    return command.program in {"source", "."} and not command.redirections and path is not None and "/" in path


def _in_order(text: str) -> bool:
    """True where all of the text that runs beside the shell is known, and the rest runs one by one."""
    stack: list[Node] = [Parser(_BASH).parse(text.encode()).root_node]
    while stack:
        node = stack.pop()
        if node.type == "&" or (node.type == "pipeline" and any(each.type not in _SIMPLE for each in node.named_children)):
            return False
        brackets = _BESIDE.get(node.type)
        if brackets is None:
            stack.extend(node.children)
            continue
        inner = (node.text or b"").decode("utf-8", "replace")
        if inner.startswith("`"):
            brackets = (1, 1)
        inner = inner[brackets[0] : -brackets[1]]
        if "`" in inner or "unknown" in classify(inner, carried=True).effects:
            return False
    return True
