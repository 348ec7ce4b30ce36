"""getopt_long as sudo, env and timeout use it."""

import pytest

from agent.core.shell.options import Spec, has_option, leading, operands
from agent.core.shell.words import UNKNOWN, Word

SPEC = Spec("un", "bk", frozenset({"user"}), frozenset({"login"}))


def words(line: str) -> list[Word]:
    return [Word(None, splits=True) if part == "?" else Word(part, part) for part in line.split()]


@pytest.mark.parametrize(
    ("line", "rest", "sure"),
    [
        ("rm x", "rm x", True),
        ("-u root rm", "rm", True),
        ("-uroot rm", "rm", True),
        ("-bk rm", "rm", True),
        ("-bu root rm", "rm", True),
        ("-- -u", "-u", True),
        ("--user root rm", "rm", True),
        ("--user=root rm", "rm", True),
        ("--login rm", "rm", True),
        ("- rm", "- rm", True),
        ("--us root rm", "root rm", False),
        ("-z rm", "rm", False),
        ("? rm", "? rm", False),
        ("-u ? rm", "rm", False),
        ("", "", True),
    ],
)
def test_leading_options(line: str, rest: str, sure: bool) -> None:
    parsed = leading(words(line), SPEC)
    assert (parsed.rest, parsed.sure) == (words(rest), sure)


def test_values_are_kept() -> None:
    parsed = leading(words("-u root --user=bob -b rm"), SPEC)
    assert [value.text for value in parsed.values("u", "user")] == ["root", "bob"]
    assert parsed.has("b")
    assert not parsed.has("k")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-e x", True),
        ("-ae x", True),
        ("x -e", True),
        ("--exec=x", True),
        ("--ex x", True),
        ("-a x", False),
        ("--all", False),
        ("-- -e", False),
        ("--", False),
    ],
)
def test_an_option_anywhere_and_abbreviated(line: str, expected: bool) -> None:
    assert has_option(words(line), "e", ("exec",)) is expected


def test_operands_err_towards_naming() -> None:
    assert [word.text for word in operands([*words("-a b - -- -c"), UNKNOWN])] == ["b", "-", "-c", None]
