"""The gateway's half of a guarded shell, against a shell that is played here."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.boot import WORD
from agent.core.shell.guard.broken import Broken
from agent.core.shell.guard.dialogue import Dialogue
from agent.core.shell.guard.keys import KEYS_LIMIT
from agent.core.shell.guard.meaning import HIDDEN, HISTORY_OFF, TOO_DEEP, UNREADABLE
from agent.core.units import Asked, Housekeeping, Output, Refused, Side, Unit

NONCE = "0123456789abcdef"
INNER = "fedcba9876543210"


def mark(body: bytes) -> bytes:
    return b"\x1b]7701;" + NONCE.encode() + b";" + body + b"\x07"


def question(line: bytes, kind: bytes = b"L", challenge: bytes = b"77") -> bytes:
    return mark(b"Q;" + kind + b";" + challenge + b";1;'/tmp';" + line)


def booted() -> Dialogue:
    """A shell at its first prompt."""
    dialogue = Dialogue(NONCE, lambda: INNER)
    assert dialogue.typed(b"early\r") == b""
    (stage,) = dialogue.receive(b"motd\r\n\x1b]7701;boot;bash\x07", 0)
    assert isinstance(stage, Housekeeping)
    assert stage.to is Side.TARGET
    assert stage.data.startswith(b"\n@sallyport@exec 9<<")
    assert stage.data.count(b"\n") == 2, "one line is read"
    assert NONCE.encode() in stage.data
    assert dialogue.receive(mark(b"R") + b"welcome\r\n" + mark(b"H") + mark(b"D;0;'/'") + mark(b"A") + b"$ ", 0) == [
        Output(b"welcome\r\n"),
        Output(b"$ "),
    ]
    assert dialogue.receive(mark(b"B"), 0) == [Housekeeping(Side.TARGET, b"early\r")]
    assert dialogue.receive(mark(b"B"), 0) == []
    return dialogue


def asked(dialogue: Dialogue, line: bytes, challenge: bytes = b"77") -> Asked | Refused:
    (unit,) = dialogue.receive(question(line, challenge=challenge), 5)
    assert isinstance(unit, Asked | Refused)
    return unit


def sent(units: list[Unit]) -> bytes:
    return b"".join(unit.data for unit in units if isinstance(unit, Housekeeping))


def test_nothing_is_typed_before_the_guard_stands() -> None:
    """A shell that has read its guard, and whose start-up files keep it from putting that in place."""
    dialogue = Dialogue(NONCE, lambda: INNER, 2.0)
    dialogue.typed(b"touch x\r")
    dialogue.receive(b"\x1b]7701;boot;bash\x07", 0)
    assert sent(dialogue.receive(mark(b"R") + mark(b"H") + mark(b"A") + b"$ " + mark(b"B"), 0)) == b""
    assert dialogue.flush() == []
    assert not dialogue.ready
    assert dialogue.patience is not None
    assert dialogue.patience[1] == 2.0
    assert sent(dialogue.receive(mark(b"D;0;'/'") + mark(b"B"), 0)) == b"touch x\r"


def test_a_shell_that_lacks_what_its_guard_needs_is_ended() -> None:
    dialogue = booted()
    with pytest.raises(Broken, match="needs 'PS0', which a start-up file keeps from it"):
        dialogue.receive(mark(b"T;'PS0'"), 0)


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
        Dialogue(NONCE, lambda: INNER).receive(b"\x1b]7701;" + said + b"\x07", 0)


def test_an_old_shell_is_refused() -> None:
    dialogue = Dialogue(NONCE, lambda: INNER)
    dialogue.receive(b"\x1b]7701;boot;bash\x07", 0)
    with pytest.raises(Broken, match=r"bash 3\.2 is too old"):
        dialogue.receive(mark(b"X;3.2"), 0)


def test_lines_of_one_paste_end_each_other() -> None:
    dialogue = booted()
    dialogue.typed(b"a\r")
    for line, challenge in ((b"one", b"77"), (b"two", b"78")):
        asked(dialogue, line, challenge)
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
        Dialogue(nonce, lambda: INNER)


# -- shells in shells --------------------------------------------------------------------------------------------------------


def inner(body: bytes) -> bytes:
    return b"\x1b]7701;" + INNER.encode() + b";" + body + b"\x07"


PROMPTED = mark(b"D;130;'/'") + mark(b"A") + b"$ " + mark(b"B")


def launched(line: bytes = b"'sudo -i'") -> Dialogue:
    """A shell in which a line that starts another was allowed, and runs."""
    dialogue = booted()
    dialogue.typed(b"\r")
    unit = asked(dialogue, line)
    assert isinstance(unit, Asked)
    assert unit.data == b"77:d\x1e", "the line itself is discarded"
    assert "unknown" not in unit.operation.effects
    dialogue.allowed(10, 500)
    assert dialogue.receive(mark(b"W;''") + b"^C\r\n", 10) == []
    assert dialogue.receive(PROMPTED, 10) == [Housekeeping(Side.TARGET, b" __sp_run\r")], "and nothing of it is shown"
    assert dialogue.receive(PROMPTED[-30:], 10) == [], "once"
    assert dialogue.receive(b" __sp_run\r\n" + question(b"' __sp_run'", challenge=b"78"), 10) == [
        Housekeeping(Side.TARGET, b"78:a\x1e")
    ]
    (handed,) = dialogue.receive(mark(b"W;''") + mark(b"N;79"), 10)
    assert isinstance(handed, Housekeeping)
    assert handed.data.startswith(b"79:A%d:command sudo -i sh -c " % (len(handed.data) - handed.data.index(b"command") - 1))
    assert WORD.encode() not in handed.data, "each has a word of its own"
    assert handed.data.endswith(b"\x1e")
    assert dialogue.receive(mark(b"W;''"), 10) == []
    assert dialogue.ran == []
    return dialogue


def nested() -> Dialogue:
    """The same, with the new shell at its first prompt."""
    dialogue = launched()
    (stage,) = dialogue.receive(b"\x1b]7701;boot;bash\x07", 11)
    assert isinstance(stage, Housekeeping)
    assert INNER.encode() in stage.data
    assert NONCE.encode() not in stage.data
    said = dialogue.receive(
        inner(b"R") + b"hi\r\n" + inner(b"H;root;db") + inner(b"D;0;'/'") + inner(b"A") + b"# " + inner(b"B"), 12
    )
    assert said == [Output(b"hi\r\n"), Output(b"# ")]
    return dialogue


def test_a_line_in_a_shell_in_a_shell() -> None:
    dialogue = nested()
    assert dialogue.typed(b"id\r") == b"id\r"
    (unit,) = dialogue.receive(inner(b"Q;L;80;1;'/root';'id'"), 13)
    assert isinstance(unit, Asked)
    assert unit.operation.environment == (("PWD", "/root"), ("INSIDE", "sudo -i"))
    assert "nested" in unit.operation.flags
    dialogue.allowed(14, 600)
    dialogue.receive(inner(b"W;''") + b"uid=0\r\n" + inner(b"D;0;'/root'"), 15)
    (ran,) = dialogue.ran
    assert (ran.operation, ran.depth, ran.account, ran.shown_from) == (unit.operation, 1, "root@db", 600)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_shell_on_another_machine_types_nothing_into_this_one(*, allowed: bool) -> None:
    dialogue = nested()
    dialogue.typed(b"ls\r")
    dialogue.receive(inner(b"Q;L;80;1;'/';'ls'"), 13)
    if allowed:
        dialogue.allowed(14)
    else:
        dialogue.denied()
    assert sent(dialogue.receive(inner(b"W;$'rm -rf /srv\\r'"), 15)) == b"", "nobody typed that"
    assert sent(dialogue.receive(mark(b"D;1;'/'") + mark(b"A") + mark(b"B"), 20)) == b""
    assert dialogue.typed(b"mine\r") == b"mine\r"


def test_a_shell_inside_has_back_what_was_typed_ahead() -> None:
    dialogue = nested()
    dialogue.typed(b"sleep 1\r")
    dialogue.receive(inner(b"Q;L;80;1;'/';'sleep 1'"), 13)
    dialogue.allowed(14)
    dialogue.receive(inner(b"W;''"), 14)
    assert dialogue.typed(b"one\rtwo\r") == b"one\rtwo\r"
    for number, denied in ((15, False), (16, True)):
        dialogue.receive(inner(b"D;0;'/'") + inner(b"A") + inner(b"B") + inner(b"Q;L;%d;1;'/';'one'" % (66 + number)), number)
        if denied:
            dialogue.denied()
            assert sent(dialogue.receive(inner(b"W;$'three\\n'"), 17)) == b""
        else:
            dialogue.allowed(15)
            assert sent(dialogue.receive(inner(b"W;$'two\\n'"), 15)) == b"two\n"
            assert dialogue.typed(b"three\r") == b"three\r"
    assert dialogue.typed(b"four\r") == b""
    # The shell ends before its prompt: what it had back was for it, what waits behind that is for whoever comes.
    assert sent(dialogue.receive(mark(b"D;1;'/'") + mark(b"A") + mark(b"B"), 20)) == b"four\r"


@pytest.mark.parametrize("challenge", [b"$'rm x\\r'", b"''", b"'7 7'", b"'" + b"7" * 300 + b"'"])
def test_an_answer_is_no_line(challenge: bytes) -> None:
    dialogue = nested()
    dialogue.typed(b"ls\r")
    with pytest.raises(Broken):
        dialogue.receive(inner(b"Q;L;" + challenge + b";1;'/';'ls'"), 13)
    dialogue = booted()
    dialogue.typed(b"\r")
    asked(dialogue, b"bash")
    dialogue.allowed(10, 500)
    dialogue.receive(mark(b"W;''") + PROMPTED + question(b"' __sp_run'", challenge=b"78") + mark(b"W;''"), 10)
    with pytest.raises(Broken):
        dialogue.receive(mark(b"N;" + challenge), 10)


def test_the_outer_shell_has_its_terminal_back() -> None:
    dialogue = nested()
    dialogue.typed(b"exit 5\r")
    dialogue.receive(inner(b"Q;L;80;1;'/';'exit 5'"), 13)
    dialogue.allowed(14)
    dialogue.receive(inner(b"W;''"), 14)
    dialogue.receive(mark(b"D;5;'/'") + mark(b"A") + mark(b"B"), 20)
    assert [(each.operation.text, each.depth, each.status, each.shown_from) for each in dialogue.ran] == [
        ("exit 5", 1, 5, 0),
        ("sudo -i", 0, 5, 500),
    ]
    assert dialogue.typed(b"x\ry") == b"x\r"


def test_a_stopped_shell_is_known_again() -> None:
    dialogue = nested()
    dialogue.receive(mark(b"D;147;'/'") + mark(b"A") + mark(b"B"), 20)
    dialogue.typed(b"\r")
    asked(dialogue, b"fg", b"79")
    dialogue.allowed(21)
    dialogue.receive(mark(b"W;''"), 21)
    assert dialogue.receive(b"# " + inner(b"B"), 22) == [Output(b"# ")], "a prompt is no proof of who speaks"
    (unit,) = dialogue.receive(inner(b"Q;L;80;1;'/';'id'"), 23)
    assert isinstance(unit, Asked)
    assert dict(unit.operation.environment)["INSIDE"] == "sudo -i"


def test_a_prompt_that_was_inherited_is_not_the_outer_shell() -> None:
    dialogue = nested()
    dialogue.receive(mark(b"A") + b"$ " + mark(b"B") + mark(b"C"), 20)
    (unit,) = dialogue.receive(inner(b"Q;L;80;1;'/';'id'"), 23)
    assert dict(unit.operation.environment)["INSIDE"] == "sudo -i"


def test_what_starts_a_shell_gets_answers_and_nothing_else() -> None:
    dialogue = launched()
    assert dialogue.patience is not None
    assert dialogue.patience[1] == 60
    assert dialogue.typed(b"secret\rls\r") == b""
    assert dialogue.receive(b"[sudo] password for web: ", 11) == [
        Output(b"[sudo] password for web: "),
        Housekeeping(Side.TARGET, b"secret\r"),
    ]
    assert dialogue.receive(b"\r\nWelcome: all\r\n$ ", 12) == [Output(b"\r\nWelcome: all\r\n$ ")]
    assert dialogue.typed(b"rm x\r") == b"", "a shell that does not report gets no line"
    assert dialogue.typed(b"\x03more") == b"\x03", "but can be interrupted"
    dialogue.receive(b"Password: ", 13)
    assert dialogue.patience is None, "people may take their time"


def test_answers_are_bounded() -> None:
    dialogue = launched()
    for number in range(20):
        sent_now = dialogue.typed(b"x\r") + sent(dialogue.receive(b"\r\nPassword: ", number))
    assert sent_now == b""


def test_a_shell_that_does_not_start_leaves_the_outer_one() -> None:
    dialogue = launched()
    dialogue.receive(b"sudo: no\r\n" + mark(b"D;1;'/'") + mark(b"A") + mark(b"B"), 20)
    assert [(each.operation.text, each.status) for each in dialogue.ran] == [("sudo -i", 1)]
    assert dialogue.patience is None
    dialogue.receive(b"\x1b]7701;boot;bash\x07", 21)
    assert dialogue.forged == 1, "nobody is expected to begin now"


def test_a_shell_without_a_guard_is_decided_again() -> None:
    dialogue = launched()
    (unit,) = dialogue.receive(b"\x1b]7701;boot;dash\x07", 11)
    assert isinstance(unit, Asked)
    assert unit.operation.text == "sudo -i"
    assert {"opaque", "shell"} <= unit.operation.flags
    assert "unknown" in unit.operation.effects
    assert dict(unit.operation.environment)["UNGUARDED"] == "dash"
    assert b"exec" in unit.data
    dialogue.allowed(12)
    assert dialogue.typed(b"free\rat last\r") == b"free\rat last\r"
    dialogue.receive(mark(b"D;0;'/'") + mark(b"A") + mark(b"B"), 20)
    assert dialogue.typed(b"x\ry") == b"x\r"


def test_a_shell_without_a_guard_that_is_denied_is_not_started() -> None:
    dialogue = launched()
    dialogue.receive(b"\x1b]7701;boot;dash\x07", 11)
    assert b"exit 126" in dialogue.denied()
    assert dialogue.typed(b"x") == b""
    assert sent(dialogue.receive(mark(b"D;126;'/'") + mark(b"A") + mark(b"B"), 20)) == b"x"


def test_an_old_shell_inside_is_told_and_left() -> None:
    dialogue = launched()
    dialogue.receive(b"\x1b]7701;boot;bash\x07", 11)
    assert dialogue.receive(inner(b"X;3.2"), 12) == [Output(b"sallyport: bash 3.2 is too old to be guarded.\r\n")]


def test_two_shells_do_not_ask_at_once() -> None:
    dialogue = nested()
    dialogue.receive(inner(b"Q;L;80;1;'/';'id'"), 13)
    with pytest.raises(Broken):
        dialogue.receive(question(b"'id'"), 14)


def test_shells_are_guarded_so_deep() -> None:
    nonces = [f"{number:016d}" for number in range(40)]
    rest = iter(nonces[1:])
    dialogue = Dialogue(nonces[0], lambda: next(rest))
    now = [nonce.encode() for nonce in nonces[::2]]

    def say(depth: int, body: bytes) -> list[Unit]:
        return dialogue.receive(b"\x1b]7701;" + now[depth] + b";" + body + b"\x07", 0)

    for depth in range(20):
        dialogue.receive(b"\x1b]7701;boot;bash\x07", 0)
        for body in (b"R", b"H;a;b", b"D;0;/", b"B"):
            say(depth, body)
        dialogue.typed(b"\r")
        (unit,) = say(depth, b"Q;L;%d;1;/;bash" % depth)
        if isinstance(unit, Refused):
            assert (depth, unit.message) == (8, TOO_DEEP)
            return
        dialogue.allowed(0)
        for body in (b"W;", b"D;0;/", b"B", b"Q;L;a%d;1;/;__sp_run" % depth, b"W;", b"N;7", b"W;"):
            say(depth, body)
    pytest.fail("no end")


def test_a_loop_of_questions_ends_the_shell() -> None:
    dialogue = booted()

    def loop() -> None:
        for number in range(2000):
            dialogue.receive(mark(b"D;0;'/'") + question(b"'x'", challenge=b"%x" % number), 0)
            dialogue.denied()
            dialogue.receive(mark(b"W;''"), 0)

    with pytest.raises(Broken, match="without end"):
        loop()


def test_a_challenge_that_comes_twice_was_not_drawn() -> None:
    dialogue = booted()
    dialogue.typed(b"ls\r")
    asked(dialogue, b"ls")
    dialogue.allowed(7)
    dialogue.receive(mark(b"W;''") + mark(b"D;0;'/'") + mark(b"A") + mark(b"B"), 8)
    dialogue.typed(b"rm x\r")
    with pytest.raises(Broken):
        asked(dialogue, b"'rm x'")
