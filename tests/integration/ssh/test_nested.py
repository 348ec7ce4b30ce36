"""Shells inside of guarded shells: real bash, zsh, fish, su, sudo and ssh, each with a guard of its own."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.fakes.docker_daemon import DockerDaemon
from tests.fakes.kube_exec import KubeExec
from tests.integration.ssh.conftest import USER, FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, victims
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import until

pytestmark = pytest.mark.servers

#: What cannot be known is not permitted, so every one of these shells is known to be guarded.
KNOWN = 'permit(principal, action, resource) unless { context.effects.contains("unknown") || context.flags.contains("opaque") };'
#: The last prompt that a shell shows, however it ends.
PROMPT = r"[$#>](\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*$"
#: Ways into another shell that need no password, as root.
WAYS = {
    "bash": "bash",
    "login": "bash -l",
    "sudo -i": "sudo -i",
    "sudo -s": "sudo -s",
    "sudo bash": "sudo -u root bash",
    "sudo su": "sudo su -",
    "su": "su",
    "su -": "su -",
    "env": "env -i TERM=xterm bash",
    "exec": "exec bash",
}


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    missing = [name for name in ("sudo", "zsh", "fish") if shutil.which(name) is None]
    if missing:
        pytest.fail(f"missing: apt-get install {' '.join(missing)} (make setup does)")
    if os.getuid() != 0:
        pytest.skip("su and sudo ask for no password only as root")


@pytest.fixture
async def guarded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, KNOWN, NOT, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


def begin(child: pexpect.spawn) -> None:
    child.delaybeforesend = None
    child.expect_exact("every line is decided before it runs")
    child.expect(PROMPT)


def enter(child: pexpect.spawn, line: str) -> None:
    """Go into another shell, or out of it."""
    child.send(line + "\r")
    child.expect(PROMPT)


def say(child: pexpect.spawn, line: str, answer: str) -> None:
    child.send(line + "\r")
    child.expect_exact(answer)
    child.expect(PROMPT)


def commands(gateway: Gateway) -> list[tuple[str, int, int | None]]:
    """Each line that ran: its text, its depth, its status."""
    entries = gateway.serving.recorder.lines(1, "jsonl")
    return [(each["text"], each.get("depth", 0), each["exit"]) for each in entries if each.get("event") == "command"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_shell_in_a_shell_is_guarded(guarded: Gateway, tmp_path: Path, way: str) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, way)
        say(child, "echo in-$((6*7))", "in-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        child.send("exit 5\r")
        if not way.startswith("exec"):
            child.expect(PROMPT)
            say(child, "echo out-$?", "out-5\r\n")
            child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    recorder = guarded.serving.recorder
    assert not victims(tmp_path)
    depth = 0 if way.startswith("exec") else 1
    inner = [("echo in-$((6*7))", depth, 0), ("exit 5", depth, 5)]
    assert commands(guarded) == (
        [(way, 0, None), *inner] if not depth else [*inner, (way, 0, 5), ("echo out-$?", 0, 0), ("exit", 0, 0)]
    )
    assert "7701" not in recorder.text(1)
    assert "__sp_" not in recorder.text(1)
    assert "stty" not in recorder.text(1)
    assert guarded.serving.denied == 1


def another() -> str:
    """The name of an account that is not root's, and has bash."""
    for each in pwd.getpwall():
        if each.pw_uid and each.pw_shell.endswith("/bash") and Path(each.pw_dir).is_dir():
            return each.pw_name
    pytest.skip("no other account here has bash")


@pytest.mark.parametrize("way", ["su {}", "su - {}", "sudo -u {} bash", "sudo su - {}", "sudo -iu {}"])
async def test_another_account_is_guarded(guarded: Gateway, tmp_path: Path, way: str) -> None:
    name = another()

    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, way.format(name))
        say(child, "echo in-$(id -un)", f"in-{name}\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 5")
        say(child, "echo out-$?", "out-5\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    assert commands(guarded) == [
        ("echo in-$(id -un)", 1, 0),
        ("exit 5", 1, 5),
        (way.format(name), 0, 5),
        ("echo out-$?", 0, 0),
        ("exit", 0, 0),
    ]
    entries = [each for each in guarded.serving.recorder.lines(1, "jsonl") if each.get("event") == "command"]
    assert entries[0]["account"].startswith(f"{name}@")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_inside_of_bash(guarded: Gateway, tmp_path: Path, shell: str) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, shell)
        say(child, f"echo {shell}''-in", f"{shell}-in\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        # And bash in it again: each of the three starts others in its own way.
        enter(child, "bash")
        say(child, "echo bash''-in-$SHLVL", "bash-in-3\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        child.send("exit\r")
        child.expect(PROMPT)
        say(child, f"echo {shell}''-again", f"{shell}-again\r\n")
        child.send("exit\r")
        child.expect(PROMPT)
        say(child, "echo out''-again", "out-again\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    assert [(text, depth) for text, depth, _ in commands(guarded)] == [
        (f"echo {shell}''-in", 1),
        ("echo bash''-in-$SHLVL", 2),
        ("exit", 2),
        ("bash", 1),
        (f"echo {shell}''-again", 1),
        ("exit", 1),
        (shell, 0),
        ("echo out''-again", 0),
        ("exit", 0),
    ]
    recorder = guarded.serving.recorder
    assert "7701" not in recorder.text(1)
    assert "__sp_" not in recorder.text(1)


async def test_the_history_holds_what_was_typed(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "bash")
        enter(child, "exit")
        child.send("\x1b[A")
        child.expect_exact("bash")
        child.send("\x03")
        child.expect(PROMPT)
        say(child, "history 2 | cut -c8-", "bash\r\nhistory 2 | cut -c8-\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)


async def test_shells_end_in_many_ways(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        for way in ("\x04", "kill -KILL $$\r", "exit 3\r", "exec false\r"):
            enter(child, "bash")
            say(child, "echo in''-it", "in-it\r\n")
            child.send(way)
            child.expect(PROMPT)
            say(child, "echo out-$?-$SHLVL", "-1\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    ran = commands(guarded)
    assert [each for each in ran if each[0].startswith(("kill", "exit 3", "exec", "bash"))] == [
        ("bash", 0, 0),
        ("kill -KILL $$", 1, 137),
        ("bash", 0, 137),
        ("exit 3", 1, 3),
        ("bash", 0, 3),
        ("exec false", 1, 1),
        ("bash", 0, 1),
    ]


async def test_a_stopped_shell_goes_on(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "bash")
        say(child, "inner=yes", "inner=yes\r\n")
        child.send("kill -STOP $$\r")
        child.expect_exact("Stopped")
        child.expect(PROMPT)
        say(child, "echo outer-$inner-$?", "outer--147\r\n")
        child.send("fg\r")
        child.expect(PROMPT)
        say(child, "echo inner-$inner", "inner-yes\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)


async def test_five_deep(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        for way in ("bash", "sudo -i", "zsh", "su -", "bash -l"):
            enter(child, way)
        say(child, "echo deep-$((6*7))", "deep-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        for left in range(1, 6):
            child.send("exit\r")
            # Its own line and the one that had started it have ended. Before that, sudo and su drop what is typed.
            until(lambda left=left: len(commands()) > 2 * left, "the end of both lines")
            child.expect(PROMPT)
        say(child, "echo level-$SHLVL", "level-1\r\n")
        child.send("exit\r")

    def commands() -> list[dict[str, Any]]:
        return [each for each in guarded.serving.recorder.lines(1, "jsonl") if each.get("event") == "command"]

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    entries = commands()
    assert [each.get("depth", 0) for each in entries] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0, 0]
    assert entries[0]["account"].startswith("root@")


async def test_an_approval_of_a_line_is_of_the_shell_it_is_in(guarded: Gateway, sshd: Sshd) -> None:
    guarded.serving = serving_for(sshd, ALLOW, HOLD, shell="guarded")
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "sudo -i")
        enter(child, "bash")
        child.send("touch /nonexistent/victim\r")
        child.expect_exact("for dba to agree")
        loop.call_soon_threadsafe(guarded.serving.approvals.release.set)
        child.expect_exact("cannot touch")
        child.expect(PROMPT)
        # What is typed ahead of sudo's end is dropped by sudo, guarded or not.
        enter(child, "exit")
        enter(child, "exit")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    (operation, _), *_ = guarded.serving.approvals.asked
    assert dict(operation.environment) == {"PWD": "/root", "INSIDE": "sudo -i > bash"}
    assert "nested" in operation.flags


# -- what starts a shell, and asks first -------------------------------------------------------------------------------------

SUDO = """#!/bin/sh
stty -echo; printf '[sudo] password for web: ' > /dev/tty; read p; stty echo; echo
[ "$p" = hunter2 ] || { echo 'Sorry, try again.'; exit 1; }
shift; SHELL=/bin/bash exec "$@"
"""
DOCKER = """#!/bin/sh
shift 3; exec python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' "$@"
"""
KUBECTL = DOCKER.replace("shift 3", "shift 6")
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{}}}}]
current-context: c
"""


@pytest.fixture
def stand_ins(sshd: Sshd) -> Iterator[Path]:
    """Programs of ours that stand before those of the machine."""
    folder = sshd.home / "bin"
    folder.mkdir()
    for name, text in {"sudo": SUDO, "docker": DOCKER, "kubectl": KUBECTL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    profile = sshd.home / ".bash_profile"
    profile.write_text(f"PATH={folder}:$PATH\n")
    yield folder
    shutil.rmtree(folder)
    profile.unlink()


@pytest.mark.usefixtures("stand_ins")
async def test_a_password_is_neither_judged_nor_recorded(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send("sudo -i\r")
        child.expect_exact("[sudo] password for web: ")
        child.send("wrong\r")
        child.expect_exact("Sorry, try again.")
        child.expect(PROMPT)
        # Typed ahead: the password, and a line for the shell behind it.
        child.send("sudo -i\rhunter2\recho in-$((6*7))\r")
        child.expect_exact("in-42\r\n")
        child.expect(PROMPT)
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    recorded = b"".join(guarded.serving.recorder.written.values())
    assert b"hunter2" not in recorded
    assert b"wrong" not in recorded
    assert [each[:2] for each in commands(guarded)] == [
        ("sudo -i", 0),
        ("echo in-$((6*7))", 1),
        ("exit", 1),
        ("sudo -i", 0),
        ("exit", 0),
    ]


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize("way", ["docker exec -it web bash", "kubectl exec -n prod -it web -- bash"])
async def test_a_shell_in_a_container(guarded: Gateway, tmp_path: Path, way: str) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, way)
        say(child, "echo in-$((6*7))", "in-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 4")
        say(child, "echo out-$?", "out-4\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)
    assert guarded.serving.denied == 1


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs docker's own client")
async def test_dockers_own_client_keeps_the_guard(guarded: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "docker exec -it web bash")
        say(child, "echo in-$((6*7))", "in-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 4")
        say(child, "echo out-$?", "out-4\r\n")
        child.send("exit\r")

    profile = sshd.home / ".bash_profile"
    async with DockerDaemon() as daemon:
        profile.write_text(
            f"export DOCKER_HOST=tcp://127.0.0.1:{daemon.port} PATH=$PATH:{Path(shutil.which('docker') or '').parent}\n"
        )
        try:
            await at_terminal(guarded.ssh(), person)
            await guarded.idle()
        finally:
            profile.unlink()
    ((first, *_),) = daemon.commands
    assert first == "sh", "the first half of the guard runs in the container"
    assert not victims(tmp_path)
    assert [each[0] for each in commands(guarded)] == [
        "echo in-$((6*7))",
        "exit 4",
        "docker exec -it web bash",
        "echo out-$?",
        "exit",
    ]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl itself")
async def test_kubectl_itself_keeps_the_guard(guarded: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        enter(child, "kubectl exec -n prod -it web -- bash")
        say(child, "echo in-$((6*7))", "in-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 4")
        say(child, "echo out-$?", "out-4\r\n")
        child.send("exit\r")

    profile, settings = sshd.home / ".bash_profile", tmp_path / "kubeconfig"
    async with KubeExec() as api:
        settings.write_text(KUBECONFIG.format(port=api.port))
        profile.write_text(f"export KUBECONFIG={settings} PATH=$PATH:{Path(shutil.which('kubectl') or '').parent}\n")
        try:
            await at_terminal(guarded.ssh(), person)
            await guarded.idle()
        finally:
            profile.unlink()
    ((first, *_),) = api.commands
    assert first == "sh"
    assert not victims(tmp_path)
    assert [each[0] for each in commands(guarded)][-3:] == ["kubectl exec -n prod -it web -- bash", "echo out-$?", "exit"]


@pytest.fixture
def onward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Makes further machines; returns the line that goes to one whose accounts have that shell."""
    running: list[Sshd] = []

    def make(shell: str) -> str:
        sshd = Sshd(tmp_path_factory.mktemp("onward"), shell=shell)
        running.append(sshd)
        key = sshd.folder / "user_key"
        key.write_bytes(sshd.user_key.export_private_key())
        key.chmod(0o600)
        return f"ssh -p {sshd.port} -i {key} -o UserKnownHostsFile={sshd.folder}/known {USER}@127.0.0.1"

    yield make
    for each in running:
        each.stop()


async def test_ssh_onward_keeps_the_guard(guarded: Gateway, tmp_path: Path, onward: Callable[[str], str]) -> None:
    line = onward("/bin/bash")

    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send(line + "\r")
        child.expect_exact("(yes/no/[fingerprint])? ")
        child.send("yes\r")
        child.expect(PROMPT)
        say(child, "echo in-$((6*7))", "in-42\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 4")
        say(child, "echo out-$?", "out-4\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert not victims(tmp_path)


async def test_a_shell_that_cannot_be_guarded_is_decided_again(
    guarded: Gateway, sshd: Sshd, tmp_path: Path, onward: Callable[[str], str]
) -> None:
    line = onward("/bin/dash").replace("-o ", "-o StrictHostKeyChecking=no -o ")
    forbidden = '@message("Not unseen.") forbid(principal, action, resource) when { context.flags.contains("opaque") };'
    guarded.serving = serving_for(sshd, KNOWN, forbidden, shell="guarded")

    def refused(child: pexpect.spawn) -> None:
        begin(child)
        child.send(line + "\r")
        child.expect_exact("sallyport: Not unseen.")
        child.expect(PROMPT)
        say(child, "echo out-$?", "out-126\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), refused)
    await guarded.idle()
    assert guarded.serving.denied == 1

    guarded.serving = serving_for(sshd, "permit(principal, action, resource);", shell="guarded")

    def permitted(child: pexpect.spawn) -> None:
        begin(child)
        child.send(line + "\r")
        child.expect(PROMPT)
        say(child, "echo in-$((6*7))", "in-42\r\n")
        enter(child, "exit 3")
        say(child, "echo out-$?", "out-3\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(), permitted)
    await guarded.idle()
    assert [each[0] for each in commands(guarded)] == [line, "echo out-$?", "exit"]
    operations = [each for each in guarded.serving.recorder.markers(1) if each.startswith("allowed: ssh")]
    assert len(operations) == 2


@pytest.mark.parametrize("rc", ["exec cat", "exec sleep 60", "exec /bin/sh -i"])
async def test_a_start_up_file_that_replaces_the_inner_shell_ends_the_session(
    guarded: Gateway, sshd: Sshd, tmp_path: Path, rc: str
) -> None:
    guarded.serving = serving_for(sshd, KNOWN, NOT, shell="guarded", shell_start_s=7)
    file = sshd.home / ".bashrc"
    # sshd's own shell reads it as well, to start the first half of the first shell.
    file.write_text(f"[ $SHLVL -lt 2 ] || {rc}\n")

    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send(f"bash\rtouch {tmp_path}/victim\r")
        child.expect_exact("sallyport: The shell did not start its guard within 7 s, so it was ended.")

    try:
        assert await at_terminal(guarded.ssh(), person) == 126
    finally:
        file.unlink()
    await guarded.idle()
    assert not victims(tmp_path)
