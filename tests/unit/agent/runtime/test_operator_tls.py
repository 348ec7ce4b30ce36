"""The operator's certificate: refused with a reason at the start, renewed without a restart, and never half."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.runtime.operator_tls import OperatorCertificate, Reloading
from chalicelib.contracts.faults import Fault


def pair(name: str, passphrase: bytes = b"") -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    locked = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, locked)
    return builder.sign(key, hashes.SHA256()).public_bytes(pem), private


@pytest.fixture
def files(tmp_path: Path) -> OperatorCertificate:
    made = OperatorCertificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    write(made, *pair("one"))
    return made


def write(files: OperatorCertificate, certificate: bytes | None, key: bytes | None) -> None:
    """Replace the files as deployments do: a new file takes the place of the old one."""
    for path, data in ((files.certificate, certificate), (files.key, key)):
        if data is not None:
            new = path.with_suffix(".new")
            new.touch(0o600)
            new.write_bytes(data)
            new.rename(path)


def shown(context: ssl.SSLContext) -> str:
    """Return the name that a client of ``context`` sees."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up), context.wrap_bio(up, down, server_side=True)]
    for _ in range(3):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = x509.load_der_x509_certificate(ends[0].getpeercert(binary_form=True) or b"")
    return str(found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_a_renewed_certificate_is_shown_without_a_restart(files: OperatorCertificate) -> None:
    reloading = Reloading(files, lambda context: context.set_alpn_protocols(["postgresql"]))
    first = reloading.context()
    assert shown(first) == "one"
    assert reloading.context() is first
    write(files, *pair("two"))
    assert shown(reloading.context()) == "two"


def test_half_a_renewal_changes_nothing(files: OperatorCertificate) -> None:
    reloading = Reloading(files, lambda context: None)
    reloading.context()
    certificate, key = pair("two")
    write(files, certificate, None)
    assert shown(reloading.context()) == "one"
    files.key.unlink()
    assert shown(reloading.context()) == "one"
    write(files, None, key)
    assert shown(reloading.context()) == "two"


@pytest.mark.parametrize("problem", ["missing", "garbage", "another-key", "passphrase", "everybody"])
def test_what_cannot_be_used_is_refused_by_name(files: OperatorCertificate, problem: str) -> None:
    if problem == "missing":
        files.certificate.unlink()
    elif problem == "garbage":
        files.certificate.write_text("no PEM")
    elif problem == "another-key":
        write(files, None, pair("two")[1])
    elif problem == "passphrase":
        write(files, *pair("two", b"secret"))
    else:
        files.key.chmod(0o604)
    for attempt in (files.context, Reloading(files, lambda context: None).context):
        with pytest.raises(Fault, match="tls_") as caught:
            attempt()
        assert caught.value.code == "config_invalid"
        assert "PRIVATE KEY" not in caught.value.message
