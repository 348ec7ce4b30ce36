"""What the runtime and the protocol plug-ins promise each other.

The runtime owns sockets, tickets, the spool, the uploader and the control plane. A plug-in owns one protocol. A plug-in gets a
connected client socket together with a ``Serving``, which exists only after the ticket was verified, claimed, and found to name a
target of this agent. So a plug-in cannot serve an unknown person, and cannot forget to record: it has nowhere else to write.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from agent.core.policy import Yes
from agent.runtime.operator_tls import OperatorCertificate
from agent.runtime.sealing import Sealer
from chalicelib.contracts import gateway
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Policy, Verdict
from chalicelib.contracts.recording import Kind


class Credential(msgspec.Struct, frozen=True):
    """What the agent logs in to a target with. Never leaves the agent's process; its ``repr`` shows nothing."""

    kind: Literal["ssh-key", "password"]
    secret: bytes

    def __repr__(self) -> str:
        return f"Credential({self.kind})"


class HostIdentity(Protocol):
    """The agent's own SSH identity towards clients. Read it per connection: the certificate is renewed while the agent runs."""

    @property
    def private_key(self) -> bytes:
        """OpenSSH private key of the listener (Ed25519)."""
        ...

    @property
    def certificate(self) -> str:
        """Host certificate line, signed by the gateway's SSH CA."""
        ...

    @property
    def ssh_ca(self) -> str:
        """Public key line of the CA that signs people's certificates."""
        ...

    def now_ms(self) -> int:
        """Unix milliseconds, corrected to the control plane's clock: certificates are good in *its* time."""
        ...

    @property
    def operator(self) -> OperatorCertificate | None:
        """What stock TLS clients are shown that know nothing of the gateway; None: the agent's own key."""
        ...


class Recorder(Protocol):
    """The session's recording. Lines go to the spool; chunks are cut, chained and uploaded behind it."""

    async def write(self, channel: int, kind: Kind, lines: bytes, *, durable: bool = False) -> None:
        """Append whole lines (each ends in a newline) of ``channel``.

        With ``durable`` it returns only after fdatasync: use it for all that must be on disk before bytes reach the target.
        Raises Fault(recording_failed); the caller must then forward nothing and end the session.
        """
        ...

    def write_then(self, channel: int, kind: Kind, lines: bytes, done: Callable[[Fault | None], None]) -> None:
        """The same as a durable ``write``, without a task to wake: ``done`` is called on the loop, later, in the order of writes.

        It is given the fault where there is one. Raises Fault(recording_failed) where the lines are not even taken; then ``done``
        is not called.
        """
        ...

    def write_soon(self, channel: int, kind: Kind, lines: bytes) -> None:
        """Append output lines without waiting (group-committed). A later failure ends the session through ``Serving.ended``."""
        ...

    def pressure(self) -> bool:
        """True while more output is waiting for the spool than should be; the caller pauses its source."""
        ...

    async def relieved(self) -> None:
        """Return when ``pressure()`` is over."""
        ...

    async def give_way(self) -> None:
        """Wait, before a long turn of the loop, for those of any session who wait for the disk. Soon over, whatever that does."""
        ...


#: Hears at once who is asked and where; or None, where they cannot be asked yet and it is tried again.
Told = Callable[[RequestStanding | None], None]


class Approvals(Protocol):
    """How the operations of a session wait for other people."""

    async def agreed(self, operation: Operation, risks: list[str], told: Told) -> Yes:
        """Ask others and wait; cancelled, withdraw. Raises Fault for every no."""
        ...

    async def use(self, rid: str, digest: str) -> None:
        """Have a use counted before anything runs. Raises Fault; then nothing may."""
        ...


class Serving(Protocol):
    """One live session, as its protocol plug-in sees it."""

    claims: TicketClaims
    target: Target
    recorder: Recorder
    sealer: Sealer | None
    """Seals what the transcript leaves out; None where this session keeps no originals."""
    approvals: Approvals
    path: Literal["relay", "direct"]
    ended: asyncio.Future[Notice]
    """Resolves when the session must end now: killed, revoked, past its deadline, or no longer recordable."""

    @property
    def policy(self) -> Policy:
        """The policy in force now; it may be newer than the one that opened the session."""
        ...

    def now_ms(self) -> int:
        """Unix milliseconds, corrected to the control plane's clock."""
        ...

    async def credential(self, login: str) -> Credential:
        """Return the credential of an account on the target. Raises Fault(unknown_login | credential_missing)."""
        ...

    def count(self, *, operations: int = 0, denied: int = 0) -> None:
        """Add to the session's counters."""
        ...

    def report_denied(self, operation: Operation, verdict: Verdict, shown: str | None = None) -> None:
        """Have the control plane remember a refused operation (sent soon, retried; the first thousand, while it is away).

        ``shown`` is its text as it may be kept.
        """
        ...

    async def learned_host_key(self) -> str | None:
        """Return the public key line that the agent has learned of this target, or None where it has learned none.

        Raises Fault(target_host_key) where that cannot be known, or was learned at another address.
        """
        ...

    async def learn_host_key(self, line: str) -> bool:
        """Have the agent keep the target's first host key, on disk when this returns; True where it is new.

        The control plane is told of a new one. Raises Fault(target_host_key) where another one came first, or it cannot be kept.
        """
        ...

    def report_target(self, notice: Notice) -> None:
        """Have the control plane remember why the target could not be used."""
        ...

    def warn(self, tell: Callable[[str], None]) -> None:
        """Have ``tell`` called with words for the person (time runs out, somebody looks on); at once if they are due."""
        ...

    def watchers(self) -> list[str]:
        """Return who looks on now."""
        ...


class Door(Protocol):
    """How a native client that speaks the protocol itself gets a session.

    Either by a certificate from ``sallyport login``, or, where its protocol has a password and nothing better, by a ticket.
    """

    async def offered(self, sid: str, certificate: str) -> Serving:
        """Take the session ``sid`` that was offered to this agent, for the person in ``certificate``. Raises Fault."""
        ...

    async def open(self, certificate: str, target: str, login: str, source_ip: str) -> Serving:
        """Ask the control plane for a session in the name of the person in ``certificate``. Raises Fault."""
        ...

    async def ticketed(self, ticket: str, user: str, target: str) -> Serving:
        """Take the session whose ticket the client gave as its password, once, and only over a way that nobody reads.

        ``user`` and ``target`` are what the client says it is and wants; they must be exactly the ticket's principal and target.
        Both may be empty where the connection named its session, which has one of each; the ticket must be that session's.
        Whatever is wrong with them or the ticket is one and the same Fault(ticket_invalid).
        """
        ...


class More(NamedTuple):
    """What a client has sent so far does not tell what it speaks; ``least`` bytes may."""

    least: int


class Plugin(Protocol):
    """One protocol. Listed by name in ``agent/bootstrap.py`` and nowhere else."""

    announcement: gateway.Protocol

    async def serve(self, connection: socket.socket, serving: Serving) -> Notice:
        """Serve a client whose ticket was checked, until either side ends. Owns and closes ``connection``.

        Returns why it ended: code ``ok`` for a normal end, else a fault code. Raises nothing but CancelledError.
        """
        ...

    def recognise(self, first: bytes) -> bool | More:
        """Tell whether a native client that begins with ``first``, one byte at least, speaks this protocol.

        Asked about bytes that anybody may have sent. No two plug-ins may recognise the same bytes.
        """
        ...

    async def accept(self, connection: socket.socket, source_ip: str, sid: str, door: Door) -> None:
        """Serve a native client that has proved nothing yet. ``sid`` is a session it says it was offered, or empty.

        Owns and closes ``connection``; must finish its handshake within ``HANDSHAKE_S``.
        """
        ...


#: Seconds that any handshake may take, with a client or a target.
HANDSHAKE_S = 15.0


def plugin_named(plugins: Sequence[Plugin], name: str) -> Plugin | None:
    """Return the plug-in that speaks ``name``, or None."""
    return next((plugin for plugin in plugins if plugin.announcement.name == name), None)
