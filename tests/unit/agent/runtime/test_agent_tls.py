"""TLS with the agent's own key: the certificate carries the gateway's word for it, and follows its renewal."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agent.runtime.agent_tls import HOST_CERTIFICATE, AgentTls
from agent.runtime.operator_tls import OperatorCertificate
from chalicelib.contracts.faults import Fault


class Host:
    """A ``HostIdentity`` whose certificate a test renews."""

    ssh_ca = ""
    operator: OperatorCertificate | None = None

    def __init__(self, key: bytes = b"") -> None:
        made = Ed25519PrivateKey.generate()
        self.private_key = key or made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        self.certificate = "ssh-ed25519-cert-v01@openssh.com AAAA first"

    def now_ms(self) -> int:
        return 0


async def shown(context: ssl.SSLContext) -> x509.Certificate:
    """Return the certificate that a client of ``context`` sees."""
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    async with server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=client)
        found = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
    return found


def vouched(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_oid(HOST_CERTIFICATE).value.public_bytes()


async def test_a_renewed_certificate_is_shown_to_whoever_comes_next() -> None:
    host = Host()
    tls = AgentTls(host)
    first = tls.context()
    assert tls.context() is first
    assert vouched(await shown(first)) == host.certificate.encode()
    host.certificate = "ssh-ed25519-cert-v01@openssh.com AAAA second"
    second = tls.context()
    assert second is not first
    assert vouched(await shown(second)) == host.certificate.encode()


async def test_without_a_certificate_nobody_vouches() -> None:
    host = Host()
    host.certificate = ""
    with pytest.raises(x509.ExtensionNotFound):
        vouched(await shown(AgentTls(host).context()))


def test_a_context_is_made_fit_for_its_protocol() -> None:
    adapted: list[ssl.SSLContext] = []
    context = AgentTls(Host(), adapted.append).context()
    assert adapted == [context]


def test_another_kind_of_key_is_the_gateways_fault() -> None:
    key = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with pytest.raises(Fault) as caught:
        AgentTls(Host(key)).context()
    assert caught.value.code == "internal"
