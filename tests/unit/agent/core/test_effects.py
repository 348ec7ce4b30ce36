"""The two effects that demand a proof."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.effects import Repeat, Show, ToClient, ToTarget
from agent.core.masking import Clean, Masker, shown
from agent.core.policy import Decider, Permit, joined, permitted
from agent.core.units import Asked
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, make_claims, make_policy

LIST = Operation(kind="exec", text="ls", effects=frozenset({"read"}))
REMOVE = Operation(kind="exec", text="rm", effects=frozenset({"write"}))


def permit() -> Permit:
    minted = Decider(make_claims(), make_policy).decide(LIST, NOW_MS).permit
    assert minted is not None
    return minted


def test_what_was_permitted_can_be_forwarded() -> None:
    assert ToTarget(Asked(LIST, b"ls"), permit()).asked.data == b"ls"


@pytest.mark.parametrize("forged", [None, True, "permit", object.__new__(Permit)])
def test_nothing_is_forwarded_without_a_permit(forged: Any) -> None:
    with pytest.raises(PermissionError):
        ToTarget(Asked(LIST, b"ls"), forged)


def test_a_permit_for_one_operation_forwards_no_other() -> None:
    with pytest.raises(PermissionError):
        ToTarget(Asked(REMOVE, b"rm"), permit())


@pytest.mark.parametrize("forged", [b"bytes", None, object.__new__(Clean)])
def test_nothing_is_shown_unmasked(forged: Any) -> None:
    with pytest.raises(PermissionError):
        ToClient(forged)


def test_masked_bytes_can_be_shown() -> None:
    assert ToClient(Masker().mask(b"x")).clean.data == b"x"


def test_bytes_are_repeated_with_a_permit_for_them() -> None:
    carried = joined([(permit(), LIST)], b"ls")
    assert permitted(Repeat(1, "jsonl", b"line\n", carried).permit) == b"ls"
    for proof in (permit(), None, b"ls", object.__new__(Permit)):
        with pytest.raises(PermissionError):
            permitted(Repeat(1, "jsonl", b"line\n", proof).permit)  # type: ignore[arg-type]


@pytest.mark.parametrize("forged", [b"bytes", None, object.__new__(Clean)])
def test_no_unmasked_answer_is_shown(forged: Any) -> None:
    with pytest.raises(PermissionError):
        shown(Show(1, "jsonl", b"line\n", forged).clean)
    assert shown(Show(1, "jsonl", b"line\n", Masker().mask(b"x")).clean) == b"x"
