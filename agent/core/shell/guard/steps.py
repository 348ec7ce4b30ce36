"""Lines that run what only the shell knows: a function, a file that is read into it, the text of an ``eval``.

bash can ask about each simple command of such a line before it runs, in functions and files too, and what is asked then is a
command like any other. What it cannot ask about are the redirections of compound commands, and what runs beside the shell:
substitutions, subshells, jobs. So the text of the function or file comes with the question, is classified as a whole, and a line
is decided step by step only where everything of the second kind in it is known beforehand.

Pipes are of both kinds: what they start is a subshell each, in which bash asks nothing; and it asks about the second command when
the first one has the terminal, so that it cannot read the answer. A line with pipes is decided by its text, where all of that is
known, and is `unknown` otherwise.
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
#: How bash tells of a compound command before its parts, and what is missing there; a test of a word runs nothing.
_HEADS: Final = {"for": "; do [[ x ]]; done", "select": "; do [[ x ]]; done", "case": " *) [[ x ]] ;; esac"}
#: A line's first word, where it is a name and nothing else.
_NAME: Final = re.compile(r"\s*([A-Za-z_][\w-]*)(?=[\s;&|<>]|\Z)", re.ASCII)


def command(told: str) -> str:
    """Return the command of which the shell tells ``told``: of `for`, `select` and `case` it tells the head alone."""
    return told + _HEADS.get(told.partition(" ")[0], "")


def stepped(line: str, meaning: Classification, about: tuple[bytes, ...]) -> Classification | None:
    """Return what ``line`` means where each of its commands is decided before it runs. None where that cannot be had.

    ``about`` is what the shell says of the line's first word: ``F`` and a function's text, ``S`` and a file's. It is trusted
    as far as the shell is, which runs what it says.
    """
    texts, flags = [line], meaning.flags
    known = [meaning]
    if len(about) == 2 and about[0] in (b"F", b"S"):
        text = _body(about) if about[0] == b"F" else _told(about)
        if text is None:
            return None
        if about[0] == b"S":
            if not _reads_a_file(line, meaning):
                return None
            flags = flags - {"script_file"}
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


def whole(line: str, meaning: Classification, about: tuple[bytes, ...]) -> Classification | None:
    """Return what ``line`` means where its text, and that of the function or `eval` that it begins with, say all that runs.

    Nothing of it needs to be asked about again. A file is never known so: it may be another one when it is read.
    """
    found = _NAME.match(line)
    if found is None or not meaning.commands:
        return None
    first = meaning.commands[0].argv
    if about[:1] == (b"F",):
        text = _body(about, found[1])
    elif first[:1] == ("eval",) and None not in first:
        text = " ".join(word or "" for word in first[1:])
    else:
        return None
    if text is None:
        return None
    # What is around the call: the line, with a word in the name's place that does nothing. It must not be what the text reads.
    around, inside = classify(f"true{line[found.end() :]}", carried=True), classify(text, carried=True)
    fed = "<" in line or any(each.feeds for command in around.commands for each in command.redirections)
    if found[1] != first[0] or fed or "unknown" in around.effects | inside.effects:
        return None
    return _joined([meaning, inside], around.flags | inside.flags)


def defined(line: str, meaning: Classification, about: tuple[bytes, ...]) -> Classification | None:
    """Return what ``line`` means where it only defines a function: nothing yet. None where it does more.

    A function that takes the place of another, or of a program, may run without being called in a line: a prompt or a completion
    names it. So the shell has to say (``D`` and nothing) that the name meant nothing.
    """
    # What an `eval` in it runs is read when the function is called.
    if meaning.flags & UNKNOWN_FLAGS - {"eval"} != {"function_definition"} or about != (b"D", b""):
        return None
    nodes = Parser(_BASH).parse(line.encode()).root_node.named_children
    if [node.type for node in nodes] != ["function_definition"]:
        return None
    name = nodes[0].child_by_field_name("name")
    if name is None or not _PLAIN_NAME.fullmatch((name.text or b"").decode("utf-8", "replace")):
        return None
    return _joined([meaning], meaning.flags - {"function_definition", "eval"})


def _told(about: tuple[bytes, ...]) -> str | None:
    text = about[1].decode("utf-8", "replace") if len(about) == 2 else "�"
    return None if len(text) > TEXT_LIMIT or "�" in text else text


def _body(about: tuple[bytes, ...], name: str = "") -> str | None:
    """The text of a function, of ``name`` where one is given. bash writes it on a line of its own before the text."""
    head, _, text = (_told(about) or "").partition("\n")
    return text if head.rstrip().endswith(f"{name} ()") else None


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
        if node.type in {"&", "pipeline"}:
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
