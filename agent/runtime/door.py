"""The door for native clients: from a certificate that the plug-in has proved to a session.

The plug-in checks the certificate (authority, times, possession of the key). Here it is only asked *whose* it is, and that must
be exactly the person whom the control plane's ticket names: a certificate for anybody else opens nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from cryptography.hazmat.primitives.serialization import SSHCertificate, SSHCertificateType, load_ssh_public_identity

from agent.runtime.control_client import ControlClient
from agent.runtime.identity import Identity
from agent.runtime.offers import Offers
from agent.runtime.serving import Serving
from agent.runtime.session import LiveSession
from chalicelib.contracts.api import DirectOpen
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault

#: Seconds for which a client whose certificate was proved waits for the offer that it names.
OFFER_S: Final = 5.0

Admit = Callable[[TicketClaims, Literal["relay", "direct"]], Awaitable[LiveSession]]


class ConnectionDoor:
    """The door of one connection. Implements ``serving.Door``; opens once."""

    def __init__(
        self,
        control: ControlClient,
        identity: Identity,
        offers: Offers,
        admit: Admit,
        source_ip: str,
        on_entered: Callable[[LiveSession], None],
    ) -> None:
        self._control = control
        self._identity = identity
        self._offers = offers
        self._admit = admit
        self._source_ip = source_ip
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
        request = DirectOpen(certificate=certificate, target=target, login=login, source_ip=self._source_ip)
        opened = await self._control.open_direct(request)
        claims = self._identity.ticket(opened.ticket)
        if claims.sub != principal or claims.target != target:
            raise Fault("ticket_mismatch", "The ticket is not for what was asked.")
        return await self._enter(claims)

    async def _enter(self, claims: TicketClaims) -> Serving:
        if self._tried:
            raise Fault("conflict", "One connection is one session.")
        self._tried = True
        self.session = await self._admit(claims, "direct")
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
