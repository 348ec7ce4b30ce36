"""Commands that are fed their program."""

from __future__ import annotations

import subprocess
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.shell.fed import Fed, fed, meaning, quoted


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("bash", Fed("bash")),
        ("bash -s", Fed("bash")),
        ("/bin/bash -s -- a b", Fed("bash")),
        ("env bash", Fed("bash", "env")),
        ("sh -eu", Fed("sh")),
        ("sh -", Fed("sh")),
        ("bash -euo pipefail -s one", Fed("bash")),
        ("bash -o errexit", Fed("bash")),
        ("bash --login --norc", Fed("bash")),
        ("busybox ash -s", Fed("ash")),
        ("sudo -n -u deploy bash -s", Fed("bash", "sudo -n -u deploy")),
        ("A=1 B=2 timeout 5m sh", Fed("sh", "A=1 B=2 timeout 5m")),
        ("cd /srv/app && exec bash -s", Fed("bash", "cd /srv/app && exec")),
        ("python3", Fed("python3")),
        ("python3.11 - a b", Fed("python3.11")),
        ("python3 -u -", Fed("python3")),
        ("perl", Fed("perl")),
        ("sudo python3 -", Fed("python3", "sudo")),
    ],
)
def test_what_reads_its_program(text: str, how: Fed) -> None:
    assert fed(text) == how


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ls",
        "bash script",
        "bash -c id",
        "bash -ic id",
        "bash -i",
        "bash -n",
        "bash -s -c id",
        "bash --rcfile x",
        "bash --init-file=x",
        "bash -o extdebug",
        "bash -O extglob",
        "sh /dev/stdin",
        "./bash",
        "/tmp/bash -s",
        "bash -s < x",
        "bash -s | cat",
        "cat x | bash",
        "bash; id",
        "bash -s\nid",
        "bash 'x'",
        "bash -s $X",
        "bash -s *",
        "bash -s ~",
        "cd /x; bash",
        "cd /x && cd /y && bash",
        "cd $X && bash",
        "xargs bash",
        "sudo",
        "sudo -i",
        "sudo -s",
        "sudo -S bash",
        "sudo -E bash -s",
        "/usr/bin/env bash",
        "su -c bash",
        "timeout bash",
        "timeout -k 1 5 bash",
        "ssh host bash -s",
        "zsh",
        "fish",
        "python3 x.py",
        "python3 -c 1",
        "python3 -m http.server -",
        "python3 -i",
        "node -r x -",
        "psql",
        "ＢＡＳＨ",
    ],
)
def test_what_does_not_for_certain(text: str) -> None:
    how = fed(text)
    assert how is None or not how.reads_shell


@pytest.mark.parametrize("text", ["bash -s", "sudo -n bash", "cd /srv && env A=1 sh"])
def test_the_meaning_is_of_the_command_and_the_script(text: str) -> None:
    how = fed(text)
    assert how is not None
    found = meaning(text, how, "rm -r /srv/x\necho done > /tmp/log\n")
    assert {"rm", "echo", how.program} <= found.verbs
    assert {"/srv/x", "/tmp/log"} <= found.objects
    assert {"write", "execute"} <= found.effects
    assert "unknown" not in found.effects
    assert "recursive_delete" in found.flags
    assert ("privilege" in found.flags) is ("sudo" in text)
    assert "true" not in found.verbs


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("PATH=/tmp bash", "ls"),
        ("BASH_ENV=x bash", "ls"),
        ("env LD_PRELOAD=x sh", "ls"),
        ("bash", "$x"),
        ("bash", "eval x"),
        ("bash", "source x"),
        ("bash", "ls() { rm x; }; ls"),
        ("bash", "echo '"),
        ("bash", "bash"),
        ("bash", "python3 -"),
        ("bash", "ls\n" * 4000),
        ("bash", "\x1b[2K"),
        ("bash", "unheard-of"),
        ("python3", "print(1)"),
    ],
)
def test_what_stays_unknown(text: str, script: str) -> None:
    how = fed(text)
    assert how is not None
    assert "unknown" in meaning(text, how, script).effects


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="abc '\"\\\n$`(){};&|<>#!*-", max_size=30))
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_script_is_one_word_to_the_shell_whatever_is_in_it(shell: str, script: str) -> None:
    line = quoted(script)
    told = subprocess.run(
        [shell, "-s"], input=line.replace("eval ", "printf %s ", 1), capture_output=True, text=True, check=False
    )
    assert (told.stdout, told.returncode) == (script, 0)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(
    ("script", "status", "out"),
    [
        ("exit 3", 3, ""),
        ("false", 1, ""),
        ("", 0, ""),
        ("set -e\nfalse\necho no", 1, ""),
        ("echo $1 $#", 0, "one 2\n"),
        ("cat; read x; echo rest", 0, "rest\n"),
        ("if true; then\n  echo a\nfi # end", 0, "a\n"),
        ("cat <<E\n'x'\nE\n", 0, "'x'\n"),
        ("trap 'echo bye' EXIT; echo hi", 0, "hi\nbye\n"),
        ("exec 3>&1; echo x >&3", 0, "x\n"),
        ("exec </dev/zero; echo y", 0, "y\n"),
        ("syntax ( error", 2, ""),
    ],
)
def test_a_script_runs_as_if_it_were_a_file(shell: str, script: str, status: int, out: str) -> None:
    ran = subprocess.run(
        [shell, "-s", "one", "two"], input=quoted(script) + "echo NEVER\n", capture_output=True, text=True, check=False
    )
    assert ran.stdout == out
    assert ran.returncode == status or "syntax" in script
    assert "NEVER" not in ran.stdout


PIECES = st.sampled_from(
    [
        "echo 'a b'",
        'echo "it\'s $x"',
        "x=1; echo $((x + 1))",
        "for i in 1 2; do echo $i; done",
        "if false; then echo no",
        "fi",
        "cat <<E\n$x 'q'\nE",
        "cat <<'E'\n$x\nE",
        "# it's",
        "set -e",
        "set -u",
        "false",
        "true",
        "(exit 4)",
        "exit 5",
        "echo $?",
        "echo \\\\",
        'read -r y; echo "[$y]"',
        "cat",
        "f() { echo f $1; }",
        "f 2",
        "case x in x) echo case;; esac",
        "echo a |\ncat",
        "echo b \\\n c",
        "while read -r l; do echo $l; done",
        "trap 'echo bye' EXIT",
        "echo $LINENO >/dev/null",
        "echo err >&2",
        "! true",
        "'",
        "$(",
        "}",
    ]
)


@settings(max_examples=120, deadline=None)
@given(st.lists(PIECES, max_size=6).map("\n".join))
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_what_is_fed_does_what_the_file_does(shell: str, script: str) -> None:
    def ran(words: list[str], text: str) -> tuple[str, int]:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
        return done.stdout, done.returncode

    with tempfile.NamedTemporaryFile("w") as file:
        file.write(script)
        file.flush()
        out, status = ran([shell, file.name], "")
    fed_out, fed_status = ran([shell, "-s"], quoted(script))
    assert (fed_out, bool(fed_status)) == (out, bool(status))
