"""The leg towards the target: dial it, check its host key against the known ones, log in with the injected credential."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import asyncssh

from agent.protocols.ssh.algorithms import (
    MACS,
    REKEY_BYTES,
    REKEY_SECONDS,
    SIGNATURES,
    TARGET_CIPHERS,
    TARGET_KEEPALIVE,
    TARGET_KEX,
)
from agent.protocols.ssh.leg import BROKEN, Ear, Guard
from agent.protocols.ssh.packets import quicken
from agent.protocols.ssh.slim import slim
from agent.runtime.relay import split_address, unreachable
from agent.runtime.serving import HANDSHAKE_S, Credential, Serving
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Target


class Known(NamedTuple):
    """Which host keys are the target's."""

    keys: list[asyncssh.SSHKey]
    learned: bool = False
    """No review has seen it: it came first, now or at another time."""


class TargetOwner(asyncssh.SSHClient):
    """Hears when the leg's transport is full, and when the leg is lost."""

    def __init__(self, pressed: Callable[[bool], None]) -> None:
        self._pressed = pressed

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Listen to the transport's flow control, which asyncssh itself ignores."""
        self._conn = conn
        ear = Ear(conn)
        quicken(conn, ear)
        Guard(conn, self._pressed, ear)
        begin: Any = conn.send_service_request

        def sound(service: bytes) -> None:
            _require_sound(conn)
            begin(service)

        # The first thing that is sent under the new keys, before any credential.
        conn.send_service_request = sound  # type: ignore[method-assign]

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody has to wait any more for it to take something."""
        self._pressed(False)

    def auth_completed(self) -> None:
        """Logged in: what was needed for that is not needed any more."""
        slim(self._conn)


def _require_sound(conn: asyncssh.SSHClientConnection) -> None:
    """ChaCha20-Poly1305 numbers its packets by the handshake's, so somebody in between can take packets out where the target does
    not know the strict key exchange (CVE-2023-48795). Raises asyncssh.ProtocolError there."""
    strict: Any = conn
    if "chacha20" in conn.get_extra_info("send_cipher", "") and not strict._strict_kex:
        raise asyncssh.ProtocolError("ChaCha20 without the strict key exchange")


async def connect(serving: Serving, known: Known, pressed: Callable[[bool], None]) -> asyncssh.SSHClientConnection:
    """Return an authenticated connection to the session's target, whose host key is one of those ``known``.

    ``pressed`` is told when the transport cannot take more bytes, and when it can again. Raises Fault with a target's code, or
    with credential_missing or unknown_login.
    """
    target, login = serving.target, serving.claims.login
    credential = await serving.credential(login)
    if known.learned:
        require_key(credential, target, login)
    try:
        async with asyncio.timeout(HANDSHAKE_S), _dialled(target) as connection:
            return await asyncssh.connect(
                sock=connection,
                host=split_address(target.address)[0],
                config=None,
                options=None,
                client_factory=lambda: TargetOwner(pressed),
                known_hosts=(known.keys, [], []),
                server_host_key_algs=_host_key_kinds(known.keys),
                username=login,
                agent_path=None,
                gss_host=None,
                kex_algs=TARGET_KEX,
                encryption_algs=TARGET_CIPHERS,
                mac_algs=MACS,
                signature_algs=SIGNATURES,
                compression_algs=["none"],
                rekey_bytes=REKEY_BYTES,
                rekey_seconds=REKEY_SECONDS,
                keepalive_interval=TARGET_KEEPALIVE[0],
                keepalive_count_max=TARGET_KEEPALIVE[1],
                preferred_auth=("publickey",) if credential.kind == "ssh-key" else ("password", "keyboard-interactive"),
                **_secret(credential, target, login),
            )
    except TimeoutError:
        raise Fault("target_timeout", f"{target.name} did not answer within {HANDSHAKE_S:.0f} s.") from None
    except BROKEN as error:
        raise _fault(target, login, error, known) from None


async def shown_key(target: Target, login: str) -> asyncssh.SSHKey:
    """Return the host key that ``target`` shows and proves to hold, on a connection that ends there: nothing is asked for.

    Raises Fault with a target's code.
    """
    options = asyncssh.SSHClientConnectionOptions(
        config=None,
        client_factory=lambda: TargetOwner(lambda full: None),
        username=login,
        encryption_algs=TARGET_CIPHERS,
        mac_algs=MACS,
        signature_algs=SIGNATURES,
        compression_algs=["none"],
        agent_path=None,
        client_keys=None,
    )
    try:
        async with asyncio.timeout(HANDSHAKE_S), _dialled(target) as connection:
            key = await asyncssh.get_server_host_key(
                sock=connection, config=None, options=options, kex_algs=TARGET_KEX, server_host_key_algs=list(SIGNATURES)
            )
    except TimeoutError:
        raise Fault("target_timeout", f"{target.name} did not answer within {HANDSHAKE_S:.0f} s.") from None
    except BROKEN as error:
        raise _fault(target, login, error, Known([], learned=True)) from None
    assert key is not None, "no GSS key exchange was offered"
    return key


@asynccontextmanager
async def _dialled(target: Target) -> AsyncIterator[socket.socket]:
    """A connection to ``target``, closed where what it is for fails. asyncssh closes it only once it has begun to speak there."""
    connection = await _dial(target)
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


async def _dial(target: Target) -> socket.socket:
    host, port = split_address(target.address)
    loop = asyncio.get_running_loop()
    last: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            last = error
        except BaseException:
            connection.close()
            raise
        else:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
    raise last


def pinned(target: Target) -> Known:
    """Return the keys that the configuration pins. Raises Fault(target_host_key) where there are none."""
    lines = target.options.get("host_keys") or []
    try:
        keys = [public(line) for line in lines]
    except asyncssh.KeyImportError:
        keys = []
    if not keys:
        raise Fault("target_host_key", f"No host key of {target.name} is pinned in the gateway's configuration.")
    return Known(keys)


@lru_cache(maxsize=256)
def public(line: str) -> asyncssh.SSHKey:
    """Return a known key, read once for all connections to its host. Raises KeyImportError."""
    return asyncssh.import_public_key(line)


def _host_key_kinds(keys: list[asyncssh.SSHKey]) -> list[str]:
    # Known kinds first, so that a host with several keys shows the one we know. The others too, so that a host without it shows
    # a wrong key, which can be said, instead of just hanging up.
    known = {name.decode() for key in keys for name in key.sig_algorithms}
    return sorted(SIGNATURES, key=lambda kind: kind not in known)


def require_key(credential: Credential, target: Target, login: str) -> None:
    """Raise Fault(target_host_key) for a password: a host that came first may be anybody, and would have it. A signature is of no
    use to another host, because it is bound to this key exchange (RFC 4252 §7)."""
    if credential.kind != "ssh-key":
        message = f"The host key of {target.name} is not pinned, so no password is sent to it."
        hint = f"Pin its key in gateway.yaml, or let {login} log in with an SSH key."
        raise Fault("target_host_key", message, hint=hint)


def _secret(credential: Credential, target: Target, login: str) -> dict[str, object]:
    if credential.kind == "password":
        return {"password": credential.secret.decode(), "client_keys": None}
    try:
        return {"client_keys": [asyncssh.import_private_key(credential.secret)]}
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        raise Fault("credential_missing", f"The credential for {login} on {target.name} is not a usable SSH key.") from None


def fingerprint(key: asyncssh.SSHKey) -> str:
    """Return a key's kind and fingerprint, as OpenSSH prints them."""
    return f"{key.get_algorithm()} {key.get_fingerprint()}"


def _fault(target: Target, login: str, error: Exception, known: Known) -> Fault:
    detail = f"{target.address}: {error}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or (
        isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in str(error)
    ):
        which = f"the learned one, {fingerprint(known.keys[0])}" if known.learned and known.keys else "the pinned one"
        message = f"The host key of {target.name} is not {which}. Nothing was sent to it."
        hint = "Either the machine was reinstalled, or somebody is in between. Its administrators can tell."
        return Fault("target_host_key", message, hint=hint, detail=detail)
    if isinstance(error, asyncssh.PermissionDenied):
        return Fault("target_login", f"{target.name} refused the credential for {login}.", detail=detail)
    if isinstance(error, OSError):
        return unreachable(target, error)
    return Fault("target_closed", f"{target.name} ended the connection before it was ready.", detail=detail)
