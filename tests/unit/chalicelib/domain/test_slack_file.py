"""Who may answer in Slack, as the file says it, with every mistake at its line."""

from __future__ import annotations

import pytest

from chalicelib.contracts.gateway import Document, SlackPeople
from chalicelib.contracts.retention import Keeping, Retention
from chalicelib.domain.plan import changes
from chalicelib.domain.slack_file import parse

GOOD = "version: 1\ntargets: {}\nslack:\n  team: T0123ABCD\n  users:\n    U1: bob@example.com\n    W2: dora@example.com\n"


def test_a_workspace_and_its_people() -> None:
    found, problems = parse(GOOD.replace("U1", "U0123").replace("W2", "W0456"))
    assert problems == []
    assert found == SlackPeople(team="T0123ABCD", users={"U0123": "bob@example.com", "W0456": "dora@example.com"})


@pytest.mark.parametrize("text", ["version: 1\ntargets: {}\n", "", "[]", "a: [", "slak: {}"])
def test_without_it_nobody_answers_there(text: str) -> None:
    assert parse(text) == (None, [])


@pytest.mark.parametrize(
    ("part", "line", "words"),
    [
        ("slack: []", 1, "must be a mapping"),
        ("slack: {}", 1, "slack needs team"),
        ("slack: {team: t1}", 1, "slack needs team"),
        ("slack: {team: T0123ABCD, user: {}}", 1, "no setting 'user'"),
        ("slack:\n  team: T0123ABCD\n  users: [U0123]", 3, "must be a mapping"),
        ("slack:\n  team: T0123ABCD\n  users:\n    bob: bob@example.com", 4, "not a Slack user"),
        ("slack:\n  team: T0123ABCD\n  users:\n    U0123: 7", 4, "must be text"),
        ("slack:\n  team: T0123ABCD\n  users:\n    U0123: a\n    U0123: b", 5, "twice"),
        ("slack:\n  team: [T0123ABCD]", 2, "must be text"),
    ],
)
def test_a_mistake_is_told_with_its_line(part: str, line: int, words: str) -> None:
    found, problems = parse(part)
    assert found is None
    assert any(problem.line == line and words in problem.message for problem in problems), problems


def test_too_many_are_refused() -> None:
    users = "".join(f"    U{n:05d}: a\n" for n in range(2_001))
    _, problems = parse(f"slack:\n  team: T0123ABCD\n  users:\n{users}")
    assert "more than 2000" in problems[0].message


def test_a_plan_shows_who_may_answer_as_whom() -> None:
    def document(**users: str) -> Document:
        return Document(version=1, rules=[], targets=[], slack=SlackPeople(team="T1", users=users))

    none = Document(version=1, rules=[], targets=[])
    bounds = Keeping(default=Retention(days=365))
    said = [(each.sign, each.what, each.detail) for each in changes(none, document(U1="bob"), bounds)]
    assert said == [("+", "slack team T1", "the workspace"), ("+", "slack user U1", "bob")]
    said = [(each.sign, each.what, each.detail) for each in changes(document(U1="bob", U2="x"), document(U1="mallory"), bounds)]
    assert said == [("~", "slack user U1", "bob → mallory"), ("-", "slack user U2", "x")]
