"""What starts a shell in a guarded shell and asks first, or runs it elsewhere: sudo's password, containers, ssh onward."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from agent.core.shell.guard.dialogue import Dialogue
from agent.protocols.ssh import shells
from tests.fakes.docker_daemon import DockerDaemon
from tests.fakes.kube_exec import KubeExec
from tests.integration.ssh.conftest import USER, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, victims
from tests.integration.ssh.test_nested import KNOWN, PROMPT, begin, commands, enter, guarded, programs, say
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers

__all__ = ["guarded", "programs"]

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
    guarded: Gateway, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rc: str
) -> None:
    guarded.serving = serving_for(sshd, KNOWN, NOT, shell="guarded")
    dialogues: list[Dialogue] = []

    def remembered(*about: Any) -> Dialogue:
        dialogues.append(Dialogue(*about))
        return dialogues[-1]

    monkeypatch.setattr(shells, "Dialogue", remembered)
    file = sshd.home / ".bashrc"
    # sshd's own shell reads it as well, to start the first half of the first shell.
    file.write_text(f"[ $SHLVL -lt 2 ] || {rc}\n")

    def person(child: pexpect.spawn) -> None:
        begin(child)
        # Less than the first shell may need on a busy machine.
        monkeypatch.setattr(dialogues[-1], "_hello_s", 2.0)
        child.send(f"bash\rtouch {tmp_path}/victim\r")
        child.expect_exact("sallyport: The shell did not start its guard within 2 s, so it was ended.")

    try:
        assert await at_terminal(guarded.ssh(), person) == 126
    finally:
        file.unlink()
    await guarded.idle()
    assert not victims(tmp_path)
