"""The leg towards the server: dial it, agree on TLS as the target's options say, log in with the injected credential."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from agent.protocols.postgres import messages
from agent.protocols.postgres.codec import SERVER_LIMITS, Framer, Message
from agent.protocols.postgres.login import ServerLogin
from agent.protocols.postgres.stream import Stream, dialled
from agent.runtime.relay import split_address, unreachable
from agent.runtime.serving import HANDSHAKE_S, Credential
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target

DISABLE: Final = "disable"
REQUIRE: Final = "require"
VERIFY_FULL: Final = "verify-full"


class Backend(msgspec.Struct, frozen=True):
    """A server that is ready: its stream, what it said about itself, and what cancels its statements."""

    stream: Stream
    settings: list[tuple[str, str]]
    pid: int
    secret: bytes
    rest: bytes
    """What came behind the first ReadyForQuery."""


async def connect(target: Target, login: str, credential: Credential, startup: bytes) -> Backend:
    """Return a server that is logged in to and ready. Raises Fault with a target's code, or credential_missing."""
    if credential.kind != "password":
        raise Fault("credential_missing", f"The credential for {login} on {target.name} is not a password.")
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            stream, secured = await reach(target)
            try:
                return await _log_in(target, login, credential, startup, stream, secured)
            except BaseException:
                stream.abort()
                raise
    except TimeoutError:
        raise Fault("target_timeout", f"{target.name} did not answer within {HANDSHAKE_S:.0f} s.") from None
    except OSError as error:
        raise unreachable(target, error) from None


async def reach(target: Target) -> tuple[Stream, ssl.SSLObject | None]:
    """Dial ``target``, and begin TLS where it is asked for; never goes on in clear. Raises Fault or OSError."""
    host, port = split_address(target.address)
    mode = target.options.get("sslmode", VERIFY_FULL)
    # The context first: a certificate authority that cannot be read is found before anything is dialled.
    context = None if mode == DISABLE else tls_context(target, mode)
    stream = await dialled(host, port)
    if context is None:
        return stream, None
    try:
        stream.write(messages.request(messages.SSL_REQUEST))
        answer = await stream.read()
        if answer != b"S":
            # More than one byte would be text in clear that an attacker put before the encrypted (CVE-2021-23222).
            words = f"{target.name} does not speak TLS, which its configuration demands. Nothing was sent to it."
            raise Fault("target_host_key", words)
        return stream, await stream.start_tls(context, server_side=False, hostname=host)
    except ssl.SSLError as error:
        stream.abort()
        message = f"The certificate of {target.name} was not accepted. Nothing was sent to it."
        raise Fault("target_host_key", message, detail=str(error)) from None
    except BaseException:
        stream.abort()
        raise


def tls_context(target: Target, mode: Any) -> ssl.SSLContext:
    """Return how the server's certificate is checked. Raises Fault(target_host_key) where that cannot be done."""
    if mode not in (REQUIRE, VERIFY_FULL):
        raise Fault("target_host_key", f"The sslmode of {target.name} in the gateway's configuration is not one that exists.")
    try:
        context = ssl.create_default_context(cafile=target.options.get("ca_file") or None)
    except OSError as error:
        words = f"The certificate authority of {target.name} cannot be read by the agent."
        raise Fault("target_host_key", words, detail=str(error)) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if mode == REQUIRE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _log_in(
    target: Target, login: str, credential: Credential, startup: bytes, stream: Stream, secured: ssl.SSLObject | None
) -> Backend:
    verified = secured is not None and target.options.get("sslmode", VERIFY_FULL) == VERIFY_FULL
    binding = end_point(secured.getpeercert(binary_form=True)) if secured is not None else None
    handshake = ServerLogin(target.name, login, credential.secret, verified=verified, binding=binding)
    framer = Framer(SERVER_LIMITS, whose="target")
    stream.write(startup)
    while not handshake.ready():
        data = await stream.read()
        if not data:
            raise Fault("target_closed", f"{target.name} ended the connection before it was ready.")
        found = framer.feed(data)
        for place, each in enumerate(found):
            assert isinstance(each, Message)
            stream.write(handshake.receive(each))
            if handshake.ready() and place + 1 < len(found):
                raise Fault("target_protocol", f"{target.name} said more than it was asked.")
    return Backend(stream, handshake.settings, handshake.pid, handshake.secret, framer.rest())


def end_point(certificate: bytes | None) -> bytes | None:
    """Return the tls-server-end-point channel binding (RFC 5929 §4.1), or None where the certificate's signature has no hash."""
    if certificate is None:
        return None
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    # "If the hash function is MD5 or SHA-1, use SHA-256."
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate).digest() if name in ("sha224", "sha256", "sha384", "sha512") else None


async def cancel(target: Target, pid: int, secret: bytes) -> None:
    """Ask the server to cancel what the backend ``pid`` does. Like PostgreSQL itself, tells nobody whether that helped."""
    try:
        async with asyncio.timeout(HANDSHAKE_S):
            stream, _ = await reach(target)
            try:
                stream.write(messages.cancel(pid, secret))
                await stream.read()
            finally:
                stream.close()
    except (Fault, OSError):
        return
