"""Keys that wait for a shell to read them."""

from __future__ import annotations

import pytest

from agent.core.shell.guard.keys import KEYS_LIMIT, Keys


def waiting(data: bytes) -> Keys:
    keys = Keys()
    keys.add(data)
    return keys


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"", 0), (b"ls", 0), (b"ls\rpwd\r", 3), (b"a\nb\r", 2), (b"a\x0fb", 2), (b"\r", 1)],
)
def test_a_line_ends_with_the_first_enter(data: bytes, line: int) -> None:
    assert waiting(data).line == line


def test_keys_are_taken_in_their_order() -> None:
    keys = waiting(b"ls\rpwd")
    assert (keys.take(3), keys.take(100), len(keys)) == (b"ls\r", b"pwd", 0)


def test_what_came_back_is_read_first() -> None:
    keys = waiting(b"second")
    keys.give_back(b"first ", owned=False)
    assert keys.take(100) == b"first second"


def test_what_a_shell_gave_back_is_for_no_other() -> None:
    keys = waiting(b"mine")
    keys.give_back(b"theirs", owned=True)
    assert keys.take(2) == b"th"
    keys.disown()
    assert keys.take(100) == b"mine"
    keys.add(b"more")
    keys.disown()
    assert keys.take(100) == b"more", "once"


def test_what_nobody_owns_stays() -> None:
    keys = waiting(b"mine")
    keys.give_back(b"also ", owned=False)
    keys.disown()
    assert keys.take(100) == b"also mine"


def test_what_stands_before_a_key_is_dropped() -> None:
    keys = waiting(b"a\x03b\x03c")
    assert keys.from_last(b"\x03")
    assert keys.take(100) == b"\x03c"
    assert not keys.from_last(b"\x03")


def test_so_many_wait() -> None:
    assert not waiting(b"x" * (KEYS_LIMIT - 1)).full
    assert waiting(b"x" * KEYS_LIMIT).full
