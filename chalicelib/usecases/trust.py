"""What clients and agents need to trust this gateway: public keys and addresses."""

from __future__ import annotations

from chalicelib.contracts.api import Trust
from chalicelib.ports import Ports


def trust(ports: Ports) -> Trust:
    """Return what ``GET /trust`` answers."""
    return Trust(
        issuer=ports.settings.issuer,
        ssh_ca=ports.signer.ssh_ca(),
        token_key=ports.signer.token_key(),
        websocket_url=ports.settings.websocket_url,
        log_key=str(ports.notary.key()),
    )
