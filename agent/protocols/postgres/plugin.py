"""The PostgreSQL plug-in: what it announces, and the two ways in."""

from __future__ import annotations

import socket
from typing import Final

from agent.protocols.postgres.cancels import Cancels
from agent.protocols.postgres.catalogue import Catalogues
from agent.protocols.postgres.flags import FLAGS
from agent.protocols.postgres.greeting import recognise
from agent.protocols.postgres.native import Native
from agent.protocols.postgres.reading import make_classifier, make_masks
from agent.protocols.postgres.tls import ClientTls
from agent.protocols.postgres.transport import Connection, Plant
from agent.runtime.serving import Door, HostIdentity, More, Serving
from chalicelib.contracts import gateway
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.patterns import FORM

ANNOUNCEMENT: Final = gateway.Protocol(
    name="postgres",
    hint="sallyport connect {target}",
    flags=sorted(FLAGS),
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
            form="schema.table.column=class",
            doc="Columns and the class of data in them, as schema.table.column=class, such as public.customers.mail=email.",
        ),
        gateway.Option(
            name="patterns",
            type="strings",
            form=FORM,
            doc="What else is masked wherever it stands in a text, as class=pattern, in RE2 syntax: badge=EMP-[0-9]{4}.",
        ),
        gateway.Option(
            name="recorded_rows",
            type="integer",
            doc="Rows of each result that the transcript keeps, as the client was shown them: 0 to 1000, default 100.",
        ),
        gateway.Option(
            name="replication",
            type="boolean",
            doc="Whether rules may permit replication connections (replicate). Without it all of them are refused.",
        ),
    ],
    controls=[
        gateway.Control(name=gateway.RECORD, enforced=True),
        gateway.Control(name=gateway.BLOCK, enforced=True),
        gateway.Control(name=gateway.MASK, enforced=True),
        gateway.Control(name=gateway.SEAL, enforced=True),
        gateway.Control(name=gateway.TRANSFER, enforced=True),
        gateway.Control(name=gateway.HOLD, enforced=True),
        gateway.Control(name=gateway.FORWARD, enforced=False, why="PostgreSQL has no ports to forward"),
        gateway.Control(name=gateway.REPLICATE, enforced=True),
        gateway.Control(name=gateway.TRUST, enforced=False, why="a PostgreSQL server is known by its certificate"),
    ],
)


class PostgresPlugin:
    """Serves PostgreSQL clients that come through the relay with a ticket, or directly with one as their password."""

    announcement: gateway.Protocol = ANNOUNCEMENT

    def __init__(self, host_identity: HostIdentity) -> None:
        tls = ClientTls(host_identity)
        self._native_tls = tls.native
        self._plant = Plant(tls.context, Cancels(), Catalogues(), make_classifier, make_masks)

    async def serve(self, connection: socket.socket, serving: Serving) -> Notice:
        """Serve a client whose ticket was checked. Returns why it ended: code ``ok``, or a fault's."""
        return await Connection(serving, self._plant).run(connection)

    def recognise(self, first: bytes) -> bool | More:
        """Recognise PostgreSQL's first packets, and TLS whose ALPN is ``postgresql``."""
        return recognise(first)

    async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
        """Serve a native client, once it has given its ticket inside TLS; or end a statement for one that has its key."""
        # Who names a session is the command line, which knows the agent by its own key.
        await Native(self._plant, self._plant.tls if sid else self._native_tls, door, sid).run(connection)
