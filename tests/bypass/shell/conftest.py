"""A server for a module's rows, and many shells there, decided by a careful policy. Shells are as slow as the machine is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bypass.shell.guarded import FORBID, PERMIT
from tests.integration.ssh.conftest import Sshd, patient
from tests.integration.ssh.many import Many

__all__ = ["patient"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def many(sshd: Sshd) -> Iterator[Many]:
    shells = Many(sshd, PERMIT, FORBID, shell="guarded")
    yield shells
    shells.close()
