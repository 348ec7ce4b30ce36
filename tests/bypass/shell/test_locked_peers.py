"""Both sides of a locked shell as its enemies: keys that cost more than a key, and a target that says what no runner says.

Nothing here needs a server: what is attacked is the gateway's half. Beside each attack: what looks like it and must work.
"""

from __future__ import annotations

import pytest

from agent.core.shell.guard.broken import Broken
from agent.core.shell.locked.conversation import CHANGED, Locked
from agent.core.shell.locked.line import LIMIT
from agent.core.units import Asked, Housekeeping, Output, Refused, Remark, Unit

NONCE = "0123456789abcdef"
FIRST, SECOND, THIRD = (digit * 32 for digit in "123")


def mark(body: str) -> bytes:
    return b"\x1b]7701;" + NONCE.encode() + b";" + body.encode() + b"\x07"


def report(challenge: str = SECOND, status: str = "0") -> bytes:
    return mark(f"R;{challenge};{status};/tmp")


def booted() -> Locked:
    locked = Locked(NONCE, "web@prod", 80, 24)
    locked.receive(b"\x1b]7701;boot;dash\x07" + report(FIRST), 0)
    return locked


def running(line: bytes = b"sleep 9") -> Locked:
    locked = booted()
    locked.typed(line + b"\r")
    locked.allowed(0)
    locked.receive(mark("S"), 0)
    return locked


def texts(units: list[Unit]) -> list[str]:
    return [unit.operation.text for unit in units if isinstance(unit, Asked | Refused)]


def sent(units: list[Unit]) -> bytes:
    return b"".join(unit.data for unit in units if isinstance(unit, Housekeeping))


def finished(locked: Locked, units: list[Unit]) -> tuple[list[Unit], int]:
    """Let ``locked`` take all keys that wait; returns what came of it, and in how many turns."""
    turns = 1
    while locked.busy:
        units = units + locked.go_on()
        turns += 1
    return units, turns


# -- a target that types in the person's name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (b"x", "touch /tmp/f%0a"),
        (b"hello\r", "rm -rf /%0a"),
        (b"q", "q%0aid%0a"),
        (b"not this\x15ls\r", "not this%0als%0a"),
        (b"ls\r", "%1b%5bA%0a"),
        (b"an essay of many letters, rm and more\r", "rm%0a"),
    ],
)
def test_a_target_types_nothing_in_somebodys_name(typed: bytes, said: str) -> None:
    locked = running()
    locked.typed(typed)
    locked.receive(report(), 0)
    units = locked.receive(mark(f"W;{said}"), 0)
    assert texts(units) == []
    assert any(isinstance(unit, Output) and unit.own and CHANGED.encode() in unit.data for unit in units)
    assert any(isinstance(unit, Remark) for unit in units), "the recording tells it as well"
    assert texts(locked.typed(b"pwd\r")) == ["pwd"]


@pytest.mark.parametrize(
    ("typed", "said", "line"),
    [
        (b"ls\r", "ls%0a", "ls"),
        (b"to cat\rls\r", "ls%0a", "ls"),
        (b"lx\x7fs -l\r", "ls -l%0a", "ls -l"),
        (b"lx\x7fs -l\r", "lx%7fs -l%0d", "ls -l"),
        (b"\x1b[200~echo a\rb\x1b[201~\r", "%1b[200~echo a%0ab%1b[201~%0a", "echo a\nb"),
    ],
)
def test_what_was_typed_ahead_counts(typed: bytes, said: str, line: str) -> None:
    locked = running()
    locked.typed(typed)
    locked.receive(report(), 0)
    assert texts(locked.receive(mark(f"W;{said}"), 0)) == [line]


# -- a target that wants memory, or to break the gateway -----------------------------------------------------------------------


def test_a_runner_that_never_hears_of_its_line_is_given_up() -> None:
    locked = booted()
    locked.typed(b"x" * 60_000 + b"\r")
    locked.allowed(0)
    answered = sum(len(sent(locked.receive(report(f"{n:032x}"), 0))) for n in range(15))
    assert answered < 2 << 20
    with pytest.raises(Broken):
        locked.receive(b"".join(report(f"{n:032x}") for n in range(15, 18)), 0)


def test_a_runner_that_was_interrupted_a_few_times_gets_its_line() -> None:
    locked = booted()
    locked.typed(b"ls\r")
    locked.allowed(0)
    for n in range(5):
        assert sent(locked.receive(report(f"{n:032x}"), 0)) == f"{n:032x}:r:0:ls\n".encode()
    locked.receive(mark("S"), 0)
    assert locked.state == "running"


@pytest.mark.parametrize("status", ["99999999999999999999", "--1", "1_0", " 1", "0x10", "٣", ""])
def test_a_status_is_a_number_that_a_recording_can_hold(status: str) -> None:
    with pytest.raises(Broken):
        running().receive(report(status=status), 0)


@pytest.mark.parametrize("status", [0, 1, 126, 255, 300])
def test_every_status_of_a_shell_is_told(status: int) -> None:
    locked = running()
    locked.receive(report(status=str(status)), 0)
    assert [each.status for each in locked.ran] == [status]


# -- keys that cost more than a key --------------------------------------------------------------------------------------------


def test_a_line_does_not_double_itself() -> None:
    locked = booted()
    units, _ = finished(locked, locked.typed(b"x" * 1000 + b"\x15\x19\x19" * 60 + b"\r"))
    (line,) = texts(units)
    assert len(line) <= LIMIT
    assert set(line) == {"x"}


def test_what_was_cut_out_is_put_in_twice() -> None:
    assert texts(booted().typed(b"ab\x15\x19\x19\r")) == ["abab"]


@pytest.mark.parametrize(
    "keys",
    [b"\x1bb\x1bf", b"\x01\x05a\x7f", b"\x17\x19", b"\x02\x14", b"\x12a\x07"],
    ids=["words", "ends", "cut", "exchange", "search"],
)
def test_many_keys_in_a_long_line_are_taken_in_many_turns(keys: bytes) -> None:
    locked = booted()
    finished(locked, locked.typed(b"x" * 60_000))
    units, turns = finished(locked, locked.typed(keys * 40))
    assert turns > 20
    assert locked.state == "prompt"
    assert not sent(units)


def test_what_waits_for_its_turn_is_bounded() -> None:
    locked = booted()
    finished(locked, locked.typed(b"x" * 60_000))
    locked.typed(b"\x1bb" * 40_000)
    assert locked.busy
    assert locked.full
    locked.typed(b"\x03")
    finished(locked, [])
    assert not locked.full


def test_an_open_quote_does_not_cost_its_length_for_every_enter() -> None:
    locked = booted()
    locked.typed(b"( " + b"a " * 4_000)
    _, turns = finished(locked, locked.typed(b"\r" * 60))
    assert turns > 5


def test_ordinary_typing_is_one_turn() -> None:
    locked = booted()
    assert locked.typed(b"echo 'a long line of text' | sort | uniq -c\x01\x1bf\x1bf\x05 | head")
    assert not locked.busy
    finished(locked, locked.typed(b"\x15"))
    assert texts(locked.typed(b"\x1b[200~" + b"echo x\n" * 9_000 + b"\x1b[201~\r")) == ["\n".join(["echo x"] * 9_000)]
