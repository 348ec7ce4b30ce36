"""How the suite is spread over processes.

Tests that start servers share them per package, and one process can hold only one embedded cloud. So every package under
``integration``, ``e2e`` and ``bypass`` stays together on one worker, and its fixtures end with it.
"""

from __future__ import annotations

import signal
from pathlib import Path

import hypothesis
import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# How long an example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

HERE = Path(__file__).parent
TOGETHER = {"integration": 2, "e2e": 1, "bypass": 2, "conformance": 1}


def pytest_configure() -> None:
    """A suite that a shell runs in the background inherits an ignored Ctrl-C, and so would every program that it tests."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group what shares servers; a test that names a group of its own keeps it."""
    for item in items:
        parts = item.path.relative_to(HERE).parts[:-1]
        if parts and (depth := TOGETHER.get(parts[0])) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("/".join(parts[:depth])))
