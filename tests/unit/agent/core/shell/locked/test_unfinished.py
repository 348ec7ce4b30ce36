"""What a shell would wait for."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from agent.core.shell.locked.unfinished import unfinished

BEGUN = [
    "echo 'a",
    'echo "a',
    'echo "a $(b',
    "echo $(a",
    "echo `a",
    "echo ${a",
    "echo $((1+",
    "a \\",
    "a |",
    "a &&",
    "a ||",
    "a && # b",
    "if true",
    "if true; then",
    "if true; then a; else",
    "while :; do",
    "for i in 1 2",
    "for i in 1; do a; done | while read b",
    "case x in",
    "case x in\nx) a;;",
    "{",
    "{ a;",
    "(a",
    "f() {",
    "f() { if a; then b; fi",
    "cat <<X",
    "cat <<X\nfoo",
    "cat <<-X\n\tfoo",
    "cat <<'X' && b\nfoo",
    "cat <<A <<B\nA",
    "a; if b; then c; fi; {",
    'echo "${a',
    "a 'b\\",
    "((1+",
    "! {",
    "until a",
]
WHOLE = [
    "",
    "echo",
    "echo 'a'",
    'echo "a"',
    'echo "a $(b "c") d"',
    "echo $(a)",
    "echo `a`",
    "echo ${a}",
    'echo "${a:-b}"',
    "echo $((1+2))",
    "a \\\n",
    "a \\\nb",
    "a | b",
    "a && b",
    "a &",
    "a;",
    "a # 'b",
    "echo a#'b'",
    "if true; then a; fi",
    "while :; do a; done",
    "for i in 1 2; do a; done",
    "for i in if while {; do a; done",
    "case x in x) a;; esac",
    "case x in (x) a;; *) b; esac",
    "{ a; }",
    "(a; b)",
    "f() { a; }",
    "f() (a)",
    "cat <<X\nfoo\nX",
    "cat <<-X\n\tfoo\n\tX",
    "cat <<'X' && b\n'\nX",
    "cat <<A <<B\nA\nB",
    "a <<<b",
    "echo if then {",
    "echo }",
    "echo a}b{c",
    "((1<<2))",
    "echo $((1<<2))",
    "echo \\'",
    'echo "\\""',
    "echo '\\'",
    "[ a ] && b",
    "! a",
    "a 2>&1 >/dev/null",
    "fi",
    ")",
    "echo $#",
    "echo ${#a}",
    'echo "`a`"',
    "a <b >c",
    "if a\nthen b\nfi",
    "x=$(case a in a) b;; esac)",
]


@pytest.mark.parametrize("text", BEGUN)
def test_it_goes_on(text: str) -> None:
    assert unfinished(text)


@pytest.mark.parametrize("text", WHOLE)
def test_it_is_over(text: str) -> None:
    assert not unfinished(text)


@pytest.mark.parametrize("text", [each for each in WHOLE if "<<<" not in each and "((1" not in each])
def test_a_real_shell_waits_for_no_more_of_it(text: str) -> None:
    dash = shutil.which("dash")
    if dash is None:
        pytest.skip("no dash")
    told = subprocess.run([dash, "-n"], input=text + "\n", capture_output=True, text=True, check=False).stderr
    assert "end of file" not in told
    assert "Unterminated" not in told
