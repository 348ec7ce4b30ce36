"""What is found all at once is what the patterns find one by one: the same spans, in whatever stands between them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking import detectors
from agent.core.masking.certain import certain
from agent.core.masking.checks import Span
from agent.core.masking.detectors import Detectors, _scan

ADDRESSES = (
    b"alice@example.com", b"Bob.Smith9@mail.EU.example.co.uk", b"a@b.co", b"x-y@z-1.de", b"icon@2x.png", b"unit@tty1.service",
    b"git@github.com", b"xoxb-1234567890@a.bc", b"eyJ@a.bc", b"de89370400440532013000@a.bc", b"AKIAABCDEFGHIJKLMNOP@a.bc",
    b"a@b@c.de", b"a@b.c", b"a@b.com.", b"@b.com", b"a@.com", b"a@b..com", b"abcdefghijklmnopqrstuvwxyz@a.bc", b"a_b@c.de",
    b'"a.b"@c.de', b"a@" + b"b" * 130 + b".com", b"a@b.automount", b"a@b.museums", b"a@b.international", b"a@b.c0m", b"4@b.com",
    b"ab12cdef@b.com", b"sk-abc@b.com", b"a+b@c.de", b"a%40b.com", b"\xc3\xbc@b.de", b"a@b.d\xc3\xbc",
)  # fmt: skip
NUMBERS = (
    b"4111 1111 1111 1111", b"4111-1111-1111-1111", b"4111.1111.1111.1111", b"4111111111111111", b"5500000000000004",
    b"5500 0000 0000 0004", b"4111 1111 1111 1112", b"4111111111111112", b"4111 1111 1111 1111 123", b"6011111111111117",
    b"378282246310005", b"3782 822463 10005", b"30569309025904", b"3530111333300000", b"2223003122003222", b"4444444444444444",
    b"123-45-6789", b"123 45 6789", b"000-12-3456", b"666-12-3456", b"900-12-3456", b"123-00-4567", b"123-45-0000",
    b"123-45 6789",
    b"212-555-0100", b"212.555.0100", b"212.555-0100", b"112-555-0100", b"212-155-0100", b"(212) 555-0100", b"1-800-555-0199",
    b"+1 212 555 0100", b"+12125550100", b"+44 20 7946 0958", b"+49 (0)30 1234567", b"+0 1234 5678", b"+1 2 3",
    b"+1  212 555 0100",
    b"+123456789012345678", b"+1/212/555/0100", b"06 12 34 56 78", b"020 7946 0958", b"0049 30 1234567", b"12", b"1234", b"7",
    b"DE89370400440532013000", b"DE89 3704 0044 0532 0130 00", b"GB29 NWBK 6016 1331 9268 19", b"de89370400440532013000",
)  # fmt: skip
OTHERS = (
    b"AKIAABCDEFGHIJKLMNOP", b"aws_secret_access_key = " + b"Ab1/" * 10, b"aws_secret_key:", b"AccountKey=" + b"A" * 43 + b"=",
    b"whsec_" + b"A=" * 20, b"ghp_" + b"a1" * 18, b"eyJhbGciOi.eyJzdWIi", b"abc8Q~" + b"x" * 32, b"-----BEGIN PRIVATE KEY-----",
    b"-----END PRIVATE KEY-----", b"card", b"Total", b"DE", b"DE89", b"ab", b"x", b"\x1b[31m", b"caf\xc3\xa9", b"aws_secret_key",
)  # fmt: skip
BETWEEN = (
    *(bytes((byte,)) for byte in b" \t\n\r,;:|<>[]{}()\"'=.-/+_%@&\\~\0\x1b*#!?x7Z"),
    b", ", b"  ", b") ", b": ", b" = ", b'","', b"</td><td>", b"\r\n", b" (", b"+1 ", b". ", b"\xc3\xa9", b"=>",
)  # fmt: skip

WORDS = st.sampled_from(ADDRESSES + NUMBERS + OTHERS) | st.from_regex(rb"[0-9]{1,6}", fullmatch=True)
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from(BETWEEN)), max_size=24).map(lambda pairs: b"".join(a + b for a, b in pairs))


def one_by_one(data: bytes, at: int = 0) -> list[Span]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(detectors, "certain", lambda data, at: ([], data))
        return sorted(_scan(data, at))


def at_once(data: bytes, at: int = 0) -> list[Span]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(detectors, "_BULK", 0)
        patched.setattr(detectors, "_MANY", 1)
        patched.setattr(detectors, "_APART", 1 << 30)
        return sorted(_scan(data, at))


@settings(max_examples=400)
@given(TEXTS, st.integers(0, 3))
def test_the_same_is_found(text: bytes, at: int) -> None:
    data = b"a@b.co\n" + text
    assert at_once(data, at) == one_by_one(data, at)


@settings(max_examples=200)
@given(
    st.sampled_from(ADDRESSES + NUMBERS), st.sampled_from(BETWEEN), st.sampled_from(BETWEEN), st.sampled_from(NUMBERS + OTHERS)
)
def test_the_same_is_found_between_any_two_neighbours(value: bytes, before: bytes, behind: bytes, other: bytes) -> None:
    data = b"a@b.co\n" + other + before + value + behind + other + b"\n"
    assert at_once(data) == one_by_one(data)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_the_same_is_found_in_bulk(seed: int) -> None:
    chance = random.Random(seed)
    usual = [*ADDRESSES[:4], *NUMBERS[:6], b"123-45-6789", b"+1 212 555 0100", b"order", b"of", b"shipped"]
    every = [each for each in (*ADDRESSES, *NUMBERS, *OTHERS[:8]) if b'"' not in each]
    lines = [b"1 of a@b.com, card 4111 1111 1111 1111, ssn 123-45-6789"] * 8
    for _ in range(150):
        words = [chance.choice(every if chance.random() < 0.05 else usual) for _ in range(6)]
        lines.append(chance.choice((b" ", b", ", b",", b"\t", b" | ")).join(words))
    data = chance.choice((b"\n", b"\r\n")).join(lines)
    assert sorted(_scan(data, 0)) == one_by_one(data)
    assert len(certain(data, 0)[0]) >= 20


def test_plain_lines_are_found_whole() -> None:
    line = b"order 17 of person@mail.example.com, card 4111 1111 1111 1111, ssn 123-45-6789, +1 212 555 0100; 212-555-0100, end\n"
    found, rest = certain(line, 0)
    kinds = {name: line[start:end] for start, end, name, _ in sorted(found)}
    assert kinds == {
        "email": b"person@mail.example.com", "card": b"4111 1111 1111 1111", "ssn": b"123-45-6789", "phone": b"212-555-0100"
    }  # fmt: skip
    assert len(found) == 5
    assert len(rest) == len(line)
    assert not any(rest[start:end].strip(b"\n") for start, end, _, _ in found)
    assert [byte for byte, left in zip(line, rest, strict=True) if left != 0x0A] == [byte for byte in rest if byte != 0x0A]


@pytest.mark.parametrize("inside", [b"-----BEGIN RSA PRIVATE KEY-----", b'"b"@c.de'])
def test_nothing_is_certain_beside_what_has_everything_inside(inside: bytes) -> None:
    data = b"of a@b.com, card 4111111111111111, x\n" + inside
    assert certain(data, 0) == ([], data)


def test_it_is_used_where_values_are_dense_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(detectors, "certain", lambda data, at: (asked.append(at), ([], data))[1])
    dense = b"a@b.com, " * 1_000
    Detectors().spans(dense)
    assert len(asked) == 1
    Detectors().spans((b"a@b.com, " + b"lorem ipsum dolor sit amet " * 20) * 40)
    Detectors().spans(dense[:1_000])
    assert len(asked) == 1
