"""fish's blocks and commands, and what they are to a POSIX shell."""

import pytest

from agent.core.shell.fish.statements import render
from agent.core.shell.fish.words import UnreadableError


@pytest.mark.parametrize(
    ("fish", "posix"),
    [
        ("a", "a"),
        ("a; b &\nc && d ||\n e", "a\nb &\nc\nd\ne"),
        ("a; and b; or not c", "a\nb\nc"),
        ("a | b |\n c", "a | b | c"),
        ("a &| b 2>| c >| d", "a | b | c | d"),
        ("time ! a", "a"),
        ("time -p a", "'time' -p a"),
        ("A=1 B=(c) d", "A=1 B=$( c) d"),
        ("a >f 2>>g <h >?i", "a > f 2>> g < h > i"),
        ("a 2>&1 <&- >&2", "a 2>&1 <&- >&2"),
        ("a &>>f", "a >> f 2>&1"),
        ("a2>f", "a2 > f"),
        ("a <(b)", "a < $( b)"),
        ("begin; a; end", "{ a\n}"),
        ("begin a; end >f | b", "{ a\n} > f | b"),
        ("if a; b; else if c; d; else; e; end", "{ a\nb\nc\nd\ne\n}"),
        ("if a\n    b\nelse\n    if c\n        d\n    end\nend", "{ a\nb\n{ c\nd\n}\n}"),
        ("while a; b; end", "{ a\nb\n}"),
        ("for f in *.log (x); a $f; end", "{ f=(*.log $( x))\na ${f}\n}"),
        ("switch (a); case b 'c*'; d; case '*'; e; end", "{ words=($( a))\nwords=(b 'c*')\nd\nwords=('*')\ne\n}"),
        ("switch a; case --help -h; end", "{ words=(a)\nwords=(--help -h)\n}"),
        ("A=1 begin; a; end", "{ A=1\na\n}"),
        ("A=1 not a", "{ A=1\na\n}"),
        ("a | while read l; b $l; end", "a | { read l\nb ${l}\n}"),
        ("a (begin; b; end)", "a $( { b\n})"),
        ("a # b\nc", "a\nc"),
        ("a \\\n  b", "a b"),
        ("a#b", "'a#b'"),
        ("until a; then", "'until' a\n'then'"),
        ("[ -f a ]", "'[' -f a ']'"),
        ("a end if", "a end 'if'"),
    ],
)
def test_all_that_may_run_is_there(fish: str, posix: str) -> None:
    assert render(fish).text == f"{{ {posix}\n}}"


@pytest.mark.parametrize("line", ["", " ; \n", "begin; end", "# a"])
def test_nothing_runs(line: str) -> None:
    assert render(line).text == ""


@pytest.mark.parametrize(
    "line",
    [
        "'if' a; b; end", "b\\egin; a; end", "i\"f\" a; b; end", "if a", "begin; a", "end", "else", "case a", "a; end",
        "begin --help",
        "if -h", "and", "not", "a &&", "a | ", "| a", "a | and b", "a & && b", "a &b", "end a", "begin; a; end b",
        "for a b; c; end",
        "for $a in b; c; end", "for a in b > f; c; end", "for a in b | c; end", "switch a; b; case c; end", "A=1", "2=3 a",
        "é=1 a",
        "a[1]=b c", "> f a", "a <> f", "a << b", "a >& f", "a >", "begin; end > f", "begin; end | a", "function; a; end", "a)",
        "begin; " * 30 + "a" + "; end" * 30, "not " * 30 + "a",
    ],
)  # fmt: skip
def test_what_is_not_certain_is_not_read(line: str) -> None:
    with pytest.raises(UnreadableError):
        render(line)


def test_what_the_text_does_not_say() -> None:
    assert render("a & # b").flags == {"background", "comment"}
    assert render("for argv in a; b; end").flags == {"tamper"}
    assert render("argv=1 b").flags == {"tamper"}
    assert render("function f --on-event x; a; end; function $g; b; end").functions == ("f", None)
