"""Builtins that change the shell."""

import pytest

from agent.core.shell import classify
from agent.core.shell.environment import is_tamper


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("eval ls", "eval"),
        ("eval $x", "dynamic_code"),
        (". f", "source"),
        ("source f", "source"),
        ("trap 'rm x' EXIT", "tamper"),
        ("trap - DEBUG", "tamper"),
        ("alias ls=rm", "shadowing"),
        ("hash -p /x ls", "shadowing"),
        ("enable -n echo", "shadowing"),
        ("ls() { :; }", "shadowing"),
        ("f() { :; }", "function_definition"),
        ("set +o history", "tamper"),
        ("set -- a b", "tamper"),
        ("shopt -s extdebug", "tamper"),
        ("bind x", "tamper"),
        ("history -c", "tamper"),
        ("unset HISTFILE", "tamper"),
        ("read PATH", "tamper"),
        ("printf -v PATH x", "tamper"),
        ("export PATH=/x", "tamper"),
        ('export "PATH=/x"', "tamper"),
        ("declare -n x=PATH", "tamper"),
        ("declare -i x=$y", "dynamic_code"),
        ("export $x", "dynamic_code"),
        ("complete -C x y", "dynamic_code"),
        ("mapfile -C x -c 1", "dynamic_code"),
        ("fc -s", "dynamic_code"),
        ("test -v 'a[$(x)]'", "dynamic_code"),
        ("let 'a[$(x)]=1'", "dynamic_code"),
        ('let "a=$x"', "dynamic_code"),
        ('unset "a$x"', "dynamic_code"),
        ('read "a$x"', "dynamic_code"),
        ('printf -v "a$x" 1', "dynamic_code"),
        ('wait -p "a$x"', "dynamic_code"),
        ('printf "$x" PATH ls', "dynamic_code"),
        ("wait \"$x\" 'a[b]'", "dynamic_code"),
        ("RANDOM=$x", "dynamic_code"),
        ("read RANDOM", "dynamic_code"),
        ("for RANDOM in $x; do :; done", "dynamic_code"),
        ("read -e x", "opaque"),
        ("read -rep 'x? ' y", "dynamic_code"),
        ('read "-$x" y', "dynamic_code"),
        ("test $x", "dynamic_code"),
        ("test \"$x\" 'a[b]'", "dynamic_code"),
        ("[ $(cat f) ]", "dynamic_code"),
        ("read x; [ $x -eq 1 ]", "dynamic_code"),
        ("unset __sp''_z", "tamper"),
        ("for PATH in x; do :; done", "tamper"),
        (": ${PATH:=x}", "tamper"),
        ("BASH_ENV=x", "tamper"),
        ("BASH_ALIASES[x]=y", "tamper"),
        ("path=(x)", "tamper"),
    ],
)
def test_flags(line: str, flag: str) -> None:
    found = classify(line)
    assert flag in found.flags
    assert "unknown" in found.effects


@pytest.mark.parametrize(
    "line",
    [
        "set -e",
        "set -euo pipefail",
        "trap",
        "trap -p",
        "alias",
        "history",
        "history 20",
        "export LANG=C",
        "export x",
        "read x",
        "declare x=1",
        "local x",
        "printf x",
        "printf '%s' PATH",
        "hash",
        "hash -r",
        "type ls",
        "enable -a",
        "shopt -p",
        "unset x",
        "test -f x",
        "wait",
        "umask",
        "let x=1+1",
    ],
)
def test_ordinary_use_is_not_flagged(line: str) -> None:
    assert "unknown" not in classify(line).effects


def test_code_in_builtins_is_read() -> None:
    for line in ["eval rm x", "eval 'rm' x", "trap 'rm x' EXIT", "alias l='rm x'", "command eval rm x"]:
        assert "rm" in classify(line).verbs, line


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "LD_PRELOAD",
        "LD_AUDIT",
        "BASH_ENV",
        "ENV",
        "PROMPT_COMMAND",
        "PS4",
        "IFS",
        "HISTFILE",
        "GIT_SSH",
        "MANPAGER",
        "LESSOPEN",
        "PYTHONPATH",
        "NODE_OPTIONS",
        "FOO_PAGER",
        "TAR_OPTIONS",
        "fpath",
    ],
)
def test_names_that_change_what_runs(name: str) -> None:
    assert is_tamper(name)


@pytest.mark.parametrize("name", ["LANG", "LC_ALL", "TZ", "a", "FOO", "DEBIAN_FRONTEND", "AWS_REGION", "TERM", "PGHOST"])
def test_names_that_do_not(name: str) -> None:
    assert not is_tamper(name)


def test_a_long_test_costs_no_recursion() -> None:
    for line in (
        "[ " + " -o ".join(["a"] * 1400) + " ]",
        "[ " + "! " * 1400 + "a ]",
        "[ " + "( " * 190 + "a" + " )" * 190 + " ]",
    ):
        classify(line)


@pytest.mark.parametrize(
    ("line", "known"),
    [("alias", True), ("alias ls", True), ("alias -p", True), ("alias ls 'rm x'", False), ("alias --save ls 'rm x'", False)],
)
def test_fish_names_an_alias_in_two_words(line: str, known: bool) -> None:
    assert ("unknown" not in classify(line, carried=True).effects) is known


@pytest.mark.parametrize(
    "line",
    ['printf %d "$x"', "exit $x", "shift x", '[ -t "$x" ]', '[[ -t $x ]]', 'test -t "$x"', "COLUMNS=$x", "read LISTMAX < f"],
)  # fmt: skip
def test_zsh_counts_where_bash_takes_digits(line: str) -> None:
    assert "dynamic_code" in classify(line, carried=True, zsh=True).flags
    assert "dynamic_code" not in classify(line, carried=True).flags


@pytest.mark.parametrize(
    "line", ["printf '%s %5d\\n' x 5", "exit 3", "exit $?", "shift 2", "[ -t 0 ]", "COLUMNS=80", "read x < f"]
)
def test_numbers_are_numbers_to_zsh_too(line: str) -> None:
    assert "unknown" not in classify(line, carried=True, zsh=True).effects
