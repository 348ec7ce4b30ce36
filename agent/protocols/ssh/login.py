"""Who a native client is: the checks of its certificate, and what its user name asks for. Pure.

An *offer* of a public key proves nothing; the caller asks again with the signature verified before it believes any of this.
"""

from __future__ import annotations

import base64
import ipaddress
import struct
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.hazmat.primitives.serialization.ssh import (
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

from chalicelib.contracts.faults import Fault

#: Longest certificate, in bytes of its blob; ours are under one kilobyte.
BLOB_LIMIT: Final = 16 * 1024
_HINT: Final = "Run: sallyport login"
#: What the certificate parser raises for hostile input.
_UNREADABLE: Final = (ValueError, TypeError, IndexError, NotImplementedError, UnsupportedAlgorithm, struct.error)


class Person(msgspec.Struct, frozen=True):
    """A certificate that passed every check: whose it is, and its line as the control plane wants to see it."""

    principal: str
    certificate: str


def requested(username: str) -> tuple[str, str]:
    """Split ``login+target`` or ``target`` into target and login; an empty login means the target's default."""
    login, plus, target = username.partition("+")
    return (target, login) if plus else (username, "")


def check(blob: bytes, ssh_ca: str, now_ms: int, source_ip: str) -> Person:
    """Return whose certificate ``blob`` is. Raises Fault(certificate_invalid) with the reason.

    It must be a user certificate, signed by exactly the key ``ssh_ca`` (itself no certificate), in its time, for one person: its
    key id is among its principals. Critical options other than ``source-address`` are unknown to us and therefore refused
    (PROTOCOL.certkeys: "implementations must refuse to authorise the key").
    """
    certificate, line = _load(blob)
    if certificate.type is not SSHCertificateType.USER:
        raise Fault("certificate_invalid", "That is not a user's certificate.", hint=_HINT)
    _check_signature(certificate, ssh_ca)
    now_s = now_ms // 1000
    if now_s < certificate.valid_after:
        raise Fault("certificate_invalid", "The certificate is not valid yet.", hint="Check the clocks of both machines.")
    if now_s >= certificate.valid_before:
        raise Fault("certificate_invalid", "The certificate has expired.", hint=_HINT)
    if certificate.key_id not in certificate.valid_principals or not certificate.key_id:
        raise Fault("certificate_invalid", "The certificate does not name its holder.", hint=_HINT)
    _check_options(certificate.critical_options, source_ip)
    try:
        return Person(certificate.key_id.decode(), line)
    except UnicodeDecodeError:
        raise Fault("certificate_invalid", "The certificate does not name its holder.", hint=_HINT) from None


def _load(blob: bytes) -> tuple[SSHCertificate, str]:
    plain_key = Fault("certificate_invalid", "Only a certificate from the gateway opens this door.", hint=_HINT)
    if len(blob) > BLOB_LIMIT or len(blob) < 4:
        raise plain_key
    (size,) = struct.unpack_from(">I", blob)
    kind = blob[4 : 4 + size]
    # load_ssh_public_identity reads plain keys too; a certificate names itself.
    if size > 100 or not kind.endswith(b"-cert-v01@openssh.com"):
        raise plain_key
    line = kind + b" " + base64.b64encode(blob)
    try:
        identity = load_ssh_public_identity(line)
    except _UNREADABLE:
        raise Fault("certificate_invalid", "The certificate cannot be read.", hint=_HINT) from None
    if not isinstance(identity, SSHCertificate):
        raise plain_key
    return identity, line.decode()


def _check_signature(certificate: SSHCertificate, ssh_ca: str) -> None:
    stranger = Fault("certificate_invalid", "The certificate was signed by somebody else.", hint=_HINT)
    try:
        # Raises for a signing key that is itself a certificate.
        signer = certificate.signature_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        certificate.verify_cert_signature()
    except (*_UNREADABLE, InvalidSignature):
        raise stranger from None
    if signer.split()[:2] != ssh_ca.encode().split()[:2]:
        raise stranger


def _check_options(options: dict[bytes, bytes], source_ip: str) -> None:
    unknown = sorted(name.decode(errors="replace") for name in options if name != b"source-address")
    if unknown:
        raise Fault("certificate_invalid", f"The certificate has conditions that are not supported: {', '.join(unknown)}.")
    allowed = options.get(b"source-address")
    if allowed is None:
        return
    try:
        address = ipaddress.ip_address(source_ip)
        inside = any(address in ipaddress.ip_network(net, strict=False) for net in allowed.decode().split(","))
    except ValueError:
        inside = False
    if not inside:
        raise Fault("certificate_invalid", "The certificate is not valid from this address.")
