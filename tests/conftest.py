"""What holds for every test, wherever and beside whatever it runs.

Tests are handed out one at a time to whichever worker is free, so each worker has servers of its own: what takes long is spread
better than what shares a server would be if it stayed together.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# How long an example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("explore", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
# A change is judged by the same examples as the one before it; `make fuzz` goes looking for others.
hypothesis.settings.register_profile("gate", hypothesis.settings.get_profile("explore"), derandomize=True)
hypothesis.settings.load_profile("gate")


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A folder for sockets, whose names may not be as long as that of a test's own folder."""
    with tempfile.TemporaryDirectory(prefix="mux") as folder:
        yield Path(folder)


def pytest_configure(config: pytest.Config) -> None:
    _same_examples(config)
    _mind_signals()


def _same_examples(config: pytest.Config) -> None:
    """Hypothesis also tries the constants of every module that happens to be imported by then: examples would change with the
    tests that a process was given before, and with every constant that anybody adds anywhere. `make fuzz` keeps them."""
    if config.getoption("--hypothesis-profile") in (None, "gate"):
        assert hasattr(providers.HypothesisProvider, "_local_constants"), "Hypothesis keeps them elsewhere now"
        providers.HypothesisProvider._local_constants = Constants()


def _mind_signals() -> None:
    """A suite that a shell runs in the background, or under nohup, ignores signals, and so would every program that it starts."""
    for ignored in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(ignored) is signal.SIG_IGN:
            signal.signal(ignored, signal.default_int_handler if ignored == signal.SIGINT else signal.SIG_DFL)
