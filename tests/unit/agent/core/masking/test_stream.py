"""Streams: however they are cut they read like the whole, except where waiting had to end."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.masking.checks import Span
from agent.core.masking.classes import Tally
from agent.core.masking.detectors import Custom, Detectors
from agent.core.masking.patterns import LONGEST
from agent.core.masking.stream import DEADLINE_MS, StreamMasker, outside

DETECTORS = Detectors()
JWT = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = b"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA" + b"abcd/+12" * 200 + b"\nabcdef==\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    b"alice@example.com",
    b"4111 1111 1111 1111",
    b"4111111111111111",
    b"123-45-6789",
    b"+49 30 1234567",
    b"(212) 555-0100",
    b"GB29 NWBK 6016 1331 9268 19",
    b"AKIAIOSFODNN7EXAMPLE",
    b"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    JWT,
    PEM,
    b"4111\x1b[31m1111\x1b[0m11111111",
    b"alice%40example.com",
    b"\\x616c696365406578616d706c652e636f6d",
    "4\u200b111 1111 1111 1111".encode(),
]
INNOCENT = [
    b"ls -l",
    b"hello world",
    b"2024-05-01 12:34:56",
    b"550e8400-e29b-41d4-a716-446655440000",
    "größe".encode(),
    b"\x1b[1m",
    b"z" * 700,
    b"0123456789" * 70,
]
SEPARATORS = st.sampled_from([b" ", b"\n", b", ", b"; ", b"|", b"\t", b": ", b'"', b"\r\n", b" (", b") "])
TEXT = st.lists(st.tuples(st.sampled_from(SECRETS + INNOCENT), SEPARATORS).map(b"".join), max_size=10).map(b"".join)


def whole(data: bytes, detectors: Detectors = DETECTORS) -> bytes:
    return detectors.scrub(data, frozenset(), Tally())


def cut(masker: StreamMasker, data: bytes, sizes: list[int]) -> bytes:
    """Feed ``data`` in chunks of ``sizes``, over and over, all at one moment."""
    out = b""
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        out += masker.feed(data[at : at + size], 1_000)
        at += size
        turn += 1
    return out + masker.flush()


@settings(max_examples=300, deadline=None)
@given(TEXT, st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_any_cut_reads_like_the_whole(data: bytes, sizes: list[int]) -> None:
    assert cut(StreamMasker(DETECTORS), data, sizes) == whole(data)


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_no_part_of_a_secret_escapes(secret: bytes, size: int) -> None:
    data = b"before " + secret + b" after\n"
    masker = StreamMasker(DETECTORS)
    assert cut(masker, data, [size]) == whole(data)
    assert sum(masker.report().hits.values()) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40) | st.sampled_from(SECRETS), st.integers(0, 30)), max_size=20))
def test_nothing_is_lost_or_raised_whatever_comes_when(chunks: list[tuple[bytes, int]]) -> None:
    masker = StreamMasker(Detectors(built_in=False))
    now, shown = 0, b""
    for chunk, pause in chunks:
        now += pause
        shown += masker.tick(now) + masker.feed(chunk, now)
    assert shown + masker.flush() == b"".join(chunk for chunk, _ in chunks)
    masker = StreamMasker(DETECTORS)
    for chunk, pause in chunks:
        now += pause
        masker.tick(now)
        masker.feed(chunk, now)
    masker.flush()


@given(st.text(max_size=1_500), st.integers(1, 40))
@settings(deadline=None)
def test_a_character_is_never_split(text: str, size: int) -> None:
    masker = StreamMasker(DETECTORS)
    data = text.encode()
    while data:
        part = data[:size]
        while len(part) < len(data) and data[len(part)] & 0xC0 == 0x80:
            part = data[: len(part) + 1]
        data = data[len(part) :]
        masker.feed(part, 0).decode()
    masker.flush().decode()


def test_what_is_held_is_bounded() -> None:
    masker = StreamMasker(DETECTORS)
    shown = masker.feed(b"a" * 100_000, 0)
    assert 100_000 - LONGEST <= len(shown) < 100_000
    key = StreamMasker(DETECTORS)
    assert key.feed(b"x -----BEGIN PRIVATE KEY-----\n" + b"A" * 100_000, 0) == b"x [masked secret]"
    assert key.feed(b"B" * 100_000, 0) == b""
    assert key.feed(b"\n-----END PRIVATE KEY-----\n$ ", 0) == b"\n$ "
    assert key.flush() == b""


class Counted(list[Span]):
    """Counts how often it is gone through."""

    def __init__(self, spans: list[Span]) -> None:
        super().__init__(spans)
        self.times = 0

    def __iter__(self) -> Iterator[Span]:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("disguise", [b"\x1b[500@", b"\x1b[m", "\u200b".encode(), b"%41", "\uff14".encode()])
def test_what_one_disguise_behind_the_other_costs_is_no_square(monkeypatch: pytest.MonkeyPatch, disguise: bytes) -> None:
    found: list[Counted] = []
    looked = Detectors.spans

    def spans(self: Detectors, data: bytes, at: int = 0) -> list[Span]:
        found.append(Counted(looked(self, data, at)))
        return found[-1]

    monkeypatch.setattr(Detectors, "spans", spans)
    masker = StreamMasker(Detectors())
    data = disguise * 5_000
    assert masker.feed(data, 0) + masker.flush() in (data, b"[masked secret]", b"[masked email]")
    assert len(found[0]) >= 5_000
    assert sum(each.times for each in found) < 100


SPANS = st.tuples(st.integers(0, 3_000), st.integers(1, 40), st.sampled_from(["", "email"]))


@settings(max_examples=500, deadline=None)
@given(st.lists(SPANS, max_size=60), st.integers(0, 3_000), st.integers(0, 200))
def test_a_cut_is_where_going_back_again_and_again_ends(some: list[tuple[int, int, str]], cut: int, chained: int) -> None:
    spans: list[Span] = [(start, start + size, name, "") for start, size, name in some]
    spans += [(at * 10, at * 10 + 10, "", "") for at in range(chained)]
    want = cut
    while closer := [start for start, end, name, _ in spans if start < want and (want < end or (want == end and not name))]:
        want = min(closer)
    assert outside(spans, cut) == want


def test_the_deadline_shows_what_is_held() -> None:
    masker = StreamMasker(DETECTORS)
    assert masker.due_ms is None
    assert masker.feed(b"welcome to alic", 100) == b"welcome to "
    assert masker.due_ms == 100 + DEADLINE_MS
    assert masker.tick(100 + DEADLINE_MS - 1) == b""
    assert masker.tick(100 + DEADLINE_MS) == b"alic"
    assert masker.due_ms is None


def test_a_secret_that_goes_on_after_the_deadline_is_masked_from_there() -> None:
    masker = StreamMasker(DETECTORS)
    shown = masker.feed(b"mail alice@exam", 0) + masker.tick(50)
    assert shown == b"mail alice@exam"
    assert b"ple.com" not in masker.feed(b"ple.com and more\n", 60) + masker.flush()


def test_a_dribble_cannot_hold_text_back_for_ever() -> None:
    masker = StreamMasker(DETECTORS)
    shown = b""
    for now in range(0, 200, 5):
        shown += masker.feed(b"abcdefghi", now)
    assert len(shown) >= 9 * 20


@pytest.mark.parametrize("key", [b"l", b"s", b"\x7f", "é".encode(), b"\x1b[C", b"4"])
def test_an_echo_passes_at_once(key: bytes) -> None:
    masker = StreamMasker(DETECTORS)
    masker.feed(b"host:~$ ", 0)
    masker.tick(20)
    assert masker.feed(key, 500) == key


@pytest.mark.parametrize("beginning", [b"41111", b"+49", b"alice@", b"eyJ", b"AKIA", b"ghp_", b"-----B", b"token=", b"DE89"])
def test_an_echo_that_looks_like_the_beginning_of_a_secret_waits(beginning: bytes) -> None:
    masker = StreamMasker(DETECTORS)
    masker.feed(b"host:~$ ", 0)
    masker.tick(20)
    for now, byte in enumerate(beginning[:-1]):
        masker.feed(bytes((byte,)), 500 + 100 * now)
        masker.tick(590 + 100 * now)
    last = 500 + 100 * len(beginning)
    assert masker.feed(beginning[-1:], last) == b""
    assert masker.tick(last + DEADLINE_MS) == beginning[-1:]


def test_a_key_block_goes_on_across_the_deadline() -> None:
    masker = StreamMasker(DETECTORS)
    shown = masker.feed(b"-----BEGIN PRIVATE KEY-----\nMIIE", 0) + masker.tick(100)
    shown += masker.feed(b"abcdef\nghij", 200) + masker.tick(300)
    shown += masker.feed(b"\n-----END PRIVATE KEY-----\n$ ", 400) + masker.flush()
    assert shown == b"[masked secret]\n$ "


def test_revealed_classes_pass() -> None:
    masker = StreamMasker(DETECTORS, frozenset({"secret"}))
    assert cut(masker, b"x " + JWT + b" alice@example.com\n", [5]) == b"x " + JWT + b" a***@***.com\n"


def test_custom_detectors_may_span_words() -> None:
    detectors = Detectors([Custom("project", "blue  ?moon")])
    data = b"the blue  moon is blue moon\nblue moo"
    for size in (1, 3, 10):
        assert cut(StreamMasker(detectors), data, [size]) == whole(data, detectors)


OWN = Detectors([Custom("badge", r"\bEMP-[0-9]{4}\b"), Custom("project", "blue moon [a-z]{1,500}")])


@given(st.lists(st.integers(0, 3_000), max_size=12), st.integers(0, 700), st.integers(0, 700))
def test_however_a_line_without_end_is_cut_its_own_patterns_are_found(cuts: list[int], before: int, between: int) -> None:
    whole = b"x" * before + b" EMP-4711 " + b"y" * between + b" blue moon " + b"z" * 500 + b". EMP-471 EMP-4712"
    masker = StreamMasker(OWN)
    places = sorted({min(cut, len(whole)) for cut in cuts} | {0, len(whole)})
    out = b"".join(masker.feed(whole[start:end], 0) for start, end in pairwise(places)) + masker.flush()
    assert out == OWN.scrub(whole, frozenset(), Tally())
    assert b"z" not in out
    assert out.count(b"[masked badge]") == 2


def test_no_more_is_held_back_than_a_pattern_may_match() -> None:
    masker = StreamMasker(OWN)
    held = most = 0
    for _ in range(3_000):
        held += 1 - len(masker.feed(b"a", 0))
        most = max(most, held)
    assert most <= LONGEST
