"""TLS for clients that know nothing of the gateway: ECDSA on P-256, which all of them speak, and a root that they can be given.

The agent's one key is Ed25519, which Java before 16 and Windows' own TLS do not know. From it two others are derived, so there is
nothing more to keep or to renew: that of a root, which is this agent's alone, and that of the certificate under it. The agent's
own certificate (``agent_tls``) carries the root, so whoever has held that one against the gateway's SSH CA knows the root as
well: ``sallyport ticket`` does, and hands it to the client (libpq's ``sslrootcert``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
from collections.abc import Callable
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.runtime.agent_tls import context_of, ed25519
from agent.runtime.serving import HostIdentity

#: SEC 2 §2.4.2: the order of P-256's base point.
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
#: X.509 wants dates; the root is known by who has told it.
_FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_UNTIL: Final = dt.datetime(2049, 1, 1, tzinfo=dt.UTC)  # from 2050 on dates have another form, which old clients do not read


class NativeTls:
    """Makes the context that such clients meet. The same root for as long as the agent has its key."""

    def __init__(self, identity: HostIdentity, adapt: Callable[[ssl.SSLContext], None]) -> None:
        """``adapt`` makes a context fit for its protocol."""
        self._identity = identity
        self._adapt = adapt
        self._chain: list[x509.Certificate] = []
        self._context: ssl.SSLContext | None = None

    @property
    def root(self) -> bytes:
        """The root, in DER. Raises Fault(internal) where the agent's key is not Ed25519."""
        self.context()
        return self._chain[-1].public_bytes(Encoding.DER)

    def context(self) -> ssl.SSLContext:
        """Return the context. Raises Fault(internal) where the agent's key is not Ed25519."""
        if self._context is None:
            key, self._chain = certificates(ed25519(self._identity.private_key))
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            pem = private + b"".join(each.public_bytes(Encoding.PEM) for each in self._chain)
            self._context = context_of(pem, ssl.TLSVersion.TLSv1_2)
            self._adapt(self._context)
        return self._context


def certificates(key: Ed25519PrivateKey) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """Return the private key of TLS, and its certificate with the root behind it."""
    authority, private = _derived(key, b"root"), _derived(key, b"server")
    # A name of its own, so that a client that has the roots of several agents finds the right one.
    number = hashlib.sha256(authority.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)).hexdigest()[:16]
    issuer, identifier = _name(f"sallyport agent {number}"), x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    root = (
        _builder(issuer, issuer, authority.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(authority, hashes.SHA256())
    )
    server = (
        _builder(_name("sallyport agent"), issuer, private.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(authority, hashes.SHA256())
    )
    return private, [server, root]


def _derived(key: Ed25519PrivateKey, purpose: bytes) -> ec.EllipticCurvePrivateKey:
    # 16 bytes more than the order has, so that no remainder is likelier than another (FIPS 186-5, A.2.1).
    seed = HKDF(hashes.SHA256(), 48, salt=None, info=b"sallyport native tls " + purpose).derive(key.private_bytes_raw())
    return ec.derive_private_key(int.from_bytes(seed) % (_ORDER - 1) + 1, ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(_FROM).not_valid_after(_UNTIL)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
