"""The door for native clients: from a certificate that the plug-in has proved, or a ticket that it was given, to a session.

The plug-in checks the certificate (authority, times, possession of the key). Here it is only asked *whose* it is, and that must
be exactly the person whom the control plane's ticket names: a certificate for anybody else opens nothing.

A ticket given as a password is checked here altogether. It was signed for one person, one target, one agent, one session and one
minute; it is used up by the first connection that presents it, whichever way that came, here and again in the control plane.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NamedTuple

from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType, load_ssh_public_identity

from agent.runtime.control_client import ControlClient
from agent.runtime.identity import Identity
from agent.runtime.offers import Offers
from agent.runtime.serving import Serving
from agent.runtime.session import LiveSession
from agent.telemetry import logger
from chalicelib.contracts.api import DirectOpen
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault

#: Seconds for which a client whose certificate was proved waits for the offer that it names.
OFFER_S: Final = 5.0
#: What every wrong ticket is told. Who holds one may see which it was in the agent's log.
_FLAT: Final = "The user name, the database or the ticket is not good here, or the ticket was used before."
_AGAIN: Final = "A ticket opens one connection, within a minute. Get a new one with: sallyport ticket <target>"

#: Longest ticket, in characters; one that names a hundred groups is under half of it.
TICKET_LIMIT: Final = 16 * 1024

#: Faults of a claim that tell about the ticket and not about the agent: whoever guesses learns nothing from them.
_SPENT: Final = frozenset({"ticket_used", "unknown_session", "session_expired", "not_supported"})

#: Makes a session of verified claims, for a client that came by this way and speaks this protocol.
Admit = Callable[[TicketClaims, Literal["relay", "direct"], str], Awaitable[LiveSession]]


class Caller(NamedTuple):
    """What is known about a connection before anything was proved."""

    source_ip: str
    protocol: str
    """The protocol of the plug-in that serves it: no other target may be behind the door."""
    sid: str
    """The session that it said it comes for, or empty."""


class ConnectionDoor:
    """The door of one connection. Implements ``serving.Door``; opens once."""

    def __init__(
        self,
        control: ControlClient,
        identity: Identity,
        offers: Offers,
        admit: Admit,
        caller: Caller,
        on_entered: Callable[[LiveSession], None],
    ) -> None:
        self._control = control
        self._identity = identity
        self._offers = offers
        self._admit = admit
        self._caller = caller
        self._on_entered = on_entered
        self._tried = False
        self.session: LiveSession | None = None
        """The session behind this door, once there is one."""

    async def offered(self, sid: str, certificate: str) -> Serving:
        """Take the session ``sid``; see ``serving.Door``."""
        claims = await self._offers.arrived(sid, OFFER_S)
        # Somebody else's offer is not told apart from none: its existence is nobody else's business.
        if claims is None or principal_of(certificate) != claims.sub:
            raise Fault("unknown_session", "There is no such offer for you here.", hint="Connect again.")
        return await self._enter(claims)

    async def open(self, certificate: str, target: str, login: str, source_ip: str) -> Serving:
        """Ask for a session; see ``serving.Door``. The address is the one that this connection came from."""
        principal = principal_of(certificate)
        request = DirectOpen(certificate=certificate, target=target, login=login, source_ip=self._caller.source_ip)
        opened = await self._control.open_direct(request)
        claims = self._identity.ticket(opened.ticket)
        if claims.sub != principal or claims.target != target:
            raise Fault("ticket_mismatch", "The ticket is not for what was asked.")
        return await self._enter(claims)

    async def ticketed(self, ticket: str, user: str, target: str) -> Serving:
        """Take the session of a ticket; see ``serving.Door``. Why it was refused stands in the agent's log alone."""
        try:
            claims = await self._presented(ticket, user, target)
        except Fault as fault:
            raise self._flat(fault) from None
        try:
            return await self._enter(claims)
        except Fault as fault:
            raise self._flat(fault) if fault.code in _SPENT else fault from None

    def _flat(self, fault: Fault) -> Fault:
        told = logger(source_ip=self._caller.source_ip, protocol=self._caller.protocol)
        told.info("door.ticket_refused", code=fault.code, reason=fault.message)
        return Fault("ticket_invalid", _FLAT, hint=_AGAIN)

    async def _presented(self, ticket: str, user: str, target: str) -> TicketClaims:
        if len(ticket) > TICKET_LIMIT:
            raise Fault("ticket_invalid", "The ticket is too long.")
        claims = self._identity.ticket(ticket)
        if self._caller.sid not in ("", claims.sid):
            raise Fault("ticket_mismatch", "The ticket is for another session than the connection named.")
        named = bool(self._caller.sid) and user == "" and target == ""
        if not named and (claims.sub != user or claims.target != target):
            raise Fault("ticket_mismatch", "The ticket is for another person or target.")
        # Asked of the offers and not of the ticket alone: a session that was killed or taken meanwhile has none.
        if await self._offers.arrived(claims.sid, OFFER_S) is None:
            raise Fault("unknown_session", "The session is not offered.")
        return claims

    async def _enter(self, claims: TicketClaims) -> Serving:
        if self._tried:
            raise Fault("conflict", "One connection is one session.")
        self._tried = True
        self.session = await self._admit(claims, "direct", self._caller.protocol)
        self._on_entered(self.session)
        return self.session


def principal_of(certificate: str) -> str:
    """Return whom a person's certificate is for. Raises Fault(certificate_invalid).

    The control plane writes one name, as key id and as the only principal. A certificate with none would be good for every name.
    """
    invalid = Fault("certificate_invalid", "The certificate is not one that this gateway issues.", hint="Run: sallyport login")
    try:
        found = load_ssh_public_identity(certificate.encode())
    except (ValueError, TypeError):
        raise invalid from None
    if not isinstance(found, SSHCertificate) or found.type is not SSHCertificateType.USER:
        raise invalid
    if found.valid_principals != [found.key_id] or not found.key_id:
        raise invalid
    try:
        return found.key_id.decode()
    except UnicodeDecodeError:
        raise invalid from None
