"""What people do at a prompt, and the exact lines that are decided for it: line editing, history, pastes and programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pexpect
import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.many import Many

pytestmark = pytest.mark.servers

PERMIT = "permit(principal, action, resource);"
UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
ENTERS = "\r\n\x03\x0f"
HOME, END, DELETE, BACKSPACE = "\x01", "\x05", "\x1b[3~", "\x7f"


class Scenario(NamedTuple):
    """Keys, and the lines that they amount to. What is typed while a program runs goes through the terminal's own line editing,
    as without a gateway, so scenarios that need readline for that are not typed in one ``burst``; pieces of a list never are.
    """

    name: str
    keys: str | list[str]
    lines: list[str]
    burst: bool = True


#: What every shell does alike.
COMMON = [
    Scenario("plain", "echo one\r", ["echo one"]),
    Scenario("two", "echo one\recho two\r", ["echo one", "echo two"]),
    Scenario("empty", "\r\r   \recho x\r", ["echo x"]),
    Scenario("semicolons", "echo a; echo b && echo c\r", ["echo a; echo b && echo c"]),
    Scenario("unicode", "echo grüße 日本 🙂\r", ["echo grüße 日本 🙂"]),
    Scenario("left", f"echo ac{LEFT}b\r", ["echo abc"]),
    Scenario("home", f"cho x{HOME}e\r", ["echo x"]),
    Scenario("end", f"echo{HOME}{END} x\r", ["echo x"]),
    Scenario("backspace", f"ecjo{BACKSPACE * 2}ho x\r", ["echo x"]),
    Scenario("delete", f"eccho x{HOME}{RIGHT}{DELETE}\r", ["echo x"]),
    Scenario("kill line", "touch /x\x15echo x\r", ["echo x"]),
    Scenario("kill word", "echo one two\x17\r", ["echo one "]),
    Scenario("history edit", f"echo one\r{UP}{BACKSPACE * 3}two\r", ["echo one", "echo two"], burst=False),
    Scenario("open quote", "echo 'a\rb'\r", ["echo 'a\nb'"]),
    Scenario("long", "echo " + "x" * 3000 + "\r", ["echo " + "x" * 3000]),
    Scenario("bracketed paste", "\x1b[200~echo pasted\x1b[201~\r", ["echo pasted"]),
    Scenario("interrupt", "echo gone\x03echo x\r", ["echo x"], burst=False),
    Scenario("read visible", ["read p\r", "typed text\r", "echo x\r"], ["read p", "echo x"]),
    Scenario("cat", ["cat\r", "to cat\r", "\x04", "echo x\r"], ["cat", "echo x"]),
    Scenario("python", ["python3 -q\r", "print(6*7)\r", "\x04", "echo x\r"], ["python3 -q", "echo x"]),
    Scenario("not found", "nosuchcommand1\recho x\r", ["nosuchcommand1", "echo x"]),
]
SCENARIOS = [
    *COMMON,
    Scenario("comment", "# a comment\recho x\r", ["echo x"]),
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
    Scenario("search", "echo needle\recho hay\r\x12need\r", ["echo needle", "echo hay", "echo needle"], burst=False),
    Scenario("search edit", "echo needle\r\x12need\x05 x\r", ["echo needle", "echo needle x"], burst=False),
    Scenario("bang bang", "echo one\r!!\r", ["echo one", "echo one"]),
    Scenario("bang word", "echo one\recho two !$\r", ["echo one", "echo two one"]),
    Scenario("operate and next", f"echo one\recho two\r{UP}{UP}\x0f\r", ["echo one", "echo two", "echo one", "echo two"]),
    Scenario("caret", "echo one\r^one^two^\r", ["echo one", "echo two"]),
    Scenario("fc list off", "echo a\rfc -l -1 >/dev/null\r", ["echo a", "fc -l -1 >/dev/null"]),
    Scenario("completion", "ech\tcomp\r", ["echo comp"]),
    Scenario("path completion", "echo /etc/passw\t\r", ["echo /etc/passwd"]),
    Scenario("for", "for i in 1 2\rdo echo $i\rdone\r", ["for i in 1 2\ndo echo $i\ndone"]),
    Scenario("if", "if true\rthen\recho y\rfi\r", ["if true\nthen\necho y\nfi"]),
    Scenario("backslash", "echo a \\\rb\r", ["echo a b"]),
    Scenario("here document", "cat <<X\rone\rtwo $((1+1))\rX\r", ["cat <<X\none\ntwo $((1+1))\nX"]),
    Scenario("function", "f() {\recho in f\r}\rf\r", ["f() {\necho in f\n}", "f"]),
    Scenario("case", "case x in\rx) echo m;;\resac\r", ["case x in\nx) echo m;;\nesac"]),
    Scenario("paste of two", "\x1b[200~echo p1\necho p2\x1b[201~\r", ["echo p1", "echo p2"]),
    Scenario("raw paste", "echo r1\necho r2\n", ["echo r1", "echo r2"]),
    Scenario("alias", "alias hi='echo hello'\rhi there\r", ["alias hi='echo hello'", "hi there"]),
    Scenario("read secret", ["read -s p\r", "hunter2\r", "echo ${#p}\r"], ["read -s p", "echo ${#p}"]),
    Scenario("type ahead", "cat\rinto cat\r\x04echo after\r", ["cat", "echo after"]),
    Scenario("background", "(sleep 0.1; echo late) &\recho x\rwait\r", ["(sleep 0.1; echo late) &", "echo x", "wait"]),
    Scenario("subshell", "(cd /; pwd)\rpwd >/dev/null\r", ["(cd /; pwd)", "pwd >/dev/null"]),
    Scenario("vi mode", ["set -o vi\r", "echo abd\x1brcA x\r", "set -o emacs\r"], ["set -o vi", "echo abc x", "set -o emacs"]),
    Scenario("macro", ['bind \'"\\eq":"echo macro\\r"\'\r', "\x1bq"], ['bind \'"\\eq":"echo macro\\r"\'', "echo macro"]),
    Scenario("syntax error", "echo )\recho x\r", ["echo x"]),
    Scenario("prompt that talks", "PS1='$(echo dyn)> '\recho x\r", ["PS1='$(echo dyn)> '", "echo x"]),
    Scenario(
        "prompt command", "PROMPT_COMMAND='true;true'\recho x\recho y\r", ["PROMPT_COMMAND='true;true'", "echo x", "echo y"]
    ),
    Scenario("errexit off", "set -u\recho x\rset +u\r", ["set -u", "echo x", "set +u"]),
    Scenario(
        "history control",
        "HISTCONTROL=ignoreboth\r echo s\recho s\recho s\r",
        ["HISTCONTROL=ignoreboth", " echo s", "echo s", "echo s"],
    ),
    Scenario("history ignore", "HISTIGNORE='*'\recho s\r", ["HISTIGNORE='*'", "echo s"]),
    Scenario("own trap", "trap 'x=1' DEBUG\recho s\r", ["trap 'x=1' DEBUG", "echo s"]),
    Scenario("own PS0", "PS0='running '\recho s\r", ["PS0='running '", "echo s"]),
]


@pytest.fixture(scope="module")
def many(sshd: Sshd) -> Iterator[Many]:
    shells = Many(sshd, PERMIT, shell="guarded")
    yield shells
    shells.close()


def type_out(child: pexpect.spawn, scenario: Scenario, *, human: bool) -> None:
    """Type a scenario at a prompt, key by key as a ``human`` does or piece by piece, and leave the shell."""
    pieces = [scenario.keys] if isinstance(scenario.keys, str) else scenario.keys
    for number, piece in enumerate(pieces):
        if number:
            # A program reads what follows; give it the time to be there.
            child.expect(pexpect.TIMEOUT, timeout=0.3)
        # Thousands of keys one by one would test patience.
        step = len(piece) if not human else 1 if len(piece) < 1000 else 16
        for key in (piece[at : at + step] for at in range(0, len(piece), step)):
            child.send(key)
            if human:
                child.expect(pexpect.TIMEOUT, timeout=0.08 if key in ENTERS else 0.002)
    child.send("echo th''e-end\r")
    child.expect_exact("the-end")
    child.send("exit 0\r")


@pytest.mark.parametrize("human", [False, True], ids=["burst", "human"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=[each.name for each in SCENARIOS])
def test_the_lines_are_exact(many: Many, scenario: Scenario, human: bool) -> None:
    if not (human or scenario.burst):
        pytest.skip("typed by people alone")
    with many.row(greeting="every line is decided before it runs", ready=r"[#$] (\x1b\[[?0-9]*[a-zA-Z])*$") as row:
        row.child.send("PS1='ready''> '\r")
        row.child.expect(r"ready> (\x1b\[[?0-9]*[a-zA-Z])*$")
        type_out(row.child, scenario, human=human)
        assert row.leave() == 0
    ran = [entry["text"] for entry in row.commands]
    first, *lines, last = ran[:-1] if ran[-1].startswith("exit") else ran
    assert first.startswith("PS1=")
    assert last == "echo th''e-end"
    assert lines == scenario.lines
    assert "7701" not in row.text
    assert b"hunter2" not in row.written
