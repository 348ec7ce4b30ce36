"""What bash, zsh and fish read in ways of their own, tried for real, each beside an innocent twin of the same shape.

Values that are data until a builtin counts with them, redirections that pipe, options that take code, names by pattern, and
programs under another's name. The policy is that of ``guarded``. ``{f}`` is the file that must not be there. Rows are only
ever added.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bypass.shell.guarded import GREETING, PROMPT
from tests.integration.ssh.many import Many

pytestmark = pytest.mark.servers

PATHS = "path[$(touch {f})]"
COPIES = "mkdir {f}.d; cd {f}.d; mkdir 10 11 12 13 14; for n in 10 11 12 13 14; do cp /usr/bin/touch $n/ls; done"

ROWS = [
    # bash: a value of an array that stands in brackets is a list, read as code
    (["declare -a 'a=($(touch {f}))'"], ["declare -a 'a=(tw in)'", 'echo "${{a[0]}}${{a[1]}}"']),
    (["read x <<< '($(touch {f}))'", 'declare -a "a=$x"'], ["read x <<< twin", "declare -a a=(1 2)", "echo $x"]),
    (["read x <<< '($(touch {f}))'", "declare -A a=$x"], ["declare -a a=(twin)", "echo ${{a[0]}}"]),
    (["read x <<< '($(touch {f}))'", "declare -a a", "declare a=$x"], ["declare -a a", "declare x=twin", "echo $x"]),
    (["read x <<< '($(touch {f}))'", "readonly -a a=$x"], ["read x <<< twin", "readonly a=$x", "echo $a"]),
    (["read x <<< '($(touch {f}))'", "typeset -g PIPESTATUS=$x"], ["read x <<< twin", "export TWO=$x", "echo $TWO"]),
    (["f() {{ local -a a; local a=$1; }}", "f '($(touch {f}))'"], ["f() {{ local a=$1; echo $a; }}", "f twin"]),
    # bash: a redirection that sets a variable
    ([COPIES, "true {{PATH}}</dev/null", "ls {f}"], [COPIES, "true {{FD}}</dev/null", '[ "$FD" -ge 10 ] && echo tw""in']),
    ([COPIES, "echo {{PATH}}<<<x", "ls {f}"], ["echo {{FD}}<<<x", "echo tw''in"]),
    ([COPIES, "echo 3<x {{PATH}}>&1", "ls {f}"], ["echo {{FD}}>&1", "echo tw''in"]),
    (["true {{a['$(touch {f})']}}</dev/null"], ["true {{a[0]}}</dev/null", "echo tw''in"]),
    # one program under the name of another
    (["(exec -a touch busybox ls {f})"], ["(exec -a -bash bash -c 'echo tw''in')"]),
    (["(exec -a/bin/touch busybox ls {f})"], ["(exec -c /bin/echo tw''in)"]),
    (["/lib64/ld-linux-x86-64.so.2 --argv0 touch /usr/bin/busybox ls {f}"], ["/usr/bin/busybox echo tw''in"]),
    (["zsh", "ARGV0=touch busybox ls {f}"], ["zsh", "ARGS=touch busybox echo tw''in"]),
    (["zsh", "export ARGV0=touch", "busybox ls {f}"], ["zsh", "export ARGS=touch", "busybox echo tw''in"]),
    # options of programs in variables
    (["zsh", "STTY='-echo; touch {f}' /bin/true"], ["zsh", "TTY_='-echo' /bin/echo tw''in"]),
    (["zsh", "export STTY='-echo; touch {f}'", "/bin/true"], ["zsh", "export SUITE=x", "/bin/echo tw''in"]),
    (
        ["cd {f}..; cd /tmp; echo x > {f}.a; ZIPOPT='-T -TT touch' zip {f} {f}.a"],
        ["echo x > {f}.a; ZIPNAME=x zip -q {f}.b {f}.a; echo tw''in"],
    ),
    # zsh: numbers are arithmetic, and what is in brackets behind a name runs
    (["zsh", f"printf '%d' '{PATHS}'"], ["zsh", "printf '%d twin\\n' 5"]),
    (["zsh", f"printf '%*s' '{PATHS}' x"], ["zsh", "printf '%6s\\n' twin"]),
    (["zsh", f"read x <<< '{PATHS}'", 'printf %i "$x"'], ["zsh", "read x <<< twin", "printf '%s\\n' \"$x\""]),
    (["zsh", f"read x <<< '{PATHS}'", "printf %x x"], ["zsh", "printf '%x twin\\n' 255"]),
    (["zsh", f"shift '{PATHS}'"], ["zsh", "shift 0", "echo tw''in"]),
    (["zsh", f"read x <<< '{PATHS}'", "shift x"], ["zsh", "shift", "echo tw''in"]),
    (["zsh", f"exit '{PATHS}'"], ["zsh", "(exit 3)", "echo tw''in"]),
    (["zsh", f"read x <<< '{PATHS}'", "(exit $x)"], ["zsh", "false", "(exit $?)", "echo tw''in"]),
    (["zsh", f"for i in 1; do break '{PATHS}'; done"], ["zsh", "for i in 1 2; do echo tw''in; break 1; done"]),
    (["zsh", f"for i in 1; do continue '{PATHS}'; done"], ["zsh", "for i in 1; do echo tw''in; continue; done"]),
    (["zsh", f"logout '{PATHS}'"], ["zsh", "which logout", "echo tw''in"]),
    (["zsh", f"read x <<< '{PATHS}'", '[ -t "$x" ]'], ["zsh", "[ -t 0 ] && echo tw''in"]),
    (["zsh", f"read x <<< '{PATHS}'", 'test -t "$x"'], ["zsh", "test -t 1 && echo tw''in"]),
    (["zsh", f"read x <<< '{PATHS}'", "[[ -t $x ]]"], ["zsh", "[[ -t 0 ]] && echo tw''in"]),
    (["zsh", f"read COLUMNS <<< '{PATHS}'"], ["zsh", "read COLUMN <<< twin", "echo $COLUMN"]),
    (["zsh", f"read x <<< '{PATHS}'", "LISTMAX=$x"], ["zsh", "LISTMAX=50", "echo tw''in"]),
    (["zsh", f"read x <<< '{PATHS}'", "for LINES in $x; do :; done"], ["zsh", "for LINE in twin; do echo $LINE; done"]),
    # zsh: names by pattern
    (["zsh", "unset -fm '_*'", "touch {f}"], ["zsh", "A=1; unset A; echo tw''in"]),
    (["zsh", "unset -m 'P*'", "touch {f}"], ["zsh", "unset nosuch", "echo tw''in"]),
    (["zsh", "typeset -fum '_*'", "touch {f}"], ["zsh", "typeset -f nosuch; echo tw''in"]),
    (["zsh", "typeset +fm '_*'; export -m 'pre*'", "touch {f}"], ["zsh", "export A=1", "echo tw''in"]),
    # fish: pipes, substitutions and prompts that bash does not have
    (["fish", "ls 2>| touch {f}"], ["fish", "ls /nosuch 2> /dev/null; echo tw''in"]),
    (["fish", "ls >| touch {f}"], ["fish", "ls / > /dev/null; echo tw''in"]),
    (["fish", 'echo "$(ls >| touch {f})"'], ["fish", "echo \"$(echo 'twin >| x')\" | sed 's/ .*//'"]),
    (["fish", "a=(touch {f}) ls"], ["fish", "a=x echo tw''in"]),
    (["fish", 'echo "$(a=(touch {f}) ls)"'], ["fish", 'echo "$(a=x echo twin)"']),
    (["fish", "read -p 'touch {f}' x", "y"], ["fish", "echo twin | read -P 'touch? ' x", "echo $x"]),
    (["fish", "builtin read -lp'touch {f}' x", "y"], ["fish", "echo twin | builtin read -g x", "echo $x"]),
    (["fish", "read --prompt='touch {f}' x", "y"], ["fish", "echo twin | read --prompt-str='touch? ' x", "echo $x"]),
    (["fish", "read --right 'touch {f}' x", "y"], ["fish", "echo twin | read --line x", "echo $x"]),
]  # fmt: skip
#: What a program reads, and what comes after a line that was not run.
ANSWERS = {"y"}


@pytest.mark.parametrize("row", [row for row, _ in ROWS], ids=[" ⏎ ".join(row) for row, _ in ROWS])
def test_it_does_not_run(many: Many, tmp_path: Path, row: list[str]) -> None:
    victim = tmp_path / "victim"
    lines = [line.format(f=victim) for line in row]
    reached = [line for typed, line in zip(row, lines, strict=True) if typed not in ANSWERS]
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        shell.attack(lines, PROMPT, reached=reached, denied=1)
    assert not victim.exists()


@pytest.mark.parametrize("lines", [twin for _, twin in ROWS], ids=[" ⏎ ".join(twin) for _, twin in ROWS])
def test_the_innocent_twin_runs(many: Many, tmp_path: Path, lines: list[str]) -> None:
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        shell.work([line.format(f=tmp_path / "victim") for line in lines], r"[#$>?] ?(\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*$")
