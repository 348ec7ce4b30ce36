"""The direct path: native clients that have nothing but their certificate."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from agent.protocols.ssh import transport
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import FakeDoor
from tests.integration.plugin_listener import Ran, run
from tests.integration.ssh.conftest import Gateway

pytestmark = pytest.mark.servers

PERSON = "ann@example.com"


class Person:
    """A key, and whatever certificate it is given."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.folder = folder
        self.gateway = gateway
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        (folder / "id").write_bytes(self.key.export_private_key())
        (folder / "id").chmod(0o600)

    def certify(self, ca: asyncssh.SSHKey | None = None, **changes: Any) -> str:
        fields: dict[str, Any] = {"principals": [PERSON], "valid_before": "+1h"} | changes
        key_id = fields.pop("key_id", PERSON)
        kind = fields.pop("kind", "user")
        signer = ca or self.gateway.identity.ca
        make = signer.generate_user_certificate if kind == "user" else signer.generate_host_certificate
        certificate = make(self.key, key_id, **fields)
        (self.folder / "id-cert.pub").write_bytes(certificate.export_certificate())
        return str(certificate.export_certificate().decode().strip())

    async def ssh(self, *command: str, user: str = "web") -> Ran[bytes]:
        # At ERROR, which keeps the other tests quiet, ssh shows no banners.
        options = ["-o", "LogLevel=INFO", "-o", f"IdentityFile={self.folder}/id"]
        if (self.folder / "id-cert.pub").exists():
            options += ["-o", f"CertificateFile={self.folder}/id-cert.pub"]
        return await run(self.gateway.ssh(*command, options=options, user=user))


@pytest.fixture
async def ann(gateway: Gateway, tmp_path: Path) -> Person:
    gateway.door = FakeDoor(gateway.serving)
    return Person(tmp_path, gateway)


async def test_a_certificate_opens_a_session(ann: Person) -> None:
    certificate = ann.certify()
    ran = await ann.ssh("echo in", user="deploy+web")
    assert (ran.status, ran.out, ran.err) == (0, b"in\n", b"")
    (asked,) = ann.gateway.door.asked
    assert (asked[0], asked[1].split()[:2], *asked[2:]) == ("open", certificate.split()[:2], "web", "deploy", "127.0.0.1")


async def test_a_certificate_is_good_in_the_control_planes_time(ann: Person) -> None:
    ann.certify(valid_before="+1h")
    ann.gateway.identity.off_ms = 2 * 3_600_000
    assert (await ann.ssh("echo in")).status != 0
    ann.gateway.identity.off_ms = 0
    assert (await ann.ssh("echo in")).status == 0


async def test_an_offered_session_is_taken(ann: Person) -> None:
    ann.certify()
    ann.gateway.sid = "ses_offered"
    assert (await ann.ssh("echo in")).out == b"in\n"
    assert ann.gateway.door.asked[0][:2] == ("offered", "ses_offered")


async def test_a_door_that_stays_shut_says_why(ann: Person) -> None:
    ann.certify()
    ann.gateway.door.fault = Fault("denied", "You may not reach web today.")
    ran = await ann.ssh("id")
    assert ran.status == 126
    assert b"sallyport: You may not reach web today. (denied)" in ran.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"valid_after": "-2h", "valid_before": "-1h"}, b"has expired"),
        ({"valid_after": "+1h", "valid_before": "+2h"}, b"not valid yet"),
        ({"principals": ["somebody-else"]}, b"does not name its holder"),
        ({"principals": []}, b"does not name its holder"),
        ({"key_id": "root"}, b"does not name its holder"),
        ({"kind": "host"}, b"not a user's certificate"),
        ({"force_command": "id"}, b"not supported: force-command"),
        ({"source_address": ["192.0.2.0/24"]}, b"not valid from this address"),
    ],
)
async def test_certificates_that_prove_nothing(ann: Person, changes: dict[str, Any], words: bytes) -> None:
    ann.certify(**changes)
    ran = await ann.ssh("id")
    assert ran.status == 255
    assert b"Permission denied (publickey)" in ran.err
    # OpenSSH itself does not offer a host's certificate or an expired one to anybody.
    if changes.get("kind") != "host":
        assert words in ran.err
    assert ann.gateway.door.asked == []


async def test_a_source_address_that_fits(ann: Person) -> None:
    ann.certify(source_address=["127.0.0.0/8"])
    assert (await ann.ssh("echo in")).out == b"in\n"


async def test_another_authority_proves_nothing(ann: Person) -> None:
    ann.certify(ca=asyncssh.generate_private_key("ecdsa-sha2-nistp256"))
    ran = await ann.ssh("id")
    assert b"signed by somebody else" in ran.err
    assert ann.gateway.door.asked == []


async def test_a_public_key_alone_proves_nothing(ann: Person) -> None:
    ran = await ann.ssh("id")
    assert ran.status == 255
    assert b"Only a certificate from the gateway opens this door." in ran.err
    assert ann.gateway.door.asked == []


async def test_an_offer_without_a_signature_is_no_login(ann: Person) -> None:
    # A client that holds Ann's certificate but not her key gets as far as "this one would do", and no further.
    line = ann.certify()
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    certificate = asyncssh.import_certificate(line)

    class Liar(asyncssh.SSHClient):
        pass

    pair = asyncssh.load_keypairs([stranger])[0]
    pair.algorithm = certificate.algorithm
    pair.public_data = certificate.public_data
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", ann.gateway.port, config=None, known_hosts=None, username="web", client_keys=[pair], client_factory=Liar
        )
    await ann.gateway.idle()
    assert ann.gateway.door.asked == []


async def test_passwords_are_not_even_asked_for(ann: Person) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", ann.gateway.port, config=None, known_hosts=None, username="web", password="x", client_keys=None
        )
    assert ann.gateway.door.asked == []


async def test_a_client_that_stalls_is_let_go(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "HANDSHAKE_S", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    assert (await reader.read(4)) == b"SSH-"
    await reader.read()
    writer.close()
    await gateway.idle()
    assert gateway.notices[0].code == "handshake_timeout"


@pytest.mark.parametrize("garbage", [b"", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 500, b"\0" * 100_000])
async def test_garbage_is_let_go_in_words_of_one_line(gateway: Gateway, garbage: bytes) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, garbage)
        client.shutdown(socket.SHUT_WR)
        await gateway.idle_after_one()
    assert gateway.notices[0].code in ("ok", "protocol_error")
    assert "\n" not in gateway.notices[0].message


async def test_the_host_proves_itself_with_its_certificate(gateway: Gateway) -> None:
    assert (await run(gateway.ssh("echo known"))).out == b"known\n"
    ran = await run(gateway.ssh("echo known", options=["-o", "HostKeyAlias=another-agent"]))
    assert ran.status == 255
    assert b"Host key verification failed" in ran.err or b"No ED25519" in ran.err or b"principal" in ran.err
