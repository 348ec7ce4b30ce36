"""What fish's own commands do."""

import pytest

from agent.core.shell.fish import classify_fish
from agent.core.shell.model import UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "line",
    [
        "set", "set -S x", "set -n", "set --show", "set -q PATH", "set -q fish_key_bindings[1]", "set x", "set x 1 -2",
        "set -e x",
        "set -e -g x[1] y[2..3]", "set -lx x 1", "set --local --export x a", "set -a x b", "set -- x 1", "set x[2] c",
        "set -x LANG C",
        "read", "read x", "read -l x y", "read -s x", "read -P 'name? ' x", "read --prompt-str='a ' -n 3 x", "read -d : -la x",
        "test -v x", "test $x = y", "[ $x -eq 1 ]", "string replace -r a b $x", "status", "status is-login", "status fish-path",
        "functions", "functions -n", "functions -q f", "functions f", "builtin -n", "command -v ls", "command -sq ls",
        "count $x", "random 1 6",
        "contains a $x", "isatty stdin", "set_color -o red", "path basename /a/b", "math $x + 1",
    ],
)  # fmt: skip
def test_it_reads(line: str) -> None:
    found = classify_fish(line)
    assert found.effects == {"read"}
    assert not found.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "line",
    [
        # what the shell, or a program, goes by
        "set PATH /tmp", "set -e PATH", "set PATH[1] /tmp", "set -gx LD_PRELOAD x", "set fish_greeting x",
        "set -U fish_key_bindings x",
        "set argv a", "set -e argv[1]", "set -x LESSOPEN '|x'", "set -x LANG zh_CN.GBK", "set -x LANG $x", "set -a PATH /tmp",
        "set -e x PATH", "set -qe PATH", "read PATH", "read x PATH", "read fish_greeting", "builtin set PATH x",
        # which one, is not known
        "set $x 1", "set (echo PATH) 1", "set P* 1", "set -$x PATH 1", "set $x", "set PA{TH,} 1", "set x[$i] 1", "set -e $x",
        "read $x",
        "read é", "set --loc PATH x", "set -Z x 1",
        # a prompt is code
        "read -p 'touch f' x", "read -ptouch x", "read -lp touch x", "read x -p touch", "read --prompt touch x",
        "read --pro=touch x",
        "read -R touch x", "read --right-prompt touch x", "read -S x", "read --shell x", "read -n $x touch", "read -P $x touch",
        "read -c a x",
        # what changes the shell
        "status job-control full", "status is-login -j full", "status $x", "functions -e ls", "functions -c a ls",
        "functions $x", "functions f -e",
        "command -x ls", "command $x ls", "builtin -x", "builtin $x", "builtin eval ls", "builtin source f", "help", "help ls",
        "bind x y",
        "complete -c ls -a '(touch f)'", "trap 'touch f' EXIT", "history clear",
    ],
)  # fmt: skip
def test_it_is_unknown(line: str) -> None:
    assert "unknown" in classify_fish(line).effects


@pytest.mark.parametrize(
    "line",
    ["history", "history search x", "history -n 5", "string --help", "string match -h", "cd --he", "read -lh", "builtin math -h",
     "if true; set -h; end", "echo (history)"],
)  # fmt: skip
def test_it_opens_a_pager(line: str) -> None:
    assert "pager" in classify_fish(line).flags


@pytest.mark.parametrize(
    "line", ["string length -- -h", "test -h x", "[ -h x ]", "echo -h", "printf -h", "ls --help", "ls -h", "env string --help"]
)
def test_it_opens_none(line: str) -> None:
    assert "pager" not in classify_fish(line).flags


def test_what_the_history_finds_is_shown() -> None:
    assert classify_fish("history search x").effects == {"read"}


def test_paths_are_named() -> None:
    assert classify_fish("test -f /etc/motd; and path basename ./x").objects == {"/etc/motd", "./x"}


def test_a_variable_for_all_shells_is_written() -> None:
    assert classify_fish("set -U x 1").effects == classify_fish("set --universal x 1").effects == {"read", "write"}
