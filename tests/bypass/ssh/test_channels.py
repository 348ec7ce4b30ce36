"""Roads around a rule about forwarded ports, scripts, rsync and git. Beside each: the twin that must go on to work.

Rows are never deleted. The gateway is the plug-in itself between real OpenSSH clients and a real sshd.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import msgspec
import pytest

from tests.integration.plugin_listener import run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for

pytestmark = pytest.mark.servers


class Door:
    """A server that counts who comes in."""

    def __init__(self) -> None:
        self.came = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.write(b"in")
        writer.close()

    async def close(self) -> None:
        self._server.close()


@pytest.fixture
async def vault() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


@pytest.fixture
async def shop() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


def connect(gateway: Gateway) -> Any:
    return asyncssh.connect("127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None)


#: Spellings of the one place that are understood as that place, and so decided as it.
SPELLINGS = ["127.0.0.1", "127.0.0.1.", "::ffff:127.0.0.1", "::FFFF:7F00:1", "0:0:0:0:0:ffff:127.0.0.1", "[::ffff:127.0.0.1]"]
#: Names and numbers that some resolver takes for it, or that name every place.
DISGUISES = [
    "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.000.000.001", "0", "0.0.0.0", "::", "::0",
    "::ffff:0.0.0.0", "localhost", "LOCALHOST", "localhost.", "ip6-localhost", "*", "", " 127.0.0.1", "127.0.0.1 ", "[127.0.0.1]",
    "127.0.0.1%lo", "::1%lo", "127.0.0.1\0.example", "１２７.0.0.1", "127。0。0。1", "user@127.0.0.1", "127.0.0.1:22",
    "127.0.0.1/", "::127.0.0.1", "2002:7f00:1::", "127.0.0.2",
]  # fmt: skip


@pytest.mark.parametrize("host", SPELLINGS + DISGUISES)
async def test_another_spelling_does_not_reach_what_is_forbidden(
    gateway: Gateway,
    sshd: Sshd,
    vault: Door,
    host: str,
) -> None:
    gateway.serving = serving_for(
        sshd,
        'permit(principal, action == Action::"forward", resource);',
        'forbid(principal, action == Action::"forward", resource) '
        f'when {{ context.host == "127.0.0.1" && context.port == {vault.port} }};',
        forward=["127.0.0.1:*"],
    )
    async with connect(gateway) as conn:
        with pytest.raises(asyncssh.ChannelOpenError, match="sallyport"):
            await conn.open_connection(host, vault.port)
    assert vault.came == 0
    await gateway.idle()
    assert gateway.serving.denied == 1, "and it is on record"


@pytest.mark.parametrize("port", [0, 65_536, 2**31, 2**32 - 1])
async def test_a_port_that_wraps_around(gateway: Gateway, sshd: Sshd, vault: Door, port: int) -> None:
    gateway.serving = serving_for(sshd, forward=["*:*"])
    async with connect(gateway) as conn:
        for each in (port, (vault.port + 65_536) & 0xFFFF_FFFF):
            with pytest.raises(asyncssh.ChannelOpenError, match="between 1 and 65535"):
                await conn.open_connection("127.0.0.1", each)
    assert vault.came == 0


@pytest.mark.parametrize("host", SPELLINGS)
async def test_every_spelling_of_what_is_permitted(gateway: Gateway, sshd: Sshd, shop: Door, host: str) -> None:
    gateway.serving = serving_for(
        sshd,
        f'permit(principal, action == Action::"forward", resource) when {{ context.objects.contains("127.0.0.1:{shop.port}") }};',
        forward=[f"127.0.0.1:{shop.port}"],
    )
    async with connect(gateway) as conn:
        reader, writer = await conn.open_connection(host, shop.port)
        assert await reader.read() == b"in"
        writer.close()


async def test_other_channels_that_reach_out(gateway: Gateway, sshd: Sshd, vault: Door) -> None:
    """Whatever is permitted for ports is none for sockets, devices, the agent or the screen."""
    gateway.serving = serving_for(sshd, forward=["*:*"], listen=["*:*"])
    async with connect(gateway) as conn:
        for opening in (conn.open_unix_connection("/run/x"), conn.open_tun(), conn.open_tap()):
            with pytest.raises(asyncssh.ChannelOpenError, match="not_supported"):
                await opening
        with pytest.raises(asyncssh.ChannelListenError):
            await conn.start_unix_server(lambda *_: None, "/tmp/never")
        # A client that opens what only a server may open.
        channel = conn.create_tcp_channel()
        with pytest.raises(asyncssh.ChannelOpenError):
            await channel.accept(asyncssh.SSHTCPSession, "127.0.0.1", vault.port, "", 0)
    ran = await run(gateway.ssh("echo ${SSH_AUTH_SOCK:-none} ${DISPLAY:-none}", options=["-A", "-X"]))
    assert ran.out == b"none none\n"
    assert vault.came == 0


async def test_a_target_that_opens_what_nobody_asked_for(gateway: Gateway, shop: Door) -> None:
    """The target's side is not trusted either: it may come back by a port only where it was asked to listen."""

    class Open(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def push(process: asyncssh.SSHServerProcess[str]) -> None:
        conn = process.get_extra_info("connection")
        try:
            await conn.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", shop.port)
            process.stdout.write("opened\n")
        except asyncssh.ChannelOpenError:
            process.stdout.write("refused\n")
        process.exit(0)

    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.create_server(Open, "127.0.0.1", 0, server_host_keys=[key], process_factory=push)
    assert gateway.serving is not None
    old = gateway.serving.target
    options = {"host_keys": [key.export_public_key().decode().strip()], "forward": ["*:*"], "listen": ["*:*"]}
    gateway.serving.target = msgspec.structs.replace(old, address=f"127.0.0.1:{server.get_port()}", options=options)
    ran = await run(gateway.ssh("try"))
    assert ran.out == b"refused\n"
    assert shop.came == 0
    server.close()


#: What is fed to which command, where `rm` is forbidden and nothing unknown may run. KEPT is a file that must stay.
FED = [
    ("bash -s", "rm -f KEPT"),
    ("bash -s", "'r'm -f KEPT"),
    ("bash -s", "head -c 6 >/dev/null\necho '\nrm -f KEPT\necho '\n"),
    ("bash -s", "read -r x\necho '\nrm -f KEPT #'\n"),
    ("bash -s", "cat <<'E'\nE\nrm -f KEPT\n"),
    ("bash -s", "exec 0</proc/self/fd/0\nrm -f KEPT"),
    ("bash -s", "echo x\\'\nrm -f KEPT\n: \\'"),
    ("bash -s", "' </dev/null; rm -f KEPT; exit\n"),
    ("bash -s", "'\\'' </dev/null; rm -f KEPT; eval '"),
    ("bash -s", "exit 0\nrm -f KEPT"),
    ("bash -s", "if false; then rm -f KEPT; fi"),
    ("bash -s", "alias true=rm\ntrue -f KEPT"),
    ("bash -s", "shopt -s expand_aliases\nalias ls='rm -f'\nls KEPT"),
    ("bash -s", "trap 'rm -f KEPT' EXIT"),
    ("bash -s", "X=rm; $X -f KEPT"),
    ("bash -s", "echo 'rm -f KEPT' | sh"),
    ("bash -s", "sh <<< 'rm -f KEPT'"),
    ("bash -s", "bash\nrm -f KEPT"),
    ("bash -s", "echo a\rrm -f KEPT"),
    ("bash -s", "#" * 70_000 + "\nrm -f KEPT"),
    ("bash -s -c rm", "-f KEPT"),
    ("bash -s --", "rm -f KEPT"),
    ("bash -", "rm -f KEPT"),
    ("bash -i", "rm -f KEPT"),
    ("bash -c bash", "rm -f KEPT"),
    ("bash -c 'bash -s'", "rm -f KEPT"),
    ("sh -s; true", "rm -f KEPT"),
    ("true && sh", "rm -f KEPT"),
    ("sh /dev/stdin", "rm -f KEPT"),
    ("sh /proc/self/fd/0", "rm -f KEPT"),
    (". /dev/stdin", "rm -f KEPT"),
    ("eval \"$(cat)\"", "rm -f KEPT"),
    ("xargs rm -f", "KEPT"),
    ("xargs -I{} sh -c {}", "rm -f KEPT"),
    ("cat | sh", "rm -f KEPT"),
    ("tee /dev/null | bash -s", "rm -f KEPT"),
    ("busybox sh", "rm -f KEPT"),
    ("env -S sh", "rm -f KEPT"),
    ("env - sh", "rm -f KEPT"),
    ("python3", "import os; os.remove('KEPT')"),
    ("python3 -", "import os; os.remove('KEPT')"),
    ("perl", "unlink 'KEPT'"),
    ("sudo -S sh", "\nrm -f KEPT"),
    (None, "rm -f KEPT"),
    (None, "\nexec rm -f KEPT"),
    (None, "' ; rm -f KEPT ; '"),
]  # fmt: skip


def strict(sshd: Sshd) -> Any:
    return serving_for(
        sshd,
        'permit(principal, action == Action::"run", resource) unless { context.effects.contains("unknown") };',
        'forbid(principal, action == Action::"run", resource) when { context.verbs.contains("rm") };',
    )


@pytest.mark.parametrize(("command", "script"), FED)
async def test_a_script_does_not_do_what_is_forbidden(
    gateway: Gateway,
    sshd: Sshd,
    tmp_path: Path,
    command: str | None,
    script: str,
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("")
    gateway.serving = strict(sshd)
    await run(gateway.ssh(*([command] if command else []), options=["-T"]), script.replace("KEPT", str(kept)).encode())
    assert kept.exists()


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("bash -s", "echo in"),
        ("bash -s", "echo 'in'\n# rm -f x\n"),
        ("bash -s", "echo in # it's rm -f x"),
        ("bash -s", "echo in; cat\n"),
        ("bash -s", "cat <<'E'\nin\nE\n"),
        ("bash -s", "if true; then\n\techo in\nfi\n"),
        ("bash -s -- rm", "echo in"),
        ("cd /tmp && sh -eu", "echo in"),
        (None, "echo in"),
        ("cat", "rm -f x"),
        ("grep in", "in\n"),
        ("wc -l", "rm"),
    ],
)
async def test_the_twin_that_only_looks_like_it(
    gateway: Gateway,
    sshd: Sshd,
    command: str | None,
    script: str,
) -> None:
    gateway.serving = strict(sshd)
    ran = await run(gateway.ssh(*([command] if command else []), options=["-T"]), script.encode())
    assert ran.status == 0, ran
    assert ran.out


#: Far ends of rsync and git that would reach the vault, or hide where they go.
STREAMS = [
    "rsync --server --sender -r . VAULT",
    "rsync --server --sender -r . VAULT/",
    "rsync --server --sender -r . VAULT/.",
    "rsync --server --sender -r . SHOP/../vault",
    "rsync --server --sender -r . SHOP VAULT",
    "rsync --server --sender -r . SHOP/../vaul?",
    "rsync --server --sender -r . ~/../vault $HOME",
    "rsync --server --sender -sr",
    "rsync --server --sender -r --files-from=VAULT/list . SHOP",
    "rsync --server -r . VAULT",
    "rsync --server -r --backup-dir=VAULT . SHOP",
    "rsync --server -r --temp-dir VAULT . SHOP",
    "rsync --server --sender -r --log-file=VAULT/log . SHOP",
    "rsync --server --daemon --config=VAULT/c .",
    "rsync --server --sender -e 'sh -c id' -r . SHOP",
    "rsync --server --sender -r . SHOP; cat VAULT/key",
    "rsync --server --sender -r . SHOP > VAULT/key",
    "git-upload-pack 'VAULT'",
    "git-upload-pack 'SHOP/../vault'",
    "git-upload-pack 'VAULT/.git'",
    "git-upload-pack --timeout=1 'VAULT'",
    "git-upload-pack 'SHOP' 'VAULT'",
    "git upload-pack 'VAULT'",
    "git-receive-pack 'SHOP'",
    "git-shell -c \"git-upload-pack 'SHOP'\"",
]


def streams(sshd: Sshd, shop: Path) -> Any:
    return serving_for(
        sshd,
        'permit(principal, action == Action::"run", resource) when { context.effects == ["read"] && '
        '["rsync:download", "git:upload-pack"].containsAny(context.verbs) && '
        f'["{shop}", "{shop}.git"].containsAll(context.objects) }};',
        'permit(principal, action == Action::"reveal", resource) when { context.data_class == "binary" };',
    )


@pytest.mark.parametrize("command", STREAMS)
async def test_a_stream_from_elsewhere(gateway: Gateway, sshd: Sshd, tmp_path: Path, command: str) -> None:
    shop, vault = tmp_path / "shop", tmp_path / "vault"
    for each in (shop, vault):
        each.mkdir()
        (each / "key").write_text("k")
    gateway.serving = streams(sshd, shop)
    ran = await run(gateway.ssh(command.replace("VAULT", f"'{vault}'").replace("SHOP", f"'{shop}'").replace("''", "'")))
    assert (ran.status, ran.out) == (126, b"")
    assert (vault / "key").read_text() == "k"


@pytest.mark.parametrize(
    "command",
    ["rsync --server --sender -r . SHOP", "rsync --server --sender -vlogDtpre.iLsfxCIvu . SHOP/", "git-upload-pack SHOP"],
)
async def test_the_twin_from_where_it_is_permitted(
    gateway: Gateway,
    sshd: Sshd,
    tmp_path: Path,
    command: str,
) -> None:
    shop = tmp_path / "shop"
    await run(["git", "init", "-q", "--bare", str(shop)])
    gateway.serving = streams(sshd, shop)
    ran = await run(gateway.ssh(command.replace("SHOP", str(shop))))
    assert ran.status != 126
    assert ran.out, "the far end spoke"
