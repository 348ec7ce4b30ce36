from __future__ import annotations

import io
import sys
import threading

import pytest

from cli import progress
from cli.progress import Progress
from tests.patience import HANG_S


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_without_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    with Progress("Working"):
        assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert capsys.readouterr().err == ""


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Progress("Working"):
        pass
    assert terminal.getvalue() == ""


def test_the_line_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = threading.Event()

    class Watched(Terminal):
        def flush(self) -> None:
            drawn.set()

    monkeypatch.setattr(progress, "_DELAY_S", 0.0)
    monkeypatch.setattr(sys, "stderr", terminal := Watched())
    with Progress("Working"):
        assert drawn.wait(HANG_S)
    assert "Working" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_bar_fills() -> None:
    bar = Progress("Chunks", total=4)
    assert "  0 %" in bar.line(0)
    bar.advance(2)
    assert " 50 %" in bar.line(0)
    bar.advance(9)
    assert "100 %" in bar.line(0)
