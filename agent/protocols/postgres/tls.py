"""TLS towards the client. Through the relay, and for the command line on the direct way, with the agent's key (``agent_tls``).

Clients that come by themselves are shown the operator's own certificate, where there is one, and can check it as they check any
server's (``sslmode=verify-full``); without one they are shown the agent's (``native_tls``), whose root ``sallyport ticket`` gives
them (``sslmode=verify-ca``).
"""

from __future__ import annotations

import ssl
from typing import Final

from agent.runtime.agent_tls import AgentTls
from agent.runtime.native_tls import NativeTls
from agent.runtime.operator_tls import Reloading
from agent.runtime.serving import HostIdentity

#: The protocol's name in TLS (PostgreSQL documentation, §55.2.11).
ALPN: Final = "postgresql"


class ClientTls(AgentTls):
    """Makes the contexts of the client's leg."""

    def __init__(self, identity: HostIdentity) -> None:
        self._native: NativeTls | Reloading
        if identity.operator is None:
            self._native = own = NativeTls(identity, _adapt)
            super().__init__(identity, _adapt, lambda: own.root)
        else:
            self._native = Reloading(identity.operator, _adapt)
            super().__init__(identity, _adapt)

    def native(self) -> ssl.SSLContext:
        """Return the context for a client that comes by itself now."""
        return self._native.context()


def _adapt(context: ssl.SSLContext) -> None:
    context.set_alpn_protocols([ALPN])
