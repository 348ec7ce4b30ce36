"""The operator's own certificate for native clients that check one: a name, and an authority that those clients know already.

The agent's own certificate is vouched for by the gateway's SSH CA, which the command line checks and nothing else can. Clients
that are told to verify (libpq's ``sslmode=verify-full``) need one of an authority in their own store. It is renewed by
replacing the files; the next connection gets the new one, and half a replacement changes nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.telemetry import logger
from chalicelib.contracts.faults import Fault


class OperatorCertificate(msgspec.Struct, frozen=True):
    """The files, in PEM: the certificate with its chain, and its private key without a passphrase."""

    certificate: Path
    key: Path

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes when either file is replaced. Raises OSError."""
        found = [path.stat() for path in (self.certificate, self.key)]
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def context(self) -> ssl.SSLContext:
        """Return a server's context. Raises Fault(config_invalid) with the file and the reason."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.key.stat().st_mode & 0o007:
                words = f"tls_key: {self.key} may be used by every user of this machine."
                raise Fault("config_invalid", words, hint=f"Run: chmod 600 {self.key}")
            # An encrypted key would ask the terminal for its passphrase.
            context.load_cert_chain(self.certificate, self.key, password=lambda: b"")
        except (OSError, ValueError) as error:
            problem = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise Fault("config_invalid", f"tls_cert and tls_key: {self.certificate} and {self.key}: {problem}.") from None
        return context


class Reloading:
    """The context of connections that begin now, made again when the files change. ``adapt`` adds what a protocol needs."""

    def __init__(self, files: OperatorCertificate, adapt: Callable[[ssl.SSLContext], None]) -> None:
        self._files = files
        self._adapt = adapt
        self._stamp: object = None
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context. Raises Fault(config_invalid) only where there never was one."""
        stamp: object = None
        try:
            stamp = self._files.stamp()
            if self._context is None or stamp != self._stamp:
                made = self._files.context()
                self._adapt(made)
                self._context = made
        except (OSError, Fault) as error:
            if self._context is None:
                raise error if isinstance(error, Fault) else Fault("config_invalid", f"tls_cert, tls_key: {error}.") from None
            if stamp != self._stamp:
                # Certificate and key are two files, so for a moment they need not fit.
                logger().warning("listener.certificate_kept", reason=str(error))
        self._stamp = stamp
        return self._context
