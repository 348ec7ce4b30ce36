"""The whole agent with its SSH plug-in between a real OpenSSH client and a real sshd, on the direct path."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from agent import bootstrap
from agent.config import Settings
from agent.runtime.clock import ServerClock
from chalicelib.contracts import relay
from chalicelib.contracts.gateway import Login
from tests.fakes.control_plane import FakeControlPlane, document
from tests.integration.agent.test_process import ended, until
from tests.integration.ssh.conftest import USER, Sshd
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


class Edge:
    """A running agent and a person's way to it."""

    def __init__(self, control: FakeControlPlane, folder: Path, port: int) -> None:
        self.control = control
        self.folder = folder
        self.port = port

    def identify(self, principal: str) -> list[str]:
        """Give ``principal`` a key and a certificate; return ssh's options for them."""
        key = Ed25519PrivateKey.generate()
        private = self.folder / f"id_{len(list(self.folder.iterdir()))}"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        private.chmod(0o600)
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        certificate = private.with_name(private.name + "-cert.pub")
        certificate.write_text(self.control.person_certificate(principal, public) + "\n")
        pairs = {
            "IdentityFile": str(private),
            "CertificateFile": str(certificate),
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": str(self.folder / "known_hosts"),
            "GlobalKnownHostsFile": "none",
            "HostKeyAlias": "web.sallyport",
            "StrictHostKeyChecking": "yes",
            "HostKeyAlgorithms": "ssh-ed25519-cert-v01@openssh.com",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        return ["-F", "none", *(part for name, value in pairs.items() for part in ("-o", f"{name}={value}"))]

    async def ssh(self, options: list[str], command: str, *more: str) -> tuple[int, str, str]:
        pipe = asyncio.subprocess.PIPE
        arguments = [*options, *more, "-p", str(self.port), "web@127.0.0.1", command]
        process = await asyncio.create_subprocess_exec(
            "ssh", *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )
        return await ended(process)


@pytest.fixture
async def edge(sshd: Sshd, tmp_path: Path) -> AsyncIterator[Edge]:
    async with FakeControlPlane(ServerClock().local_ms) as control:
        base = document(protocol="ssh")
        target = msgspec.structs.replace(
            base.targets[0],
            address=f"127.0.0.1:{sshd.port}",
            logins={"root": Login(credential="root-key"), USER: Login(credential="root-key")},
            default_login=USER,
            options={"host_keys": [sshd.host_key.export_public_key().decode().strip()]},
        )
        control.document = msgspec.structs.replace(base, targets=[target])
        state = tmp_path / "state"
        await bootstrap.enrol(control.url, "one-time", state)
        credentials = state / "credentials"
        await asyncio.to_thread(_keep, credentials, sshd.credential().secret)
        ca = control.trust().ssh_ca
        (tmp_path / "known_hosts").write_text(f"@cert-authority * {ca}\n")
        stop = asyncio.Event()
        addresses: list[tuple[str, int] | None] = []
        settings = Settings(state=state, credentials=credentials, listen=("127.0.0.1", 0), min_free_mb=0)
        agent = asyncio.ensure_future(bootstrap.run(settings, stop, on_ready=addresses.append))
        try:
            await until(lambda: control.beats and addresses)
            assert addresses[0] is not None
            yield Edge(control, tmp_path, addresses[0][1])
        finally:
            stop.set()
            async with asyncio.timeout(HANG_S):
                await agent


def _keep(credentials: Path, secret: bytes) -> None:
    credentials.mkdir(mode=0o700)
    (credentials / "root-key.key").write_bytes(secret)
    (credentials / "root-key.key").chmod(0o600)


async def test_a_native_client_is_served_and_recorded(edge: Edge) -> None:
    code, out, err = await edge.ssh(edge.identify("alice@example.com"), "echo from $((40 + 2))")
    assert (code, out) == (0, "from 42\n"), err
    await until(lambda: edge.control.closes)
    (sid,) = edge.control.closes
    assert edge.control.claims == [(sid, "direct")]
    assert edge.control.closes[sid].operations == 1
    assert "from 42" in edge.control.text_of(sid)
    assert edge.control.chain_holds(sid)


async def test_an_offered_session_is_taken_with_its_preamble(edge: Edge) -> None:
    made = edge.control.session()
    await edge.control.send(relay.Offer(made.sid, edge.control.ticket(made)))
    await until(lambda: "session" in edge.control.ends[made.sid])
    relaying = f'ProxyCommand=python3 -c "{_PROXY.format(sid=made.sid)}" {edge.port}'
    code, out, err = await edge.ssh(edge.identify("alice@example.com"), "echo offered", "-o", relaying)
    assert (code, out) == (0, "offered\n"), err
    await until(lambda: made.sid in edge.control.closes)
    assert edge.control.claims == [(made.sid, "direct")]


async def test_a_person_who_was_not_offered_it_is_turned_away(edge: Edge) -> None:
    made = edge.control.session()
    await edge.control.send(relay.Offer(made.sid, edge.control.ticket(made)))
    await until(lambda: "session" in edge.control.ends[made.sid])
    relaying = f'ProxyCommand=python3 -c "{_PROXY.format(sid=made.sid)}" {edge.port}'
    code, out, _ = await edge.ssh(edge.identify("mallory@example.com"), "echo never", "-o", relaying)
    assert code != 0
    assert out == ""
    assert edge.control.claims == []


async def test_a_kill_ends_a_running_command(edge: Edge) -> None:
    running = asyncio.ensure_future(edge.ssh(edge.identify("alice@example.com"), "echo started; sleep 600"))
    with contextlib.suppress(TimeoutError):
        await until(lambda: edge.control.claims)
    sid, _ = edge.control.claims[0]
    await edge.control.send(relay.Kill(sid, "session_killed", "Bob ended it."))
    code, _, err = await running
    assert code != 0
    assert "Bob ended it." in err
    await until(lambda: sid in edge.control.closes)
    assert edge.control.closes[sid].state == "killed"


#: What the command line does on the direct path: one line, then bytes both ways. Double quotes are ssh_config's.
_PROXY = (
    "import os,socket,sys,threading;"
    "s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));s.sendall(b'SALLYPORT/1 {sid}\\\\n');"
    "back=lambda:[os.write(1,d) for d in iter(lambda:s.recv(65536),b'')]+[os._exit(0)];"
    "threading.Thread(target=back,daemon=True).start();"
    "[s.sendall(d) for d in iter(lambda:os.read(0,65536),b'')]"
)
