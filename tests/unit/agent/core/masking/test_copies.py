"""COPY TO STDOUT: three formats, cut anywhere."""

from __future__ import annotations

import csv
import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.classes import MaskFault
from agent.core.masking.copies import CopyMasker
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import Column

DETECTORS = Detectors()
TEXT = [Column(23), Column(25, 0, "email"), Column(25)]


def fed(masker: CopyMasker, data: bytes, size: int) -> bytes:
    return b"".join(masker.feed(data[at : at + size]) for at in range(0, len(data), size)) + masker.end()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_text(size: int) -> None:
    data = b"1\talice@example.com\tplain\\ttab\n2\t\\N\tsee bob@example.com\\nnext\n3\tx\\\\y\t\\N\n\\.\n"
    want = b"1\ta***@***.com\tplain\\ttab\n2\t\\N\tsee b***@***.com\\nnext\n3\t****\t\\N\n\\.\n"
    masker = CopyMasker(TEXT, DETECTORS)
    assert fed(masker, data, size) == want
    assert masker.report().hits == {"email": 3}


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_csv(size: int) -> None:
    data = b'1,alice@example.com,"a, ""b""\nsecond line"\n2,,"see bob@example.com, ok"\n3,"x","y"\n'
    want = b'1,"a***@***.com","a, ""b""\nsecond line"\n2,,"see b***@***.com, ok"\n3,"****","y"\n'
    assert fed(CopyMasker(TEXT, DETECTORS, form="csv"), data, size) == want


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_binary(size: int) -> None:
    def row(*values: bytes | None) -> bytes:
        packed = (struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value for value in values)
        return struct.pack(">H", len(values)) + b"".join(packed)

    head = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
    one, two = struct.pack(">i", 1), struct.pack(">i", 2)
    data = head + row(one, b"alice@example.com", b"123-45-6789") + row(two, None, b"ok") + b"\xff\xff"
    want = head + row(one, b"a***@***.com", b"***-**-****") + row(two, None, b"ok") + b"\xff\xff"
    assert fed(CopyMasker(TEXT, DETECTORS, form="binary"), data, size) == want


def test_rows_without_tags_or_hits_are_copied() -> None:
    masker = CopyMasker([Column(25), Column(25)], DETECTORS)
    assert masker.feed(b"a\tb\nc\td\ne") == b"a\tb\nc\td\n"
    assert masker.feed(b"\tf\n") == b"e\tf\n"
    assert masker.feed(b"x\talice@example.com\n") == b"x\ta***@***.com\n"


def test_bytea_and_json_are_read() -> None:
    masker = CopyMasker([Column(17), Column(3802)], DETECTORS)
    data = b"\\\\x" + b"alice@b.co".hex().encode() + b'\t{"a": "x\\\\nalice@b.co"}\n'
    assert masker.feed(data) == b"\\\\x" + b"a***@***.co".hex().encode() + b'\t{"a": "x\\\\na***@***.co"}\n'


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("text", b"1\t2\n"),
        ("text", b"1\t2\t3\t4\n"),
        ("csv", b"1,2\n"),
        ("csv", b'1,a"b"c"\n,2\n'),
        ("binary", b"PGCOPX"),
        ("binary", b"PGCOPY\n\xff\r\n\x00" + bytes(4) + b"\x7f\xff\xff\xff"),
        ("binary", b"PGCOPY\n\xff\r\n\x00" + bytes(8) + b"\x00\x02"),
        ("binary", b"PGCOPY\n\xff\r\n\x00" + bytes(8) + b"\x00\x03\x7f\xff\xff\xff"),
        ("binary", b"PGCOPY\n\xff\r\n\x00" + bytes(8) + b"\x00\x03\xff\xff\xff\xfe"),
        ("binary", b"PGCOPY\n\xff\r\n\x00" + bytes(8) + b"\xff\xffx"),
        ("binary", b"PGCOPY\n\xff\r\n\x00" + bytes(8) + b"\x00\x03\x00"),
    ],
)
def test_malformed_data_is_a_fault(form: str, data: bytes) -> None:
    masker = CopyMasker(TEXT, DETECTORS, form=form)  # type: ignore[arg-type]
    with pytest.raises(MaskFault):
        fed(masker, data, len(data))


def test_a_delimiter_is_one_byte() -> None:
    assert CopyMasker(TEXT, DETECTORS, delimiter=b"|").feed(b"1|a@b.co|x\\|y\n") == b"1|a***@***.co|x\\|y\n"
    with pytest.raises(MaskFault):
        CopyMasker(TEXT, DETECTORS, delimiter=b"||")


CELLS = st.sampled_from(
    ["", "plain", "a,b", 'say "x"', "two\nlines", "alice@example.com", "see bob@example.com", "x\r\ny", "\\N", "größe"]
)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=6), st.integers(1, 40))
def test_csv_agrees_with_another_reader(rows: list[tuple[str, str, str]], size: int) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    shown = fed(CopyMasker([Column(25)] * 3, DETECTORS, form="csv"), written.getvalue().encode(), size)
    read = list(csv.reader(io.StringIO(shown.decode(), newline="")))
    masked = [
        [cell.replace("alice@example.com", "a***@***.com").replace("bob@example.com", "b***@***.com") for cell in row]
        for row in rows
    ]
    assert read == masked


@settings(deadline=None)
@given(st.sampled_from(["text", "csv", "binary"]), st.binary(max_size=80), st.integers(1, 10))
def test_garbage_is_a_fault_and_nothing_else(form: str, data: bytes, size: int) -> None:
    try:
        fed(CopyMasker(TEXT, DETECTORS, form=form), data, size)  # type: ignore[arg-type]
    except MaskFault:
        return


_FIELDS = st.sampled_from(
    [b"bob@example.com", b"123-45-6789", b"\\N", b"plain", b"a\\tb", b"", b"4111 1111 1111 1111", b"\\\\", b"back\\\\N", b"x\r"]
)


@given(st.lists(st.tuples(_FIELDS, _FIELDS, _FIELDS), min_size=1, max_size=12), st.booleans())
def test_rows_masked_at_once_are_masked_as_one_by_one(rows: list[tuple[bytes, ...]], ends: bool) -> None:
    data = b"\n".join(b"\t".join(row) for row in rows) + (b"\n" if ends else b"")
    columns = [Column(25, 0, "email"), Column(25), Column(25, 0, "ssn")]
    quick, slow = (CopyMasker(columns, Detectors()) for _ in range(2))
    assert quick._quick
    slow._quick = False
    assert quick.feed(data) + quick.end() == slow.feed(data) + slow.end()
    assert quick.report() == slow.report()
