from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import ssh
from hypothesis import given
from hypothesis import strategies as st

from agent.runtime import agent_tls
from chalicelib.contracts.faults import Fault
from cli import agent_trust
from cli.agent_trust import check_agent
from tests.fakes.postgres_agent import ALIAS, Host

NOW_S = 1_795_168_980
CA = ec.generate_private_key(ec.SECP256R1())
CA_LINE = CA.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
RIGHT = Host(CA, NOW_S)


def check(host: Host, *, alias: str = ALIAS, now_s: int = NOW_S, shown: bytes | None = None) -> None:
    check_agent(host.shown if shown is None else shown, CA_LINE, alias, now_s * 1000)


def refused(**changes: Any) -> str:
    with pytest.raises(Fault) as raised:
        check(Host(CA, NOW_S, **changes))
    assert raised.value.code == "agent_unverified"
    return raised.value.message


def test_the_agent_that_the_ca_vouches_for() -> None:
    check(RIGHT)


def test_both_sides_mean_the_same_extension() -> None:
    assert agent_trust.HOST_CERTIFICATE == agent_tls.HOST_CERTIFICATE


def test_the_certificate_of_another_key() -> None:
    assert "another key" in refused(of=Ed25519PrivateKey.generate())


def test_another_ca() -> None:
    assert "signed by somebody else" in refused(ca=ec.generate_private_key(ec.SECP256R1()))


def test_no_host_certificate() -> None:
    assert "no host certificate" in refused(ca=None)


def test_a_persons_certificate() -> None:
    assert "not a host's" in refused(type=ssh.SSHCertificateType.USER)


def test_another_targets_agent() -> None:
    assert f"no certificate for {ALIAS}" in refused(names=["other-db.sallyport"])


def test_a_name_that_the_login_does_not_trust_the_ca_for() -> None:
    with pytest.raises(Fault, match="no certificate for example"):
        check(Host(CA, NOW_S, names=["example.com"]), alias="example.com")


@pytest.mark.parametrize("now_s", [NOW_S - 61, NOW_S + 3600])
def test_a_time_that_is_not_now(now_s: int) -> None:
    with pytest.raises(Fault, match="time is not now"):
        check(RIGHT, now_s=now_s)


def test_conditions_that_nobody_knows() -> None:
    assert "not supported" in refused(conditions=[b"force-command"])


@pytest.mark.parametrize("shown", [b"", b"x" * 100_000])
def test_no_certificate(shown: bytes) -> None:
    with pytest.raises(Fault, match="shows no certificate"):
        check(RIGHT, shown=shown)


def test_a_plain_key_in_place_of_the_certificate() -> None:
    host = Host(CA, NOW_S)
    host.certificate = CA_LINE
    with pytest.raises(Fault, match="cannot be read"):
        check(host)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_bit_is_never_believed(place: int, change: int) -> None:
    """What is signed is the SSH certificate, so a change outside of it (names and times of the X.509 shell) may do nothing."""
    line = bytearray(RIGHT.certificate.encode())
    line[place % len(line)] ^= change
    host = Host(CA, NOW_S)
    host.private_key, host.certificate = RIGHT.private_key, line.decode("latin-1")
    try:
        check(host)
    except Fault as fault:
        code = fault.code
    else:
        code = "believed" if _blob(host.certificate) != _blob(RIGHT.certificate) else "the same"
    assert code in {"agent_unverified", "the same"}


def _blob(line: str) -> bytes:
    return base64.b64decode(line.split()[1])
