"""The first look: what it rules out holds nothing, and it rules out most of what terminals show."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.masking import detectors, glance, patterns
from agent.core.masking.detectors import Detectors
from agent.core.masking.glance import LEAST, possible
from agent.core.masking.stream import StreamMasker

LOOKS = glance.possible is not glance._anything
BOTH = pytest.mark.skipif(not LOOKS, reason="stringzilla and ahocorasick_rs are not installed")


def alternatives(pattern: bytes) -> list[bytes]:
    """Return the alternatives of ``pattern``, which is one group."""
    found, depth = [b""], 0
    for part in re.findall(rb"\(\?:|\\.|\[[^\]]*\]|.", pattern.removeprefix(b"(?:").removesuffix(b")")):
        depth += part in (b"(?:", b"(") and 1
        depth -= part == b")"
        if part == b"|" and not depth:
            found.append(b"")
        else:
            found[-1] += part
    return found


#: What RE2 looks for, each alternative for itself.
ALTERNATIVES = [
    *(one for group in (patterns._GROUPED, patterns._CARD, patterns._SSN, patterns._PHONE) for one in alternatives(group)),
    patterns._JWT,
    patterns._PEM,
    *patterns._KEYS,
    patterns._IBAN,
]
LEFT = st.sampled_from([b"", *(bytes((byte,)) for byte in b" \n:=+-.(_/\"'\x00\x80\xe9,~")])
PROSE = b"2026-11-20T12:00:00Z lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod\n"
#: Much text of several kinds, in which there is nothing.
FILLERS = [
    PROSE * 60,
    b"".join(b"2026-11-22 10:09:25,123 sshd[%d]: closed 192.168.100.%d port %d\n" % (n, n % 256, n * 7) for n in range(100)),
    b"".join(b'10.130.183.14 - - [22/Nov/2026:14:49:15 +0000] "GET /items/%d" 200 %d\n' % (n, n * 991) for n in range(80)),
    b"drwxr-xr-x  2 root root  4096 Aug 18  2021 X11\n" * 130,
    b"    def task_%d(self) -> None:  # Asia, '+00:00'\n        return self.ask(1)\n" * 90,
]  # fmt: skip
assert all(len(filler) > LEAST for filler in FILLERS)


def matches(pattern: bytes) -> st.SearchStrategy[bytes]:
    """Return what ``pattern`` matches, mostly not much longer than it must be."""
    return st.from_regex(re.compile(pattern), fullmatch=True)


def within(value: bytes, filler: int, at: int) -> bytes:
    text = FILLERS[filler % len(FILLERS)]
    return text[:at] + value + text[at:]


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("pattern", ALTERNATIVES, ids=lambda pattern: repr(pattern[:24]))
@given(data=st.data(), left=LEFT, filler=st.integers(0, 4), at=st.integers(0, LEAST))
def test_whatever_a_pattern_matches_is_seen(pattern: bytes, data: st.DataObject, left: bytes, filler: int, at: int) -> None:
    text = within(left + data.draw(matches(pattern)), filler, 0 if left == b"" else at)
    found = patterns.FIRST(text, 0)[0] >= 0
    assert possible(text) or not found
    assert found


#: Pieces of which values consist, so that some are whole, some nearly, and some stand where they are none.
_PIECES = st.sampled_from(
    b"4111 1111 111 00 001 0049 (212 ) 555-0100 555 0100 030/ 1234567 + +1 +49 . - / ( ) 06 12 34 DE89 gb29 NWBK6016 eyJ abcdef. "
    b"AKIA IOSFODNN7EXAMPLE sk- SK 0123456789abcdef0123456789abcdef AccountKey= AWS_Secret_Access_Key "
    b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY -----BEGIN PRIVATE KEY----- = x _ \xc3\xa9 \n".split(b" ")
) | st.sampled_from([b" ", b"  "])


@settings(max_examples=400, deadline=None)
@given(st.lists(_PIECES, max_size=20).map(b"".join), st.integers(0, 4), st.integers(0, LEAST))
@example(b"xoxoxb-1234567890", 0, 100)
@example(b"00 0001 12 34 56 78 9", 0, 0)
def test_what_is_ruled_out_has_no_match(value: bytes, filler: int, at: int) -> None:
    text = within(value, filler, at)
    assert possible(text) or patterns.NEXT[0][1](text, 0)[0] < 0


@settings(max_examples=200, deadline=None)
@given(st.lists(_PIECES | st.just(b"bob@example.com"), max_size=20).map(b" ".join), st.integers(0, 4), st.integers(0, LEAST))
def test_the_same_is_found_with_and_without_a_first_look(value: bytes, filler: int, at: int) -> None:
    text = within(value, filler, at)
    found = Detectors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "possible", glance._anything)
        want = found.spans(text)
    assert found.spans(text) == want


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_PIECES, st.integers(0, 4), st.integers(0, LEAST)), max_size=8),
    st.lists(st.sampled_from([1, 700, 5_000, 6_001, 9_000]), min_size=1, max_size=5),
)
def test_a_stream_reads_the_same_however_it_is_cut(parts: list[tuple[bytes, int, int]], sizes: list[int]) -> None:
    whole = PROSE * 50 + b"".join(within(value, filler, at) for value, filler, at in parts)
    pieces, at, turn = [], 0, 0
    while at < len(whole):
        size = sizes[turn % len(sizes)] + turn % 3
        pieces.append(whole[at : at + size])
        at, turn = at + size, turn + 1
        if size < 10 and turn > 200:
            sizes = [5_000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "possible", glance._anything)
        want = list(_shown(pieces))
    assert list(_shown(pieces)) == want


def _shown(pieces: list[bytes]) -> Iterator[bytes]:
    masker = StreamMasker(Detectors())
    for piece in pieces:
        yield masker.feed(piece, 0)
    yield masker.flush()


def test_bytes_of_all_kinds_are_looked_through() -> None:
    """Libraries that compare many bytes at once go wrong, if they do, at some length or some place."""
    for value in (b" 4111111111111111 ", b" 123-45-6789 ", b" AKIAIOSFODNN7EXAMPLE ", b" DE89370400440532013000 "):
        for size in range(200):
            for before in range(0, 130, 1 if size < 3 else 43):
                assert possible(b"\xff" * before + value + b"x" * size)
                assert possible(b"1" * before + value + b"." * size)


@BOTH
@pytest.mark.parametrize("filler", range(len(FILLERS)))
def test_most_text_is_ruled_out(filler: int) -> None:
    assert not possible(FILLERS[filler])


@BOTH
def test_a_text_of_nothing_but_beginnings_is_left_to_the_patterns() -> None:
    assert possible(b"eyJ " * 2_000)
    assert possible(b"1 2 000 000 000 " * 2_000)


def anew() -> Any:
    """Return the module as it is where it is imported now."""
    spec = importlib.util.find_spec(glance.__name__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_the_libraries_everything_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stringzilla", None)
    assert anew().possible(FILLERS[0])


@BOTH
@pytest.mark.parametrize("wrong", ["find", "translate", "words"])
def test_libraries_that_go_wrong_on_this_machine_are_not_used(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ahocorasick_rs
    import stringzilla

    assert not anew().possible(FILLERS[0])
    if wrong == "find":
        find = stringzilla.find
        monkeypatch.setattr(stringzilla, "find", lambda text, *words: -1 if len(text) > 150 else find(text, *words))
    elif wrong == "translate":
        translate = stringzilla.translate
        monkeypatch.setattr(stringzilla, "translate", lambda text, table: translate(text, table)[:-1] + text[-1:])
    else:
        monkeypatch.setattr(
            ahocorasick_rs, "BytesAhoCorasick", lambda *_, **__: SimpleNamespace(find_matches_as_indexes=lambda _: [])
        )
    assert anew().possible(FILLERS[0])
