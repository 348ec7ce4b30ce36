"""The plug-in alone between real OpenSSH clients and a real sshd, for attacks that need no more of the gateway."""

from __future__ import annotations

from tests.integration.ssh.conftest import gateway, identity, sshd

__all__ = ["gateway", "identity", "sshd"]
