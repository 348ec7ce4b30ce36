"""Sign an SSH certificate with the gateway's authority."""

from __future__ import annotations

from chalicelib.domain import ssh_certificate
from chalicelib.domain.ssh_certificate import Certificate
from chalicelib.domain.ssh_wire import ECDSA, blob_of_line
from chalicelib.ports import Ports

_NONCE_BYTES = 32


def certify(ports: Ports, certificate: Certificate) -> str:
    """Return ``certificate`` as one signed line."""
    authority = blob_of_line(ports.signer.ssh_ca(), ECDSA)
    body = ssh_certificate.to_be_signed(certificate, ports.clock.entropy(_NONCE_BYTES), authority)
    return ssh_certificate.line(body, ports.signer.sign_ssh(body))
