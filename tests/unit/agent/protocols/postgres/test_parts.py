"""Names, values, cancelling, and arrays: the small rooms."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.postgres.cancels import Cancellable, Cancels
from agent.protocols.postgres.catalogue import read_array
from agent.protocols.postgres.messages import Bind, Malformed
from agent.protocols.postgres.names import NAMES_LIMIT, Names, Wait
from agent.protocols.postgres.values import arguments
from tests.fakes.agent_runtime import make_target


def bound(*values: bytes | None, formats: tuple[int, ...] = ()) -> Bind:
    return Bind("", "", formats, values, ())


def test_a_name_is_certain_in_its_segment_and_uncertain_behind_it() -> None:
    names: Names[int] = Names()
    names.change("s", 1)
    assert names.get("s") == 1
    segment = names.end_segment()
    with pytest.raises(Wait):
        names.get("s")
    names.confirm("s", 1)
    names.settle(segment)
    assert names.get("s") == 1


def test_a_name_that_two_segments_change_is_uncertain_until_both_are_answered() -> None:
    names: Names[int] = Names()
    segments = []
    for value in (1, 2):
        names.change("s", value)
        segments.append(names.end_segment())
    names.settle(segments[0])
    with pytest.raises(Wait):
        names.get("s")
    names.settle(segments[1])
    assert names.get("s") is None


def test_names_past_the_limit_stay_unknown() -> None:
    names: Names[int] = Names()
    for number in range(NAMES_LIMIT + 1):
        names.confirm(str(number), number)
    assert names.get(str(NAMES_LIMIT)) is None
    assert names.get("0") == 0


def test_values_are_shown_by_their_type() -> None:
    bind = bound(struct.pack(">i", 7), b"\1", b"text", None, struct.pack(">d", 1.5), b"\xff", formats=(1, 1, 0, 0, 1, 1))
    assert arguments(bind, (23, 16, 25, 25, 701, 99)) == ("7", "t", "text", "NULL", "1.5", "\\xff (1 bytes, type 99)")


def test_a_text_that_reads_null_is_not_a_missing_value() -> None:
    assert arguments(bound(b"NULL", None), ()) == ("'NULL'", "NULL")


def test_a_binary_value_of_the_wrong_size_is_shown_as_it_is() -> None:
    assert arguments(bound(b"\1", formats=(1,)), (23,)) == ("\\x01 (not readable as type 23)",)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=3000)), max_size=5), st.sampled_from([0, 1]))
def test_values_are_short_and_tell_apart(values: list[bytes | None], form: int) -> None:
    shown = arguments(bound(*values, formats=(form,)), (25,) * len(values))
    assert len(shown) == len(values)
    assert all(len(each) < 8_000 for each in shown)
    changed = arguments(bound(*[None if each is None else each + b"x" for each in values], formats=(form,)), (25,) * len(values))
    assert (changed == shown) == all(each is None for each in values)


def test_very_many_values_become_their_hash() -> None:
    one, other = (arguments(bound(*[b"x" * 1000] * 99, last), ()) for last in (b"a", b"b"))
    assert len(one) == 1
    assert one != other


def test_only_the_person_and_the_secret_cancel() -> None:
    cancels = Cancels()
    entry = Cancellable(b"four", "ann", make_target(name="shop"), 7, b"real", None)
    # Another server's backend has the same number.
    other = Cancellable(b"5555", "ann", make_target(name="web"), 7, b"real", None)
    cancels.add(entry)
    cancels.add(other)
    assert cancels.find(7, b"5555", "ann", "web") is other
    assert cancels.find(7, b"four", "ann", "shop") is entry
    for wrong in (
        (8, b"four", "ann", "shop"),
        (7, b"five", "ann", "shop"),
        (7, b"four", "bob", "shop"),
        (7, b"four", "ann", "web"),
    ):
        assert cancels.find(*wrong) is None
    cancels.remove(entry)
    assert cancels.find(7, b"four", "ann", "shop") is None
    assert cancels.find(7, b"5555", "ann", "web") is other
    cancels.remove(other)
    assert cancels.find(7, b"5555", "ann", "web") is None


async def test_a_key_alone_cancels_what_came_natively_and_nothing_else() -> None:
    cancels = Cancels()
    cancelled: list[int] = []

    async def cancel(pid: int) -> None:
        cancelled.append(pid)

    target = make_target(name="shop")
    cancels.add(Cancellable(b"four", "ann", target, 7, b"real", cancel))
    cancels.add(Cancellable(b"four", "ann", target, 8, b"real", None))
    for pid, secret in ((7, b"five"), (7, b""), (7, b"fourfour"), (8, b"four"), (9, b"four"), (7, b"real"), (7, b"four")):
        await cancels.native(pid, secret)
    assert cancelled == [7]


@pytest.mark.parametrize(("text", "elements"), [
    ("{}", []),
    ("{a,b}", ["a", "b"]),
    ('{"a,b","c\\"d"}', ["a,b", 'c"d']),
    ('{pg_catalog,"$user"}', ["pg_catalog", "$user"]),
])  # fmt: skip
def test_arrays(text: str, elements: list[str]) -> None:
    assert read_array(text) == elements


@pytest.mark.parametrize("text", ["", "{", "a,b"])
def test_what_is_no_array(text: str) -> None:
    with pytest.raises(Malformed):
        read_array(text)
