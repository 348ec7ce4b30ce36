"""What people do at the prompt of a locked shell, and the exact lines that are decided for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.locked import GREETING, READY, servers
from tests.integration.ssh.many import Many
from tests.integration.ssh.scenarios import DOWN, LEFT, UP, Scenario, exact, type_out
from tests.integration.ssh.test_guarded_corpus import COMMON, PERMIT

pytestmark = pytest.mark.servers

__all__ = ["servers"]

SCENARIOS = [
    *COMMON,
    Scenario("comment", "# a comment\recho x\r", ["# a comment", "echo x"]),
    Scenario("quotes", "echo 'a;b' \"c d\" \\$x\r", ["echo 'a;b' \"c d\" \\$x"]),
    Scenario("pipe", "echo abc | tr a-c A-C\r", ["echo abc | tr a-c A-C"]),
    Scenario("leading space", "  echo lead\r", ["  echo lead"]),
    Scenario("tab inside", "echo 'a\x16\tb'\r", ["echo 'a\tb'"]),
    Scenario("kill end", f"echo xyz{LEFT * 2}\x0b\r", ["echo x"]),
    Scenario("yank", "one\x15echo \x19\r", ["echo one"]),
    Scenario("transpose", "ehco x\x01\x1b[C\x1b[C\x14\r", ["echo x"]),
    Scenario("undo", "echo xq\x1f\x1f\x1f\x1f\x1f\x1f\x1f\x1fecho y\r", ["echo y"]),
    Scenario("history up", f"echo one\r{UP}\r", ["echo one", "echo one"]),
    Scenario("history down", f"echo one\recho two\r{UP}{UP}{DOWN}\r", ["echo one", "echo two", "echo two"]),
    Scenario("search", ["echo needle\r", "echo hay\r", "\x12need\r"], ["echo needle", "echo hay", "echo needle"]),
    Scenario("search edit", ["echo needle\r", "\x12need\x05 x\r"], ["echo needle", "echo needle x"]),
    Scenario("operate and next", f"echo one\recho two\r{UP}{UP}\x0f\r", ["echo one", "echo two", "echo one", "echo two"]),
    Scenario("for", "for i in 1 2\rdo echo $i\rdone\r", ["for i in 1 2\ndo echo $i\ndone"]),
    Scenario("if", "if true\rthen\recho y\rfi\r", ["if true\nthen\necho y\nfi"]),
    Scenario("backslash", "echo a \\\rb\r", ["echo a \\\nb"]),
    Scenario("here document", "cat <<X\rone\rtwo $((1+1))\rX\r", ["cat <<X\none\ntwo $((1+1))\nX"]),
    Scenario("function", "f() {\recho in f\r}\rf\r", ["f() {\necho in f\n}", "f"]),
    Scenario("case", "case x in\rx) echo m;;\resac\r", ["case x in\nx) echo m;;\nesac"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1\necho p2"]),
    Scenario("raw paste", "echo r1\necho r2\n", ["echo r1", "echo r2"]),
    Scenario("alias", "alias hi='echo hello'\rhi there\r", ["alias hi='echo hello'", "hi there"]),
    Scenario("read visible", ["printf 'wo''rd? '; read p\r", ("word? ", "typed text\r"), "echo x\r"],
             ["printf 'wo''rd? '; read p", "echo x"]),
    Scenario("hidden word",
             ["stty -echo; printf 'wo''rd? '; read p; stty echo\r", ("word? ", "hunter2\r"), "echo ${#p}\r"],
             ["stty -echo; printf 'wo''rd? '; read p; stty echo", "echo ${#p}"]),
    Scenario("read secret",
             ["sh -c 'stty -echo; printf wo\"\"rd?; read p; stty echo; echo got ${#p}'\r", ("word?", "hunter2\r"), "echo x\r"],
             ["sh -c 'stty -echo; printf wo\"\"rd?; read p; stty echo; echo got ${#p}'", "echo x"]),
    Scenario("type ahead", ["echo in''side; cat\r", ("inside\r\n", "into cat\r\x04echo after\r")],
             ["echo in''side; cat", "echo after"]),
    Scenario("completion", "ech\tcomp\r", ["echo comp"]),
    Scenario("path completion", "echo /etc/passw\t\r", ["echo /etc/passwd"]),
    Scenario("choices", "echo /etc/hos\t\ts\r", ["echo /etc/hosts"]),
    Scenario("quoted here document", "cat <<'X'\r$HOME `id`\rX\r", ["cat <<'X'\n$HOME `id`\nX"]),
    Scenario("job", "sleep 100 &\rkill $!\rwait\r", ["sleep 100 &", "kill $!", "wait"]),
    Scenario("errexit", "set -e\recho x\rset +e\r", ["set -e", "echo x", "set +e"]),
    Scenario("background", "(sleep 0.1; echo late) &\recho x\rwait\r", ["(sleep 0.1; echo late) &", "echo x", "wait"]),
    Scenario("subshell", "(cd /; pwd)\rpwd >/dev/null\r", ["(cd /; pwd)", "pwd >/dev/null"]),
    Scenario("syntax error", "echo )\recho x\r", ["echo )", "echo x"]),
    Scenario("unset variable", "set -u\recho $nosuch\recho x\rset +u\r", ["set -u", "echo $nosuch", "echo x", "set +u"]),
    Scenario("trace", "set -x\recho x\rset +x\r", ["set -x", "echo x", "set +x"]),
    Scenario("own trap", "trap 'x=1' EXIT\recho s\rtrap - EXIT\r", ["trap 'x=1' EXIT", "echo s", "trap - EXIT"]),
    Scenario("loops of nobody", "break\rcontinue\recho x\r", ["break", "continue", "echo x"]),
    Scenario("terminal games", "stty raw -echo\recho x\rstty sane\r", ["stty raw -echo", "echo x", "stty sane"]),
    Scenario("terminal shouts", ["stty iuclc istrip\r", "echo X\r", "stty sane\r"],
             ["stty iuclc istrip", "echo X", "stty sane"]),
    Scenario("terminal knows no lines", ["stty inlcr igncr\r", "echo x\r", "stty sane\r"],
             ["stty inlcr igncr", "echo x", "stty sane"]),
    Scenario("streams", "exec 3>&1\recho x >&3\rexec 3>&-\r", ["exec 3>&1", "echo x >&3", "exec 3>&-"]),
    Scenario("own PS1", "PS1='$(echo dyn)> '\recho x\r", ["PS1='$(echo dyn)> '", "echo x"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def many(servers: dict[str, Sshd], request: pytest.FixtureRequest) -> Iterator[Many]:
    shells = Many(servers[request.param], PERMIT, shell="locked")
    yield shells
    shells.close()


#: Of the other two, whose lines are edited alike, one is enough.
HOW = [("dash", True), ("dash", False), ("bash", False), ("busybox", False)]


NAMES = [f"{shell} {'human' if human else 'burst'}" for shell, human in HOW]


@pytest.mark.parametrize(("many", "human"), HOW, ids=NAMES, indirect=["many"], scope="module")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_the_lines_are_exact(many: Many, scenario: Scenario, human: bool) -> None:
    with many.row(greeting=GREETING, ready=READY) as row:
        type_out(row, scenario, READY, human=human)
        assert row.leave() == 0
    exact(row, scenario)
