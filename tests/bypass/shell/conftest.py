"""Shells are as slow as the machine is."""

from tests.integration.ssh.conftest import patient

__all__ = ["patient"]
