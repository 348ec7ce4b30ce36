"""sh -c and its kin."""

import pytest

from agent.core.shell import UNKNOWN_FLAGS, classify


@pytest.mark.parametrize(
    "line",
    [
        "sh -c 'rm x'",
        "bash -ec 'rm x'",
        "bash -c -e 'rm x'",
        "bash -o pipefail -c 'rm x'",
        "bash --norc -c 'rm x'",
        "/bin/sh -c 'rm x'",
        "zsh -fc 'rm x'",
        "sh -c 'sh -c \"rm x\"'",
        "su -c 'rm x'",
        "su - bob -c 'rm x'",
        "su --command='rm x' bob",
        "su bob -lc 'rm x'",
        "ssh h 'ls; rm x'",
        "ssh h ls \\; rm x",
        "watch 'ls; rm x'",
        "flock l -c 'rm x'",
        "script -qc 'rm x' f",
        "script f -c 'rm x'",
        "runuser bob -c 'rm x'",
    ],
)
def test_code_in_an_argument_is_read(line: str) -> None:
    found = classify(line)
    assert "rm" in found.verbs
    assert not found.flags & UNKNOWN_FLAGS


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("sh", "code_from_stdin"),
        ("bash -s", "code_from_stdin"),
        ("bash -i", "code_from_stdin"),
        ("x | sh -", "code_from_stdin"),
        ("sh <<< x", "code_from_stdin"),
        ("sh f", "script_file"),
        ("bash -x f", "script_file"),
        ("bash --rcfile f", "script_file"),
        ("sh $x", "dynamic_code"),
        ('sh -c "$x"', "dynamic_code"),
        ("sh -c", "dynamic_code"),
        ("bash <(ls)", "dynamic_code"),
        ("fish -c ls", "dynamic_code"),
        ("ssh h $x", "dynamic_code"),
        ("ssh $x ls", "dynamic_code"),
        ("su bob x y", "dynamic_code"),
        ("sh -c '$0' ls", "dynamic_command"),
    ],
)
def test_code_that_is_not_in_the_line_is_flagged(line: str, flag: str) -> None:
    found = classify(line)
    assert flag in found.flags
    assert "unknown" in found.effects


def test_a_script_file_is_named() -> None:
    assert "/opt/x.sh" in classify("bash /opt/x.sh").objects


def test_asking_a_shell_for_its_version_runs_nothing() -> None:
    assert not classify("bash --version").flags & UNKNOWN_FLAGS


def test_the_far_host_is_named() -> None:
    found = classify("ssh -p 22 bob@db1 uptime")
    assert "bob@db1" in found.objects
    assert found.flags == {"network"}


@pytest.mark.parametrize(
    "line",
    [
        "ssh -N -L 8080:db:80 web",
        "ssh -fND 1080 web",
        "ssh web -R 22:localhost:22 ls",
        "ssh -W db:22 web",
        "ssh -o LocalForward=1:db:2 web ls",
    ],
)
def test_a_port_forwarded_by_a_line_has_a_verb(line: str) -> None:
    found = classify(line)
    assert "ssh:forward" in found.verbs
    assert {"read", "write", "execute"} <= found.effects
    assert "ssh:forward" not in classify("ssh web ls -L -R").verbs
