"""Certificates: good ones, and everything that only looks like one."""

from __future__ import annotations

import base64
import struct
from typing import Any

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh.login import check, requested
from chalicelib.contracts.faults import Fault

NOW_MS = 1_800_000_000_000
CA = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
KEY = asyncssh.generate_private_key("ssh-ed25519")
CA_LINE = CA.export_public_key().decode().strip()
ANN = "ann@example.com"


def blob(ca: asyncssh.SSHKey = CA, *, host: bool = False, key_id: str = ANN, **changes: Any) -> bytes:
    fields: dict[str, Any] = {
        "principals": [ANN],
        "valid_after": NOW_MS // 1000 - 60,
        "valid_before": NOW_MS // 1000 + 60,
    } | changes
    make = ca.generate_host_certificate if host else ca.generate_user_certificate
    return bytes(make(KEY, key_id, **fields).public_data)


def refused(data: bytes, ca: str = CA_LINE, ip: str = "192.0.2.1") -> str:
    with pytest.raises(Fault) as fault:
        check(data, ca, NOW_MS, ip)
    assert fault.value.code == "certificate_invalid"
    return fault.value.message


def test_a_good_certificate() -> None:
    person = check(blob(), CA_LINE + " a comment", NOW_MS, "192.0.2.1")
    assert person.principal == ANN
    assert asyncssh.import_certificate(person.certificate).public_data == blob_of(person.certificate)


def blob_of(line: str) -> bytes:
    return base64.b64decode(line.split()[1])


def test_its_time_is_half_open() -> None:
    start, end = NOW_MS // 1000, NOW_MS // 1000 + 10
    data = blob(valid_after=start, valid_before=end)
    for now_ms, good in [(start * 1000 - 1, False), (start * 1000, True), (end * 1000 - 1, True), (end * 1000, False)]:
        if good:
            check(data, CA_LINE, now_ms, "")
        else:
            with pytest.raises(Fault):
                check(data, CA_LINE, now_ms, "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (blob(host=True), "not a user's"),
        (blob(asyncssh.generate_private_key("ecdsa-sha2-nistp256")), "somebody else"),
        (blob(asyncssh.generate_private_key("ssh-ed25519")), "somebody else"),
        (blob(principals=["root"]), "holder"),
        (blob(principals=[]), "holder"),
        (blob(key_id="root"), "holder"),
        (blob(key_id="", principals=[""]), "holder"),
        (blob(force_command="id"), "force-command"),
        (bytes(KEY.public_data), "Only a certificate"),
        (bytes(CA.public_data), "Only a certificate"),
        (b"", "Only a certificate"),
        (b"\0\0\0\x05", "Only a certificate"),
        (b"x" * 20_000, "Only a certificate"),
    ],
    # Keys are made anew in every process; their bytes would be no name for a test.
    ids="a-host other-ca-kind other-ca other-name no-name other-key-id no-key-id forced key ca-key nothing short long".split(),
)
def test_what_only_looks_like_one(data: bytes, words: str) -> None:
    assert words in refused(data)


@pytest.mark.parametrize(
    ("ip", "good"), [("10.1.2.3", True), ("192.0.2.1", False), ("", False), ("not an address", False), ("::1", False)]
)
def test_source_addresses(ip: str, good: bool) -> None:
    data = blob(source_address=["10.0.0.0/8"])
    if good:
        check(data, CA_LINE, NOW_MS, ip)
    else:
        assert "address" in refused(data, ip=ip)


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def test_a_certificate_signed_by_a_certificate_is_nobodys() -> None:
    # The signing key is replaced by a certificate for that very key: trusting its inner key would trust a chain.
    data = blob()
    nested = asyncssh.generate_private_key("ssh-ed25519").generate_user_certificate(CA, "ca").public_data
    assert string(CA.public_data) in data
    assert refused(data.replace(string(CA.public_data), string(bytes(nested)))) in (
        "The certificate was signed by somebody else.",
        "The certificate cannot be read.",
    )


GOOD = blob()


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_any_changed_byte_makes_it_worthless(position: int, difference: int) -> None:
    data = bytearray(GOOD)
    data[position] ^= difference
    refused(bytes(data))


@given(st.binary(max_size=400))
def test_garbage_is_a_fault(data: bytes) -> None:
    refused(data)
    refused(string(b"ssh-ed25519-cert-v01@openssh.com") + data)


@pytest.mark.parametrize(
    ("username", "result"),
    [("web", ("web", "")), ("deploy+web", ("web", "deploy")), ("a+b+c", ("b+c", "a")), ("", ("", "")), ("+web", ("web", ""))],
)
def test_user_names(username: str, result: tuple[str, str]) -> None:
    assert requested(username) == result
