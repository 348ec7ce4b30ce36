"""OpenSSH certificates: read back by OpenSSH itself, by asyncssh, and by us; and the ways to forge one."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import asyncssh
import msgspec
import pytest

from chalicelib.domain import ssh_certificate
from chalicelib.domain.ssh_certificate import HOST, KIND, USER, Certificate, Person, for_agent, for_person, read_person
from chalicelib.domain.ssh_wire import ECDSA, blob_of_line, string
from tests.fakes.kms import FakeSigner
from tests.fakes.world import AgentKeys

NOW = 1_790_000_000
ALICE = Person(principal="alice@example.com", groups=["sre", "ü"], mfa=True, token="lgn_1")
KEYS = AgentKeys()
CA = FakeSigner()


def signed(certificate: Certificate, signer: FakeSigner = CA, authority: FakeSigner = CA) -> str:
    body = ssh_certificate.to_be_signed(certificate, b"n" * 32, blob_of_line(authority.ssh_ca(), ECDSA))
    return ssh_certificate.line(body, signer.sign_ssh(body))


def alice(**changed: object) -> Certificate:
    return msgspec.structs.replace(for_person(ALICE, KEYS.public_key, NOW, NOW + 3600, 7), **changed)  # type: ignore[arg-type]


def refused(line: str, now_s: int = NOW) -> str:
    with pytest.raises(ValueError) as caught:
        read_person(line, CA.ssh_ca(), now_s)
    return str(caught.value)


def test_a_persons_certificate_says_who_they_are() -> None:
    assert read_person(signed(alice()), CA.ssh_ca(), NOW) == ALICE
    without = for_person(msgspec.structs.replace(ALICE, mfa=False), KEYS.public_key, NOW, NOW + 9, 1)
    assert not read_person(signed(without), CA.ssh_ca(), NOW).mfa


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_openssh_reads_both_kinds(tmp_path: Path) -> None:
    def listing(line: str) -> str:
        path = tmp_path / "cert.pub"
        path.write_text(line + "\n")
        run = subprocess.run(["ssh-keygen", "-L", "-f", str(path)], capture_output=True, text=True, check=True)
        return " ".join(run.stdout.split())

    person = listing(signed(alice()))
    assert f"Type: {KIND} user certificate" in person
    assert 'Key ID: "alice@example.com" Serial: 7' in person
    assert "Principals: alice@example.com Critical Options: (none)" in person
    assert "permit-pty" in person
    assert "permit-port-forwarding" not in person
    host = listing(signed(for_agent("edge", ["web-1", "db-1"], KEYS.public_key, NOW, 8)))
    assert "host certificate" in host
    assert "Principals: web-1.sallyport db-1.sallyport Critical Options: (none) Extensions: (none)" in host


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_openssh_trusts_the_authoritys_signature(tmp_path: Path) -> None:
    # ssh-keygen -Y accepts a certificate in place of a key only if the named authority signed it.
    (tmp_path / "key").write_bytes(_private_pem())
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key-cert.pub").write_text(signed(alice(valid_before=2**63)) + "\n")
    (tmp_path / "data").write_text("hello")
    run(tmp_path, "ssh-keygen", "-Y", "sign", "-q", "-f", "key-cert.pub", "-n", "file", "data")
    for authority, code in ((CA, 0), (FakeSigner(), 255)):
        (tmp_path / "allowed").write_text(f"alice@example.com cert-authority {authority.ssh_ca()}\n")
        verify = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "alice@example.com", "-n", "file", "-s", "data.sig"]
        with (tmp_path / "data").open() as data:
            done = subprocess.run(verify, cwd=tmp_path, stdin=data, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _private_pem() -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return KEYS.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def test_asyncssh_reads_it_too() -> None:
    found = asyncssh.import_certificate(signed(alice()))
    assert found.principals == ["alice@example.com"]
    assert found.options.get("permit-pty") is True
    assert not found.options.get("permit-port-forwarding")
    host = asyncssh.import_certificate(signed(for_agent("edge", ["web-1"], KEYS.public_key, NOW, 8)))
    assert host.principals == ["web-1.sallyport"]


def test_an_agent_without_targets_is_valid_for_none_and_not_for_all() -> None:
    certificate = for_agent("edge", [], KEYS.public_key, NOW, 8)
    assert certificate.principals == ["edge.agent.sallyport"]
    assert (certificate.type, certificate.valid_before - NOW) == (HOST, 48 * 3600)


@pytest.mark.parametrize("principals", [[], [""], ["a", ""]])
def test_a_certificate_for_everybody_is_never_made(principals: list[str]) -> None:
    with pytest.raises(ValueError):
        signed(alice(principals=principals))


def test_times_are_held() -> None:
    line = signed(alice())
    assert refused(line, NOW + 3600) == "the certificate is not valid now"
    assert refused(line, NOW - 61) == "the certificate is not valid now"
    assert read_person(line, CA.ssh_ca(), NOW + 3599) == ALICE


def test_another_authority_is_refused() -> None:
    other = FakeSigner()
    assert "another authority" in refused(signed(alice(), other, other))
    assert "signature is wrong" in refused(signed(alice(), other, CA))


def test_a_certificate_is_not_an_authority() -> None:
    # A nested certificate as the signing key must not be taken for a key of the same blob.
    body = ssh_certificate.to_be_signed(alice(), b"n" * 32, blob_of_line(signed(alice()), KIND))
    assert "another authority" in refused(ssh_certificate.line(body, CA.sign_ssh(body)))


@pytest.mark.parametrize(
    "changed",
    [
        {"type": HOST},
        {"type": 3},
        {"principals": ["alice@example.com", "root"]},
        {"principals": ["mallory@example.com"]},
        {"extensions": {}},
        {"extensions": {"groups@sallyport": string(b"[]")}},
        {"extensions": {"groups@sallyport": string(b"nonsense"), "token@sallyport": string("t")}},
        {"public_key": b"k" * 31},
    ],
)
def test_a_certificate_of_another_shape_is_refused(changed: dict[str, object]) -> None:
    assert refused(signed(alice(**changed)))


def test_every_changed_byte_is_noticed() -> None:
    blob = base64.b64decode(signed(alice()).split(" ")[1])
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(ValueError):
            read_person(f"{KIND} {base64.b64encode(bytes(changed)).decode()}", CA.ssh_ca(), NOW)


def test_a_repeated_extension_is_refused() -> None:
    line = signed(alice())
    blob = base64.b64decode(line.split(" ")[1])
    once = string("permit-pty") + string(b"")
    assert once in blob
    assert USER == 1
    assert refused(f"{KIND} {base64.b64encode(blob.replace(once, once * 2)).decode()}")
