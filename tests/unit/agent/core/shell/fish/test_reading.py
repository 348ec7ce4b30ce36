"""What lines of fish mean."""

import pytest

from agent.core.shell.fish import classify_fish
from agent.core.shell.model import UNKNOWN_FLAGS


@pytest.mark.parametrize(
    ("line", "verbs", "effects"),
    [
        ("for f in *.log; wc -l $f; end", "wc", "read"),
        ("if test -f x; cat x; else; echo no; end", "test cat echo", "read"),
        ("if [ -f x ]\n    rm x\nend", "rm", "read write"),
        ("while read -l l; echo $l; end < /etc/passwd", "read echo", "read"),
        ("switch (uname); case Linux; touch x; end", "uname touch", "read write"),
        ("set x 1; set -l y (date); set -q z; or set -gx z a b", "set date", "read"),
        ("not test -f x; and echo no", "test echo", "read"),
        ("string match -rq 'a(.*)' $x; and math 1 + (count $x)", "string math count", "read"),
        ("diff (sort a | psub) (sort b | psub)", "diff sort psub", "read"),
        ("for i in (seq 3); echo $i | tee $i.log; end", "seq echo tee", "read write"),
        ("begin; echo a; end > /etc/motd", "echo", "read write"),
        ("command -q git; and git status", "command git git:status", "read"),
        ("builtin string upper x", "builtin string", "read"),
        ("printf '%s\\n' $x", "printf", "read"),
        ("systemctl restart (cat /run/name)", "systemctl systemctl:restart cat", "read admin"),
        ("find . -name '*.log' -exec rm {} \\;", "find rm", "read write"),
        ("set -U x 1", "set", "read write"),
    ],
)
def test_ordinary_lines_are_known(line: str, verbs: str, effects: str) -> None:
    found = classify_fish(line)
    assert found.effects == set(effects.split())
    assert found.verbs == set(verbs.split())
    assert not found.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    "line",
    [
        "begin; touch f; end", "not touch f", "and touch f", "if true; touch f; end", "if touch f; end", "while touch f; end",
        "for i in (touch f); end", "switch (touch f); case a; end", "switch a; case (touch f); end", "echo (touch f)",
        'echo "$(touch f)"', "echo $x[(touch f)]", "echo {a,(touch f)}", "set x (touch f)", "x=(touch f) ls", "echo > (touch f)",
        "t\\x6fuch f", "to''uch f", "'touch' f", "time touch f", "builtin command touch f", "command touch f", "true &| touch f",
        "true 2>| touch f", "find / \\x2dexec touch f \\;", "true | while touch f; end", "string length (touch f)",
        "echo a &\ntouch f", "echo 'a\\'; touch f #'; touch f", "function g; touch f; end", "env touch f", "xargs touch",
        "'if' x; touch f",
        "echo a[b; touch f", "echo (echo # )\n); touch f", "else; touch f",
    ],
)  # fmt: skip
def test_what_runs_in_a_line_is_found(line: str) -> None:
    assert "touch" in classify_fish(line).verbs


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("$x a", "dynamic_command"),
        ("(echo touch) f", "dynamic_command"),
        ("{touch,f}", "dynamic_command"),
        ("t*h f", "dynamic_command"),
        ("sudo $x", "dynamic_command"),
        ("eval touch f", "eval"),
        ("source f", "source"),
        ("echo x | source", "source"),
        ("function f; true; end", "function_definition"),
        ("function ls; true; end", "shadowing"),
        ("function $x; true; end", "shadowing"),
        ("alias ls touch", "shadowing"),
        ("for PATH in /tmp; ls; end", "tamper"),
        ("PATH=/tmp ls", "tamper"),
        ("bash -c $x", "dynamic_code"),
        ("find $x", "dynamic_code"),
        ("begin; sh; end < f", "code_from_stdin"),
        ("cat f | begin; sh; end", "code_from_stdin"),
        ("'begin'; true; end", "parse_error"),
        ("if true", "parse_error"),
        ("echo \u00a0x", "control_characters"),
        ("echo x # \u202e", "control_characters"),
        ("echo '\x1b'", "control_characters"),
        ("echo " + "a " * 4000, "too_long"),
    ],
)
def test_what_cannot_be_known_is_unknown(line: str, flag: str) -> None:
    found = classify_fish(line)
    assert flag in found.flags
    assert "unknown" in found.effects


@pytest.mark.parametrize(
    "line", ["nosuch", "abbr -a x y", "commandline -f execute", "emit x", "argparse a -- b", "fish_add_path /x", "until x"]
)
def test_a_program_that_nobody_knows_is_unknown(line: str) -> None:
    assert "unknown" in classify_fish(line).effects


@pytest.mark.parametrize(
    "line", ["sudo string x", "env string x", "command string x", "exec math 1", "sh -c 'string x'", "xargs count"]
)
def test_what_programs_start_is_no_command_of_the_shell(line: str) -> None:
    assert "unknown" in classify_fish(line).effects


def test_nothing_to_run() -> None:
    assert classify_fish("# a").flags == {"comment", "empty"}
    assert classify_fish("begin; end").effects == frozenset()


def test_too_many_commands() -> None:
    assert "too_long" in classify_fish("true;" * 2500).flags
