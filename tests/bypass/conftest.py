"""One gateway for all attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.demo.stack import Stack
from tests.bypass.hostile import HostileTarget
from tests.bypass.world import World, furnish
from tests.integration.loop import Loop


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    loop = Loop()
    hostile = HostileTarget()
    loop.run(hostile.open)
    try:
        with Stack(tmp_path_factory.mktemp("bypass"), direct=True) as stack:
            made = World(stack, hostile)
            furnish(made)
            yield made
    finally:
        loop.run(hostile.close)
        loop.stop()
