"""A shell that stands at its prompt again before it has taken the verdict: Ctrl-C was there first, and the line did not run.

In bash whoever asked may have missed it, and reads on beside the prompt, so another Ctrl-C is typed behind the verdict.
"""

from __future__ import annotations

import pytest

from agent.core.shell.guard.broken import Broken
from agent.core.shell.guard.dialogue import Dialogue
from agent.core.units import Asked, Output
from tests.unit.agent.core.shell.guard.test_dialogue import asked, booted, mark, question, sent

#: What a shell says before its prompt, and at the end of it.
BACK = mark(b"D;130;'/tmp'")
STANDS = mark(b"A") + b"$ " + mark(b"B")


#: What it says behind the gateway's own Ctrl-C.
AGAIN = mark(b"D;130;'/tmp';1") + STANDS


def pressed(line: bytes = b"touch x\r") -> Dialogue:
    """Ctrl-C has gone to the shell behind a line, of which nothing had been heard for a while."""
    dialogue = booted()
    assert dialogue.typed(line + b"\x03") == line
    assert sent(dialogue.flush()) == b"\x03"
    return dialogue


def test_a_verdict_that_nobody_reads_is_discarded_and_keys_go_on() -> None:
    dialogue = pressed()
    asked(dialogue, b"'touch x'")
    assert dialogue.denied() == b"77:d\x1e"
    assert not dialogue.given_up
    assert dialogue.typed(b"ls\r") == b"", "before anything is heard of it"
    assert sent(dialogue.receive(BACK, 9)) == b"", "keys of ours too are for a shell that reads them"
    assert sent(dialogue.receive(STANDS, 9)) == b"\x03", "behind the verdict, and before every other key"
    assert sent(dialogue.receive(AGAIN, 9)) == b"ls\r"
    assert isinstance(asked(dialogue, b"ls", b"78"), Asked)


def test_an_allowed_line_that_was_not_run_ends_with_what_the_shell_says() -> None:
    dialogue = pressed()
    unit = asked(dialogue, b"'touch x'")
    dialogue.allowed(6)
    assert sent(dialogue.receive(BACK + STANDS, 9)) == b"\x03"
    assert [(each.operation, each.status) for each in dialogue.ran] == [(unit.operation, 130)]
    dialogue.receive(AGAIN, 9)
    assert dialogue.typed(b"ls") == b"ls"


def test_while_it_is_decided_the_verdict_is_given_up() -> None:
    dialogue = pressed()
    asked(dialogue, b"'touch x'")
    assert not dialogue.given_up
    assert dialogue.receive(BACK + STANDS, 9) == [Output(b"$ ")]
    assert dialogue.given_up
    assert dialogue.typed(b"ls\r") == b"", "the decision is still to be recorded"
    assert dialogue.denied() == b""
    assert not dialogue.given_up
    assert sent(dialogue.proceed()) == b"\x03"
    assert sent(dialogue.receive(AGAIN, 9)) == b"ls\r"


def test_a_yes_that_is_given_up_runs_nothing_and_is_told_of() -> None:
    dialogue = pressed()
    unit = asked(dialogue, b"'touch x'")
    dialogue.receive(BACK + STANDS, 9)
    assert dialogue.given_up
    dialogue.allowed(11)
    assert [(each.operation, each.status) for each in dialogue.ran] == [(unit.operation, None)]
    assert sent(dialogue.proceed()) == b"\x03"
    assert dialogue.typed(b"ls") == b""
    assert sent(dialogue.receive(AGAIN, 9)) == b"ls"


def test_nothing_is_started_in_the_place_of_a_line_that_was_given_up() -> None:
    for early in (True, False):
        dialogue = pressed(b"bash\r")
        asked(dialogue, b"bash")
        if early:
            dialogue.receive(BACK, 9)
            dialogue.allowed(10)
            assert sent(dialogue.proceed()) == b"\x03"
            dialogue.receive(STANDS, 9)
        else:
            dialogue.allowed(10)
            assert sent(dialogue.receive(BACK + STANDS, 9)) == b"\x03"
        assert sent(dialogue.receive(AGAIN, 9)) == b""
        assert dialogue.state == "prompt"
        assert dialogue.receive(b"shown", 9) == [Output(b"shown")]


def test_a_line_that_was_typed_behind_it_is_decided_next() -> None:
    for verdict in ("allowed", "denied"):
        dialogue = pressed()
        asked(dialogue, b"'touch x'")
        assert dialogue.receive(BACK + STANDS + question(b"pwd", challenge=b"78"), 9) == [Output(b"$ ")]
        assert dialogue.given_up
        if verdict == "allowed":
            dialogue.allowed(10)
        else:
            assert dialogue.denied() == b""
        (unit,) = dialogue.proceed()
        assert isinstance(unit, Asked)
        assert (unit.operation.text, unit.data) == ("pwd", b"78:a\x1e")
        assert not dialogue.given_up, "that one is waited for"
        dialogue.allowed(12)
        assert dialogue.proceed() == []
        assert sent(dialogue.receive(mark(b"W;''"), 12)) == b""
        assert dialogue.state == "running"


def test_a_line_behind_it_may_be_given_up_as_well() -> None:
    dialogue = pressed()
    asked(dialogue, b"'touch x'")
    dialogue.receive(BACK + question(b"pwd", challenge=b"78") + BACK + STANDS, 9)
    assert dialogue.denied() == b""
    assert sent(dialogue.proceed()) == b"\x03"
    assert dialogue.typed(b"ls") == b""
    assert sent(dialogue.receive(AGAIN, 9)) == b"ls"


def test_more_questions_than_one_at_a_time_end_the_shell() -> None:
    for first in (b"", BACK + question(b"pwd", challenge=b"78")):
        dialogue = pressed()
        asked(dialogue, b"'touch x'")
        dialogue.receive(first, 9)
        with pytest.raises(Broken, match="twice"):
            dialogue.receive(question(b"id", challenge=b"79"), 9)


@pytest.mark.parametrize("late", [b"Q;L;78;1", b"Q;L;no;1;'/tmp';pwd", b"Q;L;77;1;'/tmp';pwd"])
def test_what_makes_no_sense_ends_the_shell_at_once(late: bytes) -> None:
    dialogue = pressed()
    asked(dialogue, b"'touch x'")
    with pytest.raises(Broken, match="no sense"):
        dialogue.receive(BACK + mark(late), 9)


@pytest.mark.parametrize("verdict", ["allowed", "denied"])
def test_a_verdict_that_became_text_of_the_line_is_no_line_of_anybody(verdict: str) -> None:
    dialogue = pressed()
    asked(dialogue, b"'touch x'")
    if verdict == "allowed":
        dialogue.allowed(10)
    else:
        assert dialogue.denied() == b"77:d\x1e"
    text = b"'touch x77:" + verdict[:1].encode() + b"'"
    assert sent(dialogue.receive(question(text, challenge=b"78"), 11)) == b"78:d\x1e", "and nobody is asked"
    assert dialogue.typed(b"ls\r") == b"", "the line is not gone yet"
    dialogue.receive(mark(b"W;''"), 12)
    assert sent(dialogue.receive(BACK + STANDS, 13)) == b"ls\r"
    assert isinstance(asked(dialogue, b"ls", b"79"), Asked)
