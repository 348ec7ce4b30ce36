"""What is spoken and what is too much: old algorithms, many keys, many channels, slow handshakes, truncated prefixes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import MSG_IGNORE, MSG_USERAUTH_REQUEST
from asyncssh.packet import String

from agent.protocols.ssh import engine, proof, transport
from agent.runtime.serving import Credential
from tests.bypass.raw import raw_channel
from tests.fakes.agent_runtime import FakeDoor
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway
from tests.integration.ssh.test_login import Person
from tests.integration.ssh.test_target import aim
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


async def connect(gateway: Gateway, **options: Any) -> asyncssh.SSHClientConnection:
    """A client that has a ticket, or none of the door's business."""
    settings: dict[str, Any] = {"config": None, "known_hosts": None, "username": "web", "client_keys": None, "agent_path": None}
    return await asyncssh.connect("127.0.0.1", gateway.port, **(settings | options))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("KexAlgorithms", "diffie-hellman-group1-sha1"),
        ("KexAlgorithms", "diffie-hellman-group14-sha1"),
        ("KexAlgorithms", "diffie-hellman-group-exchange-sha256"),
        ("KexAlgorithms", "diffie-hellman-group18-sha512"),
        ("Ciphers", "3des-cbc"),
        ("Ciphers", "aes256-cbc"),
        ("Ciphers", "aes256-ctr"),
        ("Ciphers", "chacha20-poly1305@openssh.com"),
        ("HostKeyAlgorithms", "ssh-rsa"),
        ("HostKeyAlgorithms", "ssh-ed25519"),
    ],
)
async def test_old_algorithms_are_not_spoken(gateway: Gateway, option: str, value: str) -> None:
    ran = await run(gateway.ssh("echo in", options=["-o", f"{option}={value}", "-o", "LogLevel=INFO"]))
    assert ran.status == 255
    assert ran.out == b""
    assert b"no matching" in ran.err or b"host key" in ran.err.lower(), ran


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("KexAlgorithms", "curve25519-sha256"),
        ("KexAlgorithms", "ecdh-sha2-nistp256"),
        ("Ciphers", "aes256-gcm@openssh.com"),
        ("Ciphers", "3des-cbc,aes128-gcm@openssh.com"),
        ("RekeyLimit", "1M 1m"),
        ("Compression", "yes"),
    ],
)
async def test_the_twin_whatever_is_modern(gateway: Gateway, option: str, value: str) -> None:
    assert (await run(gateway.ssh("echo in", options=["-o", f"{option}={value}"]))).out == b"in\n"


async def test_keys_change_on_the_clients_leg(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "REKEY_BYTES", 200_000)
    ran = await run(gateway.ssh("head -c 2000000 /dev/zero", options=["-o", "LogLevel=DEBUG2"]))
    assert (ran.status, len(ran.out)) == (0, 2_000_000)
    assert ran.err.count(b"SSH2_MSG_KEXINIT received") > 3


@pytest.fixture
async def rsa(gateway: Gateway, tmp_path: Path) -> Person:
    """Somebody with an RSA key, and a genuine certificate for it."""
    gateway.door = FakeDoor(gateway.serving)
    person = Person(tmp_path, gateway)
    person.key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    (tmp_path / "id").write_bytes(person.key.export_private_key())
    person.certify()
    return person


async def test_an_rsa_key_signs_with_sha2(rsa: Person) -> None:
    assert (await rsa.ssh("echo in")).out == b"in\n"


async def test_a_signature_with_sha1_proves_nothing(rsa: Person) -> None:
    certificate = asyncssh.read_certificate(rsa.folder / "id-cert.pub")
    (pair,) = asyncssh.load_keypairs([(rsa.key, certificate)])[:1]
    sign: Any = rsa.key.sign
    old: Any = pair
    old.sign = lambda data: sign(data, b"ssh-rsa")
    with pytest.raises(asyncssh.PermissionDenied):
        await connect(rsa.gateway, client_keys=[old])
    assert rsa.gateway.door.asked == []


async def test_keys_are_tried_a_bounded_number_of_times(gateway: Gateway) -> None:
    gateway.door = FakeDoor(gateway.serving)
    keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(proof.TRIES + 5)]
    with pytest.raises(asyncssh.DisconnectError, match="too many keys"):
        await connect(gateway, client_keys=keys)
    await gateway.idle()
    assert gateway.door.asked == []


async def test_the_twin_an_agent_full_of_keys(gateway: Gateway, tmp_path: Path) -> None:
    gateway.door = FakeDoor(gateway.serving)
    person = Person(tmp_path, gateway)
    certificate = asyncssh.import_certificate(person.certify())
    keys: list[Any] = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(15)]
    async with await connect(gateway, client_keys=[*keys, (person.key, certificate)]) as conn:
        assert (await conn.run("echo in")).stdout == "in\n"


async def test_channels_asked_for_in_one_breath_are_counted(gateway: Gateway) -> None:
    async with await connect(gateway) as conn:
        opened = await asyncio.gather(*(raw_channel(conn) for _ in range(300)), return_exceptions=True)
        refused = [each for each in opened if isinstance(each, asyncssh.ChannelOpenError)]
        assert len(opened) - len(refused) == transport.OPEN_CHANNELS
        assert all(each.code == asyncssh.OPEN_RESOURCE_SHORTAGE for each in refused)
        # The twin: there is room again when one is closed.
        chan, _ = next(each for each in opened if not isinstance(each, BaseException))
        chan.close()
        await chan.wait_closed()
        assert (await conn.run("echo room")).stdout == "room\n"


async def test_variables_are_counted(gateway: Gateway) -> None:
    async with await connect(gateway) as conn:
        chan, heard = await raw_channel(conn)
        took = [await chan._make_request(b"env", String(f"LC_{chr(65 + n)}"), String(b"C")) for n in range(25)]
        assert took == [True] * engine.ENVIRONMENT_LIMIT + [False] * (25 - engine.ENVIRONMENT_LIMIT)
        assert await chan._make_request(b"exec", String(b"printenv"))
        chan.resume_reading()
        await chan.wait_closed()
    assert len([line for line in heard.text.split() if line.startswith(b"LC_")]) == engine.ENVIRONMENT_LIMIT


class TwoNames(asyncssh.SSHClient):
    """Signs as one user, and in the same breath asks as another."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        raw: Any = conn
        send = raw.send_packet

        def twice(kind: int, *parts: bytes, handler: Any = None) -> None:
            send(kind, *parts, handler=handler)
            if kind == MSG_USERAUTH_REQUEST and b"publickey" in b"".join(parts):
                send(kind, String("root+other"), String("ssh-connection"), String("none"))

        raw.send_packet = twice


async def test_a_signature_is_good_for_the_name_that_it_covers(gateway: Gateway, tmp_path: Path) -> None:
    gateway.door = FakeDoor(gateway.serving)
    person = Person(tmp_path, gateway)
    certificate = asyncssh.import_certificate(person.certify())
    with contextlib.suppress(asyncssh.Error, OSError):
        async with await connect(gateway, client_keys=[(person.key, certificate)], client_factory=TwoNames) as conn:
            await conn.run("echo in")
    await gateway.idle()
    assert {(asked[2], asked[3]) for asked in gateway.door.asked} <= {("web", "")}


class Undecided(asyncssh.SSHClient):
    """Exchanges keys, and then thinks about who to be."""

    async def public_key_auth_requested(self) -> None:
        await asyncio.Event().wait()


async def test_a_client_that_stalls_before_it_proves_anything_is_let_go(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "HANDSHAKE_S", 0.7)
    gateway.door = FakeDoor(gateway.serving)
    with pytest.raises((asyncssh.Error, OSError)):
        await connect(gateway, client_factory=Undecided, login_timeout=HANG_S)
    await gateway.idle()
    assert gateway.door.asked == []


async def test_a_client_that_drips_is_let_go(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "HANDSHAKE_S", 0.7)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    writer.write(b"SSH-2.0-")
    dripping = asyncio.ensure_future(drip())
    try:
        async with asyncio.timeout(HANG_S):
            while await reader.read(65536):
                pass
    except ConnectionError:
        pass
    finally:
        dripping.cancel()
        writer.close()
    await gateway.idle()
    assert gateway.notices[0].code == "handshake_timeout"


class Inserting(asyncssh.SSHClient):
    """Somebody in between puts a packet in before the keys are agreed (CVE-2023-48795)."""

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        raw: Any = conn
        begin = raw._send_kexinit

        def late() -> None:
            raw._send_kexinit = begin
            raw.send_packet(MSG_IGNORE, String(b"in between"))
            begin()

        raw._send_kexinit = late


async def test_a_packet_before_the_first_key_exchange_ends_the_connection(gateway: Gateway) -> None:
    with pytest.raises((asyncssh.DisconnectError, asyncssh.ConnectionLost), match=r"(?i)strict|lost|closed"):
        await connect(gateway, client_factory=Inserting)
    await gateway.idle()
    assert gateway.notices[0].code == "protocol_error"


async def aimed(gateway: Gateway, wrap: Callable[[Any], None], **options: Any) -> asyncssh.SSHAcceptor:
    """Point the gateway at a server of our own that prints ``reached``."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Server(asyncssh.SSHServer):
        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            wrap(conn)

        def begin_auth(self, username: str) -> bool:
            return False

    def reached(process: Any) -> None:
        process.stdout.write("reached\n")
        process.exit(0)

    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], process_factory=reached, **options
    )
    pinned = key.export_public_key().decode().strip()
    aim(gateway, address=f"127.0.0.1:{server.get_port()}", options={"host_keys": [pinned]})
    return server


class Loose(asyncssh.SSHServerConnection):
    """A server from before the strict key exchange."""

    _strict_kex = property(lambda self: False, lambda self, strict: None)

    def _get_extra_kex_algs(self) -> list[bytes]:
        return []


def loose(conn: Any) -> None:
    conn.__class__ = Loose


CHACHA = "chacha20-poly1305@openssh.com"


@pytest.mark.parametrize(
    ("wrap", "cipher", "sound"),
    [
        (loose, CHACHA, False),
        (lambda conn: None, CHACHA, True),
        (loose, "aes256-gcm@openssh.com", True),
        (loose, "aes256-ctr", True),
    ],
)
async def test_chacha_needs_the_strict_key_exchange(
    gateway: Gateway, wrap: Callable[[Any], None], cipher: str, sound: bool
) -> None:
    async with await aimed(gateway, wrap, encryption_algs=[cipher]):
        ran = await run(gateway.ssh("id"))
    assert (ran.out == b"reached\n") is sound, ran
    assert sound or b"target_" in ran.err


@pytest.mark.parametrize(
    "options",
    [
        {"kex_algs": ["diffie-hellman-group14-sha1"]},
        {"kex_algs": ["diffie-hellman-group-exchange-sha256"]},
        {"encryption_algs": ["aes128-cbc"]},
        {"encryption_algs": ["aes128-ctr"], "mac_algs": ["hmac-sha1"]},
    ],
)
async def test_a_target_that_is_too_old_is_not_spoken_to(gateway: Gateway, options: dict[str, Any]) -> None:
    async with await aimed(gateway, lambda conn: None, **options):
        ran = await run(gateway.ssh("id"))
    assert ran.status == 255
    assert b"target_closed" in ran.err, ran
    assert {notice.code for notice in gateway.serving.target_notices} == {"target_closed"}


def sockets() -> int:
    """How many sockets this process has open."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(each.readlink()).startswith("socket:")
    return found


async def test_clients_that_leave_early_leave_nothing_open(gateway: Gateway) -> None:
    """The target is dialled while a client still exchanges keys; whenever the client goes, so does that connection."""
    before = sockets()
    for n in range(40):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"SSH-2.0-x\r\n" if n % 2 else b"garbage\r\n")
        await asyncio.sleep(0.003 * (n % 10))
        writer.close()
    await gateway.idle()
    await eventually(lambda: sockets() <= before)


async def test_a_credential_that_is_none_leaves_nothing_open(gateway: Gateway) -> None:
    before = sockets()
    gateway.serving._credential = Credential("ssh-key", b"no key")
    assert b"credential_missing" in (await run(gateway.ssh("id"))).err
    await gateway.idle()
    await eventually(lambda: sockets() <= before)


async def test_packets_of_crumbs_are_not_sent(gateway: Gateway) -> None:
    async with await connect(gateway, encryption_algs=["aes128-gcm@openssh.com"]) as conn:
        with pytest.raises(asyncssh.ChannelOpenError, match="less than 1024 bytes"):
            await conn.run("seq 100000", max_pktsize=1023)
        ran = await conn.run("seq 10000", max_pktsize=1024)
        assert ran.stdout == "".join(f"{number}\n" for number in range(1, 10_001))
