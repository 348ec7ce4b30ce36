"""Real OpenSSH on both ends: sshd as the target, ssh, sftp and scp as clients, the plug-in in between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from agent.protocols.ssh.plugin import SshPlugin
from agent.runtime.serving import Credential
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.gateway import Login, Target
from tests.fakes.agent_runtime import FakeDoor, FakeIdentity, FakeServing, make_claims, make_policy, make_target

SSHD = shutil.which("sshd", path="/usr/sbin:/sbin:" + os.environ.get("PATH", ""))
USER = pwd.getpwuid(os.getuid()).pw_name

pytestmark = pytest.mark.servers


class Sshd:
    """A real sshd on loopback with keys of its own, ended by its pid."""

    def __init__(self, folder: Path) -> None:
        if SSHD is None:
            pytest.fail("sshd is missing: apt-get install openssh-server (make setup does)")
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self._write("host_key", self.host_key.export_private_key(), 0o600)
        self._write("authorized_keys", self.user_key.export_public_key(), 0o600)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        config = [
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
        ]
        self._write("sshd_config", ("\n".join(config) + "\n").encode(), 0o600)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=(folder / "sshd.log").open("wb")
        )
        self._wait()

    def _write(self, name: str, data: bytes, mode: int) -> None:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(mode)

    def _wait(self) -> None:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(4) == b"SSH-":
                    return
            if self.process.poll() is not None:
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.05)
        pytest.fail("sshd did not start: " + (self.folder / "sshd.log").read_text())

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
        self.process.wait(10)


@pytest.fixture(scope="package")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


class Gateway:
    """A listener that gives every connection to the plug-in, as the runtime would."""

    def __init__(self, identity: FakeIdentity, folder: Path) -> None:
        self.identity = identity
        self.plugin = SshPlugin(identity)
        self.folder = folder
        self.serving: FakeServing | None = None
        self.door: FakeDoor | None = None
        self.sid = ""
        self.notices: list[Notice] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()
        known = f"@cert-authority * {identity.ssh_ca}\n"
        (folder / "known_hosts").write_text(known)

    async def listen(self) -> None:
        """Start to accept."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._accepting = asyncio.ensure_future(self._accept())

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, address = await loop.sock_accept(self._socket)
            task = asyncio.ensure_future(self._serve(connection, address[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket, source_ip: str) -> None:
        if self.door is not None:
            await self.plugin.accept(connection, source_ip, self.sid, self.door)
        else:
            assert self.serving is not None
            self.notices.append(await self.plugin.serve(connection, self.serving))

    async def idle_after_one(self) -> None:
        """Wait until a first connection was served to its end."""
        await eventually(lambda: bool(self.notices))

    async def idle(self) -> None:
        """Wait until every connection was served to its end."""
        while self._tasks:
            await asyncio.wait([*self._tasks])

    async def close(self) -> None:
        """Stop to accept, and end what is left."""
        self._accepting.cancel()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)
        self._socket.close()

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


class Ran:
    """How a client ended."""

    def __init__(self, status: int, out: bytes, err: bytes) -> None:
        self.status, self.out, self.err = status, out, err

    def __repr__(self) -> str:
        return f"Ran({self.status}, {self.out[:500]!r}, {self.err[:2000]!r})"


async def eventually(happened: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that another process does; fails where it does not."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not happened():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail("it never happened")
        await asyncio.sleep(0.01)


async def settled(size: Callable[[], int]) -> int:
    """Return ``size()`` once it no longer grows."""
    last = -1
    while (now := size()) != last:
        last = now
        await asyncio.sleep(0.5)
    return now


async def run(command: list[str], stdin: bytes | None = b"", env: dict[str, str] | None = None, seconds: float = 60) -> Ran:
    """Run a client to its end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    try:
        async with asyncio.timeout(seconds):
            out, err = await process.communicate(stdin)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        pytest.fail(f"{command[0]} hung; it said {out[-500:]!r} and {err[-2000:]!r}")
    return Ran(process.returncode or 0, out, err)


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
    """A session to ``sshd`` under ``rules``, with the target's ``options``."""
    target = sshd.target(**({"shell": "recorded"} | options))
    return FakeServing(
        policy=make_policy(*rules, target=target), target=target, claims=make_claims(login=USER), credential=sshd.credential()
    )
