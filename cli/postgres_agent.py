"""The leg towards the agent: a session of its own for every connection, TLS inside whatever the way is, the agent pinned.

    session opened ─► direct, or the relay's tunnel ─► SSLRequest ─► TLS 1.3 ─► the certificate held against the gateway's CA

Nothing of the client's, and no ticket, is sent before the last step. On the direct way the ticket is the password that the agent
asks for; through the relay the tunnel has presented it already.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

import msgspec

from chalicelib.contracts.faults import CODES, Fault
from cli import postgres_wire as wire
from cli import ways
from cli.agent_trust import check_agent
from cli.direct_way import dial
from cli.goodbye import close
from cli.home import Home
from cli.moments import now_ms
from cli.patience import Patience

#: Seconds until the agent must have answered: it may wait for its target for fifteen, twice.
ANSWER_S: Final = 45.0
#: Seconds that the end of a connection may take to reach the agent.
_GOODBYE_S: Final = 3.0
#: Seconds that the reason for a lost tunnel may be behind its end.
_REASON_S: Final = 0.5
READ: Final = 256 * 1024


class Errand(msgspec.Struct, frozen=True):
    """What every session of one ``connect`` is opened with."""

    home: Home
    target: str
    alias: str
    """The name in the agent's host certificate."""
    logins: list[str]
    """The first one is the default."""
    reason: str
    way: str


class Leg:
    """A connection to the agent, encrypted and pinned."""

    def __init__(self, opened: ways.Opened, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        direct = opened.connection is not None
        self.sid = opened.sid
        self.password = opened.ticket if direct else ""
        """What to answer if the agent asks for a password; empty where it has no reason to."""
        self.direct = opened.address if direct else ""
        """The agent's own address, where the relay is not between."""
        self.reader = reader
        self.writer = writer

    async def answers(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield kind and body of each message. Raises Fault(protocol_error | handshake_timeout | tunnel_lost)."""
        try:
            async with asyncio.timeout(ANSWER_S):
                while True:
                    head = await self.reader.readexactly(5)
                    size = int.from_bytes(head[1:])
                    if not 4 <= size <= wire.MESSAGE_LIMIT or not head[:1].isalpha():
                        raise Fault("protocol_error", "The agent sent a message that PostgreSQL's protocol does not have here.")
                    yield head[:1].decode(), await self.reader.readexactly(size - 4)
        except TimeoutError:
            raise Fault("handshake_timeout", "The agent did not answer in time.") from None
        except (asyncio.IncompleteReadError, OSError):
            raise Fault("tunnel_lost", "The agent ended the connection.") from None


@asynccontextmanager
async def reach(errand: Errand, login: str, patience: Patience | None = None) -> AsyncIterator[Leg]:
    """Open a session as ``login`` and yield the way to its agent. Raises Refusal or Fault; see also ``ways.first``."""
    patience = patience or Patience()
    try:
        opened = await asyncio.to_thread(ways.first, errand.home, errand.target, login, errand.reason, errand.way, patience)
    finally:
        patience.lose()  # the thread goes on where this task was cancelled, and would wait for others to the end
    async with _pinned(errand, opened) as leg:
        yield leg


@asynccontextmanager
async def reach_again(errand: Errand, address: str, sid: str) -> AsyncIterator[Leg]:
    """Yield a further connection to the agent at ``address`` that serves ``sid``: for what needs no session. Raises Fault.

    It names that session all the same, because to whoever names none the agent may show its operator's certificate.
    """
    connection = await asyncio.to_thread(dial, address, sid)
    if connection is None:
        raise Fault("agent_offline", f"The agent of {errand.target} does not answer at {address}.")
    async with _pinned(errand, ways.Opened(sid, "", address, connection)) as leg:
        yield leg


@asynccontextmanager
async def _pinned(errand: Errand, opened: ways.Opened) -> AsyncIterator[Leg]:
    trust = errand.home.trust()
    if trust is None:
        raise Fault("login_required", "You are not logged in.", hint="Run: sallyport login")
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = opened.connection
                if connection is None:
                    connection = await stack.enter_async_context(_relayed(opened.address, opened.ticket))
                connection.setblocking(False)
                reader, writer = await asyncio.open_connection(sock=connection, limit=READ)
                stack.push_async_callback(close, writer, _GOODBYE_S)
                await _secure(reader, writer, trust.ssh_ca, errand.alias)
        except TimeoutError:
            raise Fault("handshake_timeout", "The agent did not finish its handshake in time.") from None
        except OSError as error:
            words = "The agent ended the connection before it was secure."
            raise Fault("tunnel_lost", words, detail=str(error)) from None
        yield Leg(opened, reader, writer)


@asynccontextmanager
async def _relayed(address: str, ticket: str) -> AsyncIterator[socket.socket]:
    from agent.runtime.tunnel import Tunnel, TunnelError, bridge

    async def credentials(resume: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {ticket}" if resume is None else f"Resume {resume}"}

    try:
        async with Tunnel.connect(address, credentials, opening=ticket.encode("ascii")) as tunnel:
            try:
                yield await bridge(tunnel)
            except Fault as fault:
                if fault.code == "tunnel_lost":
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_REASON_S):
                            await tunnel.read()  # raises with the agent's or the relay's own reason where there is one
                raise
    except TunnelError as error:
        # What the relay or the agent gave as its reason says more than that the tunnel ended.
        raise Fault(error.reason if error.reason in CODES else error.code, error.message) from None


async def _secure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ssh_ca: str, alias: str) -> None:
    writer.write(wire.SSL_REQUEST)
    answer = await reader.read(2)
    if not answer:
        raise Fault("tunnel_lost", "The agent ended the connection before it was secure.")
    if answer != b"S":
        # More than one byte would be text in clear that is taken for the agent's own (CVE-2021-23222).
        raise Fault("agent_unverified", "What answers for the agent does not speak TLS.", hint="Nothing was sent to it.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No public authority vouches for an agent; the gateway's own does, in the next step.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    await writer.start_tls(context)
    shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    check_agent(shown, ssh_ca, alias, now_ms())
