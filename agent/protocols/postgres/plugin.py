"""The PostgreSQL plug-in: what it announces, and the two ways in."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from agent.protocols.postgres.cancels import Cancels
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.codec import StartupFramer
from agent.protocols.postgres.denial import farewell
from agent.protocols.postgres.login import read_hello
from agent.protocols.postgres.reading import make_classifier, make_masks
from agent.protocols.postgres.stream import Stream, adopted
from agent.protocols.postgres.tls import ClientTls
from agent.protocols.postgres.transport import Connection, Plant
from agent.runtime.serving import HANDSHAKE_S, Door, HostIdentity, Serving
from chalicelib.contracts import gateway
from chalicelib.contracts.faults import Fault, Notice

ANNOUNCEMENT: Final = gateway.Protocol(
    name="postgres",
    hint="sallyport connect {target}",
    options=[
        gateway.Option(name="database", type="string", required=True, doc="The one database that this target is."),
        gateway.Option(
            name="sslmode",
            type="string",
            choices=["disable", "require", "verify-full"],
            doc="How the agent speaks to the server. verify-full, the default, checks its certificate and its name.",
        ),
        gateway.Option(
            name="ca_file",
            type="string",
            doc="File on the agent with the certificate authorities for verify-full. Default: those of its system.",
        ),
        gateway.Option(
            name="columns",
            type="strings",
            doc="Columns and the class of data in them, as schema.table.column=class, such as public.customers.mail=email.",
        ),
    ],
    controls=[
        gateway.Control(name=gateway.RECORD, enforced=True),
        gateway.Control(name=gateway.BLOCK, enforced=True),
        gateway.Control(name=gateway.MASK, enforced=True),
        gateway.Control(name=gateway.TRANSFER, enforced=True),
        gateway.Control(name=gateway.HOLD, enforced=False, why="a statement cannot wait for an approval yet"),
        gateway.Control(name=gateway.FORWARD, enforced=False, why="PostgreSQL has no ports to forward"),
    ],
)

_REFUSAL: Final = Notice(
    "login_required",
    "Nobody can tell who you are on this port: PostgreSQL's clients have no certificate of the gateway.",
    hint="Connect with: sallyport connect <target>",
)


class PostgresPlugin:
    """Serves PostgreSQL clients that come with a ticket."""

    announcement: gateway.Protocol = ANNOUNCEMENT

    def __init__(self, host_identity: HostIdentity) -> None:
        self._plant = Plant(ClientTls(host_identity).context, Cancels(), Catalogues(), make_classifier, make_masks)

    async def serve(self, connection: socket.socket, serving: Serving) -> Notice:
        """Serve a client whose ticket was checked. Returns why it ended: code ``ok``, or a fault's."""
        return await Connection(serving, self._plant).run(connection)

    async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
        """Refuse a native client, in words that it shows: it has no way to prove who it is.

        A password would be the only thing that it could send, and the gateway has none to compare it with.
        """
        try:
            stream = await adopted(connection)
        except OSError:
            connection.close()
            return
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await _refuse(stream)
        except (TimeoutError, Fault, OSError):
            pass
        finally:
            stream.close()


async def _refuse(stream: Stream) -> None:
    framer = StartupFramer()
    while True:
        packet = framer.feed(b"")
        while packet is None:
            data = await stream.read()
            if not data:
                return
            packet = framer.feed(data)
        if read_hello(packet).kind not in ("ssl", "gss"):
            break
        stream.write(b"N")
    stream.write(farewell(_REFUSAL, ""))
