"""A machine that lies. One asyncssh server whose login names are its vices, and one raw socket that never becomes a server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncssh

Session = asyncssh.SSHServerSession[bytes]
Channel = asyncssh.SSHServerChannel[bytes]

ESCAPES = b"\x1b]0;owned\x07\x1b[2J\x1b[1;31mroot@prod#\x1b[0m\r"
BIDI = "\u202egnp.exe\u2066"


class Calm(Session):
    """Answers every command with ``ok`` and echoes its input; what an innocent target would do."""

    def __init__(self, home: HostileTarget, conn: asyncssh.SSHServerConnection) -> None:
        self.home, self.conn = home, conn

    def connection_made(self, chan: Channel) -> None:
        self.channel = chan

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self.home.commands.append(command)
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        return True

    def session_started(self) -> None:
        self.channel.write(b"ok\n")
        self.channel.exit(0)


class Flood(Calm):
    """Writes without end."""

    def session_started(self) -> None:
        self._open = True
        self._more = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        with contextlib.suppress(OSError):
            while self._open:
                if self.channel.get_write_buffer_size() < 1 << 20:
                    self.channel.write(b"A" * 65536)
                await asyncio.sleep(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False


class Crumbs(Calm):
    """Fills the whole window with packets of one byte."""

    def session_started(self) -> None:
        for _ in range(self.home.crumbs):
            self.channel.write(b"c")
        self.channel.exit(0)


class Forger(Calm):
    """Prints what looks like lines of a recording."""

    def session_started(self) -> None:
        self.channel.write(
            b'\n[0.000,"m","allowed: rm -rf / (forged)"]\n{"event":"operation","verdict":"allowed","text":"forged"}\n'
        )
        self.channel.write(b'"]\n[0.000,"m","allowed: forged-too"]\n', asyncssh.EXTENDED_DATA_STDERR)
        self.channel.exit(0)


class Signaller(Calm):
    """Ends by a signal whose words are escapes."""

    def session_started(self) -> None:
        self.channel.write(b"signalled\n")
        self.channel.exit_with_signal("TERM", False, ESCAPES.decode("latin-1"), "en")


class Talker(Calm):
    """Ends by a signal whose name and words are what output may not be."""

    def session_started(self) -> None:
        self.channel.exit_with_signal("4111111111111111", False, "the card is 4111 1111 1111 1111", "4111111111111111")


class Vanisher(Calm):
    """Hangs up in the middle of an answer."""

    def session_started(self) -> None:
        self.channel.write(b"half an ans")
        asyncio.get_running_loop().call_later(0.05, self.conn.abort)


class Files(Calm):
    """A file server that answers every request with what ``answer`` makes of it."""

    def session_started(self) -> None:
        self._kept = b""

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        self._kept += data
        while len(self._kept) >= 4 and len(self._kept) >= 4 + (size := int.from_bytes(self._kept[:4], "big")):
            packet, self._kept = self._kept[4 : 4 + size], self._kept[4 + size :]
            with contextlib.suppress(OSError):
                self._take(packet)

    def _take(self, packet: bytes) -> None:
        if packet[0] == 1:
            self.send(2, (3).to_bytes(4, "big"))
        elif packet[0] == 16 and packet[1:5] == b"\xff\xff\xff\xff":
            self.send(104, packet[1:5] + (1).to_bytes(4, "big") + string(b"/home/calm") + string(b"/home/calm") + b"\0\0\0\0")
        else:
            self.answer(packet)

    def answer(self, packet: bytes) -> None:
        self.send(101, packet[1:5] + (2).to_bytes(4, "big") + string(b"no such file") + string(b""))

    def send(self, kind: int, body: bytes) -> None:
        self.channel.write((len(body) + 1).to_bytes(4, "big") + bytes((kind,)) + body)


class WrongNumber(Files):
    """Answers questions that nobody asked."""

    def answer(self, packet: bytes) -> None:
        self.send(101, b"\x12\x34\x56\x78" + (0).to_bytes(4, "big") + string(b"") + string(b""))


class Huge(Files):
    """Announces a packet of four gigabytes."""

    def answer(self, packet: bytes) -> None:
        self.channel.write(b"\xff\xff\xff\xf0" + b"x" * 100_000)


class OneHandle(Files):
    """Gives the same handle to everybody, so that a permitted file could stand for a forbidden one."""

    def answer(self, packet: bytes) -> None:
        self.home.requests.append(packet)
        if packet[0] == 3:
            self.send(102, packet[1:5] + string(b"H"))
        elif packet[0] == 16:
            self.send(104, packet[1:5] + (1).to_bytes(4, "big") + packet[5:] + string(b"") + b"\0\0\0\0")
        else:
            self.send(101, packet[1:5] + (0).to_bytes(4, "big") + string(b"") + string(b""))


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


class _Server(asyncssh.SSHServer):
    def __init__(self, home: HostileTarget) -> None:
        self.home = home
        self.login = "calm"

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.conn = conn

    def begin_auth(self, username: str) -> bool:
        self.login = username
        if username == "banner":
            self.conn.send_auth_banner(ESCAPES.decode("latin-1") * 1000)
        return False

    def session_requested(self) -> Session:
        if self.login == "refuser":
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, ESCAPES.decode("latin-1") + BIDI)
        session: Session = self.home.behaviours[self.login](self.home, self.conn)
        return session


class HostileTarget:
    """Start with ``open``; ``behaviours`` maps login names to what their sessions do."""

    def __init__(self) -> None:
        self.behaviours: dict[str, Callable[..., Any]] = {
            "calm": Calm,
            "banner": Calm,
            "refuser": Calm,
            "flood": Flood,
            "crumbs": Crumbs,
            "forger": Forger,
            "signaller": Signaller,
            "talker": Talker,
            "vanisher": Vanisher,
            "files": Files,
            "wrong-number": WrongNumber,
            "huge": Huge,
            "one-handle": OneHandle,
        }
        self.commands: list[str] = []
        self.requests: list[bytes] = []
        self.crumbs = 400_000
        self.greeting = b""
        """What the raw socket says for ever to whoever connects; nothing keeps it silent."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        self._key = key
        self.host_key = " ".join(key.export_public_key().decode().split()[:2])
        self.port = self.raw_port = 0

    async def open(self) -> None:
        self._server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Server(self),
            server_host_keys=[self._key],
            encoding=None,
            line_editor=False,
            keepalive_interval=0,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._raw = await asyncio.start_server(self._greet, "127.0.0.1", 0)
        self.raw_port = self._raw.sockets[0].getsockname()[1]

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while self.greeting:
                writer.write(self.greeting)
                await writer.drain()
                await asyncio.sleep(0)
            await reader.read(-1)
        writer.close()

    async def close(self) -> None:
        self._server.close()
        self._raw.close()
