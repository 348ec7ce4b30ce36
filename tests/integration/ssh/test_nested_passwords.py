"""The machine's own sudo and su ask for a password in a guarded shell, and what they start is guarded.

An account with a password is made for it: sshd and what it starts see files of accounts that nobody else sees, in a mount
namespace of their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from chalicelib.contracts.gateway import Login
from tests.fakes.agent_runtime import FakeServing, make_claims, make_policy, make_target
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd
from tests.integration.ssh.test_guarded import NOT, victims
from tests.integration.ssh.test_nested import KNOWN, PROMPT, begin, commands, enter, programs, say
from tests.integration.ssh.test_shell import at_terminal
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

__all__ = ["programs"]

NAME, UID = "sp-web", 48123
PASSWORD, ROOTS = "correct-horse-9", "battery-staple-7"
ASKS = f"[sudo] password for {NAME}: "
SUDOERS = f"""Defaults env_reset
Defaults lecture=never
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
Defaults use_pty
root ALL=(ALL:ALL) ALL
{NAME} ALL=(ALL:ALL) ALL
"""


def hashed(password: str) -> str:
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True)
    return made.stdout.strip()


def accounts(folder: Path) -> dict[str, Path]:
    """Copies of the machine's files of accounts, with one more, by what they stand for."""
    passwd, shadow, group = (Path("/etc", name).read_text() for name in ("passwd", "shadow", "group"))
    others = [line for line in shadow.splitlines() if not line.startswith("root:")]
    texts = {
        "passwd": passwd + f"{NAME}:x:{UID}:{UID}::{folder}/home:/bin/bash\n",
        "shadow": "\n".join([f"root:{hashed(ROOTS)}:19000::::::", *others, f"{NAME}:{hashed(PASSWORD)}:19000::::::", ""]),
        "group": group + f"{NAME}:x:{UID}:\n",
        "sudoers": SUDOERS,
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod({"shadow": 0o640, "sudoers": 0o440}.get(name, 0o644))
    return {f"/etc/{name}": folder / name for name in texts}


@pytest.fixture(scope="module")
def asking(programs: None) -> Iterator[Sshd]:
    """A server whose account has a password."""
    del programs
    if subprocess.run(["unshare", "-m", "mount", "--bind", "/etc/hosts", "/etc/hosts"], capture_output=True).returncode:
        pytest.skip("this machine permits no mount namespaces (unshare -m)")
    # What runs as the account reads its keys there.
    folder = Path(tempfile.mkdtemp(prefix="asking"))
    folder.chmod(0o755)
    mounts = [f"mount --bind {copy} {file}" for file, copy in accounts(folder).items()]
    Path("/run/sudo").mkdir(exist_ok=True)
    # What sudo remembers of a password is forgotten with it.
    script = " && ".join([*mounts, "mount -t tmpfs none /run/sudo", 'exec "$@"'])
    server = Sshd(folder, inside=["unshare", "-m", "sh", "-c", script, "sh"])
    (folder / "authorized_keys").chmod(0o644)
    os.chown(server.home, UID, UID)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
async def guarded(asking: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(identity, tmp_path)
    host_key = asking.host_key.export_public_key().decode().strip()
    target = make_target(
        address=f"127.0.0.1:{asking.port}",
        logins={NAME: Login(credential="key")},
        default_login=NAME,
        options={"host_keys": [host_key], "shell": "guarded", "shell_start_s": 60},
    )
    gate.serving = FakeServing(
        policy=make_policy(KNOWN, NOT, target=target),
        target=target,
        claims=make_claims(login=NAME),
        credential=asking.credential(),
    )
    await gate.listen()
    yield gate
    await gate.close()


def password(child: pexpect.spawn, asks: str, typed: str) -> None:
    child.expect_exact(asks)
    child.send(typed)


def give_up(child: pexpect.spawn) -> None:
    """Press Ctrl-C until a prompt comes: sudo loses one that comes after it has asked and before it reads."""
    for _ in range(int(HANG_S / 5)):
        child.send("\x03")
        if child.expect([PROMPT, pexpect.TIMEOUT], timeout=5) == 0:
            return
    pytest.fail("no prompt after Ctrl-C")


def unrecorded(gateway: Gateway) -> None:
    recorded = b"".join(gateway.serving.recorder.written.values())
    for secret in (PASSWORD, ROOTS, "not-the-password"):
        assert secret.encode() not in recorded


async def test_sudo_asks_and_its_shell_is_guarded(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send("sudo -i\r")
        password(child, ASKS, "not-the-password\r")
        child.expect_exact("Sorry, try again.")
        password(child, ASKS, PASSWORD + "\r")
        child.expect(PROMPT)
        say(child, "echo in-$(id -un)-$SUDO_USER", f"in-root-{NAME}\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 5")
        say(child, "echo out-$?-$(id -un)", f"out-5-{NAME}\r\n")
        # What sudo remembers, it does not ask for again; what it forgot, it does.
        enter(child, "sudo -i")
        say(child, "echo again-$(id -u)", "again-0\r\n")
        enter(child, "exit")
        say(child, "sudo -k; echo for''got", "forgot\r\n")
        child.send("sudo -i\r")
        password(child, ASKS, PASSWORD + "\r")
        child.expect(PROMPT)
        say(child, "echo third-$(id -u)", "third-0\r\n")
        enter(child, "exit")
        child.send("exit\r")

    await at_terminal(guarded.ssh(user=NAME), person)
    await guarded.idle()
    assert not victims(tmp_path)
    unrecorded(guarded)
    assert guarded.serving.denied == 1
    assert [(text, depth, status) for text, depth, status in commands(guarded)] == [
        ("echo in-$(id -un)-$SUDO_USER", 1, 0),
        ("exit 5", 1, 5),
        ("sudo -i", 0, 5),
        ("echo out-$?-$(id -un)", 0, 0),
        ("echo again-$(id -u)", 1, 0),
        ("exit", 1, 0),
        ("sudo -i", 0, 0),
        ("sudo -k; echo for''got", 0, 0),
        ("echo third-$(id -u)", 1, 0),
        ("exit", 1, 0),
        ("sudo -i", 0, 0),
        ("exit", 0, 0),
    ]


async def test_a_command_of_sudo_asks_unrecorded(guarded: Gateway) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send("sudo id -un\r")
        password(child, ASKS, PASSWORD + "\r")
        child.expect_exact("root\r\n")
        child.expect(PROMPT)
        child.send("exit\r")

    await at_terminal(guarded.ssh(user=NAME), person)
    await guarded.idle()
    unrecorded(guarded)
    assert commands(guarded)[0] == ("sudo id -un", 0, 0)


@pytest.mark.parametrize("way", ["sudo -i", "su -"])
async def test_ctrl_c_at_the_prompt_for_a_password_leads_back(guarded: Gateway, tmp_path: Path, way: str) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send(f"{way}\r")
        password(child, "assword", PASSWORD[:5])
        give_up(child)
        say(child, "echo out-$(id -un)", f"out-{NAME}\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        child.send("exit\r")

    await at_terminal(guarded.ssh(user=NAME), person)
    await guarded.idle()
    assert not victims(tmp_path)
    unrecorded(guarded)


async def test_su_asks_and_its_shell_is_guarded(guarded: Gateway, tmp_path: Path) -> None:
    def person(child: pexpect.spawn) -> None:
        begin(child)
        child.send("su -\r")
        password(child, "Password: ", "not-the-password\r")
        child.expect_exact("su: Authentication failure")
        child.expect(PROMPT)
        say(child, "echo still-$(id -un)", f"still-{NAME}\r\n")
        child.send("su -\r")
        password(child, "Password: ", ROOTS + "\r")
        child.expect(PROMPT)
        say(child, "echo in-$(id -un)", "in-root\r\n")
        say(child, f"touch {tmp_path}/victim", "sallyport: Not that.")
        enter(child, "exit 6")
        say(child, "echo out-$?", "out-6\r\n")
        child.send("exit\r")

    await at_terminal(guarded.ssh(user=NAME), person)
    await guarded.idle()
    assert not victims(tmp_path)
    unrecorded(guarded)
    assert ("echo in-$(id -un)", 1, 0) in commands(guarded)
    assert ("su -", 0, 6) in commands(guarded)
