"""Every scenario has a row in every shell that has what it is about, and the documentation says how many."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.ssh.scenarios import CATEGORIES, NAMES, WITHOUT, Scenario
from tests.integration.ssh.test_guarded_corpus import SCENARIOS
from tests.integration.ssh.test_guarded_shells import CASES
from tests.integration.ssh.test_locked_corpus import SCENARIOS as LOCKED

ROWS: dict[str, list[Scenario]] = {
    "bash": SCENARIOS,
    "zsh": [each for shell, each in CASES if shell == "zsh"],
    "fish": [each for shell, each in CASES if shell == "fish"],
    "locked": LOCKED,
}
#: How many of the 63 there were at least where the guard was first tried.
LEAST = {"bash": 63, "zsh": 58, "fish": 49, "locked": 39}
HOWTO = Path(__file__).parents[3] / "docs" / "howto" / "shells.md"


def test_there_are_63() -> None:
    assert len(NAMES) == len(set(NAMES)) == 63
    assert [len(names) for names in CATEGORIES.values()][:12] == [7, 10, 5, 4, 5, 3, 3, 2, 2, 2, 3, 3]


@pytest.mark.parametrize("shell", ROWS)
def test_each_has_a_row_or_a_reason(shell: str) -> None:
    names = Counter(each.name for each in ROWS[shell])
    assert [name for name, times in names.items() if times > 1] == []
    assert set(NAMES) - set(names) == set(WITHOUT[shell])
    assert all(WITHOUT[shell].values())
    assert len(set(NAMES) & set(names)) >= LEAST[shell]
    assert all(each.lines and each.keys for each in ROWS[shell])


def test_the_table_of_the_documentation_is_so() -> None:
    table = dict(re.findall(r"^\| ([^|]+?) \| ((?:\d+ \| ){3}\d+) \|$", HOWTO.read_text(), re.M))
    for kind, names in CATEGORIES.items():
        counts = [sum(name not in WITHOUT[shell] for name in names) for shell in ROWS]
        assert table.pop(kind) == " | ".join(map(str, counts))
    assert table == {"all": " | ".join(str(63 - len(WITHOUT[shell])) for shell in ROWS)}
