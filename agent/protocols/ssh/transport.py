"""One SSH connection of a client, and what asyncssh asks about it.

The session (``Serving``) and the leg towards the target are futures that start as early as they may: on the relayed path while
the client still exchanges keys, on the direct path when a certificate's key was proved. Channels wait for them and put their
failures into words. Nobody is ever asked for anything but a certificate.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from functools import lru_cache
from typing import Any, Final

import asyncssh
import structlog

from agent.core.units import Refused
from agent.protocols.ssh import engine, first_use, login, masked
from agent.protocols.ssh import target as target_leg
from agent.protocols.ssh.algorithms import (
    CLIENT_CIPHERS,
    CLIENT_KEEPALIVE,
    CLIENT_KEX,
    MACS,
    PACKET,
    REKEY_BYTES,
    REKEY_SECONDS,
    SIGNATURES,
    window,
)
from agent.protocols.ssh.channel import ClientSide
from agent.protocols.ssh.denial import plain, say
from agent.protocols.ssh.forwards import Forwards, bound
from agent.protocols.ssh.leg import BROKEN, Ear, Guard, swamped
from agent.protocols.ssh.outside import Outside
from agent.protocols.ssh.packets import quicken
from agent.protocols.ssh.program import Program
from agent.protocols.ssh.proof import Proof
from agent.protocols.ssh.requests import ServerChannel
from agent.protocols.ssh.slim import slim
from agent.runtime.relay import OK
from agent.runtime.serving import HANDSHAKE_S, HostIdentity, Serving
from chalicelib.contracts.faults import CODES, Fault, Notice

_log: Final = structlog.get_logger()

#: Seconds that a client may take to read why its session ended.
LAST_WORDS_S: Final = 1.0
#: Channels of one connection: at once, and ever (a recording numbers them with four digits).
OPEN_CHANNELS: Final = 100
ALL_CHANNELS: Final = 9_999
#: Refusals of forwarding that may wait for the disk at once.
OPEN_REFUSALS: Final = 64
#: Reasons to read nothing of a client.
_SWAMPED: Final = "the target does not take its requests"
_RECORDING: Final = "the recording is behind with its requests"
#: Scripts that are read at once on one connection: each may take a megabyte before it is decided.
SCRIPTS: Final = 8
TOO_MANY: Final = "sallyport: too many channels in this session"

Opening = Callable[[login.Person | None, str], Awaitable[Serving]]


@lru_cache(maxsize=1)
def _host_key(private_key: bytes) -> asyncssh.SSHKey:
    """Return the listener's key, which is read once for all connections. Raises ValueError."""
    return asyncssh.import_private_key(private_key)


#: What the agent calls itself. A client of OpenSSH tells nobody else that its reader has left (``ssh host yes | head``).
_VERSION: Final = "OpenSSH_compatible_Sallyport"


class Connection(asyncssh.SSHServer):
    """The client's leg: who is there, its channels, and the session that they belong to."""

    def __init__(self, opening: Opening, identity: HostIdentity, *, certificates: bool, source_ip: str = "") -> None:
        """``opening`` gives the session; with ``certificates`` it is asked only when a person has proved who they are."""
        self._opening = opening
        self._identity = identity
        self._certificates = certificates
        self._source_ip = source_ip
        self.programs: Final[set[Program]] = set()
        self._proof: Proof | None = None
        self._opened: Serving | None = None
        self._serving: asyncio.Future[Serving] | None = None
        self._target: asyncio.Future[asyncssh.SSHClientConnection] | None = None
        self._conn: asyncssh.SSHServerConnection | None = None
        self._ear: Ear
        self._recording = False
        """The recording is behind with what the client asked for."""
        self._wanting = 0
        """How many wait for the leg towards the target."""
        self._last_channel = 0
        self._forwards: Final = Forwards(self)
        self._outside: Outside | None = None
        self.feeding: Final = asyncio.Semaphore(SCRIPTS)
        """Whoever reads a script holds a place; the others' scripts wait in their windows."""
        self._refusals = 0
        self._notes: list[bytes] = []
        self._tasks: set[asyncio.Future[Any]] = set()
        self._notice = OK
        self.ending = False

    # -- life ----------------------------------------------------------------------------------------------------------------

    async def run(self, sock: socket.socket) -> Notice:
        """Serve the client behind ``sock`` until either side ends. Returns why it ended."""
        try:
            if not self._certificates:
                self._begin()
            conn = await self._handshake(sock)
            await conn.wait_closed()
        except TimeoutError:
            self._notice = Notice("handshake_timeout", f"The client did not finish its handshake within {HANDSHAKE_S:.0f} s.")
        except asyncssh.ConnectionLost:
            pass
        except BROKEN as error:
            self._notice = Notice("protocol_error", f"The client's handshake failed: {plain(str(error))[:200]}")
        except ValueError as error:
            # asyncssh.KeyImportError, or a certificate that is another key's: ours.
            _log.error("ssh.identity.unusable", error=str(error))
            self._notice = Notice("internal", "The agent's own host key or certificate cannot be used.")
        finally:
            if self._conn is not None:
                self._conn.abort()
            sock.close()
            await self._stop()
        return self._notice

    async def _handshake(self, sock: socket.socket) -> asyncssh.SSHServerConnection:
        sock.setblocking(False)
        key = _host_key(self._identity.private_key)
        certificate = self._identity.certificate
        async with asyncio.timeout(HANDSHAKE_S):
            return await asyncssh.run_server(
                sock,
                config=None,
                server_factory=lambda: self,
                server_version=_VERSION,
                server_host_keys=[(key, asyncssh.import_certificate(certificate))] if certificate else [key],
                authorized_client_keys=self._authorities(),
                public_key_auth=self._certificates,
                password_auth=False,
                kbdint_auth=False,
                host_based_auth=False,
                gss_host=None,
                kex_algs=CLIENT_KEX,
                encryption_algs=CLIENT_CIPHERS,
                mac_algs=MACS,
                signature_algs=SIGNATURES,
                compression_algs=["none"],
                rekey_bytes=REKEY_BYTES,
                rekey_seconds=REKEY_SECONDS,
                login_timeout=HANDSHAKE_S,
                keepalive_interval=CLIENT_KEEPALIVE[0],
                keepalive_count_max=CLIENT_KEEPALIVE[1],
                x11_forwarding=False,
                agent_forwarding=False,
                line_editor=False,
                encoding=None,
            )

    def _authorities(self) -> asyncssh.SSHAuthorizedKeys | None:
        # "principals" keeps asyncssh from comparing the certificate's principals with the user name, which names a target here.
        return (
            asyncssh.import_authorized_keys(f'cert-authority,principals="*" {self._identity.ssh_ca}')
            if self._certificates
            else None
        )

    async def _stop(self) -> None:
        self._forwards.finish()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._target is not None and self._target.done() and not self._target.cancelled() and not self._target.exception():
            self._target.result().close()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Future[Any]:
        """Run ``coroutine`` until it is done or the connection ends."""
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._reap)
        return task

    def _reap(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Fault):
            _log.error("ssh.task.failed", sid=self.sid, exc_info=error)

    def end(self, notice: Notice) -> None:
        """End the session: tell every open channel why, give the client a moment to read it, disconnect. No new ones open."""
        self.ending = True
        if self._notice is OK or self._notice.code != notice.code:
            self._notice = notice
        for program in [*self.programs]:
            program.end(notice)
        self._forwards.end()
        self.spawn(self._farewell(notice))

    async def _farewell(self, notice: Notice) -> None:
        conn = self._conn
        if conn is None:
            return
        try:
            async with asyncio.timeout(LAST_WORDS_S):
                await conn.wait_closed()
        except TimeoutError:
            conn.disconnect(asyncssh.DISC_BY_APPLICATION, say(notice, self.sid).decode().rstrip())

    # -- the session and the target ------------------------------------------------------------------------------------------

    @property
    def sid(self) -> str:
        """The session's identifier, or an empty string before there is one."""
        return self._opened.claims.sid if self._opened else ""

    @property
    def opened(self) -> Serving:
        """The session. Only to be used where :meth:`serving` was awaited before."""
        assert self._opened is not None
        return self._opened

    async def serving(self) -> Serving:
        """Return the session, when it is open. Raises Fault."""
        assert self._serving is not None, "a channel cannot exist before somebody logged in"
        return await asyncio.shield(self._serving)

    async def target(self) -> asyncssh.SSHClientConnection:
        """Return the leg towards the target, dialling again if it was lost. Raises Fault."""
        done = self._target is None or self._target.done()
        if done and (self._target is None or self._target.exception() or self._target.result().is_closed()):
            self._target = self.spawn(self._dial())
        assert self._target is not None
        self._wanting += 1
        try:
            return await asyncio.shield(self._target)
        finally:
            self._wanting -= 1
            if not self._wanting and self._outside is not None:
                self._outside.withdraw_trust()

    @property
    def asks_about_target(self) -> bool:
        """True while others are asked whether the target's first host key is to be trusted."""
        return self._outside is not None and self._outside.trusting

    async def outside(self) -> Outside:
        """Return who decides and records what is asked for beside programs. Raises Fault."""
        serving = await self.serving()
        self._outside = self._outside or Outside(serving, self._warned)
        return self._outside

    @property
    def client(self) -> asyncssh.SSHServerConnection:
        """The leg of the client."""
        assert self._conn is not None
        return self._conn

    @property
    def channels(self) -> int:
        """How many channels of the client are open, or being opened."""
        # asyncssh opens a channel in a task of its own: many that are asked for in one breath have no program yet.
        raw: Any = self.client
        return len(raw._channels) + self._forwards.coming

    @property
    def full(self) -> bool:
        """True where one more channel would be too many."""
        return self.channels >= OPEN_CHANNELS

    def next_channel(self) -> int:
        """Return the number of a new channel's recording, from 1."""
        self._last_channel += 1
        return self._last_channel

    def _begin(self) -> None:
        self._serving = self.spawn(self._open())
        self._target = self.spawn(self._dial())

    async def _open(self) -> Serving:
        try:
            # A client may ask as several users; only the one in whose name it signed counts.
            proof = self._proof
            serving = await (self._opening(proof.person, proof.username) if proof else self._opening(None, ""))
        except Fault as fault:
            self._notice = fault.notice
            raise
        self._opened = serving
        self.spawn(self._watch(serving))
        serving.warn(self._warned)
        return serving

    def _warned(self, words: str) -> None:
        """Say that time runs out on every channel that shows something, or on the next one that does."""
        if not [program for program in self.programs if program.warn(words)]:
            self.note(f"sallyport: {words}\n".encode())

    async def _watch(self, serving: Serving) -> None:
        self.end(await asyncio.shield(serving.ended))

    async def _dial(self) -> asyncssh.SSHClientConnection:
        serving = await self.serving()
        try:
            masked.detectors(serving)  # nothing is asked of a target whose words nobody could look through
            known = await first_use.known(serving, self.outside, self.note)
            return await target_leg.connect(serving, known, lambda full: self._press(target=True, full=full))
        except Fault as fault:
            _log.warning("ssh.target.failed", sid=self.sid, code=fault.code, detail=fault.detail)
            if CODES[fault.code].owner == "target":
                serving.report_target(fault.notice)
            self._notice = fault.notice
            raise

    def mind_requests(self, channel: asyncssh.SSHClientChannel[bytes]) -> None:
        """What has no window was passed on to ``channel``: read no more of the client while that or its record waits."""
        if swamped(channel.get_connection()):
            self._ear.close(_SWAMPED)
        recorder = self.opened.recorder
        if recorder.pressure() and not self._recording:
            self._recording = True
            self._ear.close(_RECORDING)
            self.spawn(self._recorded())

    async def _recorded(self) -> None:
        await self.opened.recorder.relieved()
        self._recording = False
        self._ear.open(_RECORDING)

    def _press(self, *, target: bool, full: bool) -> None:
        if target and not full and self._conn is not None:
            self._ear.open(_SWAMPED)
        for program in self.programs:
            program.press(target=target, full=full)
        self._forwards.press(target=target, full=full)

    # -- what asyncssh asks --------------------------------------------------------------------------------------------------

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Listen to the transport's flow control, which asyncssh itself ignores, and to who proves what."""
        self._conn = conn
        self._ear = ear = Ear(conn)
        quicken(conn, ear)
        Guard(conn, lambda full: self._press(target=False, full=full), ear)
        bound(conn)
        if self._certificates:
            # asyncssh would refuse forwarding by the certificate alone, unheard; here it is refused on record.
            permitted = conn.check_certificate_permission
            told: Any = conn
            told.check_certificate_permission = lambda what: what == "port-forwarding" or permitted(what)
            self._proof = Proof(conn, self._identity, self._source_ip)

    def begin_auth(self, username: str) -> bool:
        """A ticket was checked already on the relayed path; elsewhere a certificate is needed."""
        return self._certificates

    def auth_completed(self) -> None:
        """On the direct path there is a person now, and so there can be a session."""
        assert self._conn is not None
        slim(self._conn)
        if self._certificates:
            self._begin()

    def session_requested(self) -> tuple[asyncssh.SSHServerChannel[bytes], asyncssh.SSHServerSession[bytes]]:
        """A new channel for an exec, a shell or a subsystem."""
        if self._last_channel >= ALL_CHANNELS:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, TOO_MANY)
        self._check_room()
        return ServerChannel.open(self.client, window=window(self.channels), packet=PACKET), ClientSide(self)

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], Awaitable[asyncssh.SSHTCPSession[bytes]]]:
        """``ssh -L``, ``-D``, ``-W`` and ``-J``: to where policy permits."""
        self._check_room()
        channel = self.client.create_tcp_channel(window=window(self.channels), max_pktsize=PACKET)
        return channel, self._forwards.connect(dest_host, dest_port, f"{plain(orig_host)[:100]}:{orig_port}")

    def _check_room(self) -> None:
        """Raise ChannelOpenError where no channel may be opened any more."""
        if self.full:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, TOO_MANY)
        if self.ending:
            words = say(self._notice, self.sid).decode().rstrip()
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, words)

    def unix_connection_requested(self, dest_path: str) -> bool:
        """``ssh -L`` to a socket's path: refused."""
        return self._refuse_opening("direct-streamlocal", dest_path)

    def tun_requested(self, unit: int | None) -> bool:
        """``ssh -w``: refused."""
        return self._refuse_opening("tun", "")

    def tap_requested(self, unit: int | None) -> bool:
        """``ssh -w`` with Ethernet frames: refused."""
        return self._refuse_opening("tap", "")

    async def server_requested(self, listen_host: str, listen_port: int) -> asyncssh.SSHListener | bool:
        """``ssh -R``: where policy permits. SSH has no room for a reason here, so the next channel says a no."""
        return await self._forwards.listen(listen_host, listen_port)

    def unix_server_requested(self, listen_path: str) -> bool:
        """``ssh -R`` with a socket's path: refused."""
        self.refuse_quietly(engine.forwarding("streamlocal-forward", listen_path))
        return False

    # -- refusals outside of any channel -------------------------------------------------------------------------------------

    def _refuse_opening(self, kind: str, where: str) -> bool:
        refused = engine.forwarding(kind, where)
        self._record_refusal(refused)
        words = say(Notice(refused.code, refused.message), self.sid).decode().rstrip()
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, words)

    def refuse_quietly(self, refused: Refused) -> None:
        """Refuse where SSH itself gives no reason: the next channel to start, or one that runs, says it."""
        self._record_refusal(refused)
        self.note(say(Notice(refused.code, refused.message), self.sid))

    def note(self, words: bytes) -> None:
        """Have the next channel to start say ``words``, once."""
        if words not in self._notes and len(self._notes) < OPEN_REFUSALS:
            self._notes.append(words)

    def take_notes(self) -> list[bytes]:
        """Return what was refused without words so far, once."""
        notes, self._notes = self._notes, []
        return notes

    def _record_refusal(self, refused: Refused) -> None:
        if self._refusals >= OPEN_REFUSALS:
            raise asyncssh.ProtocolError("too many forwarding requests at once")
        self._refusals += 1
        self.spawn(self._record(refused))

    async def _record(self, refused: Refused) -> None:
        try:
            await (await self.outside()).decide(refused)
        except Fault as fault:
            if fault.code == "recording_failed":
                self.end(fault.notice)
        finally:
            self._refusals -= 1
