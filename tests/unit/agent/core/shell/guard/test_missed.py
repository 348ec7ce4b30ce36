"""What Ctrl-C takes away: marks that nobody had read yet, verdicts, and the signal itself where a shell is being forked."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.broken import Broken
from agent.core.shell.guard.dialogue import Dialogue
from agent.core.shell.guard.lulls import FIRST
from agent.core.units import Asked, Output
from tests.unit.agent.core.shell.guard.test_dialogue import NONCE, booted, mark, question, sent
from tests.unit.agent.core.shell.guard.test_given_up import STANDS

#: A question of somebody who was asked to read the line of the third prompt.
ASKS = mark(b"Q;L;77;3;'/tmp';'touch x'")


def prompt(number: int, status: int = 130) -> bytes:
    return mark(f"D;{status};'/tmp';{number}".encode()) + STANDS


def standing(number: int = 3) -> Dialogue:
    """bash is at one of its prompts, and counts them."""
    dialogue = booted()
    dialogue.typed(b"x")
    dialogue.receive(prompt(number), 1)
    assert dialogue.state == "prompt"
    return dialogue


def zsh() -> Dialogue:
    dialogue = Dialogue(NONCE, lambda: "")
    dialogue.receive(b"\x1b]7701;boot;zsh\x07" + mark(b"R") + mark(b"H") + mark(b"D;0;/") + STANDS, 0)
    assert dialogue.state == "prompt"
    return dialogue


def lulls(dialogue: Dialogue, most: int = 4 * FIRST) -> int:
    """Let nothing come until something is typed; return how long that took, or 0 where it never was."""
    return next((count for count in range(1, most + 1) if sent(dialogue.flush())), 0)


def test_whoever_asks_about_a_line_of_an_earlier_prompt_is_ended_and_not_answered() -> None:
    dialogue = standing()
    dialogue.typed(b"touch x\r\x03")
    dialogue.flush()
    dialogue.receive(prompt(4), 2)
    assert sent(dialogue.receive(ASKS, 3)) == b"\x03"
    assert dialogue.typed(b"ls\r") == b"", "it reads them"
    assert dialogue.receive(ASKS, 4) == [], "and asks again"
    assert sent(dialogue.receive(prompt(5), 5)) == b"ls\r"
    (unit,) = dialogue.receive(mark(b"Q;L;78;5;'/tmp';ls"), 6)
    assert isinstance(unit, Asked)


def test_it_is_ended_later_where_a_program_or_a_question_has_the_terminal() -> None:
    dialogue = standing()
    dialogue.receive(prompt(4), 2)
    dialogue.typed(b"sleep 9\r")
    assert isinstance(dialogue.receive(mark(b"Q;L;78;4;'/tmp';'sleep 9'"), 3)[0], Asked)
    assert dialogue.receive(ASKS, 4) == []
    dialogue.allowed(5)
    dialogue.receive(mark(b"W;''"), 6)
    assert dialogue.receive(ASKS, 7) == [], "Ctrl-C would end the program"
    dialogue.receive(prompt(5), 8)
    assert sent(dialogue.receive(ASKS, 9)) == b"\x03"


def test_ctrl_c_of_ours_is_typed_until_a_prompt_comes_at_longer_and_longer_intervals() -> None:
    dialogue = standing(4)
    assert not dialogue.waits
    assert sent(dialogue.receive(ASKS, 3)) == b"\x03"
    assert dialogue.waits
    dialogue.typed(b"ls")
    assert [lulls(dialogue), lulls(dialogue)] == [FIRST, 2 * FIRST]
    assert sent(dialogue.receive(prompt(5), 4)) == b"ls"
    assert not dialogue.waits


def test_a_question_that_is_repeated_is_one_question() -> None:
    dialogue = standing()
    dialogue.typed(b"touch x\r")
    (unit,) = dialogue.receive(ASKS, 2)
    assert isinstance(unit, Asked)
    assert dialogue.receive(ASKS, 3) == []
    assert dialogue.denied() == b"77:d\x1e"
    assert dialogue.receive(ASKS, 4) == [], "they crossed"
    dialogue.receive(mark(b"W;''"), 5)
    with pytest.raises(Broken, match="no sense"):
        dialogue.receive(ASKS, 6)


@pytest.mark.parametrize("other", [b"Q;L;77;3;'/tmp';'touch y'", b"Q;L;77;4;'/tmp';'touch x'", b"Q;S;77;3;'/tmp';'touch x'"])
def test_the_challenge_of_another_question_ends_the_shell(other: bytes) -> None:
    dialogue = standing()
    dialogue.receive(ASKS, 2)
    dialogue.denied()
    with pytest.raises(Broken, match="no sense"):
        dialogue.receive(mark(other), 3)


def test_a_prompt_without_what_comes_before_it_gives_a_question_up() -> None:
    dialogue = zsh()
    dialogue.typed(b"touch x\r")
    dialogue.receive(question(b"'touch x'"), 1)
    assert dialogue.receive(STANDS, 2) == [Output(b"$ ")]
    assert dialogue.given_up
    assert dialogue.denied() == b""
    assert dialogue.proceed() == []


def test_a_prompt_without_what_comes_before_it_says_that_the_verdict_is_text() -> None:
    for dialogue, key in ((zsh(), b"\x15"), (standing(), b"\x03")):
        dialogue.typed(b"touch x\r")
        dialogue.receive(ASKS, 1)
        dialogue.denied()
        assert sent(dialogue.receive(STANDS, 2)) == key


def test_what_somebody_had_read_who_took_the_verdict_beside_the_prompt_comes_back() -> None:
    dialogue = standing()
    dialogue.typed(b"touch x\r\x03")
    dialogue.flush()
    dialogue.receive(ASKS, 2)
    dialogue.denied()
    dialogue.receive(mark(b"D;130;'/tmp';4") + mark(b"W;'l'") + STANDS, 3)
    dialogue.typed(b"s")
    assert sent(dialogue.receive(prompt(5), 4)) == b"ls"


@pytest.mark.parametrize("allowed", [True, False])
def test_ctrl_c_gets_through_to_a_shell_that_does_not_take_a_verdict(allowed: bool) -> None:
    dialogue = standing()
    dialogue.typed(b"touch x\r")
    dialogue.receive(ASKS, 2)
    if allowed:
        dialogue.allowed(3)
    else:
        dialogue.denied()
    dialogue.typed(b"lost")
    assert not dialogue.waits
    dialogue.typed(b"\x03ls\r")
    assert dialogue.waits
    assert [lulls(dialogue), lulls(dialogue)] == [FIRST, 2 * FIRST], "with which the verdict may have gone"
    assert sent(dialogue.receive(prompt(4), 5)) == b"\x03"
    assert sent(dialogue.receive(prompt(5), 5)) == b"ls\r"


def test_ctrl_c_that_comes_behind_a_verdict_reaches_the_line_that_runs() -> None:
    dialogue = standing()
    dialogue.typed(b"sleep 9\r")
    dialogue.receive(ASKS, 2)
    dialogue.allowed(3)
    dialogue.typed(b"\x03")
    assert lulls(dialogue) == FIRST
    dialogue.receive(mark(b"W;''"), 4)
    assert dialogue.state == "running"
    assert not dialogue.waits
    assert lulls(dialogue) == 0, "programs are not interrupted by us"


@pytest.mark.parametrize("allowed", [True, False])
def test_who_repeats_a_question_twice_behind_its_verdict_has_lost_that_and_gets_ctrl_c(allowed: bool) -> None:
    dialogue = standing()
    dialogue.typed(b"touch x\r")
    dialogue.receive(ASKS, 2)
    dialogue.receive(ASKS, 3)
    dialogue.receive(ASKS, 4)
    if allowed:
        dialogue.allowed(5)
    else:
        dialogue.denied()
    dialogue.typed(b"ls\r")
    assert dialogue.receive(ASKS, 6) == [], "they crossed"
    assert sent(dialogue.receive(ASKS, 7)) == b"\x03"
    assert sent(dialogue.receive(prompt(4), 8)) == b"\x03", "somebody may read beside it"
    assert sent(dialogue.receive(prompt(5), 9)) == b"ls\r"
