"""The log's segments: what is written where, and that no write to new blocks is the next one's business too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.runtime.writer import AHEAD, SMALL, Open, begin, write_at

SIZE = 4 * 1024 * 1024


def write(segment: Open, data: bytes) -> bytes:
    """Write ``data`` and return what went to the disk."""
    at, made = segment.append(data)
    write_at(segment.descriptor, at, made)
    return made


def test_a_small_write_to_new_blocks_brings_zeros_for_those_that_follow(tmp_path: Path) -> None:
    segment = begin(tmp_path / "segment", SIZE, b"head", b"first")
    assert (segment.end, segment.used) == (9, 9)
    assert write(segment, b"second") == b"second" + bytes(AHEAD)
    assert write(segment, b"third") == b"third"
    assert segment.end == 20
    while segment.end + SMALL <= segment.used:
        assert len(write(segment, b"x" * SMALL)) == SMALL
    assert len(write(segment, b"y" * SMALL)) == SMALL + AHEAD
    os.close(segment.descriptor)
    written = segment.path.read_bytes()
    assert len(written) == SIZE
    assert written.rstrip(b"\0").startswith(b"headfirstsecondthirdxxx")
    assert len(written.rstrip(b"\0")) == segment.end


def test_a_large_write_brings_none(tmp_path: Path) -> None:
    segment = begin(tmp_path / "segment", SIZE, b"", b"first")
    data = b"x" * (SMALL + 1)
    assert write(segment, data) == data
    assert segment.used == segment.end
    assert len(write(segment, b"small")) == 5 + AHEAD
    os.close(segment.descriptor)


def test_zeros_end_with_the_segment(tmp_path: Path) -> None:
    segment = begin(tmp_path / "segment", 1000, b"", b"first")
    assert write(segment, b"second") == b"second" + bytes(1000 - 11)
    assert write(segment, b"x" * 989) == b"x" * 989
    os.close(segment.descriptor)
    assert segment.path.read_bytes() == b"firstsecond" + b"x" * 989


def test_a_short_write_is_not_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda descriptor, data, at: pwrite(descriptor, data[:7], at))
    segment = begin(tmp_path / "segment", 100, b"", b"0123456789" * 3)
    monkeypatch.undo()
    os.close(segment.descriptor)
    assert segment.path.read_bytes() == b"0123456789" * 3 + bytes(70)
