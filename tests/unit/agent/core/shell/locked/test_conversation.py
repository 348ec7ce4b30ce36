"""The gateway's half of a locked shell, against a runner that is played here."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.broken import Broken
from agent.core.shell.guard.keys import KEYS_LIMIT
from agent.core.shell.guard.meaning import HIDDEN, TOO_LONG
from agent.core.shell.locked.conversation import NUL, Locked
from agent.core.units import Asked, Housekeeping, Output, Refused, Side, Unit

NONCE = "0123456789abcdef"
FIRST, SECOND, THIRD = (digit * 32 for digit in "123")


def mark(body: str) -> bytes:
    return b"\x1b]7701;" + NONCE.encode() + b";" + body.encode() + b"\x07"


def report(challenge: str, status: int = 0, cwd: str = "/tmp") -> bytes:
    return mark(f"R;{challenge};{status};{cwd}")


def booted() -> Locked:
    """A shell at its first prompt."""
    locked = Locked(NONCE, "web@prod", 80, 24)
    (stage,) = locked.receive(b"motd\r\n\x1b]7701;boot;dash\x07", 0)
    assert isinstance(stage, Housekeeping)
    assert stage.to is Side.TARGET
    assert stage.data.startswith(b"\n@sallyport@")
    assert stage.data.count(b"\n") == 2, "one line is read, behind the end of what was typed before"
    assert NONCE.encode() in stage.data
    assert not locked.ready
    assert shown(locked.receive(report(FIRST), 0)).endswith(b"web@prod:/tmp$ ")
    assert locked.ready
    return locked


def running(line: bytes = b"sleep 9") -> Locked:
    """A shell in which a line runs."""
    locked = booted()
    locked.typed(line + b"\r")
    assert locked.allowed(5) == []
    assert locked.receive(mark("S"), 5) == []
    return locked


def shown(units: list[Unit]) -> bytes:
    return b"".join(unit.data for unit in units if isinstance(unit, Output))


def sent(units: list[Unit]) -> bytes:
    return b"".join(unit.data for unit in units if isinstance(unit, Housekeeping))


def asked(units: list[Unit]) -> Asked | Refused:
    *_, unit = units
    assert isinstance(unit, Asked | Refused)
    return unit


def test_a_line_is_asked_about_and_runs() -> None:
    locked = booted()
    units = locked.typed(b"rm -rf x\xc3\xa9\rtyped ahead")
    assert sent(units) == b""
    unit = asked(units)
    assert isinstance(unit, Asked)
    assert (unit.operation.text, unit.operation.kind, unit.operation.verbs) == ("rm -rf xé", "line", {"rm"})
    assert unit.operation.environment == (("PWD", "/tmp"),)
    assert unit.data == FIRST.encode() + b":r:0:rm -rf x\\0303\\0251\n"
    assert locked.typed(b"\x03") == [], "keys wait while others decide"
    assert locked.allowed(10) == []
    assert sent(locked.receive(mark("S") + b"out", 10)) == b"typed ahead\x03"
    assert sent(locked.typed(b"to the program\rls\r")) == b"to the program\rls\r"
    assert sent(locked.receive(report(SECOND, 3), 60)) == SECOND.encode() + b":w:\n", "what the program did not take is asked for"
    (ran,) = locked.ran
    assert (ran.operation, ran.status, ran.began_ms, ran.ended_ms) == (unit.operation, 3, 10, 60)
    units = locked.receive(mark("W;%6c%73%0a"), 61)
    again = asked(units)
    assert again.operation.text == "ls"
    assert isinstance(again, Asked)
    assert again.data == SECOND.encode() + b":r:3:ls\n"


def test_the_next_line_goes_with_a_line_that_runs() -> None:
    """So that it is there before its program runs, while the terminal shows nothing."""
    locked = booted()
    unit = asked(locked.typed(b"sudo id\rpassword\rls\r"))
    assert isinstance(unit, Asked)
    assert locked.types(unit.data) == unit.data + b"password\r"
    assert locked.allowed(10) == []
    assert sent(locked.receive(mark("S"), 10)) == b"ls\r"
    assert sent(locked.receive(report(SECOND), 11)) == SECOND.encode() + b":w:\n"
    # The program read neither.
    assert asked(locked.receive(mark("W;password%0als%0a"), 12)).operation.text == "password"


def test_what_went_with_a_line_is_asked_back_where_nothing_else_was_typed() -> None:
    locked = booted()
    unit = asked(locked.typed(b"sudo id\rpassword\r"))
    assert isinstance(unit, Asked)
    assert locked.types(unit.data) == unit.data + b"password\r"
    assert locked.allowed(10) == []
    assert locked.receive(mark("S"), 10) == []
    assert sent(locked.receive(report(SECOND), 11)) == SECOND.encode() + b":w:\n"
    assert shown(locked.receive(mark("W;"), 12)).endswith(b"web@prod:/tmp$ ")


@pytest.mark.parametrize("keys", [b"pass", b"\x03\r", b"pa\x7fss\r", b"\x1b[A\r", b"\x16\r"])
def test_what_means_something_to_a_terminal_waits(keys: bytes) -> None:
    locked = booted()
    unit = asked(locked.typed(b"sudo id\r" + keys))
    assert isinstance(unit, Asked)
    assert locked.types(unit.data) == unit.data
    locked.allowed(10)
    assert sent(locked.receive(mark("S"), 10)) == keys


def test_bash_would_read_the_next_line_itself() -> None:
    locked = Locked(NONCE, "web@prod", 80, 24)
    locked.receive(b"\x1b]7701;boot;bash\x07", 0)
    locked.receive(report(FIRST), 0)
    unit = asked(locked.typed(b"sudo id\rpassword\r"))
    assert isinstance(unit, Asked)
    assert locked.types(unit.data) == unit.data


def test_a_denied_line_goes_nowhere_and_has_a_status() -> None:
    locked = booted()
    locked.typed(b"bad\rnext\r")
    units = locked.denied()
    assert sent(units) == b""
    unit = asked(units)
    assert isinstance(unit, Asked)
    assert unit.data == FIRST.encode() + b":r:126:next\n"
    assert locked.ran == []


def test_keys_leave_only_while_a_line_runs() -> None:
    locked = booted()
    for keys in (b"ls", b"\x03", b"\x1a", b"x\x04\x7f"):
        assert sent(locked.typed(keys)) == b""
    asking = locked.typed(b"ls\r")
    assert isinstance(asked(asking), Asked)
    assert sent(locked.typed(b"x\r\x03")) == b""
    locked.allowed(0)
    assert sent(locked.typed(b"x")) == b""


@pytest.mark.parametrize(
    ("keys", "code", "message"),
    [
        (b"echo $__sp_c", "not_supported", HIDDEN),
        (b"echo " + NONCE.encode(), "not_supported", HIDDEN),
        (b"a\x16\x00b", "bad_request", NUL),
        (b"x" * 70_000, "too_large", TOO_LONG),
        ("é".encode() * 40_000, "too_large", TOO_LONG),
    ],
)
def test_what_cannot_be_decided_is_refused(keys: bytes, code: str, message: str) -> None:
    unit = asked(booted().typed(keys + b"\r"))
    assert isinstance(unit, Refused)
    assert (unit.code, unit.message) == (code, message)


def test_a_runner_that_was_interrupted_is_given_the_line_again() -> None:
    locked = booted()
    locked.typed(b"ls\r")
    locked.allowed(0)
    assert sent(locked.receive(report(SECOND), 0)) == SECOND.encode() + b":r:0:ls\n"
    assert sent(locked.typed(b"\x03")) == b"", "what would take the line with it waits for the program"
    assert sent(locked.receive(mark("S"), 0)) == b"\x03"


def test_a_challenge_that_changes_while_others_decide_counts() -> None:
    locked = booted()
    locked.typed(b"ls\r")
    assert locked.receive(report(SECOND), 0) == []
    assert sent(locked.allowed(0)) == SECOND.encode() + b":r:0:ls\n"


def test_marks_that_nobody_waits_for_change_nothing() -> None:
    locked = booted()
    assert locked.receive(mark("S") + mark("W;%6c%73%0a"), 0) == []
    assert sent(locked.typed(b"x")) == b""
    assert sent(locked.receive(report(SECOND, 4), 0)) == b""
    unit = asked(locked.typed(b"\r"))
    assert isinstance(unit, Asked)
    assert unit.data.startswith(SECOND.encode() + b":r:0:")


def test_the_end() -> None:
    locked = booted()
    assert sent(locked.typed(b"\x04more")) == FIRST.encode() + b":x:0\n"
    assert locked.typed(b"ls\r") == []


def test_the_end_of_all_keys_is_the_end_of_the_shell_once_lines_have_run() -> None:
    locked = booted()
    unit = asked(locked.typed(b"one\rtwo"))
    assert unit.operation.text == "one"
    assert locked.ended() == []
    assert sent(locked.denied()).endswith(b":x:126\n")
    locked = running()
    assert locked.ended() == []
    assert sent(locked.receive(report(SECOND, 3), 0)) == SECOND.encode() + b":x:3\n"


def test_words_of_others_leave_the_line_as_it_was() -> None:
    locked = booted()
    locked.typed(b"x" * 100)
    assert shown(locked.redrawn()) == b"\r\x1b[Kweb@prod:/tmp$ " + b"x" * 100
    assert running().redrawn() == []


def test_output_of_the_background_stands_above_the_line() -> None:
    locked = booted()
    locked.typed(b"half")
    assert shown(locked.receive(b"late", 0)) == b"\r\x1b[Jlate\r\nweb@prod:/tmp$ half"


def test_a_prompt_begins_a_row() -> None:
    assert shown(running().receive(b"no end" + report(SECOND), 0)).startswith(b"no end\r\n")
    assert b"\r\n" not in shown(running().receive(b"end\r\n\x1b[0m" + report(SECOND), 0)).replace(b"end\r\n", b"")


def test_what_a_directory_is_called_moves_no_cursor() -> None:
    assert b"web@prod:/^[[2J<202E>x$ " in shown(running().receive(report(SECOND, 0, "%2f%1b%5b2J\u202ex"), 0))


def test_keys_wait_within_bounds() -> None:
    locked = booted()
    locked.typed(b"ls\r")
    locked.typed(b"x" * KEYS_LIMIT)
    assert locked.full
    locked.denied()
    assert not locked.full


def test_blank_lines_ask_nobody_and_do_not_nest() -> None:
    locked = booted()
    assert not any(isinstance(unit, Asked | Refused) for unit in locked.typed(b"\r" * 20_000))


@pytest.mark.parametrize(
    "data", [mark("?"), mark("R;1"), report("short"), mark(f"R;{FIRST};zero;/"), report(FIRST, 0, ""), mark("R;'open")]
)
def test_a_runner_that_makes_no_sense_is_ended(data: bytes) -> None:
    with pytest.raises(Broken):
        running().receive(data, 0)


def test_marks_of_others_are_counted() -> None:
    locked = running()
    assert shown(locked.receive(b"a\x1b]7701;fedcba;R;1;0;/\x07b", 0)) == b"ab"
    assert locked.forged == 1


def test_another_size_is_drawn() -> None:
    locked = booted()
    locked.typed(b"x" * 70)
    assert shown(locked.resized(40, 24))
    assert running().resized(40, 24) == []


def test_a_nonce_is_long() -> None:
    with pytest.raises(ValueError):
        Locked("short", "x", 80, 24)


def test_a_challenge_that_comes_twice_was_not_drawn() -> None:
    locked = running()
    with pytest.raises(Broken):
        locked.receive(report(FIRST), 6)
