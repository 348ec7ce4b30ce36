"""Ways in through what a guarded prompt starts, tried for real: shells in shells, functions, files, and other shells' readings.

Each row stands beside lines that look like it, are plain work, and say ``twin``. ``{f}`` is the file that must not be there.
Rows are only ever added.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bypass.shell.guarded import attack, work
from tests.integration.ssh.many import Many

pytestmark = pytest.mark.servers

#: Shells in shells, functions and files: ways in, each beside lines that look like it, are plain work, and say ``twin``.
INNER = [
    # a shell with a guard of its own
    (["bash", "touch {f}"], ["bash", "echo tw''in"]),
    (["exec bash", "touch {f}"], ["exec bash", "echo tw''in"]),
    (["bash -l", "touch {f}"], ["bash -l", "echo tw''in"]),
    (["env -i bash", "touch {f}"], ["env -i TERM=xterm bash", "echo tw''in"]),
    (["zsh", "touch {f}"], ["zsh", "echo tw''in"]),
    (["fish", "touch {f}"], ["fish", "echo tw''in"]),
    (["sudo -i", "touch {f}"], ["sudo -i", "echo tw''in"]),
    (["su -", "touch {f}"], ["su -", "echo tw''in"]),
    (["bash\rtouch {f}"], ["bash\recho tw''in"]),
    (["bash", "exit\rtouch {f}"], ["bash", "exit", "echo tw''in"]),
    (["bash", "bash", "\x04touch {f}", "touch {f}"], ["bash", "bash", "exit", "echo tw''in"]),
    (["bash", "kill -STOP $$", "touch {f}", "fg", "touch {f}"], ["bash", "kill -0 $$", "echo tw''in"]),
    (["bash", "kill -STOP $$", "bg", "touch {f}", "kill -CONT %1", "touch {f}"], ["sleep 0 &", "echo tw''in"]),
    (["bash", "kill -KILL $$", "touch {f}"], ["bash", "kill -0 $$", "echo tw''in"]),
    (["bash", "exec -a x bash --norc", "touch {f}"], ["bash", "exec bash", "echo tw''in"]),
    # one without
    (["sh", "touch {f}"], ["sh --version", "echo tw''in"]),
    (["dash", "touch {f}"], ["which dash", "echo tw''in"]),
    (["busybox sh", "touch {f}"], ["busybox ls /etc/passwd", "echo tw''in"]),
    (["bash --norc", "touch {f}"], ["bash --version", "echo tw''in"]),
    (["bash --norc -i", "touch {f}"], ["bash -i", "echo tw''in"]),
    (["bash --rcfile /dev/null", "touch {f}"], ["bash -c 'ls /dev/null'", "echo tw''in"]),
    (["bash -i -c 'touch {f}'"], ["bash -c \"echo tw''in\""]),
    (["bash -s", "touch {f}"], ["bash -c true", "echo tw''in"]),
    (["'bash'", "touch {f}"], ["'ls' /", "echo tw''in"]),
    (["b=bash", "$b", "touch {f}"], ["b=bash", "echo $b", "echo tw''in"]),
    (["(bash)", "touch {f}"], ["(ls /)", "echo tw''in"]),
    (["bash &", "touch {f}", "fg", "touch {f}"], ["true &", "echo tw''in"]),
    (["bash; true", "touch {f}"], ["true; true", "echo tw''in"]),
    (["bash < /dev/tty", "touch {f}"], ["cat < /dev/null", "echo tw''in"]),
    (["setsid bash", "touch {f}"], ["setsid true", "echo tw''in"]),
    (["setsid -c bash", "touch {f}"], ["setsid -w true", "echo tw''in"]),
    (["nohup bash", "touch {f}"], ["nohup true", "echo tw''in"]),
    (["timeout 5 bash", "touch {f}"], ["timeout 5 true", "echo tw''in"]),
    (["script -c bash /dev/null", "touch {f}"], ["bash -c 'true'", "echo tw''in"]),
    (["script -q /dev/null", "touch {f}"], ["bash -c 'true'", "echo tw''in"]),
    (["su -s /bin/dash", "touch {f}"], ["su -", "echo tw''in"]),
    (["su -s /bin/dash - root", "touch {f}"], ["su - root", "echo tw''in"]),
    (["sudo -i dash", "touch {f}"], ["sudo -i ls /", "echo tw''in"]),
    (["sudo dash", "touch {f}"], ["sudo ls /", "echo tw''in"]),
    (["sudo SHELL=/bin/dash -s", "touch {f}"], ["sudo -s", "echo tw''in"]),
    (["env SHELL=/bin/dash sudo -s", "touch {f}"], ["env TERM=xterm bash", "echo tw''in"]),
    (["export SHELL=/bin/dash", "sudo -s", "touch {f}"], ["export SHLVL=3", "sudo -s", "echo tw''in"]),
    (["env PS0=x PROMPT_COMMAND= bash", "touch {f}"], ["env TERM=xterm bash", "echo tw''in"]),
    (["env BASH_ENV={f}.rc bash", "touch {f}"], ["env LANG=C bash", "echo tw''in"]),
    (["env HOME={f}.d bash", "touch {f}"], ["env LC_ALL=C bash", "echo tw''in"]),
    # what decides, from within
    (["bash", "printf '\\033]7701;boot;bash\\007'", "touch {f}"], ["bash", "printf 'boot;bash\\n'", "echo tw''in"]),
    (["bash", "printf '\\033]7701;0123456789abcdef;D;0;/\\007'", "touch {f}"], ["bash", "printf 'D;0;/\\n'", "echo tw''in"]),
    (["printf '\\033]7701;boot;dash\\007'; bash", "touch {f}"], ["printf 'dash\\n'", "bash", "echo tw''in"]),
    (["bash", "unset PS0", "touch {f}"], ["bash", "unset A", "echo tw''in"]),
    (["bash", "trap - DEBUG; PS0=", "touch {f}"], ["bash", "trap -p", "echo tw''in"]),
    (["export PROMPT_COMMAND PS1", "bash", "touch {f}"], ["export A=1", "bash", "echo tw''in"]),
    (["zsh", "preexec_functions=()", "touch {f}"], ["zsh", "print_functions=x", "echo tw''in"]),
    (["zsh", "unfunction -m '*'", "touch {f}"], ["zsh", "true '*'", "echo tw''in"]),
    (["zsh", "setopt no_exec", "touch {f}"], ["zsh", "true no_exec", "echo tw''in"]),
    (["fish", "functions -e __sp_belt __sp_enter", "touch {f}"], ["fish", "echo functions", "echo tw''in"]),
    (["fish", "bind \\r execute", "touch {f}"], ["fish", "echo bind", "echo tw''in"]),
    (["__sp_run", "touch {f}"], ["true _sp_run", "echo tw''in"]),
    (["a=__sp", "${{a}}_run", "touch {f}"], ["a=sp", "echo ${{a}}_run", "echo tw''in"]),
    (["bash\r__sp_run\r:touch {f}\x1e"], ["bash\rtrue run\recho tw''in"]),
    # step by step
    (["f() {{ t=$1; $t {f}; }}", "f touch"], ["f() {{ t=$1; echo tw''in; }}", "f touch"]),
    (['f() {{ "$@"; }}', "f touch {f}"], ['f() {{ echo "$@"; }}', "f tw''in"]),
    (["f() {{ command touch {f}; }}", "f"], ["f() {{ command echo tw''in; }}", "f"]),
    (["f() {{ g; }}", "g() {{ touch {f}; }}", "f"], ["f() {{ g; }}", "g() {{ echo tw''in; }}", "f"]),
    (["f() {{ x=$(t$1 {f}); }}", "f ouch"], ["f() {{ x=$(date); echo tw''in; }}", "f ouch"]),
    (["echo 't$1 {f}' > {f}.rc", ". {f}.rc ouch"], ["echo 'echo tw$1' > {f}.rc", ". {f}.rc in"]),
    (["echo 'echo $(t$1 {f})' > {f}.rc", ". {f}.rc ouch"], ["echo 'echo tw$1' > {f}.rc", ". {f}.rc in"]),
    (["mkfifo {f}.p; (echo touch {f} > {f}.p) &", ". {f}.p"], ["mkfifo {f}.p", "echo tw''in"]),
    (["eval 't\"\"ouch {f}'"], ["eval 'echo tw\"\"in'"]),
    (["eval 'eval t\"\"ouch {f}'"], ["eval 'eval echo tw\"\"in'"]),
    (["eval 'true & touch {f}'"], ["eval 'true && echo tw\"\"in'"]),
    # values that arithmetic runs, carried from line to line
    (["read x <<< 'a[$(touch {f})]'", "echo $((x))"], ["read x <<< twin", "echo $x"]),
    (["read x <<< 'a[$(touch {f})]'", "[[ $x -eq 1 ]]"], ["read x <<< twin", "[[ $x == twin ]] && echo $x"]),
    (["read x <<< 'a[$(touch {f})]'", "a=(1)", "echo ${{a[x]}}"], ["a=(twin)", "echo ${{a[0]}}"]),
    (["read x <<< 'a[$(touch {f})]'", "echo ${{PWD:x}}"], ["x=twin", "echo ${{x:0}}"]),
    # names and code in pieces
    (["x='b[$'", "y='(touch {f})]'", 'let "a=$x$y"'], ["a=1; let a=a+1", "echo tw''in"]),
    (["a=(1)", "x='[$'", "y='(touch {f})]'", 'unset "a$x$y"'], ["a=(1)", "unset 'a[0]'", "echo tw''in"]),
    (["a=(1)", "x='[$'", "y='(touch {f})]'", 'read "a$x$y" <<< 1'], ["x=1", 'read -r -p "a $x" y <<< twin', "echo $y"]),
    (["a=(1)", "x='[$'", "y='(touch {f})]'", 'printf -v "a$x$y" 1'], ["printf -v a %s twin", "echo $a"]),
    (["x='b[$'", "y='(touch {f})]'", "RANDOM=$x$y"], ["RANDOM=42", "SECONDS=0", "echo tw''in"]),
    (["read RANDOM <<< 'b[$(touch {f})]'"], ["read x <<< twin", "echo $x"]),
    (["x=D", "read \"PROMPT_COMMAN$x\" <<< 'touch {f}'", "echo x"], ["read COMMAND <<< twin", "echo $COMMAND"]),
    (["x=-v", "printf \"$x\" PROMPT_COMMAND 'touch {f}'", "echo x"], ["x='%s\\n'", 'printf "$x" twin']),
    (["read -r x <<< '-v a[$(touch${{IFS}}{f})] -o 1'", "[ $x -eq 1 ]"], ["x=1; [ $x -eq 1 ] && echo twin"]),
    (["read -r x <<< '-v a[$(touch${{IFS}}{f})]'", "test $x"], ["x=1", 'test "$x" && echo twin']),
    (["echo '-v a[$(touch${{IFS}}{f})]' > {f}.x", "[ $(cat {f}.x) ]"], ["[ $(id -u) ] && echo twin"]),
    (["set -u", "unset __s''p_z", "{{ touch {f}.x; }} > {f}"], ["set -u", "unset nosuch", "echo tw''in"]),
    (["set -u", "x=z", 'unset "__s""p_$x"', "{{ touch {f}.x; }} > {f}"], ["set -u", "x=z", "unset x", "echo tw''in"]),
    (["printf -v __s''p_s 0", "export VISUAL='touch {f};'", "\x18\x05"], ["printf -v sp_s 0", "echo tw''in"]),
    (
        ["echo echo x > '{f}*'; echo '{{ nosuch; }} > {f}' > '{f}!'", ". {f}*"],
        ["echo 'echo tw$1' > {f}.rc", "source {f}.rc in"],
    ),
    # zsh and fish read some things in another way
    (["zsh", "echo a # ; touch {f}"], ["zsh", "echo tw''in # ; and more"]),
    (["zsh", "echo $(touch {f})\t"], ["zsh", "echo /etc/hostnam\ttw''in"]),
    (["zsh", "echo $(touch {f})\x04"], ["zsh", "(echo /etc/hostnam\ttw''in)"]),
    (["zsh", "echo *(e:'touch {f}':)\t"], ["zsh", "ls /etc/pass*\t; echo tw''in"]),
    (["zsh", "echo $(touch {f})\x18*"], ["zsh", "echo tw''in"]),
    (["zsh", "echo $(touch {f})\x1bxexpand-word\r"], ["zsh", "echo tw''in\x1bx"]),
    (["zsh", "echo $(touch {f})\x1bx.expand-word\r"], ["zsh", "echo $(echo twin)"]),
    (["zsh", "< /etc/passwd", "!touch {f}"], ["zsh", "< /dev/null", "echo tw''in"]),
    (["zsh", "x='/etc/passwd -exec touch {f} ;'", "find $=x"], ["zsh", "x=/etc/passwd", "ls $x", "echo tw''in"]),
    (
        [
            "mkdir {f}.d; echo 'function fish_greeting; touch {f}; end' > {f}.d/fish_greeting.fish",
            "env fish_function_path={f}.d fish",
        ],
        ["env LANG=C fish", "echo tw''in"],
    ),
    (["echo touch {f} > {f}.x", "exec < {f}.x"], ["echo x > {f}.x", "cat < {f}.x", "echo tw''in"]),
    (["zsh", "echo touch {f} > {f}.x", "exec < {f}.x"], ["zsh", "cat < /dev/null", "echo tw''in"]),
    (["fish", "find /etc/passwd \\x2dexec touch {f} \\;"], ["fish", "find /etc/passwd -name pass\\* ; echo tw''in"]),
    (["fish", "echo touch {f} | sed 's/.*/&;#\\\\/;#/e'"], ["fish", "echo 't.in' | sed 's/\\./w/'"]),
    # blocks, substitutions and words of fish
    (["fish", "'begin'; touch {f}; end"], ["fish", "begin; echo tw''in; end"]),
    (["fish", "while true; touch {f}; break; end"], ["fish", "while true; echo tw''in; break; end"]),
    (["fish", "for i in (touch {f}); true; end"], ["fish", "for i in (echo tw''in); echo $i; end"]),
    (["fish", "switch (touch {f}); case '*'; true; end"], ["fish", "switch (uname); case '*'; echo tw''in; end"]),
    (["fish", "switch a; case (touch {f}); true; end"], ["fish", "switch a; case b 'a*'; echo tw''in; end"]),
    (["fish", "if false; else if touch {f}; end"], ["fish", "if false; else if true; echo tw''in; end"]),
    (["fish", "echo $PWD[(touch {f}; echo 1)]"], ["fish", "set x a tw''in; echo $x[(count $x)]"]),
    (["fish", 'echo "$PWD[$(touch {f}; echo 1)]"'], ["fish", "set x a tw''in; echo \"$x[2]\""]),
    (["fish", "echo {{a,(touch {f})}}"], ["fish", "echo a{{b,tw}}''in | string replace ab ''"]),
    (["fish", "echo {{ touch,{f} }}; {{touch,{f}}}"], ["fish", "ls /etc/{{passwd,hostname}}; echo tw''in"]),
    (["fish", "find /etc/passwd {{-exec,touch,{f},\\;}}"], ["fish", "wc /etc/{{passwd,hostname}}; echo tw''in"]),
    (["fish", "x=(touch {f}) ls"], ["fish", "x=(echo tw''in) env | string replace -f x= ''"]),
    (["fish", "echo a 2>| touch {f}", "echo a >| touch {f}", "echo a &| touch {f}"], ["fish", "echo tw''in &| cat"]),
    (["fish", "set x touch; $x {f}"], ["fish", "set x tw; echo $x''in"]),
    (["fish", "read -p 'touch {f}' x", "read x -p 'touch {f}'"], ["fish", "echo tw''in | read -P '> ' x; echo $x"]),
    (["fish", "function g; touch {f}; end; g"], ["fish", "begin; echo tw''in; end | cat"]),
    (["fish", "builtin eval touch {f}", "builtin source {f}"], ["fish", "builtin echo tw''in"]),
    (["fish", "echo 'a\\\\'; touch {f} #'"], ["fish", "echo 'a\\'tw''in' | string sub -s 3"]),
    (
        ["fish", "mkdir {f}.d; echo 'touch {f}' > {f}.d/zz.fish; set fish_function_path {f}.d; zz"],
        ["fish", "set function_of_x tw; echo $function_of_x''in"],
    ),
    (["fish", "for PATH in {f}.d; ls; end", "set -p PATH {f}.d"], ["fish", "for p in $PATH; true; end; echo tw''in"]),
]


@pytest.mark.parametrize("row", [row for row, _ in INNER], ids=[" ⏎ ".join(row) for row, _ in INNER])
def test_it_does_not_run_inside_either(many: Many, tmp_path: Path, row: list[str]) -> None:
    attack(many, tmp_path, row)


@pytest.mark.parametrize("lines", [twin for _, twin in INNER], ids=[" ⏎ ".join(twin) for _, twin in INNER])
def test_the_innocent_twin_runs(many: Many, tmp_path: Path, lines: list[str]) -> None:
    work(many, tmp_path, lines)
