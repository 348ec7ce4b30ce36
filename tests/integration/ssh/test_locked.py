"""Locked shells: real ssh and sshd before dash, busybox and bash; the gateway edits the lines, and decides about them first."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import FakeServing
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import LINES, NOT, PERMIT, victims
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

#: The gateway's prompt, when a line may be typed.
GREETING = "locked shell: every line is edited here"
READY = r"@web:[^$]*\$ \Z"
SHELLS = ["dash", "bash", "busybox"]
UNGUARDED = 'forbid(principal, action, resource) when { context.flags.contains("guarded") };'


def account(folder: Path, shell: str) -> Sshd:
    """A server whose accounts have ``shell`` for their shell, and for ``sh``."""
    path = shutil.which(shell)
    if path is None:
        pytest.fail(f"missing: apt-get install {shell} (make setup does)")
    programs = folder / "programs"
    programs.mkdir()
    if shell != "bash":
        (programs / "sh").symlink_to(path)
    if shell == "busybox":
        path = str(programs / "sh")
    return Sshd(folder, shell=path, path=f"{programs}:/usr/bin:/bin")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    running = {shell: account(tmp_path_factory.mktemp(shell), shell) for shell in SHELLS}
    yield running
    for each in running.values():
        each.stop()


@pytest.fixture(params=SHELLS)
def server(servers: dict[str, Sshd], request: pytest.FixtureRequest) -> Sshd:
    return servers[request.param]


@pytest.fixture
async def locked(server: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose shells are locked; ``touch`` is forbidden."""
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(server, PERMIT, NOT, shell="locked")
    await gate.listen()
    yield gate
    await gate.close()


def prompt(child: pexpect.spawn) -> None:
    child.delaybeforesend = None
    child.expect_exact(GREETING)
    child.expect(READY)


def commands(serving: FakeServing) -> list[dict[str, object]]:
    return [entry for entry in serving.recorder.lines(1, "jsonl") if entry.get("event") == "command"]


async def test_lines_run_or_do_not(locked: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("cd /tmp; v=7; echo $((6*7))-is-it\r")
        child.expect("42-is-it\r\n")
        child.expect(r"@web:/tmp\$ \Z")
        child.send(f"echo a; touch {victim}; echo b\r")
        child.expect_exact("sallyport: Not that.")
        child.expect(READY)
        child.send("echo status $? $v\r")
        child.expect("status 126 7")
        child.expect(READY)
        child.send("exit 5\r")

    assert await at_terminal(locked.ssh(), person) == 5
    await locked.idle()
    assert not victim.exists()
    recorder = locked.serving.recorder
    assert recorder.markers(1) == [
        "allowed: interactive shell (rule-1)",
        "allowed: cd /tmp; v=7; echo $((6*7))-is-it (rule-1)",
        f"denied: echo a; touch {victim}; echo b (rule-2)",
        "allowed: echo status $? $v (rule-1)",
        "allowed: exit 5 (rule-1)",
    ]
    assert not re.search("7701|__sp_", recorder.text(1))
    ran = commands(locked.serving)
    assert [(each["text"], each["exit"], each["cwd"]) for each in ran[1:]] == [
        ("echo status $? $v", 0, "/tmp"),
        ("exit 5", 5, "/tmp"),
    ]
    begin, end = ran[0]["cast"]
    assert b"42-is-it" in recorder.written[1, "cast"][begin:end]
    assert locked.serving.denied == 1


async def test_a_denied_line_is_never_run_however_often(locked: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for number in range(LINES):
            child.send(f"touch {tmp_path}/victim-{number}\r")
            if number % 10 == 9:
                for _ in range(10):
                    child.expect_exact("sallyport: Not that.")
        child.expect(READY)
        child.send("exit\r")

    assert await at_terminal(locked.ssh(), person) == 126
    await locked.idle()
    assert not victims(tmp_path)
    assert locked.serving.denied == LINES


async def test_what_is_typed_at_a_program_is_never_run_undecided(locked: Gateway, tmp_path: Path) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("echo go; sleep 0.5\r")
        child.expect_exact("go\r\n")
        child.send(f"touch {victim}\r")
        child.send("echo typ''ed ahead\r")
        child.expect_exact("sallyport: Not that.")
        child.expect_exact("typed ahead\r\n")
        child.expect(READY)
        child.send("cat\r")
        child.send("to cat\r")
        child.expect("to cat\r\nto cat\r\n")
        child.send("\x04")
        child.expect(READY)
        child.send("\x04")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert not victim.exists()
    assert [each["text"] for each in commands(locked.serving)] == ["echo go; sleep 0.5", "echo typ''ed ahead", "cat"]


async def test_nothing_of_a_line_reaches_the_target_before_its_verdict(locked: Gateway, server: Sshd) -> None:
    locked.serving = serving_for(server, ALLOW, HOLD, shell="locked")
    held = locked.serving

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("touch nothing-of-it\r")
        child.expect_exact("for dba to agree: https://gw.example/approvals/req_1")
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert "nothing-of-it" not in shown.replace("ps -eo", "")
        child.send("\x03")
        child.expect_exact("You withdrew the request, so nothing ran.")
        child.expect(READY)
        child.send("exit\r")

    await at_terminal(locked.ssh(), person)
    await locked.idle()
    assert held.approvals.used == []


async def test_a_held_line_runs_by_itself_after_the_yes(locked: Gateway, server: Sshd, tmp_path: Path) -> None:
    locked.serving = serving_for(server, ALLOW, HOLD, shell="locked")
    held = locked.serving
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"cd {tmp_path}\r")
        child.expect(READY)
        child.send("touch victim\r")
        child.expect_exact("for dba to agree")
        child.send("echo typed ahead\r")
        loop.call_soon_threadsafe(held.approvals.release.set)
        child.expect_exact("\x1b[?2004ltyped ahead\r\n")
        child.send("exit\r")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert victims(tmp_path)
    (operation, _), *_ = held.approvals.asked
    assert operation.text == "touch victim"
    assert dict(operation.environment)["PWD"] == str(tmp_path)


#: It says that it has the terminal.
SLEEPS = "sh -c 'echo a''sleep; exec sleep 300'"


def interrupted(child: pexpect.spawn, *, pressed: bool = False) -> None:
    """Press Ctrl-C until a prompt comes. One that comes while the shell starts its program may meet neither of them."""
    if pressed and child.expect([READY, pexpect.TIMEOUT], timeout=0.5) == 0:
        return
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        child.send("\x03")
        if child.expect([READY, pexpect.TIMEOUT], timeout=0.5) == 0:
            return
    pytest.fail("Ctrl-C ends nothing")


async def test_programs_have_the_terminal_to_themselves(locked: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("stty -echo; printf 'Password: '; read -r p; stty echo; echo ${#p}\r")
        child.expect_exact("\x1b[?2004lPassword: ")
        child.send("hunter2\r")
        child.expect_exact("7\r\n")
        child.expect(READY)
        child.send(f"{SLEEPS}\r")
        child.expect_exact("asleep\r\n")
        child.send("\x03")
        child.expect(READY)
        child.send("echo after $?\r")
        child.expect_exact("after 130")
        child.send(f"{SLEEPS}\r")
        child.expect_exact("asleep\r\n")
        child.send("\x1a")
        child.expect(READY)
        child.send("fg\r")
        # It says what goes on, and the line is not withdrawn by the key behind it.
        child.expect_exact("sleep 300")
        interrupted(child)
        child.setwinsize(40, 90)
        child.send("stty size\r")
        child.expect_exact("40 90\r\n")
        child.expect(READY)
        child.send("(sleep 0.3; echo late) & \r")
        child.expect(READY)
        child.send("echo ha")
        child.expect_exact("late\r\n")
        child.expect(r"\$ echo ha\Z")
        child.send("lf\r")
        child.expect_exact("\x1b[?2004lhalf\r\n")
        child.send("vi -u NONE\r")
        child.expect_exact("\x1b[?1049h")
        child.send(":q!\r")
        child.expect(READY)
        child.send("exit 3\r")

    assert await at_terminal(locked.ssh(), person) == 3
    await locked.idle()
    assert b"hunter2" not in b"".join(locked.serving.recorder.written.values())


async def test_long_lines_run_at_once_and_ctrl_c_behind_them_is_for_their_program(locked: Gateway) -> None:
    paste = "cat > /dev/null <<'X'\n" + "a 'quoted' line; with $signs & \"more\"\n" * 400 + "X\n"

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        # What has to be quoted on its way is several times as long there.
        child.send(f"\x1b[200~{paste}\x1b[201~\r")
        child.expect_exact("\x1b[?2004l")
        child.expect(READY)
        child.send(": " + "é" * 10_000 + "; sleep 60\r\x03")
        interrupted(child, pressed=True)
        child.send("echo $((2*$?))-is-it\r")
        child.expect_exact("260-is-it")
        child.send("exit 0\r")

    assert await at_terminal(locked.ssh(options=["-o", "SendEnv=LANG"]), person) == 0
    await locked.idle()
    assert [each["exit"] for each in commands(locked.serving)] == [0, 130, 0, 0]


@pytest.mark.parametrize("shell", ["locked", "guarded"])
async def test_the_line_that_ran_when_the_session_was_ended_is_on_record(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path, shell: str
) -> None:
    gate = Gateway(identity, tmp_path)
    serving = gate.serving = serving_for(servers["bash"], PERMIT, shell=shell)
    await gate.listen()
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect(r"[$#] (\x1b\[[?0-9]*[a-zA-Z])*\Z")
        child.send("echo $((6*7)); sleep 60\r")
        child.expect_exact("42\r\n")
        loop.call_soon_threadsafe(serving.ended.set_result, Notice("session_killed", "Somebody ended it."))
        child.expect_exact("Somebody ended it.")

    try:
        assert await at_terminal(gate.ssh(), person) == 255
        await gate.idle()
        (ran,) = commands(serving)
        assert (ran["text"], ran["exit"]) == ("echo $((6*7)); sleep 60", None)
        assert "42\r\n" in serving.recorder.text(1)
    finally:
        await gate.close()


async def test_a_runner_that_is_killed_ends_the_shell(locked: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("kill -9 $$\r")

    assert await at_terminal(locked.ssh(), person) not in (0, -1)
    await locked.idle()
    (ran,) = commands(locked.serving)
    assert ran["text"] == "kill -9 $$"


async def test_start_up_files_of_the_account_are_not_read(locked: Gateway, server: Sshd) -> None:
    files = [server.home / name for name in (".profile", ".bash_profile", ".shrc")]
    for each in files:
        each.write_text("exec cat\n")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("exit 4\r")

    try:
        assert await at_terminal(locked.ssh(), person) == 4
    finally:
        for each in files:
            each.unlink()


async def test_a_shell_without_a_runner_is_ended(
    identity: FakeIdentity, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("none")
    (folder / "sh").write_text("#!/bin/bash\nexec sleep 20\n")
    (folder / "sh").chmod(0o755)
    sshd = Sshd(folder, path=f"{folder}:/usr/bin:/bin")
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, PERMIT, shell="locked", shell_start_s=3)
    await gate.listen()

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("sallyport: The shell did not start its guard within 3 s, so it was ended. (shell_unguarded")

    try:
        assert await at_terminal(gate.ssh(), person) == 126
    finally:
        await gate.close()
        sshd.stop()


@pytest.mark.parametrize(
    ("shell", "modes", "rules", "says"),
    [
        ("dash", ["guarded", "locked"], [PERMIT], "'dash' cannot be guarded, so this is a locked shell"),
        ("bash", ["guarded", "locked"], [PERMIT], "every line is decided before it runs, and recorded"),
        ("bash", ["guarded", "locked"], [PERMIT, UNGUARDED], "locked shell: every line is edited here"),
        ("bash", ["locked", "guarded"], [PERMIT], "locked shell: every line is edited here"),
    ],
)  # fmt: skip
async def test_the_first_mode_that_policy_permits_and_the_shell_has(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path, shell: str, modes: list[str], rules: list[str], says: str
) -> None:
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(servers[shell], *rules, shell=modes)
    await gate.listen()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact(says)
        child.expect(r"[$#] (\x1b\[[?0-9]*[a-zA-Z])*\Z")
        child.send("echo $((6*7))\r")
        child.expect("42\r\n")
        child.send("exit\r")

    try:
        assert await at_terminal(gate.ssh(), person) == 0
        await gate.idle()
        assert next(each["text"] for each in commands(gate.serving)) == "echo $((6*7))"
    finally:
        await gate.close()


async def test_a_shell_that_only_the_guard_is_permitted_for_is_refused_where_there_is_none(
    servers: dict[str, Sshd], identity: FakeIdentity, tmp_path: Path
) -> None:
    gate = Gateway(identity, tmp_path)
    forbid = 'forbid(principal, action, resource) when { context.flags.contains("locked") };'
    gate.serving = serving_for(servers["dash"], PERMIT, forbid, shell=["guarded", "locked"])
    await gate.listen()

    def person(child: pexpect.spawn) -> None:
        child.expect_exact("This account's shell cannot be guarded ('dash'); only bash, fish, zsh can.")

    try:
        assert await at_terminal(gate.ssh(), person) == 126
    finally:
        await gate.close()


async def test_tab_completes_names(locked: Gateway, tmp_path: Path) -> None:
    (tmp_path / "one long name").write_text("it is\n")
    (tmp_path / "two-a").write_text("")
    (tmp_path / "two-b").write_text("")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send(f"cd {tmp_path}\r")
        child.expect(READY)
        child.send("cat one\t")
        child.expect_exact("one\\ long\\ name ")
        child.send("\r")
        child.expect_exact("it is\r\n")
        child.expect(READY)
        child.send("echo tw\t")
        child.expect_exact("echo two-")
        child.send("\t")
        child.expect_exact("two-a  two-b\r\n")
        child.send("b\r")
        child.expect(READY)
        child.send("mkd\t")
        child.expect_exact("mkdir ")
        child.send("$no\t\x15exit\r")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert [each["text"] for each in commands(locked.serving)][1:] == ["cat one\\ long\\ name ", "echo two-b", "exit"]
    asked = [entry for entry in locked.serving.recorder.lines(1, "jsonl") if entry.get("kind") == "complete"]
    assert [(each["text"], each["verdict"], each["objects"]) for each in asked] == [
        ("one", "allowed", [str(tmp_path)]),
        ("tw", "allowed", [str(tmp_path)]),
        ("two-", "allowed", [str(tmp_path)]),
        ("mkd", "allowed", []),
    ]


async def test_nothing_is_completed_where_policy_forbids_it(locked: Gateway, server: Sshd) -> None:
    forbid = 'forbid(principal, action, resource) when { context.kind == "complete" };'
    locked.serving = serving_for(server, PERMIT, forbid, shell="locked")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("cat /etc/pass\t")
        child.expect_exact("\x07")
        child.send("\x15exit\r")

    assert await at_terminal(locked.ssh(), person) == 0
    await locked.idle()
    assert not [entry for entry in locked.serving.recorder.lines(1, "jsonl") if entry.get("kind") == "complete"]
    assert locked.serving.denied == 0


async def test_lines_that_were_sent_in_advance_run_and_then_the_shell_ends(locked: Gateway) -> None:
    def run() -> subprocess.CompletedProcess[bytes]:
        text = b"echo $((6*7))\ntouch /nowhere\nsh -c 'exit 3'\n"
        return subprocess.run(locked.ssh(options=["-tt"]), input=text, capture_output=True, timeout=HANG_S, check=False)

    done = await asyncio.to_thread(run)
    assert b"42\r\n" in done.stdout
    assert b"Not that." in done.stdout
    assert done.returncode == 3
    await locked.idle()
    assert [each["exit"] for each in commands(locked.serving)] == [0, 3]


async def test_what_is_said_beside_the_shell_leaves_its_line(locked: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("echo ha" + "l" * 120)
        child.expect("l{20}\\Z")
        loop.call_soon_threadsafe(warn)
        child.expect_exact("sallyport: 5 minutes left")
        child.expect("l{30}\\Z")
        child.send("f\r")
        child.expect_exact("\r\n\x1b[?2004lha" + "l" * 120 + "f")
        child.send("exit\r")

    def warn() -> None:
        locked.serving.warned("5 minutes left")

    loop = asyncio.get_running_loop()
    assert await at_terminal(locked.ssh(), person) == 0


async def test_secrets_in_a_line_are_masked_where_it_is_recorded(locked: Gateway, server: Sshd) -> None:
    locked.serving = serving_for(server, 'permit(principal, action == Action::"run", resource);', shell="locked")

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        for key in "echo 4111111111111111":
            child.send(key)
            child.expect(pexpect.TIMEOUT, timeout=0.02)
        child.send(" x\x1b[D\x1b[D\r")
        child.expect(READY)
        child.send("exit\r")

    await at_terminal(locked.ssh(), person)
    await locked.idle()
    assert b"4111111111111111" not in b"".join(locked.serving.recorder.written.values())
