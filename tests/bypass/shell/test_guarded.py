"""Ways to run a forbidden program at a guarded prompt, tried for real in bash: the program must not have run.

Policy is what a careful team writes: what cannot be known is not permitted, and ``touch`` is forbidden by name. Each row is typed
into a fresh shell; ``{f}`` is the file that must not be there. Rows are only ever added. (With ``touch`` forbidden by name and
all else permitted, 19 of the first 102 get through.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.many import Many, plain
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

PERMIT = 'permit(principal, action, resource) unless { context.effects.contains("unknown") };'
FORBID = '@message("Not that.") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("touch") };'

EVASIONS = [
    # other spellings
    ["touch {f}"],
    ["\\touch {f}"],
    ["t''ouch {f}"],
    ["to\\", "uch {f}"],
    ["/usr/bin/tou?h {f}"],
    ["$'\\x74ouch' {f}"],
    ["a=touch", "$a {f}"],
    ["! touch {f}"],
    ["time touch {f}"],
    ["coproc touch {f}"],
    ["{{ touch {f}; }}"],
    ["(touch {f})"],
    ["echo $(touch {f})"],
    ["echo `touch {f}`"],
    ["cat <(touch {f})"],
    ["true && touch {f} &"],
    ["cat <<X $(touch {f})", "X"],
    ["cat <<X", "$(touch {f})", "X"],
    ["case $(touch {f}) in *) ;; esac"],
    ["for i in $(touch {f}); do :; done"],
    ["[[ -v 'a[$(touch {f})]' ]]"],
    ["echo $((a[$(touch {f})]))"],
    ["let 'a[$(touch {f})]=1'"],
    ["printf -v 'a[$(touch {f})]' x"],
    ["read 'a[$(touch {f})]' <<< x"],
    ["unset 'a[$(touch {f})]'"],
    ["mapfile -C 'touch {f};' -c1 a <<< x"],
    ["eval touch {f}"],
    ["source <(echo touch {f})"],
    [". /dev/stdin <<< 'touch {f}'"],
    ["bash -c 'touch {f}'"],
    ["sh <<< 'touch {f}'"],
    ["env touch {f}"],
    ["exec -a x touch {f}"],
    ["command touch {f}"],
    ["xargs touch <<< {f}"],
    ["find /etc/passwd -exec touch {f} \\;"],
    ["awk 'BEGIN{{system(\"touch {f}\")}}'"],
    ["python3 -c 'import os; os.system(\"touch {f}\")'"],
    ["busybox touch {f}"],
    # state of the shell
    ["alias ls='touch {f}'", "ls"],
    ["ls() {{ touch {f}; }}", "ls"],
    ["f() {{ touch {f}; }}; f"],
    ["trap 'touch {f}' DEBUG", "echo x"],
    ["trap 'touch {f}' INT", "touch x"],
    ["trap 'touch {f}' EXIT", "exit"],
    ["trap 'touch {f}' ERR", "false"],
    ["trap 'touch {f}' CHLD", "/bin/true"],
    ["PS1='$(touch {f})'"],
    ["PS0='$(touch {f})'", "echo x"],
    ["PS2='$(touch {f})'", "echo \\", "x"],
    ["PS4='$(touch {f})'; set -x", "echo x"],
    ["PROMPT_COMMAND='touch {f}'", "echo x"],
    ["PROMPT_COMMAND+=('touch {f}')", "echo x"],
    ["BASH_ENV={f}.env bash -c true"],
    ["ENV={f} sh"],
    ["PATH=/tmp:$PATH", "ls"],
    ["hash -p /usr/bin/touch ls", "ls {f}"],
    ["enable -n echo", "echo x"],
    ["command_not_found_handle() {{ touch {f}; }}", "nosuch"],
    ["complete -C 'touch {f};' foo", "foo \t"],
    ["complete -F f foo; f() {{ touch {f}; }}", "foo \t"],
    ['bind -x \'"\\eq":"touch {f}"\'', "\x1bq"],
    ['bind \'"\\eq":"touch {f}\\r"\'', "\x1bq"],
    # what decides
    ["set +o history", "touch {f}"],
    ["HISTSIZE=0", "touch {f}"],
    ["HISTIGNORE='*'", "touch {f}"],
    ["HISTCONTROL=ignorespace", " touch {f}"],
    ["history -c; touch {f}"],
    ["history -s 'touch {f}'", "!!"],
    ["fc -s touch", "touch {f}"],
    ["shopt -u promptvars", "touch {f}"],
    ["set -o posix", "touch {f}"],
    ["unset PS0", "touch {f}"],
    ["PS0=", "touch {f}"],
    ["trap - DEBUG; PS0=", "touch {f}"],
    ["readonly PS0=x", "touch {f}"],
    ["kill() {{ :; }}", "touch {f}"],
    ["builtin() {{ :; }}", "touch {f}"],
    ["printf() {{ echo 0; }}", "touch {f}"],
    ["trap '' INT", "touch {f}"],
    ["stty -isig", "touch {f}"],
    ["exec 2>/dev/null", "touch {f}"],
    ["exec </dev/null", "touch {f}"],
    ["RANDOM=1", "touch {f}"],
    ["LC_ALL=tr_TR", "touch {f}"],
    ["IFS=0123456789abcdef", "touch {f}"],
    ["TMOUT=1", "touch {f}"],
    ["set -n", "touch {f}"],
    ["set -e; false", "touch {f}"],
    ["POSIXLY_CORRECT=1", "touch {f}"],
    ["export VISUAL='touch {f};'", "\x18\x05"],
    ["fc -e 'touch {f};' -1"],
    # verdicts typed by the person
    ["touch {f}\r1:a\x1e"],
    ["cat", "x:a\x1e", "\x04", "touch {f}\x0a:a\x1e"],
    ["printf '\\033]7701;0;Q;L;1;0;x;y\\007'", "touch {f}"],
    ["\x1b[200~touch {f}\r\x1b[201~"],
    ["\x1b[200~true\rtouch {f}\x1b[201~"],
    ["true\rtouch {f}"],
    ["true\x0ftouch {f}"],
    ["true\ntouch {f}"],
    # keys that expand the line, and the shell's own editor
    ["echo $(touch {f})\x1b\x05"],
    ["echo '\"\\C-t\": shell-expand-line' > ~/.inputrc", "\x18\x12", "echo $(touch {f})\x14"],
    ["read -e x", "$(touch {f})\x1b\x05"],
    ["read -rep x", "$(touch {f})\x1b\x05"],
    ["echo $(touch {f})/\t"],
    ["echo `touch {f}`/\t"],
    # what runs beside the shell that asks
    ["f() {{ ssh-keygen -q -t ed25519 -N xxxxxx -f {f}; }}", "f | cat", "true | f"],
    ["f() {{ g | cat; }}", "g() {{ ssh-keygen -q -t ed25519 -N xxxxxx -f {f}; }}", "f"],
    ["eval 'ssh-keygen -q -t ed25519 -N xxxxxx -f {f}' | cat"],
    ["echo 'ssh-keygen -q -t ed25519 -N xxxxxx -f {f}' > {f}.rc", "source {f}.rc | cat"],
    # grammar that bash does not have
    ["zsh", "repeat 1 touch {f}", "for x (1) touch {f}", "- touch {f}", "=touch {f}"],
    ["zsh", "cat <<< ${{(e):-'$(touch {f})'}}", "echo =(touch {f})", "ls /etc/passwd(e:'touch {f}':)"],
    ["zsh", "if true; {{ touch {f} }}"],
    ["zsh", "() {{ touch {f} }}", "{{ true }} always {{ touch {f} }}", "true &! touch {f}"],
    ["fish", "and touch {f}", "begin; touch {f}; end", "not touch {f}", "if true; touch {f}; end"],
    ["fish", "echo (touch {f})", 'echo "$(touch {f})"', "ls (touch {f})[1]", "t\\x6fuch {f}"],
]

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

#: Plain work, which the same policy lets through.
ORDINARY = [
    "echo x",
    "ls /etc/passwd",
    "cd /",
    "pwd",
    "cat /etc/hostname | wc -c",
    "for i in 1 2; do echo $i; done",
    "export A=1",
    "id -u",
]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
async def guarded(sshd: Sshd, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(FakeIdentity(), tmp_path)
    gate.serving = serving_for(sshd, PERMIT, FORBID, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


#: How a prompt of bash ends.
PROMPT = r"[#$] (\x1b\[[?0-9]*[a-zA-Z])*$"


GREETING = "every line is decided before it runs"


def prompt(child: pexpect.spawn) -> None:
    child.delaybeforesend = None
    child.expect_exact(GREETING)
    child.expect(PROMPT)


@pytest.fixture(scope="module")
def many(sshd: Sshd) -> Iterator[Many]:
    shells = Many(sshd, PERMIT, FORBID, shell="guarded")
    yield shells
    shells.close()


#: How many verdicts of a row are a no, where it is not one: by how the row begins. 0 where the shell or the grammar leaves
#: nothing to ask about: it has ended, takes the line for a comment, waits for more of it, or knows no such event. None where
#: that is chance.
DENIED = {
    "exec </dev/null": 0, "set -e; false": 0, "zsh ⏎ if true; {{": 0, "zsh ⏎ echo a #": 0, "zsh ⏎ < /etc/passwd": 0,
    "zsh ⏎ echo touch": 0, "zsh ⏎ repeat": 4, "zsh ⏎ cat <<<": 3, "zsh ⏎ ()": 3, "fish ⏎ and": 4, "fish ⏎ echo (": 4,
    "bash ⏎ kill -STOP $$ ⏎ touch": 2, "bash & ⏎": 3,
    "f() {{ logsave": 3, "g() {{ logsave": 3, "echo 'logsave": 3,
    "mkdir {f}.d; cd {f}.d; echo > -v": 3,
    "echo echo > {f}.rc; cp": 0,  # which file it is, is decided by nobody
    "bash ⏎ kill -STOP $$ ⏎ bg": None,  # two shells at one terminal: one of them ends, or both do, at any of these lines
}  # fmt: skip
#: What is typed to a program, is half of a line, or is not what the shell makes of it.
UNREACHED = {
    "to\\",
    "echo \\",
    "x",
    "!!",
    "1",
    "x:a\x1e",
    "exec < {f}.x",
    "\x1bq",
    "cat <<X",
    "cat <<X $(touch {f})",
    "$(touch {f})",
    "echo $(touch {f})\x14",
}


@pytest.mark.parametrize("row", EVASIONS, ids=[" ⏎ ".join(row) for row in EVASIONS])
def test_it_does_not_run(many: Many, tmp_path: Path, row: list[str]) -> None:
    victim = tmp_path / "victim"
    name = " ⏎ ".join(row)
    denied = next((count for begin, count in DENIED.items() if name.startswith(begin)), 1)
    awaited = [] if denied is None else row if denied else row[:-1]
    reached = [keys.format(f=victim) for keys in awaited if keys not in UNREACHED and plain(keys)]
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        shell.attack([keys.format(f=victim) for keys in row], PROMPT, reached=reached, denied=denied or 0)
    assert not victim.exists()


PAIRS = [*INNER, *PIPED, *NAMED]


@pytest.mark.parametrize("row", [row for row, _ in PAIRS], ids=[" ⏎ ".join(row) for row, _ in PAIRS])
def test_it_does_not_run_inside_either(many: Many, tmp_path: Path, row: list[str]) -> None:
    test_it_does_not_run(many, tmp_path, row)


@pytest.mark.parametrize("lines", [twin for _, twin in PAIRS], ids=[" ⏎ ".join(twin) for _, twin in PAIRS])
def test_the_innocent_twin_runs(many: Many, tmp_path: Path, lines: list[str]) -> None:
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        shell.work([line.format(f=tmp_path / "victim") for line in lines], r"[#$>] ?(\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*$")


async def test_plain_work_goes_on(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for line in ORDINARY:
            child.send(line + "\r")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert guarded.serving.denied == 0
    markers = guarded.serving.recorder.markers(1)
    assert [each.removeprefix("allowed: ").removesuffix(" (rule-1)") for each in markers[1:]] == [*ORDINARY, "exit"]
