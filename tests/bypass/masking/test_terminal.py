"""Known ways to put a secret on a terminal's screen without writing it, each beside a twin that must pass byte for byte.

The terminal has 20 columns. Rows are only ever added. Rows ``at_once`` end with a move that writes nothing: where they come
slowly, everything was shown before. Out of scope and said so: base64, and everything else that a program, and not the terminal,
has to undo.
"""

import json
from pathlib import Path

import pytest

from agent.core.masking.detectors import Detectors
from agent.core.masking.screen import Screen
from agent.core.masking.terminal import TerminalMasker

DETECTORS = Detectors()
ROWS = [json.loads(line) for line in Path(__file__).with_name("terminal.jsonl").read_text().splitlines()]
NAMES = [row["about"] for row in ROWS]
COLUMNS, HEIGHT = 20, 8


class Person:
    """Somebody who reads the screen after every piece."""

    def __init__(self) -> None:
        self.screen = Screen(COLUMNS, HEIGHT, lambda row: None)
        self.got = b""
        self.read: list[str] = []

    def show(self, data: bytes) -> None:
        self.got += data
        self.screen.write(data, -1)
        self.read.append("".join("".join(row.text) for row in self.screen.rows))


def played(text: str, *, size: int = 10_000, pause_ms: int = 0) -> tuple[Person, int]:
    """Return who has read ``text``, written in pieces, and how many secrets were covered."""
    person, masker, now = Person(), TerminalMasker(DETECTORS, COLUMNS, HEIGHT), 0
    data = text.encode() + b"\x1b[8;1Hdone\r\n"
    for at in range(0, len(data), size):
        now += pause_ms
        pieces = masker.overdue(now) + masker.take(data[at : at + size], now)
        person.show(b"".join(raw if instead is None else instead for raw, instead in pieces))
    person.show(b"".join(raw if instead is None else instead for raw, instead in masker.rest()))
    return person, sum(masker.report().hits.values())


def test_the_corpus_only_grows() -> None:
    assert len(ROWS) >= 40
    assert len(set(NAMES)) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_an_evasion_is_covered(row: dict[str, str]) -> None:
    person, count = played(row["evasion"])
    assert count > 0
    assert not [screen for screen in person.read if row["secret"] in screen]


@pytest.mark.parametrize("pause_ms", [0, 100])
@pytest.mark.parametrize("size", [1, 3, 16])
@pytest.mark.parametrize("row", [row for row in ROWS if "at_once" not in row], ids=lambda row: row["about"])
def test_it_is_never_whole_however_it_is_cut(row: dict[str, str], size: int, pause_ms: int) -> None:
    person, count = played(row["evasion"], size=size, pause_ms=pause_ms)
    assert count > 0
    assert not [screen for screen in person.read if row["secret"] in screen]


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_its_innocent_twin_passes(row: dict[str, str], size: int) -> None:
    person, count = played(row["twin"], size=size)
    assert count == 0
    assert person.got == row["twin"].encode() + b"\x1b[8;1Hdone\r\n"
