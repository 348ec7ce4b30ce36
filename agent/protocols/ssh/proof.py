"""How a native client proves who it is: by the signature of a certificate's key, and by nothing before that.

asyncssh asks twice: whether a key would do (an *offer*, without a signature), and whether the signature under this exchange is
right. Only the second is a proof. What asyncssh does not bound is bounded here: how often a client may try.
"""

from __future__ import annotations

from typing import Final

import asyncssh

from agent.protocols.ssh import login
from agent.protocols.ssh.algorithms import SIGNATURES
from agent.protocols.ssh.denial import say
from agent.runtime.serving import HostIdentity
from chalicelib.contracts.faults import Fault

#: Keys that a client may offer or sign with on one connection. An agent full of keys offers them all; sshd takes six.
TRIES: Final = 24
#: Reasons that are said to one client.
REASONS: Final = 5


class Proof:
    """What the client of ``conn`` has proved. To be made before it may say anything."""

    def __init__(self, conn: asyncssh.SSHServerConnection, identity: HostIdentity, source_ip: str) -> None:
        self.person: login.Person | None = None
        """Whoever signed; None until somebody has."""
        self.username = ""
        """The user name that the signature covers, which says where they want to go (RFC 4252 §7)."""
        self._conn: Final = conn
        self._identity: Final = identity
        self._source_ip: Final = source_ip
        self._verify: Final = conn.validate_public_key
        self._tries = 0
        self._explained: set[str] = set()
        conn.validate_public_key = self._validate  # type: ignore[method-assign]

    async def _validate(self, username: str, key_data: bytes, msg: bytes, signature: bytes) -> bool:
        self._tries += 1
        if self._tries > TRIES:
            raise asyncssh.DisconnectError(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "sallyport: too many keys were tried")
        person = self._check(key_data)
        if person is None or (msg and not modern(signature)) or not await self._verify(username, key_data, msg, signature):
            return False
        if msg:
            # Without a message this is an offer, and an offer proves nothing.
            self.person, self.username = person, username
        return True

    def _check(self, blob: bytes) -> login.Person | None:
        try:
            return login.check(blob, self._identity.ssh_ca, self._identity.now_ms(), self._source_ip)
        except Fault as fault:
            if fault.message not in self._explained and len(self._explained) < REASONS:
                self._explained.add(fault.message)
                self._conn.send_auth_banner(say(fault.notice, "").decode())
            return None


def modern(signature: bytes) -> bool:
    """Tell whether ``signature`` names an algorithm that is believed. asyncssh verifies SHA-1 too, where a client chose it."""
    size = int.from_bytes(signature[:4], "big")
    return signature[4 : 4 + size].decode("ascii", "replace") in SIGNATURES
