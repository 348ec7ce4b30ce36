"""Who is at the other end of TLS: the agent that the gateway's SSH CA vouches for, or nobody we speak to.

The agent shows a certificate that it signed itself, so nothing in it counts but two things: its key, whose possession TLS 1.3
proves, and the SSH host certificate in an extension. That one is held against the same facts as ssh holds it against: the CA that
login saved, the target's name, its kind, its times. Both must be about the same key.

To clients that know nothing of that, the agent shows a certificate under a root of its own. The one that was checked carries that
root, so it can be given to such a client.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import SSHCertificate, SSHCertificateType, load_ssh_public_identity

from chalicelib.contracts.faults import Fault
from cli.home import public_key

#: The extension in which the agent carries the line of its SSH host certificate.
HOST_CERTIFICATE: Final = x509.ObjectIdentifier("2.25.185137061426283517254683741960205471234")
#: The extension in which it carries the root under which native clients meet it.
NATIVE_ROOT: Final = x509.ObjectIdentifier("2.25.243190586023172644120538196731105247318")
#: The names that a login trusts the CA for; `known_hosts` says the same to ssh.
ALIASES: Final = ".sallyport"
_LIMIT: Final = 32 * 1024
#: What the parsers raise for hostile input.
_UNREADABLE: Final = (ValueError, TypeError, IndexError, NotImplementedError, UnsupportedAlgorithm, struct.error)


def check_agent(shown: bytes | None, ssh_ca: str, alias: str, now_ms: int) -> None:
    """Return if the DER certificate ``shown`` in TLS is the agent's for ``alias``. Raises Fault(agent_unverified) if not."""
    certificate, key = _read(shown)
    if _plain(certificate.public_key()) != key:
        raise _stranger("shows the certificate of another key")
    if certificate.type is not SSHCertificateType.HOST:
        raise _stranger("shows a certificate that is not a host's")
    _check_signature(certificate, ssh_ca)
    if not alias.endswith(ALIASES) or alias.encode() not in certificate.valid_principals:
        raise _stranger(f"has no certificate for {alias}")
    if not certificate.valid_after <= now_ms // 1000 < certificate.valid_before:
        raise _stranger("shows a certificate whose time is not now", hint="Check this machine's clock, and the agent's log.")
    if certificate.critical_options:
        # PROTOCOL.certkeys: what is critical and not understood must be refused; hosts have none that exist.
        raise _stranger("shows a certificate with conditions that are not supported")


def native_root(shown: bytes) -> bytes:
    """Return the root, in PEM, under which native clients meet the agent that has ``shown`` this, and that was checked.

    Nothing where its operator gave it a certificate for them. Raises Fault(agent_unverified) where it cannot be read.
    """
    try:
        extension = x509.load_der_x509_certificate(shown).extensions.get_extension_for_oid(NATIVE_ROOT).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        return x509.load_der_x509_certificate(extension.value).public_bytes(Encoding.PEM)
    except x509.ExtensionNotFound:
        return b""
    except _UNREADABLE:
        raise _stranger("shows a certificate that cannot be read") from None


def _read(shown: bytes | None) -> tuple[SSHCertificate, bytes]:
    if not shown or len(shown) > _LIMIT:
        raise _stranger("shows no certificate")
    try:
        outer = x509.load_der_x509_certificate(shown)
        extension = outer.extensions.get_extension_for_oid(HOST_CERTIFICATE).value
        assert isinstance(extension, x509.UnrecognizedExtension)
        line = extension.value
        # load_ssh_public_identity reads plain keys too; a certificate names itself.
        inner = load_ssh_public_identity(line) if b"-cert-v01@openssh.com " in line else None
        key = outer.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except x509.ExtensionNotFound:
        raise _stranger("shows no host certificate of the gateway") from None
    except _UNREADABLE:
        raise _stranger("shows a certificate that cannot be read") from None
    if not isinstance(inner, SSHCertificate):
        raise _stranger("shows a certificate that cannot be read")
    return inner, key


def _plain(key: object) -> bytes:
    try:
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]
    except _UNREADABLE:
        raise _stranger("shows a certificate that cannot be read") from None


def _check_signature(certificate: SSHCertificate, ssh_ca: str) -> None:
    try:
        signer = certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        certificate.verify_cert_signature()
    except (*_UNREADABLE, InvalidSignature):
        raise _stranger("shows a certificate that was signed by somebody else") from None
    if signer.split()[:2] != public_key(ssh_ca).encode().split()[:2]:
        raise _stranger("shows a certificate that was signed by somebody else")


def _stranger(what: str, hint: str = "") -> Fault:
    hint = hint or "Nothing was sent to it. If the gateway has a new CA, run: sallyport login"
    return Fault("agent_unverified", f"What answers for the agent {what}.", hint=hint)
