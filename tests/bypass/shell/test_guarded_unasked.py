"""Ways around the question, tried for real: where a guarded shell itself asks nothing, or is made to ask about something else.

Each row stands beside an innocent twin. ``{f}`` is the file that must not be there; logsave is a program that nobody knows.
Rows are only ever added.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bypass.shell.guarded import attack, work
from tests.integration.ssh.many import Many

pytestmark = pytest.mark.servers

#: Where bash itself asks nothing: in what a pipe starts. With twins; logsave is a program that nobody knows.
PIPED = [
    (["eval 'logsave {f} true' | cat"], ["eval 'echo tw''in' | cat"]),
    (["eval 'logsave {f} true' | sleep 1"], ["eval 'echo tw''in | sed s/x/y/ | cat'"]),
    (["eval 'eval \"logsave {f} true\" | sleep 1'"], ["f() {{ echo twim | tr m n; }}", "f", "f", "f", "f"]),
    (
        ["f() {{ logsave {f} true; }}", "f | sleep 1", "f |& sleep 1", "eval 'f | sleep 1'"],
        ["f() {{ echo twim; }}", "f | tr m n"],
    ),
    (
        ["g() {{ logsave {f} true; }}", "f() {{ g | sleep 1; }}", "f", "f; f", "h() {{ f; }}", "h"],
        ["g() {{ echo twim | tr m n; }}", "f() {{ g; g; }}", "f", "h() {{ f; g; }}", "eval h"],
    ),
    (
        ["echo 'logsave {f} true' > {f}.rc", "source {f}.rc | sleep 1", "f() {{ source {f}.rc | sleep 1; }}", "f"],
        ["echo 'x=$(echo twim | tr m n)' > {f}.rc", "source {f}.rc", "echo $x"],
    ),
    (
        ["echo \"eval 'logsave {f} true' | sleep 1\" > {f}.rc", "source {f}.rc"],
        ["echo \"eval 'echo tw''in'\" > {f}.rc", "source {f}.rc"],
    ),
    (  # the file is another one when it is read
        [
            "echo echo > {f}.rc; cp {f}.rc {f}.x; echo \"eval 'logsave {f} true' | cat\" > {f}.y",
            "for i in $(seq 100); do cp {f}.y {f}.rc; sleep 0.01; cp {f}.x {f}.rc; sleep 0.01; done &",
            *["source {f}.rc"] * 5, "kill %1",
        ],
        ["echo echo twin > {f}.rc", "source {f}.rc"],
    ),
]  # fmt: skip

#: What names the shell's own things: programs with a number, variables of the guard's, files in place of names. With twins.
NAMED = [
    (["gawk9() {{ logsave {f} true; }}", "true; gawk9 1 /x"], ["gaw() {{ echo tw''in; }}", "gaw"]),
    (["jobs -x logsave {f} true"], ["jobs -x echo tw''in"]),
    (["f() {{ local __s\\p_s; logsave {f} true; }}", "f"], ["f() {{ local s; echo tw''in; }}", "f"]),
    (["f() {{ wait $1; logsave {f} true; }}", "f '-n -p __s''p_s nosuch'"], ["f() {{ wait $1; echo tw''in; }}", "f"]),
    (["readonly __s\\p_z", "{{ logsave; }} > {f}"], ["readonly z=1", "echo tw''in"]),
    (["readonly k=S r=x:a o=';F;'", "touch {f}"], ["readonly k=S r=x:a o=';F;' b= c= f= h= i= w=", "a=1", "echo tw''in"]),
    (
        ["mkdir {f}.d; cd {f}.d; echo > __s''p_s", "f() {{ unset __s*; logsave {f} true; }}", "f"],
        ["f() {{ unset s; echo tw''in; }}", "f"],
    ),
    (
        ["mkdir {f}.d; cd {f}.d; echo > PROMPT_COMMAND", "read P* <<< 'logsave {f} true'", "echo x"],
        ["mkdir {f}.d; cd {f}.d; echo > twin", "ls t*"],
    ),
    (
        ["x='-v PROMPT_COMMAND logsave\\40{f}\\40true'", "printf $x", "echo x"],
        ["x=twin", "printf '%s\\n' $x"],
    ),
    (
        ["mkdir {f}.d; cd {f}.d; echo > -v", "echo > 'a[$(cd ..;touch victim)]'", "[ * ]", "test *", "test -v a*"],
        ["mkdir {f}.d; cd {f}.d; echo > a.log", "[ -f *.log ] && test -f *.log && echo tw''in"],
    ),
    (
        ["mkdir {f}.d; cd {f}.d; echo > 'BEGIN{{system(\"cd ..;touch victim\")}}'", "awk B*"],
        ["mkdir {f}.d; cd {f}.d; echo twin > a", "awk 1 *"],
    ),
    (["mkdir {f}.d; cd {f}.d; echo > 'ls=cd ..;touch victim'", "alias *", "ls"], ["alias", "echo tw''in"]),
    # a verdict typed ahead, to the challenge that zsh asked with for a while
    (["zsh", "sleep 1\rtouch {f}\r0.0.0.0.0.0.0.0.0.0.0.0.:a\x1e"], ["zsh", "sleep 0.1\recho tw''in"]),
    (["zsh", "if ! touch {f}; then :; fi"], ["zsh", "[ ! -f /nosuch ] && echo tw''in"]),
    # a definition runs no eval, a call does
    (["h() {{ eval 'logsave {f} true'; }}", "h"], ["g() {{ echo tw''in; }}", "h() {{ eval g; }}", "h"]),
    (["h() {{ eval 'eval \"logsave {f} true\" | cat'; }}", "h", "h | cat"], ["h() {{ eval 'echo tw''in'; }}", "h"]),
    # what bash tells of a compound command is its head alone
    (
        ["f() {{ for i in $1; do logsave {f} $i; done; }}", "f true"],
        ["f() {{ for i in m n; do echo twi$i; done; }}", "f"],
    ),
    (
        ["f() {{ case $1 in a) logsave {f} true ;; esac; }}", "f a"],
        ["f() {{ case $1 in a) echo tw''in ;; *) ls ;; esac; }}", "f a"],
    ),
    (
        ["f() {{ select x in a; do logsave {f} true; break; done; }}", "f", "1"],
        ["f() {{ select x in a; do break; done < /dev/null; echo tw''in; }}", "f"],
    ),
]  # fmt: skip

PAIRS = [*PIPED, *NAMED]


@pytest.mark.parametrize("row", [row for row, _ in PAIRS], ids=[" ⏎ ".join(row) for row, _ in PAIRS])
def test_it_does_not_run_inside_either(many: Many, tmp_path: Path, row: list[str]) -> None:
    attack(many, tmp_path, row)


@pytest.mark.parametrize("lines", [twin for _, twin in PAIRS], ids=[" ⏎ ".join(twin) for _, twin in PAIRS])
def test_the_innocent_twin_runs(many: Many, tmp_path: Path, lines: list[str]) -> None:
    work(many, tmp_path, lines)
