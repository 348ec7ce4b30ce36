"""``make demo`` as CI plays it: every step checked by the tour itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.demo.screen import Screen

ROOT = Path(__file__).parents[2]


@pytest.mark.servers
def test_the_tour_holds_what_it_promises(tmp_path: Path) -> None:
    environment = os.environ | {"DEMO_ONCE": "1", "DEMO_DIR": str(tmp_path / "demo")}
    run = subprocess.run([sys.executable, "-m", "infra.demo"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-3000:]
    # What begins deeper is what a command said: the last step shows evidence that was altered.
    assert "\n  ✗" not in run.stdout
    assert run.stdout.count("✓") >= 20


def test_a_promise_that_does_not_hold_is_remembered(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.check(True, "this holds")
    screen.check(False, "this does not", "something else")
    assert screen.failures == ["this does not"]
    said = capsys.readouterr().out
    assert "✓ this holds" in said
    assert "✗ this does not" in said
    assert "something else" in said
    assert "\x1b" not in said, "colours only on a terminal"
