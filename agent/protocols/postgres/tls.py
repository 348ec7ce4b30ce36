"""TLS towards the client. Through the relay, and for the command line on the direct way, with the agent's key (``agent_tls``).

Clients that come by themselves are shown the operator's own certificate, where there is one, and can check it as they check any
server's (``sslmode=verify-full``); without one they get encryption (libpq's ``sslmode=require``).
"""

from __future__ import annotations

import ssl
from typing import Final

from agent.runtime.agent_tls import AgentTls
from agent.runtime.operator_tls import Reloading
from agent.runtime.serving import HostIdentity

#: The protocol's name in TLS (PostgreSQL documentation, §55.2.11).
ALPN: Final = "postgresql"


class ClientTls(AgentTls):
    """Makes the contexts of the client's leg."""

    def __init__(self, identity: HostIdentity) -> None:
        super().__init__(identity, _adapt)
        self._reloading = Reloading(identity.operator, _adapt) if identity.operator is not None else None

    def native(self) -> ssl.SSLContext:
        """Return the context for a client that comes by itself now."""
        return self._reloading.context() if self._reloading is not None else self.context()


def _adapt(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols([ALPN])
