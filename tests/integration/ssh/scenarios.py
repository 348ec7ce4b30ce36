"""The 63 scenarios: what people do at a prompt, by kind, and how it is typed. Each shell's rows are beside the shell's test.

A row names keys and the exact lines that they amount to. Keys are one write, or pieces where something has to be seen first: a
prompt before a piece that is a text, words before one that has them, nothing where they are empty. A piece without keys waits.
Each piece is typed key by key (``human``) and in one write (``burst``).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import pexpect

from tests.integration.ssh.many import Row
from tests.integration.terminal import rest
from tests.patience import HANG_S

UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"
HOME, END, DELETE, BACKSPACE = "\x01", "\x05", "\x1b[3~", "\x7f"
#: Seconds after which somebody presses a key again.
AGAIN_S: Final = 3.0
ENTERS: Final = "\r\n\x03\x0f"
#: What a terminal sends for one key, or for the beginning and the end of a paste.
_KEY: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1b[^\[]|.", re.DOTALL)

Piece = str | tuple[str, str]


class Scenario(NamedTuple):
    """Keys, and the lines that they amount to. ``start`` is in the account's start-up file."""

    name: str
    keys: str | Sequence[Piece]
    lines: Sequence[str]
    start: str = ""

    @property
    def pieces(self) -> Sequence[Piece]:
        return [self.keys] if isinstance(self.keys, str) else self.keys


#: Every scenario, by kind.
CATEGORIES: Final[dict[str, tuple[str, ...]]] = {
    "plain": ("plain", "two", "semicolons", "quotes", "pipe", "comment", "unicode"),
    "cursor editing": (
        "left", "home", "end", "backspace", "delete", "kill line", "kill word", "kill end", "yank", "transpose",
    ),
    "history and Ctrl-R": ("history up", "history down", "history edit", "search", "search edit"),
    "Tab": ("completion", "path completion", "choices", "tab inside"),
    "lines of several rows": ("for", "if", "function", "case", "open quote"),
    "wider than the terminal": ("long", "wrap edit", "wrap erase"),
    "bracketed paste": ("bracketed paste", "paste of two", "paste edit"),
    "nothing echoes": ("read secret", "hidden word"),
    "typed into a program": ("cat", "read visible"),
    "other prompts": ("python", "python block"),
    "background": ("background", "output while typing", "job"),
    "Ctrl-O, Ctrl-X Ctrl-E, macros": ("operate and next", "edit and execute", "macro"),
    "aliases": ("alias",),
    "here-documents": ("here document", "quoted here document"),
    "vi mode": ("vi mode", "vi history"),
    "hostile start-up files": ("hostile settings", "hostile functions"),
    "set -e": ("errexit",),
    "hooks of the prompt": ("prompt command", "starship"),
    "expansion by the shell": ("bang bang", "backslash"),
    "interrupts and type-ahead": ("interrupt", "type ahead"),
}  # fmt: skip
NAMES: Final = tuple(name for names in CATEGORIES.values() for name in names)


_NO_RC: Final = "reads no start-up file of the account"
_EDITOR: Final = "the gateway edits the lines"
#: What a shell does not have, and why.
WITHOUT: Final[dict[str, dict[str, str]]] = {
    "bash": {},
    "zsh": {},
    "fish": {
        "here document": "fish has none",
        "quoted here document": "fish has none",
        "operate and next": "fish has no such key",
        "tab inside": "fish has no key that takes the next one as it is",
        "bang bang": "fish has no history expansion",
        "errexit": "fish has no such option",
    },
    "locked": {
        "edit and execute": _EDITOR,
        "macro": _EDITOR,
        "vi mode": _EDITOR,
        "vi history": _EDITOR,
        "bang bang": _EDITOR,
        "hostile settings": _NO_RC,
        "hostile functions": _NO_RC,
        "prompt command": _NO_RC,
        "starship": _NO_RC,
    },
}


@contextmanager
def started(file: Path, text: str) -> Iterator[None]:
    """Let the account's start-up ``file`` say ``text``, while a shell opens."""
    if not text:
        yield
        return
    before = file.read_text() if file.exists() else None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    try:
        yield
    finally:
        if before is None:
            file.unlink()
        else:
            file.write_text(before)


def type_out(row: Row, scenario: Scenario, ready: str, *, human: bool) -> None:
    """Type a scenario at a prompt, key by key as a ``human`` does or piece by piece, and leave the shell.

    ``ready`` is what a shell shows when it takes keys.
    """
    typed = ""
    for number, piece in enumerate(scenario.pieces):
        words, keys = (None, piece) if isinstance(piece, str) else piece
        if number and words != "":
            sign = ready if words is None else re.escape(words)
            if typed.endswith("\x03"):
                # bash says that it takes keys, that it does not, and in a row below once more that it does.
                _interrupt(row, sign if words else rf"\n.*{sign}")
            else:
                assert row.settle(sign, HANG_S)
        _type(row.child, keys, human=human)
        typed = keys
    if human:
        row.child.expect(pexpect.TIMEOUT, timeout=0.08)
    row.child.send("echo th''e-end\r")
    row.child.expect_exact("the-end")
    row.child.send("exit 0\r")


def _interrupt(row: Row, taken: str) -> None:
    """See that Ctrl-C was ``taken``; press it again where it was not: fish drops it while it draws a line, guarded or not.

    Shells drop what is typed while they take it, guarded or not; people are not as fast.
    """
    deadline = time.monotonic() + HANG_S
    while not row.settle(taken, AGAIN_S):
        assert time.monotonic() < deadline, "Ctrl-C is not taken"
        row.child.send("\x03")
        rest(row.child, AGAIN_S)


def _type(child: pexpect.spawn, keys: str, *, human: bool) -> None:
    if not human:
        child.send(keys)
        return
    # Thousands of keys one by one would test patience.
    for key in _KEY.findall(keys) if len(keys) < 1000 else (keys[at : at + 16] for at in range(0, len(keys), 16)):
        child.send(key)
        child.expect(pexpect.TIMEOUT, timeout=0.08 if key in ENTERS else 0.002)


def exact(row: Row, scenario: Scenario) -> None:
    """Look at what was decided for ``scenario``, and that nothing else was."""
    ran = [entry["text"] for entry in row.commands]
    *lines, last = ran[:-1] if ran[-1].startswith("exit") else ran
    assert last == "echo th''e-end"
    assert lines == list(scenario.lines)
    assert "7701" not in row.text
    assert b"hunter2" not in row.written
