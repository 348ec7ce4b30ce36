"""TLS for stock clients: what they verify, what old ones can speak, and that it stays the same from one start to the next."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from agent.runtime.agent_tls import NATIVE_ROOT, AgentTls
from agent.runtime.native_tls import NativeTls
from tests.unit.agent.runtime.test_agent_tls import Host, shown


def native(host: Host) -> NativeTls:
    return NativeTls(host, lambda _: None)


def pem(root: bytes) -> str:
    return x509.load_der_x509_certificate(root).public_bytes(Encoding.PEM).decode()


def client(root: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=pem(root))
    context.check_hostname = False
    return context


async def met(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Return the version of TLS that both agree on. Raises SSLError where they do not."""
    listening = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=server)
    async with listening:
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname(), ssl=client)
        version = str(writer.get_extra_info("ssl_object").version())
        writer.close()
    return version


async def test_a_client_with_the_root_knows_the_agent() -> None:
    tls = native(Host())
    assert await met(tls.context(), client(tls.root)) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        await met(tls.context(), client(native(Host()).root))


async def test_it_is_on_a_curve_that_everybody_speaks_and_with_tls_1_2_too() -> None:
    tls = native(Host())
    old = client(tls.root)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert await met(tls.context(), old) == "TLSv1.2"
    key = x509.load_der_x509_certificate(tls.root).public_key()
    assert isinstance(key, EllipticCurvePublicKey)
    assert isinstance(key.curve, SECP256R1)


async def test_a_root_that_was_kept_is_good_after_a_restart() -> None:
    host = Host()
    kept = native(host).root
    again = native(Host(host.private_key))
    assert again.root != kept, "it was signed anew"
    assert await met(again.context(), client(kept)) == "TLSv1.3"


async def test_the_agents_own_certificate_carries_the_root() -> None:
    host = Host()
    tls = native(host)
    own = await shown(AgentTls(host, root=lambda: tls.root).context())
    assert own.extensions.get_extension_for_oid(NATIVE_ROOT).value.public_bytes() == tls.root
    bare = await shown(AgentTls(host).context())
    assert NATIVE_ROOT not in [each.oid for each in bare.extensions]


def test_nothing_of_it_is_left_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    native(Host()).context()
    assert list(tmp_path.iterdir()) == []
