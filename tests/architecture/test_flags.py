"""Every flag that an operation can have is announced, and every one that is announced can be had."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from agent.protocols.postgres.plugin import ANNOUNCEMENT as POSTGRES
from agent.protocols.ssh.plugin import ANNOUNCEMENT as SSH

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "ssh": (SSH, ("agent/core/shell", "agent/protocols/ssh")),
    "postgres": (POSTGRES, ("agent/core/sql", "agent/protocols/postgres")),
}
SEEN = {"ssh": {"stream", "pty", "tunnel", "dotdot"}, "postgres": {"raw", "physical", "unreadable", "probes_tagged"}}
#: Where the flags are listed: that does not count as having them.
LISTS = {"flags.py", "model.py"}


@cache
def trees(protocol: str) -> list[ast.AST]:
    paths = [path for folder in FOLDERS[protocol][1] for path in sorted((ROOT / folder).rglob("*.py"))]
    return [ast.parse(path.read_text()) for path in paths if path.name not in LISTS]


def given(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every expression that becomes flags: an argument or a variable called so, or what is added to one."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="flags", value=value):
                yield value
            case ast.Assign(targets=[target], value=value) | ast.AugAssign(target=target, value=value) if _is_flags(target):
                yield value
            case ast.Call(func=ast.Attribute(value=target, attr="add"), args=[value]) if _is_flags(target):
                yield value


def _is_flags(node: ast.expr) -> bool:
    return (isinstance(node, ast.Name) and node.id == "flags") or (isinstance(node, ast.Attribute) and node.attr == "flags")


def constants(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that stand for one word each."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(word))):
                yield name, word
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str(word))):
                yield name, word
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for name_, value in zip(names, values, strict=True):
                    if isinstance(name_, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield name_.id, value.value


def words(value: ast.expr, named: dict[str, str]) -> Iterator[str]:
    """Yield the literal members of ``value``; what is compared, or decides between two, is none."""
    match value:
        case ast.Name(id=name) if name in named:
            yield named[name]
        case ast.Constant(value=str(word)):
            yield word
        case ast.Set(elts=members) | ast.List(elts=members) | ast.Tuple(elts=members):
            for member in members:
                yield from words(member, named)
        case ast.BinOp(left=left, right=right):
            yield from words(left, named)
            yield from words(right, named)
        case ast.IfExp(body=left, orelse=right):
            yield from words(left, named)
            yield from words(right, named)
        case ast.Call(args=arguments):
            for argument in arguments:
                yield from words(argument, named)


@pytest.mark.parametrize("protocol", FOLDERS)
def test_what_is_given_is_announced(protocol: str) -> None:
    named = {name: word for tree in trees(protocol) for name, word in constants(tree) if name.isupper()}
    found = {word for tree in trees(protocol) for value in given(tree) for word in words(value, named)}
    assert found >= SEEN[protocol], "the reading of the source sees literals and names"
    assert found <= set(FOLDERS[protocol][0].flags)


@pytest.mark.parametrize("protocol", FOLDERS)
def test_what_is_announced_is_somewhere(protocol: str) -> None:
    texts = [node.value for tree in trees(protocol) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    # Tables hold several words in one text.
    literal = {word for text in texts if isinstance(text, str) for word in text.split()}
    assert set(FOLDERS[protocol][0].flags) - literal == set()
