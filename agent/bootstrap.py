"""The only place where the agent's parts are chosen: which protocols it speaks, and what is wired to what."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from agent.config import Settings
from agent.runtime import identity as identities
from agent.runtime.announcer import Announcer
from agent.runtime.backoff import Backoff
from agent.runtime.clock import ServerClock
from agent.runtime.configuration import Configuration
from agent.runtime.control_client import ControlClient
from agent.runtime.control_socket import ControlSocket
from agent.runtime.credentials import CredentialFolder
from agent.runtime.host_keys import HostKeys
from agent.runtime.identity import Identity
from agent.runtime.journal import Journal
from agent.runtime.listener import Listener
from agent.runtime.operator_tls import OperatorCertificate
from agent.runtime.room import MEGABYTE, Limits, Room
from agent.runtime.serving import HostIdentity, Plugin
from agent.runtime.session import Surroundings
from agent.runtime.session_tunnel import session_tunnels, watch_tunnels
from agent.runtime.spool import SPOOL, Disk
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.supervisor import Supervisor
from agent.runtime.witness import Witness
from agent.telemetry import logger
from chalicelib.contracts.api import AgentEnrol
from chalicelib.contracts.faults import Fault

#: The protocol of native clients that say nothing and wait for their server (RFC 4253 §4.2 allows that).
SILENT: Final = "ssh"
#: Seconds for which clients wait for an agent that has just started. Before the control plane's first answer it has no host
#: certificate to show them, and no targets. Without an answer they are taken all the same, to be told so.
FIRST_ANSWER_S: Final = 10.0
_LOCK: Final = "agent.lock"


def _ssh(host: HostIdentity) -> Plugin:
    from agent.protocols.ssh.plugin import SshPlugin

    return SshPlugin(host)


def _postgres(host: HostIdentity) -> Plugin:
    from agent.protocols.postgres.plugin import PostgresPlugin

    return PostgresPlugin(host)


#: Every protocol that this agent speaks, by name. A new protocol is a folder in agent/protocols/ and a line here.
PROTOCOLS: Final[dict[str, Callable[[HostIdentity], Plugin]]] = {"ssh": _ssh, "postgres": _postgres}


def speak_all(host: HostIdentity) -> list[Plugin]:
    """Return a plug-in for every protocol."""
    return [make(host) for make in PROTOCOLS.values()]


async def enrol(url: str, token: str, state: Path) -> str:
    """Exchange a one-time token for an identity in ``state``; return the agent's name. Raises Fault."""
    if not identities.running_as_owner(state):
        raise Fault("config_invalid", f"{state} belongs to another user.", hint="Run this as the user that runs the agent.")
    keys = await asyncio.to_thread(identities.make_keys, state)
    with locked(state):
        if (state / "identity.json").exists():
            enrolled, _ = identities.load(state)
            raise Fault("conflict", f"This agent is enrolled already, as {enrolled.name}.", hint="Use another --state.")
        async with ControlClient(url, ServerClock()) as control:
            request = AgentEnrol(token=token, public_key=keys.public_text, ssh_host_key=keys.host_public)
            reply = await control.enrol(request)
        identities.save(state, url, reply)
    return reply.name


async def run(
    settings: Settings,
    stop: asyncio.Event,
    *,
    speak: Callable[[HostIdentity], Sequence[Plugin]] = speak_all,
    backoff: Callable[[], Backoff] = Backoff,
    on_ready: Callable[[tuple[str, int] | None], None] = lambda address: None,
) -> None:
    """Run the agent until ``stop`` is set and everything is drained. Raises Fault where it cannot start.

    ``on_ready`` is called with the listener's address, or None without a listener, before the first announcement.
    """
    enrolled, keys = identities.load(settings.state)
    with locked(settings.state):
        clock, disk = ServerClock(), Disk()
        operator = OperatorCertificate(*settings.tls) if settings.tls is not None else None
        if operator is not None:
            operator.context()  # files that do not fit are refused now, and not in the middle of somebody's login
        identity = Identity(enrolled, keys, clock.now_ms, operator)
        credentials = CredentialFolder(settings.credentials)
        credentials.names()  # an unsafe directory is refused now, and not in the middle of somebody's login
        try:
            async with ControlClient(settings.url or enrolled.url, clock, identity.proof) as control:
                journal = Journal(settings.state / SPOOL, SpoolKeys(keys.spool_secret), disk)
                around = Surroundings(
                    control,
                    clock,
                    disk,
                    Configuration(),
                    credentials,
                    journal,
                    HostKeys(settings.state),
                    backoff=backoff,
                    verify=identity.approval,
                )
                try:
                    await _run(settings, stop, around, identity, speak(identity), on_ready)
                finally:
                    await journal.close()
        finally:
            disk.close()


def limits(settings: Settings) -> Limits:
    """Return what the settings say about room on disk."""
    return Limits(floor=settings.min_free_mb * MEGABYTE, quota=settings.spool_quota_mb * MEGABYTE)


async def _run(
    settings: Settings,
    stop: asyncio.Event,
    around: Surroundings,
    identity: Identity,
    plugins: Sequence[Plugin],
    on_ready: Callable[[tuple[str, int] | None], None],
) -> None:
    witness = Witness(around.control, identity, around.clock, around.disk, settings.state, merge_delay_s=settings.merge_delay_s)
    announcer = Announcer(
        around.control,
        identity,
        around.configuration,
        around.credentials,
        around.clock,
        around.disk,
        protocols=[plugin.announcement for plugin in plugins],
        direct=settings.direct,
        witness_key=str(witness.key),
        backoff=around.backoff,
    )
    room = Room(settings.state, around.disk, limits(settings))
    supervisor = Supervisor(
        around,
        identity,
        announcer,
        plugins,
        session_tunnels(identity),
        state=settings.state,
        room=room,
        silent=SILENT,
        max_sessions=settings.max_sessions,
        witness=witness,
        open_watch=watch_tunnels(identity),
    )
    socket = ControlSocket(lambda: identity.trust.websocket_url, identity.proof, supervisor, backoff=around.backoff())
    supervisor.on_refusing = socket.beat_soon
    listener, address = Listener(supervisor.receive, supervisor.spawn), None
    if settings.listen is not None:
        try:
            address = listener.bind(*settings.listen)
        except OSError as error:
            raise Fault("config_invalid", f"listen: {error.strerror or error}: {settings.listen}.") from None
    logger(agent_id=identity.agent_id).info("agent.started", name=identity.name, listener=address, witness_key=str(witness.key))
    on_ready(address)
    background = [announcer.run(), _answered(announcer, socket.run), room.watch(), witness.run()]
    if address is not None:
        background.append(_answered(announcer, listener.run))
    with closing(listener):
        await supervisor.run(background, stop)
    if supervisor.failure is not None:
        raise supervisor.failure
    logger(agent_id=identity.agent_id).info("agent.stopped")


async def _answered(announcer: Announcer, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run what brings clients, once the control plane has told this agent who it is and what it serves."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_ANSWER_S):
            await announcer.answered.wait()
    await run()


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Hold the state directory, or raise Fault(conflict): a second agent would take the first one's sessions for leftovers."""
    descriptor = os.open(state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Fault("conflict", f"Another agent is running on {state}.") from None
        yield
    finally:
        os.close(descriptor)


def is_running(state: Path) -> bool:
    """Tell whether an agent runs on ``state``."""
    try:
        with locked(state):
            return False
    except Fault:
        return True
