from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.operation import Alike, Operation

READ = frozenset({"read"})


@given(st.text(), st.text(), st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_two_operations_share_a_digest_only_if_they_are_the_same(a: str, b: str, args: list[str], other: list[str]) -> None:
    one = Operation(kind="exec", text=a, effects=READ, arguments=tuple(args))
    two = Operation(kind="exec", text=b, effects=READ, arguments=tuple(other))
    assert (one.digest() == two.digest()) == (a == b and args == other)


def test_a_boundary_between_arguments_matters() -> None:
    one = Operation(kind="q", text="x", effects=READ, arguments=("a", "bc"))
    two = Operation(kind="q", text="x", effects=READ, arguments=("ab", "c"))
    assert one.digest() != two.digest()


def test_the_environment_is_part_of_what_is_approved_but_its_order_is_not() -> None:
    pairs = (("A", "1"), ("B", "2"))
    one = Operation(kind="q", text="x", effects=READ, environment=pairs)
    assert one.digest() == Operation(kind="q", text="x", effects=READ, environment=pairs[::-1]).digest()
    assert one.digest() != Operation(kind="q", text="x", effects=READ).digest()


@pytest.mark.parametrize(
    "wrong", [{"effects": frozenset()}, {"effects": frozenset({"launch"})}, {"action": "connect", "effects": READ}]
)
def test_an_operation_without_a_known_effect_cannot_exist(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Operation(kind="exec", text="x", **wrong)  # type: ignore[arg-type]


@given(st.text(), st.lists(st.text()), st.lists(st.tuples(st.text(), st.text())), st.sampled_from(["run", "transfer"]))
def test_digests_of_operations_that_are_alike(text: str, args: list[str], pairs: list[tuple[str, str]], action: str) -> None:
    one = Operation(action=action, kind="query", text="other", effects=frozenset({"read"}), environment=tuple(pairs))
    same = msgspec.structs.replace(one, text=text, arguments=tuple(args))
    encoded = msgspec.json.encode
    assert Alike(one).digest(encoded(text), encoded(args)) == same.digest()
