"""Asking the agent for the root under which it meets native clients; and who else may answer."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.protocols.postgres.tls import ClientTls
from agent.runtime import agent_tls
from agent.runtime.operator_tls import OperatorCertificate
from chalicelib.contracts.faults import Fault
from cli import agent_trust
from cli.agent_root import fetch_root
from cli.home import Home, SavedTrust
from cli.moments import now_ms
from tests.fakes.postgres_agent import ALIAS, FakePostgresAgent, Host

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
CA = ec.generate_private_key(ec.SECP256R1())


class Trusting(Home):
    """A home whose login trusts ``CA``."""

    def trust(self) -> SavedTrust | None:
        line = CA.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return SavedTrust(url="", issuer="", ssh_ca=line, token_key={}, websocket_url="")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Trusting(tmp_path)


async def fetched(home: Home, agent: FakePostgresAgent) -> bytes | None:
    return await asyncio.to_thread(fetch_root, home, f"127.0.0.1:{agent.port}", SID, ALIAS)


def test_both_sides_mean_the_same_extension() -> None:
    assert agent_trust.NATIVE_ROOT == agent_tls.NATIVE_ROOT


async def test_the_root_of_the_agent_that_the_ca_vouches_for(home: Home) -> None:
    host = Host(CA, now_ms() // 1000)
    async with FakePostgresAgent(host) as agent:
        found = await fetched(home, agent)
        assert agent.sids == [SID]
        assert agent.startups == []
    assert found is not None
    # A client with this file accepts what native clients of this agent meet.
    listening = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=ClientTls(host).native())
    context = ssl.create_default_context(cadata=found.decode())
    context.check_hostname = False
    async with listening:
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname(), ssl=context)
        writer.close()


async def test_somebody_else(home: Home) -> None:
    async with FakePostgresAgent(Host(ec.generate_private_key(ec.SECP256R1()), now_ms() // 1000)) as agent:
        with pytest.raises(Fault, match="signed by somebody else"):
            await fetched(home, agent)


async def test_somebody_who_speaks_no_tls(home: Home) -> None:
    async with FakePostgresAgent(Host(CA, now_ms() // 1000)) as agent:
        agent.answer_tls = b"N"
        with pytest.raises(Fault, match="does not speak TLS"):
            await fetched(home, agent)


async def test_nobody(home: Home) -> None:
    async with FakePostgresAgent(Host(CA, now_ms() // 1000)) as agent:
        pass
    assert await fetched(home, agent) is None


async def test_an_agent_with_a_certificate_of_its_operators(home: Home, tmp_path: Path) -> None:
    host = Host(CA, now_ms() // 1000)
    host.operator = OperatorCertificate(tmp_path / "crt", tmp_path / "key")  # type: ignore[assignment]
    async with FakePostgresAgent(host) as agent:
        assert await fetched(home, agent) == b""


def test_a_root_that_is_none() -> None:
    host = Host(CA, now_ms() // 1000)
    key = agent_tls.ed25519(host.private_key)
    shown = agent_tls.self_signed(key, host.certificate, b"no certificate").public_bytes(Encoding.DER)
    with pytest.raises(Fault, match="cannot be read"):
        agent_trust.native_root(shown)


def test_the_root_is_kept_where_others_may_read_it(home: Home) -> None:
    file = home.keep_root("prod-db", b"first")
    assert home.keep_root("prod-db", b"second") == file
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"second", 0o644)
