"""The rows that a transcript keeps: what the client was shown, the first of it, and nothing past the limit."""

from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protocols.postgres.codec import join_copied
from agent.protocols.postgres.kept import CHARACTERS, Kept, kept_rows
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault
from tests.unit.agent.protocols.postgres.conversation import (
    BOUND,
    IDLE,
    PARSED,
    SYNC,
    Conversation,
    bind,
    columns,
    complete,
    describe,
    execute,
    parse,
    query,
    row,
)

TEXT = Field("a", 0, 0, 25, 0)
SUSPENDED = b"s\0\0\0\4"


def values(kept: Kept) -> list[list[str | None]]:
    """The rows of ``kept``, as whoever reads the transcript has them."""
    found: list[list[str | None]] = msgspec.json.decode(kept.take(kept.names)["values"])
    return found


def done(talk: Conversation) -> list[dict[str, object]]:
    return [line for line in talk.record if line["event"] == "done"]


def test_rows_are_kept_as_the_client_saw_them() -> None:
    talk = Conversation()
    talk.says(query("SELECT id, secret FROM t"))
    talk.answers(columns("id", "secret"), row(b"1", b"s3cret"), row(None, "ä\n".encode()), complete("SELECT 2"), IDLE)
    (line,) = done(talk)
    assert line["columns"] == ["id", "secret"]
    assert line["values"] == [["1", "****"], [None, "****"]]
    assert b"s3cret" not in talk.lines


def test_only_the_first_rows_are_kept_and_all_are_counted() -> None:
    talk = Conversation()
    talk.says(query("SELECT a FROM t"))
    talk.answers(columns("a"), *(row(str(number).encode()) for number in range(150)))
    talk.answers(*(row(b"later") for _ in range(150)), complete("SELECT 300"), IDLE)
    (line,) = done(talk)
    assert line["values"] == [[str(number)] for number in range(100)]
    assert line["rows"] == 300


def test_every_statement_has_its_own_rows() -> None:
    talk = Conversation()
    talk.says(query("SELECT a; SELECT b; DELETE c"))
    talk.answers(columns("a"), row(b"1"), complete("SELECT 1"), columns("b"), complete("SELECT 0"), complete("DELETE 1"), IDLE)
    assert [line.get("values") for line in done(talk)] == [[["1"]], None, None]


def test_a_portal_that_is_read_bit_by_bit_has_one_limit() -> None:
    talk = Conversation()
    talk.says(parse("", "SELECT a FROM t"), bind("", ""), describe("P"), execute("", 60), execute("", 60), execute("", 60), SYNC)
    rows = [row(b"x") for _ in range(60)]
    talk.answers(PARSED, BOUND, columns("a"), *rows, SUSPENDED, *rows, SUSPENDED, *rows, SUSPENDED, IDLE)
    assert [len(line.get("values", [])) for line in done(talk)] == [60, 40, 0]  # type: ignore[arg-type]


def test_binary_values_are_read_by_their_type() -> None:
    kept = Kept(5)
    fields = (Field("n", 0, 0, 23, 1), Field("x", 0, 0, 9999, 1), TEXT)
    kept.add(row(struct.pack(">i", -7), b"\xff", b"t"), fields)
    assert kept.names == ["n", "x", "a"]
    assert values(kept) == [["-7", "\\xff (1 bytes, type 9999)", "t"]]


def test_a_name_that_holds_a_value_is_masked() -> None:
    talk = Conversation()
    talk.says(query('SELECT 1 AS "it is hunter2"'))
    talk.answers(columns("it is hunter2"), row(b"1"), complete("SELECT 1"), IDLE)
    assert done(talk)[0]["columns"] == ["it is ****"]


def test_what_is_kept_is_bounded_by_its_size() -> None:
    kept = Kept(1_000)
    for _ in range(1_000):
        kept.add(row(b"x" * 1_000), (TEXT,))
    found = values(kept)
    assert CHARACTERS - 2_100 < sum(len(value) for (value,) in found) <= CHARACTERS
    assert not kept.room


def test_a_long_value_is_cut_and_does_not_end_the_rest() -> None:
    kept = Kept(5)
    kept.add(row(b"x" * 200_000) + row(b"y"), (TEXT,))
    (first,), (second,) = values(kept)
    assert first is not None
    assert first.startswith("xxx")
    assert "200000 bytes" in first
    assert len(first) < 500
    assert second == "y"


def test_a_target_may_keep_none() -> None:
    assert kept_rows({}) == 100
    assert not Kept(kept_rows({"recorded_rows": 0})).room


@pytest.mark.parametrize("wrong", [-1, 1_001, True, "7"])
def test_a_limit_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(Fault) as caught:
        kept_rows({"recorded_rows": wrong})
    assert caught.value.code == "config_invalid"


def test_the_first_lines_of_a_copy_are_kept() -> None:
    kept = Kept(2)
    kept.copied(join_copied([b"1\tann\n", b"2\t\\N\n", b"3\tc\n"]), binary=False)
    assert kept.take([]) == {"lines": ["1\tann", "2\t\\N"]}
    binary = Kept(2)
    binary.copied(join_copied([b"\x00\x01"]), binary=True)
    assert binary.take([]) == {"lines": ["\\x0001"]}


def test_rows_of_a_copy_in_binary_are_read_by_their_types() -> None:
    head, mark = b"PGCOPY\n\xff\r\n\x00" + bytes(8), b"\xff\xff"
    one = b"\x00\x02" + struct.pack(">ii", 4, 7) + struct.pack(">i", 3) + b"ann"
    two = b"\x00\x02" + struct.pack(">ii", 4, -1) + struct.pack(">i", -1)
    kept = Kept(9)
    kept.copied(join_copied([head + one, two, two[:-1], b"\x00\x03", head, mark]), binary=True, types=(23, 25))
    assert kept.take([])["lines"] == ["7\tann", "-1\t\\N", f"\\x{two[:-1].hex()}", "\\x0003"]
    kept = Kept(9)
    kept.copied(join_copied([b"\x00\x01" + bytes(4)]), binary=True, types=(25,))
    assert kept.take([])["lines"] == [""]


VALUES = st.one_of(
    st.none(),
    st.sampled_from(
        [b"", b"plain", b'"', b"\\", b"\0", b"\1", b"\5", b"\n", b"\x1f", b"\x7f", b"null", b'"\5"', b"<>&/'", b"x" * 1_025]
    ),
    st.text(max_size=8).map(str.encode),
    st.binary(max_size=4),
)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(0, 40), st.lists(st.tuples(st.integers(0, 159), VALUES), max_size=3))
def test_many_rows_are_kept_as_each_would_be(columns: int, many: int, odd: list[tuple[int, bytes | None]]) -> None:
    cells: list[bytes | None] = [b"v%d" % at for at in range(many * columns)]
    for place, value in odd:
        if place < len(cells):
            cells[place] = value
    rows = [row(*cells[at : at + columns]) for at in range(0, len(cells), columns)]
    at_once, one_by_one = Kept(30), Kept(30)
    at_once.add(b"".join(rows), (TEXT,) * columns)
    for each in rows:
        if one_by_one.room:
            one_by_one.add(each, (TEXT,) * columns)
    assert at_once.room == one_by_one.room
    assert at_once.take(["a"] * columns) == one_by_one.take(["a"] * columns)


def test_every_byte_is_kept_among_many_rows_as_it_is_alone() -> None:
    rows = [row(b"v%d" % at) for at in range(20)]
    for byte in range(256):
        odd = [*rows, row(b"a" + bytes([byte]))]
        at_once, one_by_one = Kept(30), Kept(30)
        at_once.add(b"".join(odd), (TEXT,))
        for each in odd:
            one_by_one.add(each, (TEXT,))
        assert at_once.take(["a"]) == one_by_one.take(["a"])


def test_short_texts_and_what_is_absent_are_written_without_being_read() -> None:
    kept = Kept(100)
    rows = [row(None if at % 3 else b"a%d" % at, b"it's", None) for at in range(20)]
    kept.add(b"".join(rows), (TEXT,) * 3)
    assert values(kept) == [[None if at % 3 else f"a{at}", "it's", None] for at in range(20)]
