"""The screen before the parser: it must count what the parser's stack counts, and let large plain texts through."""

import subprocess
import sys

import pytest

from agent.core.sql.model import DEFAULT, Limits
from agent.core.sql.parsing import nesting, parse, screen, statements

DEEP = {
    "plus": ("SELECT ", "1+", "1"),
    "cast": ("SELECT 1", "::int", ""),
    "union": ("SELECT 1", " UNION SELECT 1, 2", ""),
    "join": ("SELECT 1 FROM a", " CROSS JOIN a", ""),
    "is null": ("SELECT 1", " IS NULL", ""),
    "collate": ("SELECT 'a'", ' COLLATE "C"', ""),
    "time zone": ("SELECT a", " AT TIME ZONE 'x'", ""),
    "custom": ("SELECT 1", " OPERATOR(pg_catalog.+) 1", ""),
    "natural": ("SELECT 1 FROM a", " NATURAL JOIN b", ""),
    "comments": ("SELECT 1", " /* , ; ' */ + /* ( */ 1", ""),
    "dollars": ("SELECT $$ ' $$", " || $a$ , ' $a$", ""),
}


@pytest.mark.parametrize("name", DEEP)
def test_what_nests_is_counted(name: str) -> None:
    head, body, tail = DEEP[name]
    assert nesting(head + body * 3_000 + tail, 10**9) >= 3_000
    assert screen(head + body * 3_000 + tail, DEFAULT) == "too_deep"
    assert parse(head + body * 3 + tail, DEFAULT)[1] is None


def test_what_is_let_through_cannot_overflow_the_parsers_stack() -> None:
    """In a process of its own, because the failure is not an exception."""
    program = (
        "from agent.core.sql.parsing import parse; from agent.core.sql.model import DEFAULT, Limits\n"
        "from tests.unit.agent.core.sql.test_parsing import DEEP\n"
        "for head, body, tail in DEEP.values():\n"
        "    for count in (700, 1_900, 100_000):\n"
        "        parse(head + body * count + tail, Limits(max_bytes=4_000_000))\n"
        "        parse('SELECT f(' + head[7:] + body * count + tail + ', 1)', DEFAULT)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_lists_do_not_nest() -> None:
    rows = ", ".join(f"({number}, -{number} + 1, 'a-b')" for number in range(4_000))
    assert nesting(f"INSERT INTO t VALUES {rows}", 10**9) < 20
    assert parse(f"INSERT INTO t VALUES {rows}", DEFAULT)[1] is None


def test_statements_do_not_nest_each_other() -> None:
    assert nesting("SELECT 1 + 1; " * 2_000, 10**9) < 20


def test_limits_are_in_bytes() -> None:
    assert screen("é" * 6, Limits(max_bytes=10)) == "too_long"
    assert screen("e" * 6, Limits(max_bytes=10)) is None


def test_positions_are_in_characters() -> None:
    text = "SELECT 'é';  SELECT 2"
    tree, _ = parse(text, DEFAULT)
    assert [(position, piece) for position, piece, _ in statements(text, tree)] == [(0, "SELECT 'é'"), (13, "SELECT 2")]
