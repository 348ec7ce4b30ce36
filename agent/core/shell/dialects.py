"""Constructs that bash reads as data and a plain POSIX shell (dash, busybox ash) reads as commands.

The line may be read by either: `sh -c` is dash on Debian, and the account's own shell is not ours to choose. So each
construct whose *extent* differs is a parse error when the difference could hide a command. fish and csh differ too
much for this; accounts with those shells need the target's policy to say so.
"""

from __future__ import annotations

import re

# Every shell agrees where these begin and end.
SAME_EXTENT = frozenset({"command_substitution", "string", "raw_string", "ansi_c_string", "expansion", "arithmetic_expansion"})

_TEST_JOIN = re.compile(r"[|&;\n](?![ \t]*(?:-[a-zA-Z]\s|![ \t]*-|[|&;\n]))")
_ATTACHED = re.compile(r"[^\s(|&;!]\(")
_NAME = re.compile(r"(?<![$\w{])[A-Za-z_]\w*", re.ASCII)


def test_hides_command(raw: str) -> bool:
    """`[[ a || rm x ]]`: to dash, `[[` fails and `rm x ]]` runs. `[[ -f a && -f b ]]` is harmless: -f is no program."""
    if _ATTACHED.search(raw) and not re.search(r"['\"\\`]|\$[({]", raw):
        return False  # a bracket after a word is a syntax error to dash, and nothing runs
    return bool(_TEST_JOIN.search(raw[2:-2]))


def arithmetic_names(raw: str) -> set[str]:
    """`((rm -x))`: to dash, two subshells that run `rm -x`. The words that could be programs."""
    return set(_NAME.findall(raw))


def string_extent_differs(raw: str) -> bool:
    """`$'a\\'; rm x #'`: to dash the string ends at the first quote. `'a\\'` in fish ends later."""
    if raw.startswith("$'"):
        return "\\'" in raw
    body = raw[1:-1]
    return (len(body) - len(body.rstrip("\\"))) % 2 == 1
