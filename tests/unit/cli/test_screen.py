from __future__ import annotations

import io

import pytest

from cli import screen
from cli.screen import Cell, Column


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert screen.paint("x", "red", stream=Terminal()) == "\x1b[31mx\x1b[0m"
    assert screen.paint("x", "red", stream=io.StringIO()) == "x"
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.paint("x", "red", stream=Terminal()) == "x"


def test_a_dumb_terminal_has_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert screen.paint("x", "red", stream=Terminal()) == "x"


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not screen.is_terminal(stream)


def test_a_table_aligns_and_cleans() -> None:
    columns = [Column("NAME"), Column("COUNT", right=True)]
    lines = screen.table(columns, [[Cell("数\x1b[2J"), Cell("7")], [Cell("long name"), Cell("12")]], io.StringIO())
    assert lines == ["NAME       COUNT", "数             7", "long name     12"]


def test_a_table_fits_its_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    monkeypatch.setenv("NO_COLOR", "1")
    lines = screen.table([Column("A"), Column("B", flexible=True)], [[Cell("12345678"), Cell("x" * 40)]], Terminal())
    assert lines[1] == "12345678  " + "x" * 13 + "…"


def test_a_narrow_table_keeps_names_legible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    columns = [Column("WHO", flexible=True), Column("OPERATIONS", spare=True), Column("STATE"), Column("LENGTH", spare=True)]
    columns.append(Column("MESSAGE"))
    row = [Cell("alice@example.com"), Cell("7"), Cell("ended"), Cell("12 s"), Cell("")]
    seen = {}
    for room in (60, 45, 40, 24, 20):
        monkeypatch.setenv("COLUMNS", str(room))
        seen[room] = screen.table(columns, [row], Terminal())[0].split()
    assert seen == {
        60: ["WHO", "OPERATIONS", "STATE", "LENGTH", "MESSAGE"],
        45: ["WHO", "OPERATIONS", "STATE", "LENGTH"],
        40: ["WHO", "OPERATIONS", "STATE"],
        24: ["WHO", "STATE"],
        20: ["WHO", "STATE"],
    }
    assert screen.table(columns, [row], Terminal())[1] == "alice@exampl…  ended"


def test_piped_output_is_never_shortened() -> None:
    lines = screen.table([Column("B", flexible=True)], [[Cell("x" * 400)]], io.StringIO())
    assert lines[1] == "x" * 400


def test_a_refusal_is_one_clean_line_and_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    screen.fail("denied", "No\x1b[31m way\nback", "Ask\x07 nicely")
    assert capsys.readouterr().err == "sallyport: No way back [denied]\n  Ask nicely\n"


def test_json_is_exact_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    screen.say_json({"a": "\u202e\x1b"})
    assert capsys.readouterr().out == '{\n  "a": "\u202e\\u001b"\n}\n'


def test_facts_leave_out_what_is_empty() -> None:
    assert screen.facts([("a", "1"), ("b", ""), ("long", "2")]) == ["a     1", "long  2"]
