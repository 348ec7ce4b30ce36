"""How a client's connection begins: which first bytes are PostgreSQL's, and everything up to the packet that says what it wants.

A client asks for TLS with an SSLRequest, or begins with TLS at once (PostgreSQL 17, ALPN ``postgresql``). GSSAPI encryption is
declined. Nothing here tells who the client is, and nothing is asked of it before it has said all of this.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final

import msgspec

from agent.protocols.postgres import login, messages
from agent.protocols.postgres.codec import STARTUP_LIMIT, StartupFramer
from agent.protocols.postgres.login import Hello
from agent.protocols.postgres.messages import CANCEL_REQUEST, GSS_REQUEST, SSL_REQUEST
from agent.protocols.postgres.stream import Stream, adopted
from agent.protocols.postgres.tls import ALPN
from agent.runtime import client_hello
from agent.runtime.listener import peek
from agent.runtime.serving import More
from chalicelib.contracts.faults import Fault

#: Packets that may come before the StartupMessage: one SSLRequest, one GSSENCRequest, and no more.
_PACKETS: Final = 4


class Hangup(Exception):  # noqa: N818 - the client is gone, which is nobody's fault
    """The connection is over before there was anything to serve."""


class Greeted(msgspec.Struct, frozen=True):
    """A client that has said what it wants: a session (``startup``) or the end of a statement (``cancel``)."""

    stream: Stream
    hello: Hello
    secured: bool
    """True inside TLS."""


def recognise(first: bytes) -> bool | More:
    """Tell whether a connection that begins with ``first`` is a PostgreSQL client's; see ``serving.Plugin``."""
    if first[0] == client_hello.HANDSHAKE:
        offered = client_hello.protocols(first)
        # Exactly this one: who offers several leaves the choice to us, and there is none to make.
        return offered if isinstance(offered, More) else offered == [ALPN.encode()]
    if first[:2] != b"\0\0"[: len(first)]:
        return False
    if len(first) < 8:
        return More(8)
    length, code = int.from_bytes(first[:4]), int.from_bytes(first[4:8])
    return 8 <= length <= STARTUP_LIMIT and (code in (SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST) or code >> 16 == 3)


async def begin(connection: socket.socket, tls: Callable[[], ssl.SSLContext]) -> tuple[Stream, bool]:
    """Take over ``connection``; return its stream, and whether TLS began with the first byte. Raises Hangup or OSError."""
    connection.setblocking(False)
    if await peek(connection, 1, 1) != bytes([client_hello.HANDSHAKE]):
        return await adopted(connection), False
    stream = await adopted(connection, tls())
    if chosen(stream) != ALPN:
        # Without it another protocol's client could be made to speak to us (ALPACA).
        stream.abort()
        raise Hangup
    return stream, True


def chosen(stream: Stream) -> str | None:
    """Return the protocol that TLS agreed upon."""
    found = stream.transport.get_extra_info("ssl_object")
    return found.selected_alpn_protocol() if found is not None else None


async def greet(stream: Stream, tls: Callable[[], ssl.SSLContext], *, secured: bool) -> Greeted:
    """Return what the client wants, inside TLS where it asked for that. Raises Fault, Hangup or OSError."""
    framer, secure = StartupFramer(), secured
    for _ in range(_PACKETS):
        hello = login.read_hello(await _packet(stream, framer))
        if hello.kind == "gss":
            stream.write(b"N")
        elif hello.kind == "ssl" and not secure:
            if framer.rest() or stream.buffered:
                # Text in clear before the encrypted would be taken for the client's own (CVE-2021-23214).
                raise Fault("protocol_error", "The client said more before TLS than it should.")
            context = tls()
            stream.write(b"S")
            await stream.start_tls(context, server_side=True)
            secure = True
        elif hello.kind == "cancel":
            return Greeted(stream, hello, secure)
        elif hello.kind == "startup":
            if framer.rest() or stream.buffered:
                raise Fault("protocol_error", "The client spoke before it was asked.")
            return Greeted(stream, hello, secure)
        else:
            break
    raise Fault("protocol_error", "The client's handshake has no end.")


async def _packet(stream: Stream, framer: StartupFramer) -> bytes:
    packet = framer.feed(b"")
    while packet is None:
        data = await stream.read()
        if not data:
            raise Hangup
        packet = framer.feed(data)
    return packet


def negotiate(hello: Hello) -> bytes:
    """Return what a client is told that wants more than protocol 3.0, or nothing."""
    unknown = [name for name in hello.parameters if name.startswith("_pq_.")]
    return messages.negotiate(unknown) if hello.minor or unknown else b""
