"""TLS with the agent's own key, for clients that know the gateway's SSH CA.

The agent has one identity, its SSH host key with a certificate of the gateway's SSH CA. The same Ed25519 key serves TLS 1.3: the
X.509 certificate is signed by itself and carries the SSH certificate in an extension. Whoever knows the gateway's SSH CA (every
``sallyport login`` does) can check that the key of a connection is the one that it vouches for; others still get encryption.
"""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from agent.runtime.serving import HostIdentity
from chalicelib.contracts.faults import Fault

#: The extension that holds the SSH host certificate's line. The arc 2.25 belongs to whoever draws a UUID (ITU-T X.667).
HOST_CERTIFICATE: Final = x509.ObjectIdentifier("2.25.185137061426283517254683741960205471234")
#: The extension that holds the root, in DER, under which native clients meet this agent; absent where an operator gave it one.
NATIVE_ROOT: Final = x509.ObjectIdentifier("2.25.243190586023172644120538196731105247318")

#: X.509 wants dates; the SSH certificate inside has the real ones.
_FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_UNTIL: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


class AgentTls:
    """Makes the context of the agent's own key, anew when the host certificate was renewed."""

    def __init__(
        self,
        identity: HostIdentity,
        adapt: Callable[[ssl.SSLContext], None] = lambda _: None,
        root: Callable[[], bytes] = lambda: b"",
    ) -> None:
        """``adapt`` makes a context fit for its protocol. ``root`` is what native clients are to trust, in DER, or nothing."""
        self._identity = identity
        self._adapt = adapt
        self._root = root
        self._made_for = ""
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for a connection that begins now."""
        certificate = self._identity.certificate
        if self._context is None or certificate != self._made_for:
            key = ed25519(self._identity.private_key)
            pem = self_signed(key, certificate, self._root()).public_bytes(serialization.Encoding.PEM) + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            self._context, self._made_for = context_of(pem, ssl.TLSVersion.TLSv1_3), certificate
            self._adapt(self._context)
        return self._context


def ed25519(private_key: bytes) -> Ed25519PrivateKey:
    """Return the agent's key, from its OpenSSH form. Raises Fault(internal) where it is of another kind."""
    key = serialization.load_ssh_private_key(private_key, None)
    if not isinstance(key, Ed25519PrivateKey):
        raise Fault("internal", "The agent's own key is not one that it can speak TLS with.")
    return key


def context_of(pem: bytes, least: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a server's context with the private key and the certificates in ``pem``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = least
    # The ssl module reads keys from files alone; this one is readable by its owner, and gone when the context has it.
    with tempfile.TemporaryDirectory(prefix="sallyport-") as folder:
        path = Path(folder) / "key.pem"
        path.touch(mode=0o600)
        path.write_bytes(pem)
        context.load_cert_chain(path)
    return context


def self_signed(key: Ed25519PrivateKey, host_certificate: str, root: bytes = b"") -> x509.Certificate:
    """Return an X.509 certificate of ``key`` that carries ``host_certificate`` and ``root``, where there are such."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sallyport agent")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
    )
    if host_certificate:
        extension = x509.UnrecognizedExtension(HOST_CERTIFICATE, host_certificate.encode())
        builder = builder.add_extension(extension, critical=False)
    if root:
        builder = builder.add_extension(x509.UnrecognizedExtension(NATIVE_ROOT, root), critical=False)
    return builder.sign(key, None)
