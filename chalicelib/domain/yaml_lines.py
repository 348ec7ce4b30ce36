"""YAML that knows its lines: a bounded reader over PyYAML's nodes, so that every complaint names a place.

Only what a configuration file needs is understood: mappings, sequences, text, whole numbers and booleans. Anchors and aliases are
refused (a few lines of them expand to gigabytes), and so are explicit tags, several documents, deep nesting and long files.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from chalicelib.contracts.api import Problem

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # a PyYAML without libyaml reads the same, slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

SIZE_LIMIT: Final = 256 * 1024
DEPTH_LIMIT: Final = 12
NODE_LIMIT: Final = 50_000

_STR: Final = "tag:yaml.org,2002:str"
_INT: Final = "tag:yaml.org,2002:int"
_BOOL: Final = "tag:yaml.org,2002:bool"
_TRUE: Final = frozenset({"true", "yes", "on"})


class Refusal(Exception):  # noqa: N818 - the file's author's fault, carried as a value
    """The file cannot be read at all; ``problem`` says where and why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.message)


def compose(file: str, text: str) -> yaml.Node:
    """Return the root node of ``text``. Raises Refusal."""
    if len(text.encode("utf-8", "replace")) > SIZE_LIMIT:
        raise Refusal(Problem(file, 0, f"the file is larger than {SIZE_LIMIT // 1024} KB"))
    try:
        _check_events(file, text)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Refusal(Problem(file, mark.line + 1 if mark else 0, f"not YAML: {error.problem or error.context}")) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise Refusal(Problem(file, 0, f"not YAML: {error}".splitlines()[0])) from None
    if root is None:
        raise Refusal(Problem(file, 1, "the file is empty"))
    return root


def _check_events(file: str, text: str) -> None:
    depth = count = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Refusal(Problem(file, line, "one file holds one YAML document"))
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise Refusal(Problem(file, line, "anchors and aliases (& and *) are not accepted"))
        if not isinstance(event, yaml.NodeEvent):
            depth -= isinstance(event, yaml.CollectionEndEvent)
            continue
        count += 1
        if getattr(event, "tag", None) is not None:
            raise Refusal(Problem(file, line, "tags (!) are not accepted"))
        depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > DEPTH_LIMIT or count > NODE_LIMIT:
            raise Refusal(Problem(file, line, "the file is nested too deeply or holds too much"))


class Reader:
    """Reads nodes of one file and collects every problem instead of stopping at the first."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def complain(self, node: yaml.Node | None, message: str) -> None:
        """Note a problem at ``node``'s line."""
        self.problems.append(Problem(self.file, line(node), message))

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return ``{key: (key node, value node)}``; a repeated key is a problem and the first one stands."""
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, f"{what} must be a mapping")
            return {}
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.complain(key, f"a key of {what} must be text")
            elif key.value in found:
                self.complain(key, f"{what} names {key.value!r} twice")
            else:
                found[key.value] = (key, value)
        return found

    def known(self, fields: dict[str, tuple[yaml.Node, yaml.Node]], allowed: frozenset[str], what: str) -> None:
        """Complain about every key that is not ``allowed``: a misspelt setting must not pass for a missing one."""
        for name, (key, _) in fields.items():
            if name not in allowed:
                self.complain(key, f"{what} has no setting {name!r}; it knows {', '.join(sorted(allowed))}")

    def text(self, node: yaml.Node, what: str, limit: int = 256) -> str:
        """Return the text of ``node``, or an empty string after a complaint."""
        if not isinstance(node, yaml.ScalarNode) or node.tag != _STR:
            self.complain(node, f"{what} must be text; put it in quotes")
            return ""
        if len(node.value) > limit or any(not character.isprintable() for character in node.value):
            self.complain(node, f"{what} must be printable and at most {limit} characters long")
            return ""
        return str(node.value)

    def texts(self, node: yaml.Node, what: str) -> list[tuple[str, yaml.Node]]:
        """Return the members of a list of texts with their nodes."""
        if not isinstance(node, yaml.SequenceNode):
            self.complain(node, f"{what} must be a list")
            return []
        return [(found, each) for each in node.value if (found := self.text(each, f"a member of {what}"))]

    def value(self, node: yaml.Node, what: str) -> Any:
        """Return text, a whole number, a boolean or a list of texts; None after a complaint."""
        if isinstance(node, yaml.SequenceNode):
            return [text for text, _ in self.texts(node, what)]
        if isinstance(node, yaml.ScalarNode) and node.tag == _BOOL:
            return node.value.lower() in _TRUE
        if isinstance(node, yaml.ScalarNode) and node.tag == _INT:
            return self._number(node, what)
        return self.text(node, what, limit=4096) if isinstance(node, yaml.ScalarNode) else self._refuse(node, what)

    def _number(self, node: yaml.ScalarNode, what: str) -> int | None:
        # YAML 1.1 also reads octal, base 60 and underscores as numbers; nobody means those here.
        if not node.value.lstrip("-").isascii() or not node.value.lstrip("-").isdigit() or len(node.value) > 12:
            self.complain(node, f"{what} must be a plain whole number")
            return None
        return int(node.value)

    def _refuse(self, node: yaml.Node, what: str) -> None:
        self.complain(node, f"{what} must be text, a number, true or false, or a list of texts")


def line(node: yaml.Node | None) -> int:
    """Return the 1-based line of ``node``; 0 where there is none."""
    return node.start_mark.line + 1 if node is not None else 0
