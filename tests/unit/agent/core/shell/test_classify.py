"""The whole: limits, determinism, never an exception, and the shape of the answer."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.shell import EFFECTS, FLAGS, UNKNOWN_FLAGS, Classification, Limits, classify

FRAGMENTS = st.sampled_from(
    [
        "rm",
        "ls",
        " ",
        "\n",
        ";",
        "|",
        "&",
        "&&",
        "$(",
        ")",
        "`",
        "'",
        '"',
        "\\",
        "$x",
        "${",
        "}",
        "{",
        "<<E\n",
        "\nE\n",
        ">",
        "<",
        "<(",
        "((",
        "))",
        "[[",
        "]]",
        "if",
        "then",
        "fi",
        "for i in",
        "do",
        "done",
        "case",
        "esac",
        "f()",
        "x=",
        "a[",
        "]",
        "sudo ",
        "sh -c ",
        "find . -exec ",
        "env ",
        "-",
        "--",
        "$'",
        "#",
        "!",
        "*",
        "\0",
        "\u00a0",
        "é",
        "git ",
        "docker exec c ",
        "sed -e ",
        "awk ",
        "tar ",
        "ssh h ",
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=30).map("".join)))
def test_any_text_has_one_answer_within_the_closed_sets(text: str) -> None:
    found = classify(text)
    assert found == classify(text)
    assert found.effects <= EFFECTS
    assert found.flags <= FLAGS.keys()
    assert ("unknown" in found.effects) or not (found.flags & UNKNOWN_FLAGS)
    if text.strip(" \n\t") and not found.commands:
        assert found.flags & (UNKNOWN_FLAGS | {"comment"})


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_a_command_after_a_complete_line_is_never_lost(text: str) -> None:
    found = classify(text)
    if not found.flags & UNKNOWN_FLAGS:
        longer = classify(f"{text}\nrm zz")
        assert "rm" in longer.verbs or longer.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize("text", ["", " ", "\n", " \t\n "])
def test_nothing_is_empty(text: str) -> None:
    assert classify(text) == Classification((), frozenset(), frozenset(), frozenset(), frozenset({"empty"}))


@pytest.mark.parametrize(
    ("text", "limits", "flag"),
    [
        ("ls " + "x" * 100, Limits(max_bytes=50), "too_long"),
        ("ls;" * 20, Limits(max_commands=10), "too_long"),
        ("sh -c 'ls; ls; ls'", Limits(max_tokens=12), "too_long"),
        ("sudo " * 30 + "ls", Limits(), "too_deep"),
        ("$(" * 30 + "ls" + ")" * 30, Limits(), "too_deep"),
        ("${a:-" * 30 + "}" * 30, Limits(), "too_deep"),
        ("(" * 10_000, Limits(), "too_deep"),
        ("eval " * 40 + "ls", Limits(), "too_deep"),
    ],
)
def test_limits_are_unknown_not_errors(text: str, limits: Limits, flag: str) -> None:
    found = classify(text, limits)
    assert flag in found.flags
    assert "unknown" in found.effects


@pytest.mark.parametrize(
    "text",
    [
        "(" * 60_000,
        "$(" * 30_000,
        "`" * 60_000,
        '"$(' * 20_000,
        "a[" * 30_000,
        "a|" * 30_000,
        "<<a\n" * 20_000,
        "f() " * 16_000,
        "sudo " * 12_000,
        "! " * 30_000,
        "if a; then " * 5_000,
        "1+" * 30_000,
        "[[ " + "\n" * 60_000,
        "awk '" + "print|" * 10_000 + "'",
        "[" * 60_000,
    ],
)
def test_hostile_text_ends(text: str) -> None:
    assert "unknown" in classify(text).effects


def test_deep_chains_use_no_recursion() -> None:
    assert "unknown" not in classify(" && ".join(["ls"] * 900)).effects


def test_the_answer_is_plain_data() -> None:
    found = classify("sudo rm -rf '/srv/a b' > /dev/null")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Classification) == found
    assert [command.program for command in found.commands] == ["sudo", "rm"]
    assert found.commands[1].argv == ("rm", "-rf", "/srv/a b")
    assert found.effects == {"write"}
    assert found.objects >= {"/srv/a b"}
    assert found.flags == {"privilege", "recursive_delete"}


def test_every_flag_is_documented_and_unknown_flags_are_flags() -> None:
    assert FLAGS.keys() >= UNKNOWN_FLAGS
    assert all(FLAGS.values())


CARRIED = [
    "echo $((x))",
    "echo $[x]",
    'echo "$((1 + x))"',
    "echo ${PWD:x}",
    "echo ${PWD:1:x}",
    "echo ${a[x]}",
    "echo ${a[$x]}",
    "a[x]=1",
    "a=([x]=1)",
    "a=([$x]+=1)",
    "[[ $x -eq 1 ]]",
    "[[ x -gt 1 ]]",
    "[[ -v $x ]]",
    "[[ -v a[x] ]]",
    "[ -v 'a[x]' ]",
    "let x",
    "read 'a[x]'",
    "unset 'a[x]'",
    "printf -v 'a[x]' 1",
    "declare 'a[x]=1'",
    "for ((i=0; i<x; i++)); do :; done",
    "for ((i=0; x; i++)); do :; done",
    "for ((i=x; i<1; i++)); do :; done",
    "echo $((x)); x=1",
    "false && x=1; echo $((x))",
    "x=$y; echo $((x))",
    "f() { echo $((x)); }",
]


@pytest.mark.parametrize("line", CARRIED)
def test_a_value_that_another_line_set_may_be_code_to_arithmetic(line: str) -> None:
    assert "dynamic_code" in classify(line, carried=True).flags


@pytest.mark.parametrize(
    "line",
    [
        "echo $((1 + 2))",
        "x=1; echo $((x + 1))",
        "echo $((UID))",
        "[[ 1 -eq 2 ]]",
        "[[ $x == y ]]",
        "[[ -f $x ]]",
        '[ "$x" -eq 1 ]',
        "[ $? -eq 1 ]",
        "x=1; [ $x -eq 1 ]",
        "echo ${x:0:3}",
        "echo ${x:-y}",
        "echo ${a[0]}",
        "echo ${a[-1]}",
        "echo ${a[@]}",
        "a=(x y)",
        "for ((i=0; i<3; i++)); do :; done",
        "printf '%d' 1",
        "read x",
        "unset x",
        "declare x=1",
    ],
)
def test_where_no_other_line_counts(line: str) -> None:
    assert "unknown" not in classify(line, carried=True).effects
    assert classify(line, carried=True) == classify(line)
