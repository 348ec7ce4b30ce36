"""Real OpenSSH on both ends: sshd as the target, ssh, sftp and scp as clients, the plug-in in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import asyncssh
import pytest

from agent.protocols.ssh import feed, target, target_side, transport
from agent.protocols.ssh.plugin import SshPlugin
from agent.protocols.ssh.shells import MOST_START_S
from agent.runtime.serving import Credential
from chalicelib.contracts.gateway import Login, Target
from infra.demo.ports import free_port
from tests.fakes.agent_runtime import FakeDoor, FakeIdentity, FakeServing, make_claims, make_policy, make_target
from tests.integration.plugin_listener import PluginListener, eventually
from tests.patience import HANG_S

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
USER = pwd.getpwuid(os.getuid()).pw_name

pytestmark = pytest.mark.servers


class Sshd:
    """A real sshd on loopback with keys of its own, ended by its pid."""

    def __init__(
        self,
        folder: Path,
        *,
        shell: str | None = None,
        path: str | None = None,
        config: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        """``inside`` are the words of what starts it, where that is not this process itself."""
        if SSHD is None:
            pytest.fail("sshd is missing: apt-get install openssh-server (make setup does)")
        self.folder = folder
        self.home = folder / "home"
        self.forget()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self._write("host_key", self.host_key.export_private_key(), 0o600)
        self._write("authorized_keys", self.user_key.export_public_key(), 0o600)
        self.port = free_port()
        lines = [
            "ListenAddress 127.0.0.1",
            f"Port {self.port}",
            f"HostKey {folder}/host_key",
            f"AuthorizedKeysFile {folder}/authorized_keys",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "PermitRootLogin yes",
            "AcceptEnv LANG LC_*",
            "PrintMotd no",
            "PrintLastLog no",
            "MaxStartups 100",
            "MaxSessions 50",
            "Subsystem sftp internal-sftp",
            # What the account's own shell files print is no business of a test.
            f"SetEnv HOME={self.home}" + (f" SHELL={shell}" if shell else "") + (f" PATH={path}" if path else ""),
            *config,
        ]
        self._write("sshd_config", ("\n".join(lines) + "\n").encode(), 0o600)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [*inside, SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=(folder / "sshd.log").open("wb")
        )
        self._wait()

    def _write(self, name: str, data: bytes, mode: int) -> None:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)

    def _wait(self) -> None:
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(4) == b"SSH-":
                    return
            if self.process.poll() is not None:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        pytest.fail("sshd did not start: " + (self.folder / "sshd.log").read_text())

    def forget(self) -> None:
        """Remove what shells keep of their settings, for those to come."""
        for name in (".config", ".local"):
            shutil.rmtree(self.home / name, ignore_errors=True)
        # Where this is missing, fish reads all manual pages of the machine: in the background, and for longer than a test.
        (self.home / ".local/share/fish/generated_completions").mkdir(parents=True)

    def target(self, **options: object) -> Target:
        """The gateway's idea of this machine."""
        return make_target(
            address=f"127.0.0.1:{self.port}",
            logins={USER: Login(credential="key")},
            default_login=USER,
            options={"host_keys": [self.host_key.export_public_key().decode().strip()], **options},
        )

    def credential(self) -> Credential:
        """What the agent logs in with."""
        return Credential("ssh-key", self.user_key.export_private_key())

    def stop(self) -> None:
        """End it and every session of it."""
        self.process.terminate()
        self.process.wait(HANG_S)


@pytest.fixture(scope="package")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


class Gateway(PluginListener):
    """The SSH plug-in behind a listener, with one session for every connection."""

    def __init__(self, identity: FakeIdentity, folder: Path) -> None:
        super().__init__()
        self.identity = identity
        self.plugin = SshPlugin(identity)
        self.folder = folder
        self.serving: FakeServing | None = None
        self.door: FakeDoor | None = None
        self.sid = ""
        known = f"@cert-authority * {identity.ssh_ca}\n"
        (folder / "known_hosts").write_text(known)

    async def serve(self, connection: socket.socket, source_ip: str) -> None:
        if self.door is not None:
            await self.plugin.accept(connection, source_ip, self.sid, self.door)
        else:
            assert self.serving is not None
            self.notices.append(await self.plugin.serve(connection, self.serving))

    async def idle_after_one(self) -> None:
        """Wait until a first connection was served to its end."""
        await eventually(lambda: bool(self.notices))

    def options(self) -> list[str]:
        """Options for ssh, sftp and scp."""
        pairs = {
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "none",
            "HostKeyAlias": "agent-1.sallyport",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "IdentityFile": "none",
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "HostKeyAlgorithms": "ssh-ed25519-cert-v01@openssh.com",
            "LogLevel": "ERROR",
            "ControlPath": "none",
        }
        return ["-F", "none", *(part for key, value in pairs.items() for part in ("-o", f"{key}={value}"))]

    def batch(self, program: str, *arguments: str) -> list[str]:
        """A command line of sftp or scp."""
        return [program, *self.options(), "-P", str(self.port), *arguments]

    def ssh(self, *arguments: str, options: list[str] | None = None, user: str = "web") -> list[str]:
        """A command line of ssh."""
        return ["ssh", *(options or []), *self.options(), "-p", str(self.port), f"{user}@127.0.0.1", *arguments]


async def settled(size: Callable[[], int]) -> int:
    """Return ``size()`` once it no longer grows."""
    last = -1
    while (now := size()) != last:
        last = now
        # In turns of the loop: one that was held up has not had its time.
        for _ in range(50):
            await asyncio.sleep(0.01)
    return now


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's own limits are for people and their machines; tests of a limit set it themselves."""
    for module in (transport, target, target_side):
        monkeypatch.setattr(module, "HANDSHAKE_S", HANG_S)
    monkeypatch.setattr(target_side, "ASIDE_S", HANG_S)
    monkeypatch.setattr(feed, "ADVICE_S", HANG_S)


@pytest.fixture
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture
async def gateway(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway whose session may do everything, with recorded shells."""
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd)
    await gate.listen()
    yield gate
    await gate.close()


def serving_for(sshd: Sshd, *rules: str, **options: object) -> FakeServing:
    """A session to ``sshd`` under ``rules``, with the target's ``options``. Shells may be as slow as the machine is."""
    target = sshd.target(**({"shell": "recorded", "shell_start_s": MOST_START_S} | options))
    return FakeServing(
        policy=make_policy(*rules, target=target), target=target, claims=make_claims(login=USER), credential=sshd.credential()
    )
