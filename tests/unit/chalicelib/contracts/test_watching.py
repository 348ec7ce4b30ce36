"""Messages of a watch: one on a line, and nothing else is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts import watching

KINDS = st.sampled_from(["cast", "jsonl"])


@given(st.integers(0, 9_999), KINDS, st.text())
def test_lines_come_back_as_they_were_and_stay_on_one_line(channel: int, kind: watching.Kind, lines: str) -> None:
    for sight in (
        watching.Seen(channel=channel, kind=kind, lines=lines),
        watching.Fresh(channel=channel, kind=kind, lines=lines),
    ):
        line = watching.encode(sight)
        assert line.count(b"\n") == 1
        assert watching.decode(line) == sight


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"{}",
        b'{"t":"keys","lines":"rm"}',
        b'{"t":"seen","channel":-1,"kind":"cast","lines":""}',
        b'{"t":"seen","channel":1,"kind":"cast"}',
        b'{"t":"seen","channel":1,"kind":"cast","lines":"\xff"}',
        b"[" * 5000,
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(watching.WatchFault):
        watching.decode(line)
