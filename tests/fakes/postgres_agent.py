"""An agent's listener as PostgreSQL's clients meet it: TLS with its host key, a login, and an echo instead of a database."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import ssh

from agent.protocols.postgres.tls import ClientTls
from cli import postgres_wire as wire

ALIAS = "prod-db.sallyport"
KEY = b"\1\2\3\4"
PID = 4711


class Host:
    """An agent's identity: a key, and the certificate that it shows. ``changes`` make it wrong."""

    def __init__(self, ca: ec.EllipticCurvePrivateKey, now_s: int, /, **changes: Any) -> None:
        key = Ed25519PrivateKey.generate()
        facts = {
            "of": key,
            "ca": ca,
            "type": ssh.SSHCertificateType.HOST,
            "names": [ALIAS],
            "after": now_s - 60,
            "before": now_s + 3600,
        } | changes
        form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        self.private_key = key.private_bytes(*form)
        builder = ssh.SSHCertificateBuilder().public_key(facts["of"].public_key()).type(facts["type"]).key_id(b"agent:edge-1")
        builder = builder.valid_principals([name.encode() for name in facts["names"]])
        builder = builder.valid_after(facts["after"]).valid_before(facts["before"])
        for name in facts.get("conditions", []):
            builder = builder.add_critical_option(name, b"")
        self.certificate = builder.sign(facts["ca"]).public_bytes().decode() if facts["ca"] else ""
        self.ssh_ca = ""
        self.operator = None

    @property
    def shown(self) -> bytes:
        """The certificate that TLS shows, as DER."""
        from agent.runtime.agent_tls import self_signed

        key = serialization.load_ssh_private_key(self.private_key, None)
        assert isinstance(key, Ed25519PrivateKey)
        return self_signed(key, self.certificate).public_bytes(serialization.Encoding.DER)


class FakePostgresAgent:
    """Use as an async context manager. What clients sent is in public attributes; tests say how it behaves."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sids: list[str] = []
        self.startups: list[dict[str, str]] = []
        self.passwords: list[str] = []
        self.cancels: list[tuple[int, bytes]] = []
        self.heard = bytearray()
        self.ask_passwords = 1
        self.answer_tls = b"S"
        self.refusal = b""
        self.hang_up = asyncio.Event()
        self.ended = asyncio.Event()
        self.port = 0

    async def __aenter__(self) -> FakePostgresAgent:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up.set()
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._speak(reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.ended.set()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sids.append((await reader.readline()).decode().split()[1])
        assert await reader.readexactly(8) == wire.SSL_REQUEST
        writer.write(self.answer_tls)
        if self.answer_tls != b"S":
            await writer.drain()
            return
        await writer.start_tls(ClientTls(self.host).context())
        size = int.from_bytes(head := await reader.readexactly(4))
        hello = wire.read_hello(head + await reader.readexactly(size - 4))
        if hello.kind == "cancel":
            self.cancels.append(hello.key)
            return
        self.startups.append(hello.parameters)
        for _ in range(self.ask_passwords):
            writer.write(wire.ask_password())
            head = await reader.readexactly(5)
            self.passwords.append((await reader.readexactly(int.from_bytes(head[1:]) - 4))[:-1].decode())
        if self.refusal:
            writer.write(self.refusal)
            return
        writer.write(wire.message("R", bytes(4)) + wire.message("K", PID.to_bytes(4) + KEY) + wire.READY)
        await self._echo(reader, writer)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hanging_up = asyncio.ensure_future(self.hang_up.wait())
        while True:
            reading = asyncio.ensure_future(reader.read(65536))
            await asyncio.wait({reading, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() or not reading.result():
                reading.cancel()
                hanging_up.cancel()
                return
            self.heard += reading.result()
            writer.write(reading.result())
