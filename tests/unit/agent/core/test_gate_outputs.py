"""The gate with streams that are masked: what is held back, in which order it is shown, and what is kept of it."""

from __future__ import annotations

import msgspec
import pytest

from agent.core.effects import Count, Effect, Record, Report, ToClient, ToTarget
from agent.core.gate import Gate
from agent.core.masking import Masker
from agent.core.masking.detectors import Detectors
from agent.core.masking.outputs import BINARY
from agent.core.policy import Decider
from agent.core.recording.cast import CastWriter
from agent.core.units import Asked, Exited, Lull, Output, Tick
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation
from tests.fakes.agent_runtime import NOW_MS, make_claims, make_policy
from tests.unit.agent.core.test_gate import HEADING, READ_ONLY, Words

CARD = b"4111 1111 1111 1111"


def make_gate(*, reveal: frozenset[str] = frozenset(), terminal: tuple[int, int] | None = None, originals: bool = False) -> Gate:
    gate = Gate(
        Decider(make_claims(), lambda: make_policy(READ_ONLY)),
        CastWriter(HEADING, term="xterm" if terminal else ""),
        Words(),
        outputs=Masker(Detectors()).outputs(lambda: reveal, terminal=terminal),
        originals=originals,
    )
    gate.handle(Tick(NOW_MS))
    return gate


def shown(effects: list[Effect]) -> list[tuple[str, bytes]]:
    return [(effect.stream, effect.clean.data) for effect in effects if isinstance(effect, ToClient)]


def recorded(effects: list[Effect]) -> bytes:
    return b"".join(effect.lines for effect in effects if isinstance(effect, Record))


def left_out(effects: list[Effect]) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for effect in effects if isinstance(effect, Record) for line in effect.originals]


def command(text: str, effect: str = "read") -> Asked:
    return Asked(Operation(kind="exec", text=text, effects=frozenset({effect})), text.encode())


def test_what_is_masked_is_recorded_before_it_is_shown_and_as_it_is_shown() -> None:
    record, show = make_gate().handle(Output(b"card " + CARD + b"\n"))
    assert isinstance(record, Record)
    assert b"**** **** **** 1111" in record.lines
    assert CARD not in record.lines
    assert shown([show]) == [("out", b"card **** **** **** 1111\n")]


def test_what_is_held_back_is_neither_recorded_nor_shown_until_its_time() -> None:
    gate = make_gate()
    assert gate.due_ms is None
    first = gate.handle(Output(b"mail alice@exam"))
    assert shown(first) == [("out", b"mail ")]
    due = gate.due_ms
    assert due is not None
    assert gate.handle(Lull(due - 1)) == []
    assert shown(gate.handle(Output(b"ple.com\n"))) == [("out", b"a***@***.com\n")]
    gate.handle(Output(b"a word"))
    assert gate.due_ms is not None
    assert shown(gate.handle(Lull(NOW_MS + 10))) == [("out", b"word")]
    assert gate.due_ms is None


def test_words_of_ours_stand_behind_what_came_before_them_and_are_not_masked() -> None:
    gate = make_gate()
    gate.handle(Output(b"half a li"))
    effects = gate.handle(Output(b"sallyport: ask dba@example.com\n", "err", own=True))
    assert shown(effects) == [("out", b"li"), ("err", b"sallyport: ask dba@example.com\n")]
    gate.handle(Output(b"half a li"))
    effects = gate.handle(Output(b"waiting", "err", recorded=False, own=True))
    assert shown(effects) == [("out", b"li"), ("err", b"waiting")]
    assert b"waiting" not in recorded(effects)


def test_so_do_a_denial_and_the_end() -> None:
    gate = make_gate()
    gate.handle(Output(b"half a li"))
    effects = gate.handle(command("rm x", "write"))
    assert shown(effects) == [("out", b"li"), ("out", b"no: denied 0")]
    gate.handle(Output(b"mail " + CARD))
    effects = gate.handle(Exited(0))
    assert shown(effects) == [("out", b"**** **** **** 1111")]
    text = recorded(effects)
    assert text.index(b"1111") < text.index(b'"m","masked: 1 card"') < text.index(b'"x","0"')


def test_counts_go_on_until_the_end() -> None:
    gate = make_gate()
    gate.handle(Output(CARD + b"\n"))
    assert gate.masked == {"card": 1}
    gate.handle(Output(b"a@example.com " + CARD + b"\n"))
    assert gate.masked == {"card": 2, "email": 1}
    assert b"masked: 2 card, 1 email" in recorded(gate.handle(Exited("TERM")))
    assert b"masked" not in recorded(make_gate().handle(Exited(0)))


def test_a_command_is_kept_without_its_secrets_and_runs_with_them() -> None:
    gate = make_gate(originals=True)
    text = f"echo {CARD.decode()}"
    count, record, forward = gate.handle(command(text))
    assert count == Count(operations=1)
    assert isinstance(record, Record)
    assert record.durable
    assert b"allowed: echo **** **** **** 1111" in record.lines
    assert [(each["event"], each["text"]) for each in left_out([record])] == [("operation", text)]
    assert isinstance(forward, ToTarget)
    assert forward.asked.data == text.encode()
    denied = gate.handle(command(text, "write"))
    (report,) = [effect for effect in denied if isinstance(effect, Report)]
    assert report.shown == "echo **** **** **** 1111"
    assert CARD not in recorded(denied)


def test_originals_are_what_came_for_each_piece_that_was_changed() -> None:
    gate = make_gate(originals=True)
    assert left_out(gate.handle(Output(b"nothing here\n"))) == []
    gate.handle(Output(b"x 4111 1111"))
    found = left_out(gate.handle(Output(b" 1111 1111\n")))
    assert [each["text"] for each in found] == ["4111 1111 1111 1111\n"]
    key = b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 100
    found = left_out(
        gate.handle(Output(key)) + gate.handle(Output(b"B" * 50)) + gate.handle(Output(b"\n-----END PRIVATE KEY-----\n"))
    )
    assert "".join(str(each["text"]) for each in found) == key.decode() + "B" * 50 + "\n-----END PRIVATE KEY-----\n"


def test_no_text_is_marked_where_it_passes_and_ends_the_channel_where_not() -> None:
    data = b"PK\x03\x04\x00\x00\x00\x00"
    effects = make_gate(reveal=frozenset({BINARY}), originals=True).handle(Output(data))
    assert shown(effects) == [("out", data)]
    assert b"binary output, shown as it came" in recorded(effects)
    assert len(left_out(effects)) == 1
    gate = make_gate()
    with pytest.raises(Fault, match="not text"):
        gate.handle(Output(data))
    assert shown(gate.handle(Output(b"sallyport: over\n", "err", own=True))) == [("err", b"sallyport: over\n")]
    assert shown(gate.handle(Exited(255))) == []


@pytest.mark.parametrize("quiet", [Lull(), Lull(last=True), Exited(0), Output(b"sallyport: over\n", "err", own=True)])
def test_bytes_that_were_shown_are_recorded_in_time(quiet: Lull | Exited | Output) -> None:
    gate = make_gate(reveal=frozenset({BINARY}))
    data = b"\0\0\0\0" * 2000 + b"a name"
    effects = gate.handle(Output(data))
    assert shown(effects) == [("out", data)]
    assert b"a name" not in recorded(effects)
    due_ms = gate.due_ms
    assert due_ms is not None
    assert gate.handle(Lull(due_ms - 1)) == []
    effects = gate.handle(quiet)
    assert recorded(effects).startswith(b'[0.000,"o",".a name"]\n')
    assert gate.due_ms is None
    gate.handle(Output(data))
    assert recorded(gate.handle(Lull(due_ms))) == b'[0.000,"o",".a name"]\n'


def test_a_stream_of_files_is_shown_and_not_written_down_but_kept_where_originals_are() -> None:
    for originals in (False, True):
        gate = make_gate(reveal=frozenset({BINARY}), originals=originals)
        gate.handle(Output(b"\0\0\0\1first", recorded=False))
        effects = gate.handle(Output(b"\0\0\0\2second", recorded=False))
        assert shown(effects) == [("out", b"\0\0\0\2second")]
        assert recorded(effects) == b""
        assert bool(left_out(effects)) is originals


@pytest.mark.parametrize("end", [Exited(0), Lull(last=True)])
def test_a_sequence_that_has_only_begun_at_the_end_is_recorded_and_shown(end: Exited | Lull) -> None:
    gate = make_gate(terminal=(80, 24))
    gate.handle(Output(b"last\x1b["))
    assert shown(gate.handle(Lull())) == [("out", b"last")]
    effects = gate.handle(end)
    assert shown(effects) == [("out", b"\x1b[")]
    assert rb"\u001b[" in recorded(effects)


def test_behind_words_of_ours_it_is_recorded_alone() -> None:
    gate = make_gate(terminal=(80, 24))
    gate.handle(Output(b"last\x1b["))
    gate.handle(Output(b"sallyport: It is over.\r\n", "err", own=True))
    effects = gate.handle(Exited(255))
    assert shown(effects) == []
    assert rb"\u001b[" in recorded(effects)
