"""Words beside a program's output, where they may stand."""

from __future__ import annotations

import pytest

from agent.protocols.ssh.asides import LEAVE, Asides, banner

BOB = "bob is watching this session."
LINE = b"\r\nsallyport: " + BOB.encode() + b"\r\n"


def on_terminal(*shown: bytes) -> Asides:
    asides = Asides(terminal=True)
    for data in shown:
        asides.shown(data)
    asides.add(BOB)
    return asides


def test_a_prompt_and_what_is_typed_are_drawn_again_below() -> None:
    asides = on_terminal(b"old\r\n\x1b[?2004h\x1b[01;32malice@web\x1b[00m:~$ ", b"rm -\b \b", b"\x1b[K")
    assert asides.due() == LINE + b"\x1b[?2004h\x1b[01;32malice@web\x1b[00m:~$ rm -\b \b\x1b[K"
    assert asides.due() == b"", "said once"


@pytest.mark.parametrize("line", [b"50%\x1b[3;4Hx", b"\x1b[2Jtop", b"a\x1b7b", b"\x1bPq#0\x1b\\", b"x" * 2000])
def test_a_line_that_would_do_something_else_a_second_time_is_not_drawn_again(line: bytes) -> None:
    assert on_terminal(b"before\n" + line).due() == LINE


def test_words_wait_for_the_end_of_a_sequence_and_of_a_character() -> None:
    asides = on_terminal("ü".encode()[:1])
    assert asides.due() == b""
    asides.shown("ü".encode()[1:] + b"\x1b[3")
    assert asides.due() == b""
    asides.shown(b"1m\n")
    assert asides.due() == LINE


def test_a_full_screen_program_keeps_its_screen() -> None:
    asides = on_terminal(b"\x1b[?10", b"49h\x1b[1;1Hvim")
    said = asides.due()
    assert said.startswith(b"\x1b7\x1b[999;1H")
    assert said.endswith(b"\x1b8")
    assert BOB.encode() in said
    assert b"\n" not in said
    assert asides.leave() == LEAVE
    asides.shown(b"\x1b[?1049l$ ")
    assert asides.leave() == b""
    asides.add("more")
    assert asides.due() == b"\r\nsallyport: more\r\n"


def test_without_a_terminal_it_is_a_line() -> None:
    asides = Asides(terminal=False)
    asides.shown(b"\x1b[3")
    asides.add(BOB)
    asides.add("x\x1b[2Jy\n")
    assert asides.due() == b"sallyport: " + BOB.encode() + b"\nsallyport: x [2Jy\n"
    assert asides.leave() == b""


def test_several_words_are_said_together() -> None:
    asides = on_terminal(b"$ ")
    asides.add("Time runs out.")
    assert asides.due() == LINE.removesuffix(b"\r\n") + b"\r\nsallyport: Time runs out.\r\n$ "


@pytest.mark.parametrize(
    ("watchers", "said"),
    [
        ([], b"sallyport: this shell is recorded (ses_1)\r\n"),
        (["bob"], b"sallyport: this shell is recorded; bob is watching (ses_1)\r\n"),
        (["bob", "e\x1bve"], b"sallyport: this shell is recorded; bob, e ve are watching (ses_1)\r\n"),
    ],
)
def test_the_banner_says_who_looks_on(watchers: list[str], said: bytes) -> None:
    assert banner("this shell is recorded", watchers, "ses_1") == said


def test_who_comes_and_goes_while_nothing_may_be_said_is_told_of_once() -> None:
    asides = Asides(terminal=True)
    asides.shown(b"\x1b]0;a title that does not end")
    for _ in range(1_000):
        asides.add("bob is watching.")
        asides.add("bob stopped watching.")
        asides.add("carol is watching.")
    asides.add("bob is watching.")
    assert asides.due() == b""
    asides.shown(b"\x07")
    assert asides.due().splitlines()[:4] == [
        b"",
        b"sallyport: bob stopped watching.",
        b"sallyport: carol is watching.",
        b"sallyport: bob is watching.",
    ]
