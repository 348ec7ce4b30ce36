"""COPY in binary: rows of typed values, cut anywhere, and nothing else."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.binary_copies import BinaryCopy
from agent.core.masking.classes import MaskFault
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import Column

DETECTORS = Detectors()
HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
MARK = b"\xff\xff"
INT4, INT8, TEXT, DATE, NUMBERS, JSONB, UUID = 23, 20, 25, 1082, 1007, 3802, 2950
COLUMNS = [Column(INT4), Column(TEXT, 0, "email"), Column(TEXT), Column(DATE, 0, "birthdate"), Column(INT8)]
VALUES = st.tuples(
    st.sampled_from([None, b"\0\0\0\1", b"\xff\xff\xff\xff"]),
    st.sampled_from([None, b"", b"alice@example.com", b"nobody", b"\xff\xff\0\5"]),
    st.sampled_from([None, b"", b"plain", b"see bob@example.com", b"123-45-6789", b"d\0\0\0\6\xff\xff"]),
    st.sampled_from([None, b"\0\0\1\1"]),
    st.sampled_from([None, struct.pack(">q", 7), struct.pack(">q", 4111111111111111)]),
)


def row(*values: bytes | None) -> bytes:
    packed = [struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values]
    return struct.pack(">H", len(values)) + b"".join(packed)


def message(body: bytes) -> bytes:
    return b"d" + struct.pack(">I", len(body) + 4) + body


def framed(*bodies: bytes) -> tuple[bytes, np.ndarray]:
    sizes = np.array([len(body) + 5 for body in bodies], np.int64)
    return b"".join(map(message, bodies)), np.cumsum(sizes) - sizes


def masker(columns: list[Column] = COLUMNS, reveal: frozenset[str] = frozenset()) -> BinaryCopy:
    return BinaryCopy(columns, DETECTORS, reveal)


def fed(data: bytes, size: int, columns: list[Column] = COLUMNS) -> bytes:
    one = masker(columns)
    return b"".join(one.feed(data[at : at + size]) for at in range(0, len(data), size)) + one.end()


def shown(*values: bytes | None) -> bytes:
    """What masking has to show of a row of COLUMNS, said in another way."""
    number, mail, words, born, big = values
    mail = None if mail is None else b"a***@***.com" if mail.startswith(b"alice@") else b"****"
    words = words and words.replace(b"bob@example.com", b"b***@***.com").replace(b"123-45-6789", b"***-**-****")
    born = None if born is None else bytes(4)
    big = bytes(8) if big == struct.pack(">q", 4111111111111111) else big
    return row(number, mail, words, born, big)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=12), st.integers(1, 60))
def test_every_cut_shows_the_same(rows: list[tuple[bytes | None, ...]], size: int) -> None:
    data = HEAD + b"".join(row(*each) for each in rows) + MARK
    assert fed(data, size) == HEAD + b"".join(shown(*each) for each in rows) + MARK


def test_every_byte_for_itself() -> None:
    rows = [(b"\0\0\0\1", b"alice@example.com", b"see bob@example.com", b"\0\0\1\1", bytes(8)), (None, None, b"", None, None)]
    data = HEAD + b"".join(row(*each) for each in rows) + MARK
    for cut in range(len(data) + 1):
        one = masker()
        assert one.feed(data[:cut]) + one.feed(data[cut:]) + one.end() == HEAD + b"".join(shown(*each) for each in rows) + MARK


@settings(deadline=None)
@given(st.lists(VALUES, max_size=40), st.integers(1, 20))
def test_messages_stay_rows(rows: list[tuple[bytes | None, ...]], batch: int) -> None:
    first, *others = [row(*each) for each in rows] or [b""]
    bodies = [HEAD + first, *others, MARK]
    wanted = [shown(*each) for each in rows] or [b""]
    wanted = [message(HEAD + wanted[0]), *map(message, wanted[1:]), message(MARK)]
    one = masker()
    got = b"".join(one.messages(*framed(*bodies[at : at + batch])) for at in range(0, len(bodies), batch)) + one.end()
    assert got == b"".join(wanted)
    hits = {"email": sum(bool(each[1] is not None) + (b"bob@" in (each[2] or b"")) for each in rows)}
    assert one.report().hits.get("email", 0) == hits["email"]


def test_rows_over_several_messages_and_several_in_one() -> None:
    rows = [row(struct.pack(">i", at), b"alice@example.com", b"plain", None, None) for at in range(20)]
    data = HEAD + b"".join(rows) + MARK
    for size in (5, 33, 200):
        one = masker()
        raw = one.messages(*framed(*[data[at : at + size] for at in range(0, len(data), size)]))
        bodies, at = b"", 0
        while at < len(raw):
            end = at + 1 + int.from_bytes(raw[at + 1 : at + 5])
            bodies, at = bodies + raw[at + 5 : end], end
        assert bodies + one.end() == fed(data, 1000)
        assert b"alice" not in bodies


def test_nothing_is_copied_where_nothing_changes() -> None:
    columns = [Column(INT4), Column(TEXT)]
    one = masker(columns)
    assert one.feed(HEAD) == HEAD
    raw, starts = framed(*[row(struct.pack(">i", at), b"plain words") for at in range(50)])
    assert one.messages(raw, starts) is raw


def test_what_is_revealed_is_shown() -> None:
    one = masker(reveal=frozenset({"email"}))
    data = HEAD + row(None, b"alice@example.com", b"123-45-6789", None, None) + MARK
    assert one.feed(data) == HEAD + row(None, b"alice@example.com", b"***-**-****", None, None) + MARK


NUMBER = struct.pack(">i", 1)
ARRAY = struct.pack(">iiIii", 1, 0, INT4, 1, 1) + struct.pack(">i", 4) + NUMBER


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        HEAD[:-1],
        b"PGCOPX" + HEAD[6:] + MARK,
        HEAD[:11] + b"\x00\x01\x00\x00" + bytes(4) + MARK,
        HEAD[:11] + b"\x80\x00\x00\x00" + bytes(4) + MARK,
        HEAD[:11] + bytes(4) + b"\x00\x00\x00\x05alice" + MARK,
        HEAD[:11] + bytes(4) + b"\xff\xff\xff\xff" + MARK,
        HEAD + b"\x00\x02",
        HEAD + b"\xff\xfe",
        HEAD + MARK + b"x",
        HEAD + MARK + MARK,
        HEAD + row(NUMBER, b"ok", ARRAY),
        HEAD + row(NUMBER, b"ok", ARRAY)[:-1] + MARK,
        HEAD + row(NUMBER, b"ok") + MARK,
        HEAD + row(NUMBER, b"ok", ARRAY, b"") + MARK,
        HEAD + b"\x00\x03\xff\xff\xff\xfe",
        HEAD + b"\x00\x03\x7f\xff\xff\xff",
        HEAD + row(b"mail", b"ok", ARRAY)[:6] + b"m" + MARK,
        HEAD + row(b"alice@example.com", b"ok", ARRAY) + MARK,
        HEAD + row(NUMBER, b"ok", b"alice@example.com") + MARK,
        HEAD + row(NUMBER, b"ok", b"short") + MARK,
        HEAD + row(NUMBER, b"ok", ARRAY.replace(struct.pack(">I", INT4), struct.pack(">I", TEXT))) + MARK,
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_malformed_data_is_a_fault(data: bytes, size: int) -> None:
    with pytest.raises(MaskFault):
        fed(data, size, [Column(INT4), Column(TEXT), Column(NUMBERS)])


@pytest.mark.parametrize("bad", [row(b"alice@example.com", b"ok"), row(NUMBER, b"ok", b"more"), MARK, row(NUMBER, b"ok") + b"x"])
@pytest.mark.parametrize("place", [0, 7, 19])
def test_so_is_it_in_the_middle_of_many_messages(bad: bytes, place: int) -> None:
    bodies = [row(NUMBER, b"fine") for _ in range(20)]
    bodies[place] = bad
    one = masker([Column(INT4), Column(TEXT)])
    one.feed(HEAD)

    def all_of_it() -> None:
        one.messages(*framed(*bodies))
        one.feed(row(NUMBER, b"fine") + MARK)
        one.end()

    with pytest.raises(MaskFault):
        all_of_it()


def test_a_length_that_cannot_be_is_not_waited_for() -> None:
    one = masker([Column(TEXT)])
    with pytest.raises(MaskFault):
        one.feed(HEAD + b"\x00\x01" + struct.pack(">i", 1 << 30))


@settings(deadline=None)
@given(st.binary(max_size=120), st.integers(1, 20))
def test_garbage_is_a_fault_and_nothing_else(data: bytes, size: int) -> None:
    for begin in (b"", HEAD):
        try:
            fed(begin + data, size)
        except MaskFault:
            continue
