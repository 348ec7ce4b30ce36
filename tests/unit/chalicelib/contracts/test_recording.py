from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts import recording

GOOD = recording.Chunk(n=3, kind="ch01.cast", time_ms=1_795_212_304_000, size=5, sha256="a" * 64, chain="b" * 64)


def test_a_good_chunk_has_no_problem() -> None:
    assert recording.problem(GOOD) is None


@pytest.mark.parametrize(
    "change",
    [
        {"n": -1},
        {"n": 1000000},
        {"kind": "../x"},
        {"kind": "ch1.cast"},
        {"kind": "ch01.exe"},
        {"kind": "ch01.cast\n"},
        {"size": 0},
        {"size": recording.CHUNK_LIMIT + 1},
        {"sha256": "A" * 64},
        {"chain": "b" * 63},
        {"time_ms": -5},
    ],
)
def test_a_bad_chunk_is_named(change: dict[str, object]) -> None:
    assert recording.problem(msgspec.structs.replace(GOOD, **change))


def test_the_chain_moves_with_everything_in_it() -> None:
    start = recording.seed("ses_x", b"k" * 32)
    heads = {
        recording.link(start, 0, 1, "a" * 64),
        recording.link(start, 1, 1, "a" * 64),
        recording.link(start, 0, 2, "a" * 64),
        recording.link(start, 0, 1, "b" * 64),
        recording.link(recording.seed("ses_y", b"k" * 32), 0, 1, "a" * 64),
        recording.link(recording.seed("ses_x", b"j" * 32), 0, 1, "a" * 64),
    }
    assert len(heads) == 6


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_name_climbs_out_of_its_folder(target: str, principal: str) -> None:
    parts = recording.prefix(1_795_212_304_000, target, principal, "ses_x").split("/")
    assert len(parts) == 7
    assert parts[:4] == ["recordings", "2026", "11", "20"]
    assert "." not in parts
    assert ".." not in parts


def test_keys_read_well_and_sort_by_number() -> None:
    prefix = recording.prefix(1_795_212_304_000, "prod-web", "alice@example.com", "ses_x")
    assert prefix.startswith("recordings/2026/11/20/prod-web/alice@example.com/")
    assert recording.key(prefix, GOOD).rsplit("/", 1)[1].startswith("000003_")
