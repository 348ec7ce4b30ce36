"""The Lambda package, built with chalice and asked to work from its unpacked zip alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[3]


def test_the_package_is_whole_and_answers() -> None:
    run = subprocess.run([sys.executable, "-m", "infra.steps.package"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "GET /health → 200" in run.stdout
    assert "without a ticket → 401" in run.stdout
