"""Arrays, records and JSON are rewritten in place, and hostile ones are faults before anything is allocated."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.classes import MaskFault
from agent.core.masking.containers import array_binary, array_text, json_text, record_binary, record_text


def starred(value: bytes) -> bytes:
    return b"*" if value == b"x" else value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"{}", b"{}"),
        (b"{x,y,NULL,null}", b'{"*",y,NULL,null}'),
        (b'{"x","NULL","a\\"b"}', b'{"*","NULL","a\\"b"}'),
        (b"{{x},{y}}", b'{{"*"},{y}}'),
        (b"[0:1]={x,y}", b'[0:1]={"*",y}'),
        (b"[-1:0][2:2]={{x},{y}}", b'[-1:0][2:2]={{"*"},{y}}'),
    ],
)
def test_text_arrays(value: bytes, shown: bytes) -> None:
    assert array_text(value, starred) == shown


@pytest.mark.parametrize(
    "value", [b"", b"x", b"{", b"}", b"{x", b"{x}}", b"{x}y", b'{"x}', b"{" * 7 + b"}" * 7, b"[0:1]=x", b"{}{}", b"1{x}"]
)
def test_what_is_no_array_is_a_fault(value: bytes) -> None:
    with pytest.raises(MaskFault):
        array_text(value, starred)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"()", b"()"),
        (b"(x,,y)", b'("*",,y)'),
        (b'("a ""b""",x)', b'("a ""b""","*")'),
        (b'(x,"{""x"",y}")', b'("*","{""x"",y}")'),
    ],
)
def test_text_records(value: bytes, shown: bytes) -> None:
    assert record_text(value, starred) == shown


@pytest.mark.parametrize("value", [b"", b"(", b"x", b"(x", b'("x)', b'(x"y)', b"((x))"])
def test_what_is_no_record_is_a_fault(value: bytes) -> None:
    with pytest.raises(MaskFault):
        record_text(value, starred)


def packed(*items: bytes | None) -> bytes:
    return b"".join(struct.pack(">i", -1) if item is None else struct.pack(">i", len(item)) + item for item in items)


def test_binary_arrays_and_records() -> None:
    head = struct.pack(">iiI", 1, 1, 25) + struct.pack(">ii", 3, 1)
    assert array_binary(head + packed(b"x", None, b"y"), lambda _, item: starred(item)) == head + packed(b"*", None, b"y")
    empty = struct.pack(">iiI", 0, 0, 25)
    assert array_binary(empty, lambda _, item: item) == empty
    without = struct.pack(">iiI", 1, 0, 25) + struct.pack(">ii", 1, 1) + packed(b"x")
    assert array_binary(without, lambda *_: None) == struct.pack(">iiI", 1, 1, 25) + struct.pack(">ii", 1, 1) + packed(None)
    record = struct.pack(">iI", 1, 25) + packed(b"x")
    assert record_binary(record, lambda _, item: starred(item)) == struct.pack(">iI", 1, 25) + packed(b"*")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        struct.pack(">iiI", 7, 0, 25) + bytes(56),
        struct.pack(">iiI", -1, 0, 25),
        struct.pack(">iiI", 1, 2, 25) + bytes(8),
        struct.pack(">iiIii", 1, 0, 25, 2**31 - 1, 1),
        struct.pack(">iiIiiii", 2, 0, 25, 65536, 1, 65536, 1),
        struct.pack(">iiIii", 1, 0, 25, -1, 1),
        struct.pack(">iiIiii", 1, 0, 25, 1, 1, 2**31 - 1),
        struct.pack(">iiIiii", 1, 0, 25, 1, 1, -2),
        struct.pack(">iiIii", 1, 0, 25, 0, 1) + b"x",
    ],
)
def test_hostile_binary_arrays(value: bytes) -> None:
    with pytest.raises(MaskFault):
        array_binary(value, lambda _, item: item)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x00\x00",
        struct.pack(">i", 2**31 - 1),
        struct.pack(">i", -1),
        struct.pack(">iIi", 1, 25, 5),
        struct.pack(">iI", 0, 1),
    ],
)
def test_hostile_binary_records(value: bytes) -> None:
    with pytest.raises(MaskFault):
        record_binary(value, lambda _, item: item)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_json_keeps_its_structure(value: object, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    assert json_text(text, lambda leaf: leaf, lambda scalar: scalar, member=lambda name: name) == text

    def masked(node: object) -> object:
        if isinstance(node, dict):
            return {key: masked(inner) for key, inner in node.items()}
        if isinstance(node, list):
            return [masked(inner) for inner in node]
        return "*" if isinstance(node, str) else None if node is None else 0

    shown = json_text(text, lambda _: b"*", lambda _: b"0", member=lambda name: name)
    assert json.loads(shown) == masked(value)


def test_json_details() -> None:
    text = b'{"x" : "x", "n":1.500, "n":1e400}'
    assert json_text(text, starred, lambda scalar: scalar, member=starred) == b'{"*" : "*", "n":1.500, "n":1e400}'
    assert json_text(text, starred, lambda scalar: scalar, member=lambda name: name) == b'{"x" : "*", "n":1.500, "n":1e400}'
    with pytest.raises(MaskFault):
        json_text(b'"\\q"', starred, starred, member=lambda name: name)
