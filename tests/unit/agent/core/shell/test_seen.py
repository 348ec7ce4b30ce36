"""Lines as the screen of a recorded shell shows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.shell.seen import LINE_LIMIT, Seen

PROMPT = b"\x1b[32muser@host\x1b[0m:~$ "


def at_a_prompt() -> Seen:
    seen = Seen(80, 24)
    seen.shown(b"welcome\r\n" + PROMPT)
    return seen


def echoed(seen: Seen, *steps: tuple[bytes, bytes]) -> list[str]:
    """Type the first of each, show the second."""
    for keys, shown in steps:
        if keys:
            seen.typed(keys)
        seen.shown(shown)
    return seen.take()


def test_a_line_is_what_stands_behind_the_prompt() -> None:
    seen = at_a_prompt()
    assert echoed(seen, (b"l", b"l"), (b"s", b"s"), (b"\r", b"\r\nfile\r\n" + PROMPT)) == ["ls"]
    assert echoed(seen, (b"i", b"i"), (b"d", b"d"), (b"\r", b"\r\n")) == ["id"]
    assert seen.take() == []


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ([(b"\x1b[A", b"make test"), (b"\x1b[A", b"\b\b\b\b\b\b\b\b\bmake\x1b[K"), (b"\r", b"\r\n")], "make"),
        ([(b"cat /e", b"cat /e"), (b"\t", b"tc/"), (b"hosts\r", b"hosts\r\n")], "cat /etc/hosts"),
        ([(b"rm x", b"rm x"), (b"\x1b[D", b"\b"), (b"-r ", b"\x1b[3@-r "), (b"\r", b"\r\n")], "rm -r x"),
        ([(b"a" * 100, b"a" * 67 + b"a\r" + b"a" * 33), (b"\r", b"\r\n")], "a" * 100),
        (
            [(b"\x12", b"\r(reverse-i-search)`': "), (b"m", b"\b\b\bm': make"), (b"\r", b"\r" + PROMPT + b"make\x1b[K\r\n")],
            "make",
        ),
        ([(b"caf\xc3\xa9\r", b"caf\xc3\xa9\r\n")], "café"),
        ([(b"x", b"x"), (b"\r", b""), (b"", b"\r"), (b"", b"\n")], "x"),
        ([(b"x", b"x" + b" " * 50 + b"12:00" + b"\x1b[57G"), (b"\r", b"\r\n")], f"x{' ' * 50}12:00"),
    ],
)
def test_however_it_came_there(steps: list[tuple[bytes, bytes]], line: str) -> None:
    assert echoed(at_a_prompt(), *steps) == [line]


def test_what_stood_on_the_right_before_is_no_part_of_it() -> None:
    seen = Seen(80, 24)
    seen.shown(b"% \x1b[75G12:00\x1b[3G")
    assert echoed(seen, (b"id", b"id"), (b"\r", b"\r\n")) == ["id"]


def test_what_does_not_echo_is_not_seen() -> None:
    seen = at_a_prompt()
    assert echoed(seen, (b"sudo id\r", b"sudo id\r\n[sudo] password for user: ")) == ["sudo id"]
    assert echoed(seen, (b"hunter2", b""), (b"\r", b"\r\nuid=0\r\n" + PROMPT)) == []
    assert echoed(seen, (b"id\r", b"id\r\n")) == ["id"]


def test_a_password_without_a_new_line_behind_it() -> None:
    seen = at_a_prompt()
    assert echoed(seen, (b"read -s p\r", b"read -s p\r\n")) == ["read -s p"]
    assert echoed(seen, (b"hunter2\r", PROMPT), (b"id", b"id"), (b"\r", b"\r\n")) == ["id"]
    assert echoed(seen, (b"", PROMPT), (b"ls\r", b"ls\r\n")) == ["ls"]


def test_a_question_in_between_is_no_prompt_of_the_shell() -> None:
    seen = at_a_prompt()
    assert echoed(seen, (b"read -s p\r", b"read -s p\r\nword? ")) == ["read -s p"]
    assert echoed(seen, (b"hunter2\r", PROMPT), (b"id\r", b"id\r\n"), (b"", PROMPT)) == ["id"]
    assert echoed(seen, (b"ls\r", b"ls\r\n")) == ["ls"]


def test_a_line_that_was_given_up_is_none() -> None:
    seen = at_a_prompt()
    assert echoed(seen, (b"rm", b"rm"), (b"\x03", b"^C\r\n" + PROMPT), (b"ls\r", b"ls\r\n")) == ["ls"]


def test_lines_that_were_typed_ahead_are_found_behind_the_prompt() -> None:
    seen = at_a_prompt()
    shown = b"one\r\nout\r\n" + PROMPT + b"two\r\nuser@home\r\n" + PROMPT + b"three\r\n" + PROMPT
    assert echoed(seen, (b"one\ntwo\nthree\n", shown)) == ["one", "two", "three"]
    assert echoed(seen, (b"four\r", b"four\r\n")) == ["four"]


def test_full_screen_programs_are_left_out() -> None:
    seen = at_a_prompt()
    assert echoed(seen, (b"vi\r", b"vi\r\n\x1b[?1049h\x1b[H~")) == ["vi"]
    assert echoed(seen, (b"ihello\r", b"hello\r\n"), (b":q!\r", b"\x1b[24;1H:q!\r\x1b[?1049l" + PROMPT)) == []
    assert echoed(seen, (b"ls\r", b"ls\r\n")) == ["ls"]


def test_a_flood_between_keys_and_enter_is_not_kept() -> None:
    seen = at_a_prompt()
    for _ in range(100):
        echoed(seen, (b"x", b"y" * 10_000))
    assert len(seen._since) <= 64 * 1024
    assert echoed(seen, (b"\r", b"\r\n" + PROMPT)) == []
    assert echoed(seen, (b"ls\r", b"ls\r\n")) == ["ls"]


def test_lines_are_bounded_and_so_is_the_search_for_those_typed_ahead() -> None:
    seen = Seen(500, 500)
    seen.shown(b"$ ")
    (line,) = echoed(seen, (b"x", b"x" * 20_000), (b"\r", b"\r\n$ "))
    assert len(line) == LINE_LIMIT
    assert echoed(seen, (b"one\rtwo\r", b"one\r\n" + b"out\r\n" * 1000 + b"$ two\r\n$ ")) == ["one"]
    assert echoed(seen, (b"ls\r", b"ls\r\n")) == ["ls"]


def test_another_size_begins_anew() -> None:
    seen = at_a_prompt()
    seen.typed(b"l")
    seen.shown(b"l")
    seen.resized(40, 10)
    assert echoed(seen, (b"\r", b"\r\n" + PROMPT)) in ([], ["l"])
    assert echoed(seen, (b"ls\r", b"ls\r\n")) == ["ls"]


PIECES = st.sampled_from(
    [b"a", b"\r", b"\n", b"\r\n", b"\x1b[A", b"\x1b[2J", b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?47", b"\x1b[999;999H", b"\x03",
     b"\x1b[K", b"\x1b[10P", b"\xc3", b"\xe2\x82", PROMPT, b"\b\b\b", b"\t", b"\x1b[5S", b"\x1bc"]
)  # fmt: skip


@given(
    st.lists(st.tuples(st.booleans(), st.lists(PIECES, max_size=5).map(b"".join)), max_size=30),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_whatever_is_typed_and_shown(steps: list[tuple[bool, bytes]], columns: int, rows: int) -> None:
    seen = Seen(columns, rows)
    for typed, data in steps:
        if typed:
            seen.typed(data)
        else:
            seen.shown(data)
    assert all(0 < len(line) <= LINE_LIMIT and "\n" not in line for line in seen.take())
