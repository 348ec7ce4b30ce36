"""The last lines of a channel: bounded, and understood without what came before."""

from __future__ import annotations

from agent.core.recording import tail as module
from agent.core.recording.tail import PIECE_BYTES, Tail

TAIL_BYTES = module.TAIL_BYTES["cast"]

HEADING = b'{"version":3,"term":{"cols":80,"rows":24,"type":"xterm"}}\n'
LINE = b'[0.100,"o","%s"]\n' % (b"x" * 1000)


def shown(text: bytes) -> bytes:
    return b'[0.000,"o","' + text + b'"]\n'


def flooded(tail: Tail) -> Tail:
    for _ in range(2 * TAIL_BYTES // len(LINE)):
        tail.add(LINE)
    return tail


def test_a_short_recording_is_kept_whole_and_its_first_lines_may_come_in_one_piece() -> None:
    tail = Tail("cast")
    tail.add(HEADING + shown(b"one"))
    tail.add(shown(b"two"))
    assert tail.lines() == HEADING + shown(b"one") + shown(b"two")


def test_a_long_one_keeps_its_heading_and_its_end() -> None:
    tail = Tail("cast")
    tail.add(HEADING + shown(b"first"))
    flooded(tail)
    tail.add(shown(b"last"))
    lines = tail.lines()
    assert lines.startswith(HEADING + LINE)
    assert lines.endswith(shown(b"last"))
    pieces = lines.count(b"\n") - 1
    size = len(lines) - len(HEADING) + pieces * PIECE_BYTES
    assert TAIL_BYTES - len(LINE) - PIECE_BYTES < size <= TAIL_BYTES


def test_a_piece_that_is_longer_than_everything_is_kept_alone() -> None:
    tail = Tail("cast")
    tail.add(HEADING)
    tail.add(shown(b"y" * 3 * TAIL_BYTES))
    assert tail.lines() == HEADING + shown(b"y" * 3 * TAIL_BYTES)
    tail.add(shown(b"z"))
    assert tail.lines() == HEADING + shown(b"z")


def test_a_full_screen_program_that_began_before_is_known() -> None:
    tail = Tail("cast")
    tail.add(HEADING + shown(rb"\u001b[?1049h"))
    assert not tail.alternate
    flooded(tail)
    assert tail.lines().startswith(HEADING + b'[0.000,"o","\\u001b[?1049h"]\n' + LINE)
    tail.add(shown(rb"\u001b[?1049l\u001b[?1049h\u001b[?1049l"))
    assert b"1049h" not in flooded(tail).lines()


def test_the_size_that_the_terminal_had_is_known() -> None:
    tail = Tail("cast")
    tail.add(HEADING + b'[0.000,"r","90x30"]\n' + shown(b"a") + b'[0.000,"r","100x40"]\n' + shown(b"b"))
    assert flooded(tail).lines().startswith(HEADING + b'[0.000,"r","100x40"]\n' + LINE)


def test_statements_that_were_dropped_are_counted() -> None:
    tail = Tail("jsonl")
    tail.add(b'{"format":"x"}\n')
    for _ in range(60):
        tail.add(b'{"t":1,"event":"operation","text":"%s"}\n' % (b"s" * 2000))
    kept = tail.lines().count(b'"event":"operation"')
    assert tail.operations == 60 - kept > 50
