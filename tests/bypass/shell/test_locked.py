"""Ways to run a forbidden program in a locked shell, tried for real: the program must not have run.

``STRICT`` rows are decided by what a careful team writes: what cannot be known is not permitted, ``touch`` is forbidden by name.
``RUNNER`` rows attack what stands between the keys and the shell, under a policy that permits all but the name. Each row is typed
into a fresh shell; ``{f}`` is the file that must not be there (in ``{d}``), ``{c}`` has the form of a challenge. Rows are only
ever added.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.bypass.shell.guarded import FORBID, PERMIT
from tests.bypass.shell.test_guarded import ORDINARY
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.locked import GREETING, READY, SHELLS, commands, prompt, server, servers
from tests.integration.ssh.many import Many
from tests.integration.ssh.test_guarded import victims
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

__all__ = ["server", "servers"]

EVERYTHING = "permit(principal, action, resource);"
CHALLENGE = "00000000-0000-4000-8000-000000000000"

#: A paste that does not end is no line yet.
OPEN = ["\x1b[200~touch {f}", "x"]
STRICT = [
    ["touch {f}"],
    ["to\\", "uch {f}"],
    ["a=touch", "$a {f}"],
    ["cat <<X", "$(touch {f})", "X"],
    ["alias ls='touch {f}'", "ls"],
    ["alias eval='touch {f}'", "echo x"],
    ["ls() {{ touch {f}; }}", "ls"],
    ["read() {{ touch {f}; }}", "echo x"],
    ["printf() {{ touch {f}; }}", "echo x"],
    ["command() {{ touch {f}; }}", "echo x"],
    ["unset() {{ touch {f}; }}", "echo x"],
    ["read() {{ command read -r x; eval \"$x\"; }}", "touch {f}"],
    ["while read -r x; do eval \"$x\"; done", "touch {f}"],
    ["trap 'touch {f}' INT", "sleep 1", "\x03"],
    ["trap 'touch {f}' EXIT", "exit"],
    ["trap 'touch {f}' DEBUG", "echo x"],
    ["PS1='$(touch {f})'", "echo x"],
    ["PS4='$(touch {f})'; set -x", "echo x"],
    ["ENV={f} sh"],
    ["exec sh", "touch {f}"],
    ["sh", "touch {f}"],
    ["PATH=/tmp:$PATH", "ls"],
    ["enable -n eval", "touch {f}"],
    ["set -n", "touch {f}"],
    ["fc -s", "touch {f}"],
    # what the editor does with keys
    ["touch {f}", "\x1b[A"],
    ["touch {f}", "\x12tou"],
    ["touch {f}\x0f"],
    ["true\ntouch {f}"],
    ["true\x0ftouch {f}"],
    ["\x1b[200~touch {f}\r\x1b[201~"],
    ["\x1b[200~true\rtouch {f}\x1b[201~"],
    OPEN,
    ["touch\x16\x00 {f}"],
    ["touch\x16\x0b{f}", "touch\u00a0{f}"],
    ["\udcff\udcc3touch {f}"],
    ["echo x #\x16\rtouch {f}"],
]  # fmt: skip
RUNNER = [
    # keys that a program does not take
    ["sleep 0.3\rtouch {f}"],
    ["sleep 0.3\r{c}:r:0:touch {f}"],
    ["sleep 0.3\r@sallyport@touch {f}"],
    ["cat", "{c}:r:0:touch {f}", "\x03"],
    ["cat &", "{c}:r:0:touch {f}"],
    ["cat < /dev/tty &", "{c}:r:0:touch {f}", "touch {f}"],
    # what leads out of the loop
    ["break 2", "@sallyport@touch {f}"],
    ["break 3\r@sallyport@touch {f}"],
    ["continue 3\r@sallyport@touch {f}"],
    ["continue 99\r@sallyport@touch {f}"],
    ["eval continue 5\r@sallyport@touch {f}"],
    ["return 3\r@sallyport@touch {f}"],
    ["trap return INT; kill -INT $$\r@sallyport@touch {f}"],
    ["while :; do :; done", "\x03", "@sallyport@touch {f}"],
    ["kill -INT $$\r@sallyport@touch {f}"],
    ["kill -TSTP $$", "touch {f}"],
    ["set -e; false\rtouch {f}"],
    ["set -u; : $nosuch\r@sallyport@touch {f}"],
    ["echo )\r@sallyport@touch {f}"],
    ["exec cat", "touch {f}"],
    # the challenge: set, told, or swallowed with its mark
    ["readonly __sp_c={c}\rsleep 0.3\r{c}:r:0:touch {f}"],
    ["readonly '__s''p_c={c}'\rsleep 0.3\r{c}:r:0:touch {f}"],
    ["eval 'unset() {{ :; }}'; eval '__s''p_c={c}'\rsleep 0.3\r{c}:r:0:touch {f}"],
    ["set -x", "sleep 0.3\r{c}:r:0:touch {f}"],
    ["set -v", "sleep 0.3\r{c}:r:0:touch {f}"],
    ["printf '\\033]7701;0;R;{c};0;/tmp\\007'", "{c}:r:0:touch {f}"],
    ["(sleep 0.1; printf '\\033]7701;') &", "sleep 0.3\r{c}:r:0:touch {f}", "touch {f}"],
    ["for n in $(seq 200); do printf '\\033]7701;'; sleep 0.05; done &", "sleep 0.2\r{c}:r:0:touch {f}", "touch {f}"],
    # what the runner is made of
    ["read() {{ __sp_l={c}:r:0:touch; }}", "touch {f}"],
    ["printf() {{ :; }}", "touch {f}"],
    ["stty() {{ :; }}", "touch {f}"],
    ["PATH=/nowhere", "touch {f}"],
    ["IFS=0123456789abcdef-:", "touch {f}"],
    ["LC_ALL=tr_TR", "touch {f}"],
    ["unset PATH HOME PWD", "touch {f}"],
    ["PWD=/x; cd /", "touch {f}"],
    ["exec < /dev/null", "touch {f}"],
    ["exec > /dev/null 2>&1", "touch {f}"],
    ["exec 0<&- 1>&- 2>&-", "touch {f}"],
    ["ulimit -n 3", "touch {f}"],
    ["stty raw -echo -isig", "{c}:r:0:touch {f}", "touch {f}"],
    ["stty -icanon min 0 time 0", "touch {f}"],
    ["stty ixoff; stty intr x", "touch {f}"],
    ["cd {d}", "stty iuclc", "TOUCH victim"],
    ["cd {d}", "stty iuclc; stty() {{ :; }}", "TOUCH victim"],
    ["cd {d}", "stty inlcr igncr istrip iuclc", "TOUCH victim"],
    ["cd {d}", "stty start q", "tqouch victim"],
    ["cd {d}", "stty noflsh susp q", "tqouch victim"],
    ["cd {d}", "(sleep 0.3; stty iuclc < /dev/tty) & sleep 0.1", "true", "TOUCH victim", "TOUCH victim"],
    ["mkdir -p \"$(printf '/tmp/sp\\a;x')\"; cd /tmp/sp*", "touch {f}"],
]  # fmt: skip
ROWS = [(PERMIT, row) for row in STRICT] + [(EVERYTHING, row) for row in RUNNER]


@pytest.fixture
async def locked(server: Sshd, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(FakeIdentity(), tmp_path)
    gate.serving = serving_for(server, PERMIT, FORBID, shell="locked")
    await gate.listen()
    yield gate
    await gate.close()


@pytest.fixture(scope="module", params=SHELLS)
def many(servers: dict[str, Sshd], request: pytest.FixtureRequest) -> Iterator[Many]:
    shells = Many(servers[request.param], shell="locked")
    yield shells
    shells.close()


@pytest.mark.parametrize(("permit", "row"), ROWS, ids=[" ⏎ ".join(row) for _, row in ROWS])
def test_it_does_not_run(many: Many, tmp_path: Path, permit: str, row: list[str]) -> None:
    victim = tmp_path / "victim"
    with many.row(permit, FORBID, greeting=GREETING, ready=READY) as shell:
        # Policy must have stopped the first kind. Of the second, all but some names are permitted, as what they are: no program.
        denied = int(permit == PERMIT and row != OPEN)
        shell.attack([keys.format(f=victim, d=tmp_path, c=CHALLENGE) for keys in row], READY, denied=denied)
    assert not victim.exists()


async def test_a_line_of_a_megabyte_is_refused_whole(locked: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"touch {victim}; : ")
        for _ in range(1024):
            child.send("x" * 1024)
            child.expect([pexpect.TIMEOUT, ".+"], timeout=0)
        child.send(f"\rtouch {victim}-2\r")
        child.expect_exact("so it cannot be decided")
        child.expect_exact("Not that.")
        child.send("exit\r")

    await at_terminal(locked.ssh(), person)
    await locked.idle()
    assert not victims(tmp_path)


async def test_plain_work_goes_on(locked: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for line in ORDINARY:
            child.send(line + "\r")
        child.send("exit\r")

    await at_terminal(locked.ssh(), person)
    await locked.idle()
    assert locked.serving.denied == 0
    assert [each["text"] for each in commands(locked.serving)] == [*ORDINARY, "exit"]
