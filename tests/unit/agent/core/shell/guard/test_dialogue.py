"""The gateway's half of a guarded shell, against a shell that is played here."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.dialogue import HIDDEN, HISTORY_OFF, KEYS_LIMIT, UNREADABLE, Broken, Dialogue
from agent.core.units import Asked, Housekeeping, Output, Refused, Side, Unit

NONCE = "0123456789abcdef"


def mark(body: bytes) -> bytes:
    return b"\x1b]7701;" + NONCE.encode() + b";" + body + b"\x07"


def question(line: bytes, kind: bytes = b"L", challenge: bytes = b"77") -> bytes:
    return mark(b"Q;" + kind + b";" + challenge + b";1;'/tmp';" + line)


def booted() -> Dialogue:
    """A shell at its first prompt."""
    dialogue = Dialogue(NONCE)
    assert dialogue.typed(b"early\r") == b""
    (stage,) = dialogue.receive(b"motd\r\n\x1b]7701;boot;bash\x07", 0)
    assert isinstance(stage, Housekeeping)
    assert stage.to is Side.TARGET
    assert stage.data.count(b"\n") == 1, "one line is read"
    assert NONCE.encode() in stage.data
    assert dialogue.receive(mark(b"R") + b"welcome\r\n" + mark(b"H") + mark(b"D;0;'/'") + mark(b"A") + b"$ ", 0) == [
        Output(b"welcome\r\n"),
        Output(b"$ "),
    ]
    assert dialogue.receive(mark(b"B"), 0) == [Housekeeping(Side.TARGET, b"early\r")]
    assert dialogue.receive(mark(b"B"), 0) == []
    return dialogue


def asked(dialogue: Dialogue, line: bytes) -> Asked | Refused:
    (unit,) = dialogue.receive(question(line), 5)
    assert isinstance(unit, Asked | Refused)
    return unit


def sent(units: list[Unit]) -> bytes:
    return b"".join(unit.data for unit in units if isinstance(unit, Housekeeping))


def test_a_line_is_asked_about_and_runs() -> None:
    dialogue = booted()
    assert dialogue.typed(b"rm -rf x\rtyped ahead") == b"rm -rf x\r"
    unit = asked(dialogue, b"'rm -rf x'")
    assert isinstance(unit, Asked)
    assert unit.operation.text == "rm -rf x"
    assert unit.operation.kind == "line"
    assert unit.operation.verbs == {"rm"}
    assert unit.operation.environment == (("PWD", "/tmp"),)
    assert unit.data == b"77:a\x1e"
    assert dialogue.typed(b"\x03") == b"", "nobody else types while a question is out"
    dialogue.allowed(10)
    assert dialogue.typed(b"!") == b"", "nor before the shell has taken the verdict"
    assert sent(dialogue.receive(mark(b"W;'before '"), 10)) == b"before typed ahead\x03!"
    assert dialogue.typed(b"to the program\r more") == b"to the program\r more"
    dialogue.receive(mark(b"D;3;'/'"), 60)
    (ran,) = dialogue.ran
    assert (ran.operation, ran.status, ran.began_ms, ran.ended_ms) == (unit.operation, 3, 10, 60)


def test_a_denied_line_leaves_the_keys_for_the_next_prompt() -> None:
    dialogue = booted()
    dialogue.typed(b"bad\rnext\r")
    asked(dialogue, b"bad")
    assert dialogue.denied() == b"77:d\x1e"
    assert sent(dialogue.receive(mark(b"W;''"), 0)) == b""
    assert sent(dialogue.receive(mark(b"D;130;'/'") + mark(b"A") + mark(b"B"), 0)) == b"next\r"
    assert dialogue.ran == []


def test_keys_after_enter_go_on_where_no_question_comes() -> None:
    dialogue = booted()
    assert dialogue.typed(b"for i in 1\rdo") == b"for i in 1\r"
    assert dialogue.waits
    assert sent(dialogue.receive(b"> " + mark(b"C"), 0)) == b"do"
    assert dialogue.typed(b"\rx") == b"\r"
    assert dialogue.flush() == [Housekeeping(Side.TARGET, b"x")]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (question(b"'x'", kind=b"U"), HISTORY_OFF),
        (question(rb"$'\377'"), UNREADABLE),
        (question(b"'__sp_s=0'"), HIDDEN),
        (question(b"'echo " + NONCE.encode() + b"'"), HIDDEN),
        (
            question(b"'" + b"x" * 70_000 + b"'"),
            "The line is longer than 64 KiB, so it cannot be decided. Copy a script and run that.",
        ),
    ],
)
def test_what_cannot_be_decided_is_refused(body: bytes, message: str) -> None:
    dialogue = booted()
    dialogue.typed(b"\r")
    (unit,) = dialogue.receive(body, 0)
    assert isinstance(unit, Refused)
    assert unit.message == message


@pytest.mark.parametrize(
    "data",
    [
        question(b"x") + question(b"y"),
        mark(b"Q;L"),
        mark(b"D;zero;'/'"),
        mark(b"?"),
        mark(b"Q;L;1;2;'open"),
        b"\x1b]7701;" + b"x" * 600_000,
    ],
)
def test_a_shell_that_makes_no_sense_is_ended(data: bytes) -> None:
    with pytest.raises(Broken):
        booted().receive(data, 0)


@pytest.mark.parametrize(("said", "words"), [(b"boot;tcsh", "cannot be guarded"), (b"boot;\xff\x1b[31m", "cannot be guarded")])
def test_a_shell_that_is_not_known_is_refused(said: bytes, words: str) -> None:
    with pytest.raises(Broken, match=words):
        Dialogue(NONCE).receive(b"\x1b]7701;" + said + b"\x07", 0)


def test_an_old_shell_is_refused() -> None:
    dialogue = Dialogue(NONCE)
    dialogue.receive(b"\x1b]7701;boot;bash\x07", 0)
    with pytest.raises(Broken, match=r"bash 3\.2 is too old"):
        dialogue.receive(mark(b"X;3.2"), 0)


def test_lines_of_one_paste_end_each_other() -> None:
    dialogue = booted()
    dialogue.typed(b"a\r")
    for line in (b"one", b"two"):
        asked(dialogue, line)
        dialogue.allowed(7)
        dialogue.receive(mark(b"W;''"), 7)
    dialogue.over(0, 9)
    assert [(ran.operation.text, ran.status) for ran in dialogue.ran] == [("one", None), ("two", 0)]


def test_keys_that_wait_are_bounded() -> None:
    dialogue = booted()
    dialogue.typed(b"\r" + b"x" * KEYS_LIMIT)
    assert dialogue.full


@pytest.mark.parametrize("nonce", ["", "short", "x" * 65, "0123456789abcde;", "0123456789abcdeé"])
def test_a_nonce_is_plain(nonce: str) -> None:
    with pytest.raises(ValueError, match="nonce"):
        Dialogue(nonce)
