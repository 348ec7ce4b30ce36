"""Keys that were typed ahead of a verdict: which go with it, and which wait."""

from __future__ import annotations

import pytest

from agent.core.units import Asked
from tests.unit.agent.core.shell.guard.test_dialogue import asked, booted, inner, mark, nested, sent


def test_the_next_line_goes_with_the_verdict() -> None:
    """So that it is there before its program runs, while the terminal shows nothing."""
    dialogue = booted()
    assert dialogue.typed("sudo id\rpässword\rls\r".encode()) == b"sudo id\r"
    unit = asked(dialogue, b"'sudo id'")
    assert isinstance(unit, Asked)
    assert dialogue.types(unit.data) == unit.data + "pässword\r".encode()
    dialogue.allowed(10)
    assert sent(dialogue.receive(mark(b"W;''"), 10)) == b"ls\r", "and the rest is the program's, or the next prompt's"


@pytest.mark.parametrize("keys", [b"pass", b"", b"\x03\r", b"pa\x7fss\r", b"\x1b[A\r", b"\tx\r", b"\x04"])
def test_what_means_something_to_a_terminal_waits(keys: bytes) -> None:
    dialogue = booted()
    dialogue.typed(b"sudo id\r" + keys)
    unit = asked(dialogue, b"'sudo id'")
    assert isinstance(unit, Asked)
    assert dialogue.types(unit.data) == unit.data
    dialogue.allowed(10)
    assert sent(dialogue.receive(mark(b"W;''"), 10)) == keys


@pytest.mark.parametrize("data", [b"77:d\x1e", b"77:s\x1e", b"keys"])
def test_nothing_goes_with_what_is_no_yes(data: bytes) -> None:
    dialogue = booted()
    dialogue.typed(b"sudo id\rpassword\r")
    assert dialogue.types(data) == data
    asked(dialogue, b"'sudo id'")
    assert dialogue.types(data) == data


def test_what_stands_unread_in_the_terminal_comes_first() -> None:
    dialogue = booted()
    dialogue.typed(b"sleep 1\r")
    asked(dialogue, b"'sleep 1'")
    dialogue.allowed(10)
    dialogue.receive(mark(b"W;''"), 10)
    assert dialogue.typed(b"one\rtwo\r") == b"one\rtwo\r"
    # The shell has read the first, at its prompt, and the second stands before whatever is typed now.
    dialogue.receive(mark(b"D;0;'/'") + mark(b"A") + mark(b"B"), 20)
    unit = asked(dialogue, b"'one'", challenge=b"78")
    assert dialogue.typed(b"three\r") == b""
    assert isinstance(unit, Asked)
    assert dialogue.types(unit.data) == unit.data
    dialogue.allowed(21)
    assert sent(dialogue.receive(mark(b"W;$'two\\n'"), 21)) == b"two\nthree\r"


def test_what_was_typed_by_a_guess_comes_first() -> None:
    """Nothing came behind Enter for a while, so the next keys were typed; and then the question comes."""
    dialogue = booted()
    assert dialogue.typed(b"one\rtwo\rthree\r") == b"one\r"
    assert sent(dialogue.flush()) == b"two\r"
    unit = asked(dialogue, b"'one'")
    assert isinstance(unit, Asked)
    assert dialogue.types(unit.data) == unit.data
    dialogue.allowed(21)
    assert sent(dialogue.receive(mark(b"W;$'two\\n'"), 21)) == b"two\nthree\r"


def test_what_went_with_a_verdict_comes_back_to_a_shell_inside() -> None:
    dialogue = nested()
    dialogue.typed(b"sleep 1\rone\rtwo\r")
    (unit,) = dialogue.receive(inner(b"Q;L;80;1;'/';'sleep 1'"), 13)
    assert isinstance(unit, Asked)
    assert dialogue.types(unit.data).endswith(b"one\r")
    dialogue.allowed(14)
    assert sent(dialogue.receive(inner(b"W;''"), 14)) == b"two\r"
    # Nobody read them but the shell, which took the first for its next line.
    dialogue.receive(inner(b"D;0;'/'") + inner(b"A") + inner(b"B") + inner(b"Q;L;81;1;'/';'one'"), 15)
    dialogue.allowed(15)
    assert sent(dialogue.receive(inner(b"W;$'two\\n'"), 15)) == b"two\n"
