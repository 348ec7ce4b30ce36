"""Native clients at the agent's own listener: psql, drivers and tools that know PostgreSQL and nothing of the gateway.

PostgreSQL's clients can prove one thing, that they know a password. Here it is a session's ticket: signed by the control
plane for one person, one target and one connection. Whoever reads it could use it first, so it is asked for inside TLS alone
(AuthenticationCleartextPassword; SCRAM would need a secret that both sides know), and a client without TLS is told so before it
is asked for anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from agent.protocols.postgres import greeting, login, messages
from agent.protocols.postgres.codec import KIB, Framer, Message
from agent.protocols.postgres.denial import farewell
from agent.protocols.postgres.greeting import Greeted, Hangup
from agent.protocols.postgres.stream import Stream
from agent.protocols.postgres.transport import Connection, Plant
from agent.runtime.serving import HANDSHAKE_S, Door, Serving
from chalicelib.contracts.faults import Fault, Notice

#: The only message that is read before a client is known, and the largest that a ticket fits into.
_PASSWORD_LIMITS: Final = {ord("p"): 16 * KIB}
_CLEARTEXT: Final = 3

_NO_TLS: Final = Notice(
    "login_required",
    "This port asks for a session's ticket as the password, and only inside TLS.",
    hint="Connect with sslmode=require, or with: sallyport connect <target>",
)


class Native:
    """One connection of a native client that has proved nothing yet."""

    def __init__(self, plant: Plant, tls: Callable[[], ssl.SSLContext], door: Door, sid: str) -> None:
        self._plant = plant
        self._tls = tls
        self._door = door
        self._sid = sid

    async def run(self, connection: socket.socket) -> None:
        """Serve it to its end, or refuse it in words that it shows. Owns and closes ``connection``."""
        stream: Stream | None = None
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                stream, secured = await greeting.begin(connection, self._tls)
                greeted = await self._greeted(stream, secured)
                ticket = await self._ticket(greeted) if greeted is not None else ""
            if greeted is not None:
                serving = await self._enter(greeted, ticket)
                await Connection(serving, self._plant).go_on(greeted)
        except Fault as fault:
            if stream is not None:
                stream.write(farewell(fault.notice, ""))
        except (Hangup, OSError):  # TimeoutError is one
            pass
        finally:
            if stream is not None:
                stream.close()
            else:
                connection.close()

    async def _greeted(self, stream: Stream, secured: bool) -> Greeted | None:
        """Return a client that wants a session and may be asked for its ticket; None where it wanted something else."""
        greeted = await greeting.greet(stream, self._tls, secured=secured)
        if greeted.hello.kind == "cancel":
            with contextlib.suppress(Fault):  # a session that cannot record is ending anyway
                await self._plant.cancels.native(greeted.hello.pid, greeted.hello.secret)
            return None
        if not greeted.secured:
            stream.write(farewell(_NO_TLS, ""))
            return None
        # What no session may have is refused here: the ticket would be used up for nothing.
        target = _asked_for(greeted)
        login.wishes(greeted.hello.parameters, target, target)
        return greeted

    async def _ticket(self, greeted: Greeted) -> str:
        stream = greeted.stream
        stream.write(greeting.negotiate(greeted.hello) + messages.authentication(_CLEARTEXT))
        framer = Framer(_PASSWORD_LIMITS, whose="client")
        found: list[Message] = []
        while not found:
            data = await stream.read()
            if not data:
                raise Hangup
            found = [each for each in framer.feed(data) if isinstance(each, Message)]
        text, ending, rest = found[0].body.partition(b"\0")
        if len(found) > 1 or framer.partial or stream.buffered or not ending or rest:
            raise Fault("protocol_error", "The client sent something else than a password.")
        return text.decode("ascii", "replace")

    async def _enter(self, greeted: Greeted, ticket: str) -> Serving:
        if self._sid:
            # The connection named its session. User and database are what they are through the relay: the database is compared
            # with the target's as the session begins, and the account is the session's whatever the user is called.
            return await self._door.ticketed(ticket, "", "")
        return await self._door.ticketed(ticket, greeted.hello.parameters.get("user", ""), _asked_for(greeted))


def _asked_for(greeted: Greeted) -> str:
    """The target that a client names as its database. Without one PostgreSQL takes the user's name, which is no target's."""
    parameters = greeted.hello.parameters
    return parameters.get("database", "") or parameters.get("user", "")
