"""What bash reads as data and dash as commands."""

import pytest

from agent.core.shell import classify
from agent.core.shell.dialects import string_extent_differs
from agent.core.shell.dialects import test_hides_command as hides_command


@pytest.mark.parametrize(
    "raw",
    ["[[ a || rm x ]]", "[[ -f a || rm x ]]", "[[ x =~ a|rm ]]", "[[ a || (rm x) || b ]]", "[[ a\nrm x ]]", "[[ 'x(' || rm x ]]"],
)
def test_a_test_that_hides_a_command(raw: str) -> None:
    assert hides_command(raw)
    assert "unknown" in classify(raw).effects


@pytest.mark.parametrize("raw", ["[[ a == b ]]", "[[ -f a && -d b ]]", "[[ -f a || ! -d b ]]", "[[ $x =~ ^(a|b)$ ]]"])
def test_a_test_that_does_not(raw: str) -> None:
    assert not hides_command(raw)
    assert "unknown" not in classify(raw).effects


@pytest.mark.parametrize(
    ("raw", "differs"), [("$'a\\'b'", True), ("$'ab'", False), ("'a\\'", True), ("'a\\\\'", False), ("'a'", False)]
)
def test_strings_that_end_elsewhere(raw: str, differs: bool) -> None:
    assert string_extent_differs(raw) is differs


@pytest.mark.parametrize(
    ("line", "unknown"), [("((rm -r - x))", True), ("((n > 5))", True), ("n=6; ((n > 5))", False), ("((1 + 1))", False)]
)
def test_arithmetic_commands_are_subshells_to_dash(line: str, unknown: bool) -> None:
    assert ("unknown" in classify(line).effects) is unknown
