"""Templates group; verdict keys separate whatever policy can tell apart."""

import pytest

from agent.core.sql import Template, analyse, template, verdict_key
from tests.bypass.sql import test_evasions
from tests.bypass.sql.database import CATALOGUE


def key(text: str, *, seen: bool = False) -> bytes:
    return verdict_key(analyse(text, CATALOGUE), text_is_seen=seen)


def test_constants_do_not_change_a_template() -> None:
    assert template("SELECT id FROM orders WHERE id = 1") == template("SELECT id FROM orders WHERE id = 2")
    assert template("SELECT id FROM orders WHERE id = 1").normalized == "SELECT id FROM orders WHERE id = $1"
    assert template("SELECT 1") != template("SELECT 1, 2")


@pytest.mark.parametrize("text", ["SELEC", "SELECT 1\x00", "SELECT " + "1+" * 50_000 + "1", "\ud800"])
def test_what_does_not_parse_has_no_template(text: str) -> None:
    assert template(text) == Template(None, None)


def test_plain_constants_share_a_verdict() -> None:
    assert key("SELECT id FROM orders WHERE id = 1") == key("SELECT id FROM orders WHERE id = 2")
    assert key("SELECT id FROM orders WHERE id = 1", seen=True) != key("SELECT id FROM orders WHERE id = 2", seen=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SET ROLE a", "SET ROLE b"),
        ("SET search_path = a", "SET search_path = b"),
        ("SELECT name, ssn FROM customers ORDER BY 1", "SELECT name, ssn FROM customers ORDER BY 2"),
        ("SELECT id FROM orders LIMIT 10", "SELECT id FROM orders LIMIT NULL"),
        ("DELETE FROM orders WHERE id = 1 OR id = 2", "DELETE FROM orders WHERE id = 1 OR 2 = 2"),
        ("SELECT set_config('work_mem', '1', true)", "SELECT set_config('role', '1', true)"),
        ("SELECT nowhere('a')", "SELECT nowhere('b')"),
    ],
)
def test_constants_that_matter_separate_verdicts(one: str, other: str) -> None:
    assert key(one) != key(other)


def test_an_evasion_never_shares_a_verdict_with_its_twin() -> None:
    for row in test_evasions.ROWS:
        assert key(row["evasion"]) != key(row["twin"]), row
