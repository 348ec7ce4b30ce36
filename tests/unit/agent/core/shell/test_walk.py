"""Statements to simple commands: every place where a shell may put a command is looked into, and doubt is a flag."""

import pytest

from agent.core.shell import UNKNOWN_FLAGS, classify


def programs(line: str) -> list[str | None]:
    return [command.program for command in classify(line).commands if command.argv]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a; b", ["a", "b"]),
        ("a && b || c", ["a", "b", "c"]),
        ("a | b |& c", ["a", "b", "c"]),
        ("a & b", ["a", "b"]),
        ("(a; b)", ["a", "b"]),
        ("{ a; }", ["a"]),
        ("! a", ["a"]),
        ("if a; then b; elif c; then d; else e; fi", ["a", "b", "c", "d", "e"]),
        ("while a; do b; done", ["a", "b"]),
        ("until a; do b; done", ["a", "b"]),
        ("for i in $(a); do b; done", ["a", "b"]),
        ("select i in x; do b; done", ["b"]),
        ("for ((i=$(a);i<$(b);i++)); do c; done", ["a", "b", "c"]),
        ("case $(a) in x|$(b)) c;; esac", ["a", "b", "c"]),
        ("f() { a; }", ["a"]),
        ("function f { a; }", ["a"]),
        ("[[ -n $(a) ]]", ["a"]),
        ("[ -n $(a) ]", ["a"]),
        ("(( $(a) ))", ["a"]),
        ("x=$(a)", ["a"]),
        ("x=1 y=$(a) b", ["a", "b"]),
        ("x=($(a) b)", ["a"]),
        ("x[$(a)]=1", ["a"]),
        ("> f a", ["a"]),
        ("> $(a) b", ["a", "b"]),
        ("a > >(b)", ["b", "a"]),
        ("export x=$(a)", ["a", "export"]),
        ("unset x", ["unset"]),
        ("cat <<E | a\nb\nE", ["cat", "a"]),
        ("cat <<E x\nb\nE", ["cat"]),
        ("a # b\nc", ["a", "c"]),
    ],
)
def test_every_command_is_found(line: str, expected: list[str]) -> None:
    assert set(expected) <= set(programs(line))
    if not classify(line).flags & {"parse_error"}:
        assert len(programs(line)) == len(expected)


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("ls -la /x", ("ls", "-la", "/x")),
        ("ls 'a b' \"c d\" e\\ f", ("ls", "a b", "c d", "e f")),
        ("ls $x y", ("ls", None, "y")),
        ("ls {a,b}", ("ls", None)),
        ("ls a{}b", ("ls", "a{}b")),
        ("find . -exec x {} \\;", ("find", ".", "-exec", "x", "{}", ";")),
        ("ls $'a\\tb'", ("ls", "a\tb")),
        ("ls 2>&1 x > f y", ("ls", "x", "y")),
        ("cat <<E x\nb\nE", ("cat", "x")),
        ("ls a$'b'\"c\"'d'", ("ls", "abcd")),
        ("ls ''", ("ls", "")),
        ('ls r$"m" a$', ("ls", "rm", "a$")),
        ('ls "a  b"', ("ls", "a  b")),
    ],
)
def test_words_have_their_value(line: str, argv: tuple[str | None, ...]) -> None:
    assert argv in [command.argv for command in classify(line).commands]


@pytest.mark.parametrize(
    "line",
    [
        "if",
        "a (b)",
        "{a,b}",
        "! { a; }",
        "!a; }",
        "'a",
        '"a',
        "a b)",
        "$(a",
        "a <<E\nb",
        "a <<A <<B\na\nA\nb\nB",
        "*a=c3",
        "[[ a",
        "!}",
        "${ a; }",
        "${(e)x}",
        "ls =(a)",
        "ls +(a)",
        ">$ z a",
        "!$'a'",
        "[[ a || b ]]",
        "((a))",
        "echo a &>f b",
        "{ a }",
        "then a",
        'z$$"a"',
        "y=(a)# | b",
        "[x]",
        "[ x]",
        "\\ a b",
        "a \\ ",
        "export} y=a",
        "a & ''z$}}",
        'd "`export y=<(export y="`c`")`"',
        "cat <<E; a\nb\nE\nc",
    ],
)
def test_what_is_not_our_grammar_is_a_parse_error(line: str) -> None:
    assert "parse_error" in classify(line).flags


def test_a_redirection_belongs_to_its_command() -> None:
    (command,) = classify("ls 2>>err > out < in").commands
    assert [(each.operator, each.target, each.descriptor) for each in command.redirections] == [
        (">>", "err", "2"),
        (">", "out", None),
        ("<", "in", None),
    ]


@pytest.mark.parametrize(
    ("line", "effects"),
    [
        ("ls > f", {"read", "write"}),
        ("ls >> f", {"read", "write"}),
        ("ls >| f", {"read", "write"}),
        ("ls &> f", {"read", "write"}),
        ("> f", {"write"}),
        ("{ ls; } > f", {"read", "write"}),
        ("ls > /dev/null 2>&1", {"read"}),
        ("ls 2>&-", {"read"}),
        ("ls >&2", {"read"}),
        ("ls > $f", {"read", "write"}),
        ("cat < f", {"read"}),
        ("cat <<< x", {"read"}),
    ],
)
def test_redirections_have_effects(line: str, effects: set[str]) -> None:
    assert classify(line).effects == effects


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("a=rm; $a x", "rm"),
        ("a=r; b=m; $a$b x", "rm"),
        ('a=rm; "${a}" x', "rm"),
        ("a=ls; a=rm; $a", None),
        ("a=rm & $a", None),
        ("true && a=rm; $a", None),
        ("if x; then a=rm; fi; $a", None),
        ("(a=rm); $a", None),
        ("a=rm $a", None),
        ("a='rm x'; $a", None),
        ("a=$b; $a", None),
        ("UID=rm; $UID", None),
        ("a=ls; read a; $a", None),
        ("a+=rm; $a", None),
        ("for a in rm; do $a; done", None),
    ],
)
def test_only_a_straightforward_literal_is_propagated(line: str, program: str | None) -> None:
    found = classify(line)
    assert found.commands[-1].program == program
    assert ("dynamic_command" in found.flags) is (program is None)


@pytest.mark.parametrize("line", ["ls &", "(ls &)", "echo $(ls & )", "{ ls & }"])
def test_background_is_flagged(line: str) -> None:
    assert "background" in classify(line).flags


def test_a_comment_is_flagged_and_harmless() -> None:
    found = classify("ls # rm x")
    assert found.verbs == {"ls"}
    assert found.flags == {"comment"}
    assert not classify("# only").flags & UNKNOWN_FLAGS


def test_a_program_is_named_through_every_quoting() -> None:
    for line in ["'rm' x", '"rm" x', "r\\m x", "$'rm' x", "$'\\x72m' x", 'r""m x', "r\\\nm x", "/bin/rm x", "//usr//bin//rm x"]:
        assert "rm" in classify(line).verbs, line
