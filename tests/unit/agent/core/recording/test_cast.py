"""asciicast v3: what players and people will read."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking import Masker
from agent.core.policy import Decider
from agent.core.recording.cast import TOGETHER, TOGETHER_MS, CastWriter
from agent.core.recording.transcript import Heading
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, SID, make_claims, make_policy

HEADING = Heading(
    sid=SID, target="web", principal="ann", login="deploy", channel=2, opened_ms=NOW_MS, command="ls", title="ann on deploy@web"
)
LIST = Operation(kind="exec", text="ls", effects=frozenset({"read"}))
mask = Masker().mask


def lines(data: bytes) -> list[Any]:
    assert data.endswith(b"\n")
    return [msgspec.json.decode(line) for line in data.splitlines()]


def test_the_heading_tells_what_was_passed_to_the_program() -> None:
    writer = CastWriter(HEADING, environment=(("LC_A", "rm"),))
    assert lines(writer.shown(mask(b"hi"), "out", NOW_MS))[0]["env"] == {"LC_A": "rm"}


def test_the_heading_comes_with_the_first_event() -> None:
    writer = CastWriter(HEADING, term="xterm", columns=100, rows=30)
    head, event = lines(writer.shown(mask(b"hi"), "out", NOW_MS + 1234))
    assert head == {
        "version": 3,
        "term": {"cols": 100, "rows": 30, "type": "xterm"},
        "timestamp": NOW_MS // 1000,
        "command": "ls",
        "title": "ann on deploy@web",
        "env": {"TERM": "xterm"},
        "sid": SID,
        "target": "web",
        "principal": "ann",
        "login": "deploy",
        "channel": 2,
    }
    assert event == [1.234, "o", "hi"]
    assert lines(writer.shown(mask(b"x"), "out", NOW_MS + 1234)) == [[0.0, "o", "x"]]


@given(
    st.binary(max_size=24) | st.text(max_size=24).map(str.encode), st.integers(1, 400), st.lists(st.integers(0, 9600), max_size=4)
)
def test_much_text_is_written_as_little_is_wherever_it_was_cut(piece: bytes, times: int, cuts: list[int]) -> None:
    data = piece * times
    writer = CastWriter(HEADING, term="xterm")
    writer.resized(80, 24, NOW_MS)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    written = [writer.shown(mask(data[start:end]), "out", NOW_MS) for start, end in pairwise(places)]
    said = [line for line in b"".join([*written, writer.exited(0, NOW_MS)]).splitlines() if b',"o",' in line]
    texts = [msgspec.json.decode(line)[2] for line in said]
    assert "".join(texts) == data.decode(errors="replace")
    assert said == [b'[0.000,"o",%b]' % msgspec.json.encode(text) for text in texts]


def test_without_a_terminal_there_is_a_size_to_play_it_at() -> None:
    head, _ = lines(CastWriter(HEADING).exited(0, NOW_MS))
    assert head["term"] == {"cols": 80, "rows": 24}


def test_intervals_do_not_drift_and_do_not_run_backwards() -> None:
    writer = CastWriter(HEADING)
    times = [NOW_MS + 333, NOW_MS + 666, NOW_MS + 100, NOW_MS + 999]
    events = [lines(writer.shown(mask(b"x"), "out", at))[-1] for at in times]
    assert [event[0] for event in events] == [0.333, 0.333, 0.0, 0.333]


def test_events() -> None:
    writer = CastWriter(HEADING)
    allowed = Decider(make_claims(), make_policy).decide(LIST, NOW_MS)
    denied = Decider(make_claims(), lambda: make_policy("forbid(principal, action, resource);")).decide(LIST, NOW_MS)
    assert lines(writer.decided(LIST, allowed, NOW_MS))[-1] == [0.0, "m", "allowed: ls (rule-1)"]
    assert lines(writer.decided(LIST, denied, NOW_MS)) == [[0.0, "m", "denied: ls (rule-1)"]]
    assert lines(writer.resized(133, 41, NOW_MS)) == [[0.0, "r", "133x41"]]
    assert lines(writer.remark({"event": "left", "text": "the client left"}, NOW_MS)) == [[0.0, "m", "the client left"]]
    assert lines(writer.exited(3, NOW_MS)) == [[0.0, "x", "3"]]
    assert lines(writer.exited("TERM", NOW_MS)) == [[0.0, "m", "ended by signal TERM"], [0.0, "x", "128"]]


def test_a_character_in_two_reads_is_one_character() -> None:
    writer = CastWriter(HEADING)
    assert writer.shown(mask("é".encode()[:1]), "out", NOW_MS) == b""
    # The other stream has characters of its own.
    assert lines(writer.shown(mask(b"!"), "err", NOW_MS))[-1] == [0.0, "o", "!"]
    assert lines(writer.shown(mask("é".encode()[1:]), "out", NOW_MS)) == [[0.0, "o", "é"]]


def test_half_a_character_at_the_end_is_not_lost() -> None:
    writer = CastWriter(HEADING)
    writer.shown(mask(b"\xe2\x82"), "out", NOW_MS)
    assert lines(writer.exited(0, NOW_MS))[1:] == [[0.0, "o", "\ufffd"], [0.0, "x", "0"]]


def test_binary_output_without_a_terminal_is_dots() -> None:
    writer = CastWriter(HEADING)
    assert lines(writer.shown(mask(b"a\0b\xff\x1b\n"), "out", NOW_MS))[1:] == [
        [0.0, "m", "binary output, written as dots"],
        [0.0, "o", "a.b..\n"],
    ]
    assert lines(writer.shown(mask(b"\0"), "out", NOW_MS)) == [[0.0, "o", "."]]
    assert lines(writer.shown(mask(b"\x7fELF\2\1\1\0\0/lib64/ld.so\0\0\1x"), "out", NOW_MS)) == [[0.0, "o", "./lib64/ld.so."]]
    assert lines(CastWriter(HEADING, term="xterm").shown(mask(b"\0"), "out", NOW_MS))[1:] == [[0.0, "o", "\0"]]


BULK = b"\1\2\0" * 1_000 + b"/etc/passwd\0" + b"\3" * 5_000


def test_binary_bulk_is_written_together_in_its_place_and_with_its_time() -> None:
    writer = CastWriter(HEADING)
    assert writer.due_ms is None
    assert len(lines(writer.shown(mask(BULK), "out", NOW_MS + 5))) == 2  # the heading, and what the rest is
    assert writer.shown(mask(BULK), "err", NOW_MS + 7) == b""
    assert writer.due_ms == NOW_MS + 5 + TOGETHER_MS
    assert lines(writer.shown(mask(b"text\n"), "out", NOW_MS + 8)) == [
        [0.0, "o", "./etc/passwd./etc/passwd."],
        [0.003, "o", "text\n"],
    ]
    assert writer.due_ms is None
    assert writer.rest() == b""


def test_binary_bulk_waits_for_nothing_else_when_it_is_much_or_old_or_over() -> None:
    told = [0.0, "o", "./etc/passwd."]
    writer = CastWriter(HEADING)
    writer.shown(mask(BULK), "out", NOW_MS)
    assert lines(writer.rest()) == [told]
    assert writer.shown(mask(BULK), "out", NOW_MS) == b""
    assert lines(writer.shown(mask(b"\0" * TOGETHER), "out", NOW_MS)) == [told]
    assert writer.shown(mask(BULK), "out", NOW_MS) == b""
    assert lines(writer.shown(mask(b"\0\0\0\0"), "out", NOW_MS)) == [told]
    assert writer.shown(mask(BULK), "out", NOW_MS) == b""
    assert len(lines(writer.shown(mask(BULK), "out", NOW_MS + TOGETHER_MS))) == 1
    assert writer.shown(mask(BULK), "out", NOW_MS + TOGETHER_MS) == b""
    assert lines(writer.exited(0, NOW_MS + TOGETHER_MS))[0][1:] == told[1:]


@given(st.lists(st.sampled_from([BULK, b"\0\0\0\0some name\0", b"text\n", b"\xff\xfe", b"resize", b"mark"])))
def test_however_bytes_come_nothing_is_lost_and_the_order_stays(reads: list[bytes]) -> None:
    writer = CastWriter(HEADING)
    written, told = b"", ""
    for number, read in enumerate(reads):
        if read == b"resize":
            written += writer.resized(80, 24, NOW_MS + number)
        elif read == b"mark":
            written += writer.remark({"text": "mark"}, NOW_MS + number)
        else:
            written += writer.shown(mask(read), "out", NOW_MS + number)
    written += writer.exited(0, NOW_MS + len(reads))
    events = lines(written)[1:]
    assert round(1000 * sum(event[0] for event in events)) == len(reads)
    for _, code, text in events:
        told += text if code == "o" else "(r)" if code == "r" else "(m)" if text == "mark" else ""
    wanted = {
        BULK: "./etc/passwd.",
        b"\0\0\0\0some name\0": ".some name.",
        b"\xff\xfe": "\ufffd\ufffd",
        b"resize": "(r)",
        b"mark": "(m)",
    }
    whole = "".join(wanted.get(read, read.decode("latin-1")) for read in reads)
    assert re.sub(r"\.+", ".", told) == re.sub(r"\.+", ".", whole)
    assert writer.written == len(written)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=10))
def test_any_chunking_shows_the_same_text(data: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    writer = CastWriter(HEADING, term="xterm")
    written = b"".join(writer.shown(mask(data[a:b]), "out", NOW_MS) for a, b in pairwise(edges))
    written += writer.exited(0, NOW_MS)
    assert "".join(line[2] for line in lines(written)[1:] if line[1] == "o") == data.decode(errors="replace")
    assert not any(line[1] == "i" for line in lines(written)[1:])


def test_the_next_event_begins_behind_a_heading_that_is_not_written_yet() -> None:
    writer = CastWriter(HEADING)
    first = writer.here
    whole = writer.remark({"text": "one"}, NOW_MS)
    assert whole[first:].startswith(b"[")
    assert (writer.here, writer.written) == (len(whole), len(whole))
    assert writer.remark({"text": "two"}, NOW_MS).startswith(b"[")
