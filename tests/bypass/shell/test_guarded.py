"""Ways to run a forbidden program at a guarded prompt, tried for real in bash: the program must not have run.

Policy is what a careful team writes: what cannot be known is not permitted, and ``touch`` is forbidden by name. Each row is typed
into a fresh shell; ``{f}`` is the file that must not be there. Rows are only ever added. (With ``touch`` forbidden by name and
all else permitted, 19 of the first 102 get through.)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

from tests.bypass.shell.guarded import FORBID, GREETING, PERMIT, PROMPT, attack
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.many import Many
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

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


@pytest.fixture
async def guarded(sshd: Sshd, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(FakeIdentity(), tmp_path)
    gate.serving = serving_for(sshd, PERMIT, FORBID, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


def prompt(child: pexpect.spawn) -> None:
    child.delaybeforesend = None
    child.expect_exact(GREETING)
    child.expect(PROMPT)


@pytest.mark.parametrize("row", EVASIONS, ids=[" ⏎ ".join(row) for row in EVASIONS])
def test_it_does_not_run(many: Many, tmp_path: Path, row: list[str]) -> None:
    attack(many, tmp_path, row)


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
