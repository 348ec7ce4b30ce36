"""Compiled policies are cached by version, and nothing decides in place of a missing one."""

from __future__ import annotations

import pytest

from chalicelib.adapters.policies import CompiledPolicies
from chalicelib.contracts.policy import Document, Rule
from tests.fakes.dynamodb import FakeStore


def store(**documents: Document) -> FakeStore:
    made = FakeStore()
    made.documents = {int(name[1:]): document for name, document in documents.items()}
    return made


def test_before_the_first_version_nothing_is_permitted() -> None:
    policy = CompiledPolicies(store()).current()
    assert (policy.version, policy.document.targets) == (0, [])


def test_a_version_is_compiled_once_and_the_next_one_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store(v1=Document(version=1, rules=[], targets=[]))
    policies = CompiledPolicies(rows)
    first = policies.current()
    monkeypatch.setattr(rows, "config", lambda version: pytest.fail("read again"))
    assert policies.current() is first
    monkeypatch.undo()
    rows.documents[2] = Document(version=2, rules=[], targets=[])
    assert policies.current().version == 2


def test_a_version_that_is_not_there_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store(v1=Document(version=1, rules=[], targets=[]))
    policies = CompiledPolicies(rows)
    policies.current()
    monkeypatch.setattr(rows, "config_version", lambda: 2)
    with pytest.raises(RuntimeError):
        policies.current()
    monkeypatch.setattr(rows, "config", lambda version: rows.documents[1])
    with pytest.raises(RuntimeError):
        policies.current()


def test_a_version_that_does_not_compile_decides_nothing() -> None:
    rows = store(v1=Document(version=1, rules=[Rule("a", "f", 1, "permit(oops);")], targets=[]))
    with pytest.raises(ValueError):
        CompiledPolicies(rows).current()
