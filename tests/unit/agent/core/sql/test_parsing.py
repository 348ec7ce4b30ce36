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

#: What nests and is closed again: head, opening, middle, closing.
CLOSED = {
    "case": ("SELECT ", "CASE ", "1", " WHEN 1 THEN 1 END"),
    "case when": ("SELECT ", "CASE WHEN ", "true", " THEN true END"),
    "case else": ("SELECT ", "CASE WHEN true THEN 1 ELSE ", "1", " END"),
    "sub-select": ("", "SELECT (", "SELECT 1", ")"),
    "with": ("", "WITH a AS (", "SELECT 1", ") SELECT 1"),
    "json": ("SELECT ", "JSON_ARRAY(", "1", ")"),
    "array": ("SELECT ", "ARRAY[", "1", "]"),
    "atomic": ("", "CREATE PROCEDURE a() BEGIN ATOMIC SELECT 1, 2; ", "SELECT 1;", " END;"),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_nests_and_is_closed_is_counted(name: str) -> None:
    head, opening, middle, closing = CLOSED[name]
    text = head + opening * 3_000 + middle + closing * 3_000
    assert nesting(text, 10**9) >= 3_000
    assert screen(text, DEFAULT) == "too_deep"
    assert parse(head + opening * 3 + middle + closing * 3, DEFAULT)[1] is None


@pytest.mark.parametrize("name", DEEP)
def test_what_nests_is_counted(name: str) -> None:
    head, body, tail = DEEP[name]
    assert nesting(head + body * 3_000 + tail, 10**9) >= 3_000
    assert screen(head + body * 3_000 + tail, DEFAULT) == "too_deep"
    assert parse(head + body * 3 + tail, DEFAULT)[1] is None


def test_what_is_let_through_cannot_overflow_the_parsers_stack() -> None:
    """In a process of its own, because the failure is not an exception."""
    program = (
        "import threading\n"
        "from agent.core.sql.parsing import parse; from agent.core.sql.model import DEFAULT, Limits\n"
        "from tests.unit.agent.core.sql.test_parsing import CLOSED, DEEP\n"
        "def run():\n"
        "  for head, body, tail in DEEP.values():\n"
        "    for count in (700, 1_900, 100_000):\n"
        "        parse(head + body * count + tail, Limits(max_bytes=4_000_000))\n"
        "        parse('SELECT f(' + head[7:] + body * count + tail + ', 1)', DEFAULT)\n"
        "  for head, opening, middle, closing in CLOSED.values():\n"
        "    for count in (90, 450, 900, 1_350, 1_900, 4_900):\n"
        "        parse(head + opening * count + middle + closing * count, DEFAULT)\n"
        # Half of what a thread is given by default.
        "threading.stack_size(4 << 20); thread = threading.Thread(target=run); thread.start(); thread.join()\n"
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
