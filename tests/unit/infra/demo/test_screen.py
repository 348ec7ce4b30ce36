from __future__ import annotations

import pytest

from infra.demo.screen import Screen


@pytest.mark.parametrize(("columns", "width"), [("80", 80), ("120", 100), ("40", 40)])
def test_a_title_is_as_wide_as_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    Screen().title(1, "alice logs in")
    assert len(capsys.readouterr().out.strip("\n")) == width


def test_what_an_address_carries_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().said(f"  http://127.0.0.1:1/authorize?{'state=abc&' * 20}\n  http://127.0.0.1:1/page?day=today")
    assert capsys.readouterr().out.splitlines() == ["    http://127.0.0.1:1/authorize?…", "    http://127.0.0.1:1/page?day=today"]


def test_a_long_answer_is_shortened_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().said("\n".join(map(str, range(10))), limit=5)
    assert capsys.readouterr().out.split() == ["0", "1", "…", "6", "more", "lines", "…", "8", "9"]
