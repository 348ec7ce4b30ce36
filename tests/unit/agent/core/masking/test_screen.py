"""The model of a screen: cells, cursor, and where each character came from."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.screen import NOWHERE, Row, Screen
from tests.patience import HANG_S

COLUMNS, ROWS = 10, 4


def drawn(data: bytes, *, columns: int = COLUMNS, rows: int = ROWS) -> list[str]:
    screen = Screen(columns, rows, lambda row: None)
    screen.write(data, 0)
    return ["".join(row.text).rstrip() for row in screen.rows]


@pytest.mark.parametrize(
    ("data", "want"),
    [
        (b"ab\r\ncd", ["ab", "cd", "", ""]),
        (b"ab\ncd", ["ab", "  cd", "", ""]),
        (b"0123456789ab", ["0123456789", "ab", "", ""]),
        (b"0123456789\r\nab", ["0123456789", "ab", "", ""]),
        (b"1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"]),
        (b"abc\bX", ["abX", "", "", ""]),
        (b"0123456789\bX", ["01234567X9", "", "", ""]),
        (b"abc\rX", ["Xbc", "", "", ""]),
        (b"a\tb", ["a       b", "", "", ""]),
        (b"\x1b[2;3Hx", ["", "  x", "", ""]),
        (b"\x1b[3Hx\x1b[Ay\x1b[2Dz", ["", "zy", "x", ""]),
        (b"abc\x1b[2Dx\x1b[Cy", ["axcy", "", "", ""]),
        (b"abc\x1b[2G\x1b[K", ["a", "", "", ""]),
        (b"abc\x1b[2G\x1b[1K", ["  c", "", "", ""]),
        (b"abc\x1b[2K", ["", "", "", ""]),
        (b"ab\r\ncd\x1b[H\x1b[J", ["", "", "", ""]),
        (b"ab\r\ncd\x1b[1J", ["", "", "", ""]),
        (b"ab\r\ncd\x1b[2Jx", ["", "  x", "", ""]),
        (b"abcd\x1b[3D\x1b[2P", ["ad", "", "", ""]),
        (b"abcd\x1b[3D\x1b[2@xy", ["axybcd", "", "", ""]),
        (b"abcd\x1b[3D\x1b[2X", ["a  d", "", "", ""]),
        (b"abcd\x1b[3D\x1b[4hxy\x1b[4lz", ["axyzcd", "", "", ""]),
        (b"1\r\n2\r\n3\x1b[H\x1b[L", ["", "1", "2", "3"]),
        (b"1\r\n2\r\n3\x1b[H\x1b[M", ["2", "3", "", ""]),
        (b"1\r\n2\r\n3\x1b[S", ["2", "3", "", ""]),
        (b"1\r\n2\x1b[T", ["", "1", "2", ""]),
        (b"1\x1b[H\x1bM2", ["2", "1", "", ""]),
        (b"1\r\n2\r\n3\x1b[1;2r\x1b[2;1H\nx", ["2", "x", "3", ""]),
        (b"ab\x1b7cd\x1b8X", ["abXd", "", "", ""]),
        (b"ab\x1b[scd\x1b[uX", ["abXd", "", "", ""]),
        (b"a\x1b[3b", ["aaaa", "", "", ""]),
        (b"ab\x1b[?1049hx\x1b[?1049l", ["ab", "", "", ""]),
        (b"ab\x1bcx", ["x", "", "", ""]),
        (b"\x1b]0;title\x07a\x1b[31mb\x1b(Bc\x1b[?25l", ["abc", "", "", ""]),
        ("é４x".encode(), ["é４x", "", "", ""]),
        (b"\x1b[99999;99999Hx\x1b[;Hy", ["y", "", "", "         x"]),
    ],
)
def test_text_stands_where_a_terminal_shows_it(data: bytes, want: list[str]) -> None:
    assert drawn(data) == want
    screen = Screen(COLUMNS, ROWS, lambda row: None)
    for byte in data:
        screen.write(bytes((byte,)), 0)
    assert ["".join(row.text).rstrip() for row in screen.rows] == want


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\x1b[", b"\x1b[5;5H", b"\x1b[2J", b"\x1b[9L", b"\r\n"]), max_size=30))
def test_whatever_comes_the_screen_keeps_its_size(pieces: list[bytes]) -> None:
    screen = Screen(COLUMNS, ROWS, lambda row: None)
    for piece in pieces:
        screen.write(piece, 0)
    assert [(len(row.text), len(row.origin)) for row in screen.rows] == [(COLUMNS, COLUMNS)] * ROWS


def test_every_cell_knows_its_byte() -> None:
    screen = Screen(COLUMNS, ROWS, lambda row: None)
    screen.write(b"old", NOWHERE)
    screen.write("aé４".encode(), 100)
    assert screen.rows[0].text[:7] == ["o", "l", "d", "a", "é", "４", ""]
    assert screen.rows[0].origin[:8] == [NOWHERE] * 3 + [100, 101, 103, 103, NOWHERE]


def test_a_row_is_looked_at_before_it_loses_anything() -> None:
    seen: list[str] = []
    screen = Screen(COLUMNS, 2, lambda row: seen.append("".join(row.text).rstrip()))
    screen.write(b"one\rtwo\r\nthree\x1b[2K\r\nfour\r\n", 0)
    screen.settle()
    assert seen[:2] == ["one", "three"]
    assert {"two", "four"} <= set(seen)


def test_a_size_is_changed_and_text_stays() -> None:
    screen = Screen(COLUMNS, ROWS, lambda row: None)
    screen.write(b"0123456789\r\nab\r\n", 0)
    screen.resize(5, 2)
    screen.write(b"x", 0)
    assert ["".join(row.text) for row in screen.rows] == ["ab   ", "x    "]
    screen.resize(8, 3)
    assert ["".join(row.text) for row in screen.rows] == ["ab      ", "x       ", "        "]
    assert all(isinstance(row, Row) for row in screen.around(screen.rows[0]))


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_tmux_shows_the_same(tmp_path: Path) -> None:
    """A terminal that others wrote, as the judge of sequences that are put together by chance."""
    chance = random.Random(7)
    moves = [
        "\x1b[A",
        "\x1b[2B",
        "\x1b[3C",
        "\x1b[2D",
        "\x1b[H",
        "\x1b[2;7H",
        "\x1b[5G",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2P",
        "\x1b[2@",
    ]
    moves += ["\x1b[3X", "\x1b[L", "\x1b[M", "\x1b[J", "\r", "\b", "\r\n", "\x1bM", "\x1b7", "\x1b8", "\t"]
    texts = ["abc", "0123456789abcdefghijkl", "x", "hello world", "~~~~"]
    script = "".join(chance.choice(moves if chance.random() < 0.5 else texts) for _ in range(400)).encode()
    (tmp_path / "script").write_bytes(script)
    socket = str(tmp_path / "tmux")
    environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", "HOME": str(tmp_path)}

    def tmux(*words: str) -> str:
        return subprocess.run(
            ["tmux", "-S", socket, "-f", "/dev/null", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=HANG_S,
        ).stdout

    show = f"stty raw -echo; printf '\\033[H\\033[2J'; cat {tmp_path}/script; tmux -S {socket} wait-for -S drawn; sleep 60"
    tmux("new-session", "-d", "-x", "20", "-y", "6", "sh", "-c", show)
    try:
        tmux("set", "-g", "status", "off")
        tmux("wait-for", "drawn")
        for _ in range(50):
            shown = tmux("capture-pane", "-p").split("\n")[:6]
            if [line.rstrip() for line in shown] == drawn(script, columns=20, rows=6):
                break
        assert [line.rstrip() for line in shown] == drawn(script, columns=20, rows=6)
    finally:
        tmux("kill-server")


def test_a_line_that_nobody_wrote_to_costs_no_cells() -> None:
    screen = Screen(80, 24, lambda row: None)
    screen.write(b"one\r\ntwo", 0)
    screen.resize(100, 30)
    assert [row._text is not None for row in screen.rows] == [True, True] + [False] * 28
    assert (
        len(screen.rows[0].text) == len(screen.rows[0].origin) == len(screen.rows[29].text) == len(screen.rows[29].origin) == 100
    )
    assert not screen.rows[28].full


@pytest.mark.parametrize("part", [b"a\b", b"\x1b[1;1Hx", b"a\x1b[9999b"])
def test_a_hostile_program_has_a_row_looked_at_only_so_often(part: bytes) -> None:
    looks: list[Row] = []
    screen = Screen(500, 50, looks.append)
    screen.write(part * 4_000, 0)
    assert len(looks) <= 600
    screen.settle()
    screen.write(b"\x1b[5;1Hseen\r", 0)
    assert "seen" in "".join(looks[-1].text)


def test_a_character_that_is_repeated_comes_from_one_place() -> None:
    screen = Screen(COLUMNS, ROWS, lambda row: None)
    screen.write(b"12345678a\x1b[3b", 100)
    assert "".join(screen.rows[0].text + screen.rows[1].text).rstrip() == "12345678aaaa"
    assert screen.rows[0].origin[8:] + screen.rows[1].origin[:2] == [108, 109, 109, 109]
    assert screen.spread == {109: 4}


@pytest.mark.parametrize("part", [b"x\x1b[J", b"x\x1b[2J", b"x\x1bc", b"x\x1b[500S", b"x\x1b[500T", b"x\x1b[500M"])
def test_rows_are_made_where_there_was_something_to_erase(monkeypatch: pytest.MonkeyPatch, part: bytes) -> None:
    made = 0

    class Counted(Row):
        __slots__ = ()

        def __init__(self, columns: int) -> None:
            nonlocal made
            made += 1
            super().__init__(columns)

    monkeypatch.setattr("agent.core.masking.screen.Row", Counted)
    screen = Screen(500, 500, lambda row: None)
    screen.write(part * 200, -1)
    assert made <= 500 + 2 * 200
    screen.write(b"\x1b[H\x1b[2J" + b"y", -1)
    assert ["".join(row.text).strip() for row in screen.rows] == ["y", *[""] * 499]
