"""Keys, the line that they come to, and what a person sees of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.shell.locked.editor import Completing, Editor, Entered, Left, Outcome
from agent.core.shell.locked.history import History
from agent.core.shell.locked.keys import Keys
from agent.core.shell.locked.line import LIMIT, Line
from agent.core.shell.locked.unfinished import unfinished
from tests.fakes.terminal import FakeTerminal

UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"


class Person:
    """Somebody at a terminal of ``columns`` by ``rows``, who types at an editor."""

    def __init__(self, columns: int = 40, rows: int = 10) -> None:
        self.terminal = FakeTerminal(columns, rows)
        self.editor = Editor(columns, rows, unfinished)
        self.keys = Keys()
        self.outcomes: list[Outcome] = []
        self.editor.begin("$ ")
        self.terminal.feed(self.editor.draw())

    def type(self, text: str | bytes) -> Person:
        self.keys.push(text.encode() if isinstance(text, str) else text)
        while (key := self.keys.pop()) is not None:
            outcome = self.editor.press(key)
            if outcome is not None:
                self.outcomes.append(outcome)
                if not isinstance(outcome, Completing):
                    self.editor.begin("$ ")
        self.terminal.feed(self.editor.draw())
        return self

    @property
    def lines(self) -> list[str]:
        return [each.text for each in self.outcomes if isinstance(each, Entered)]


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("echo one", "echo one"),
        ("echo grüße 日本 🙂", "echo grüße 日本 🙂"),
        (f"echo ac{LEFT}b", "echo abc"),
        (f"echo ac\x1bODb{RIGHT}d", "echo abcd"),
        ("cho x\x01e", "echo x"),
        ("echo\x1b[H\x1b[F x", "echo x"),
        ("cho\x1b[1~e\x1b[4~ x", "echo x"),
        ("ecjo\x7f\x7fho x", "echo x"),
        ("eccho x\x01\x1b[C\x1b[3~", "echo x"),
        ("touch /x\x15echo x", "echo x"),
        ("echo one two\x17", "echo one "),
        ("echo one /a/b\x1b\x7f", "echo one /a/"),
        ("echo a b\x1bb\x1bbX", "echo Xa b"),
        ("echo a b\x1b[1;5D\x1b[1;5D\x1b[1;5CX", "echo aX b"),
        ("x y\x01\x1bd", " y"),
        (f"echo xyz{LEFT * 2}\x0b", "echo x"),
        ("one\x15echo \x19", "echo one"),
        ("ehco x\x01\x1b[C\x1b[C\x14", "echo x"),
        ("echo ab\x14", "echo ba"),
        ("echo xq\x1f\x1f\x1f\x1f\x1f\x1f\x1fgone\x1f\x1f\x1f\x1fecho y", "echo y"),
        ("echo 'a\x16\tb'", "echo 'a\tb'"),
        ("\x1b[200~echo pasted\x1b[201~", "echo pasted"),
        ("\x1b[200~echo p1\r\necho p2\n\x1b[201~", "echo p1\necho p2"),
        ("\x1b[200~echo \x03\x00\x1bx\x1b[201~", "echo x"),
        ("echo 'a\rb'", "echo 'a\nb'"),
        ("for i in 1 2\rdo echo $i\rdone", "for i in 1 2\ndo echo $i\ndone"),
        ("cat <<X\rone\rX", "cat <<X\none\nX"),
        ("echo a \\\rb", "echo a \\\nb"),
        (f"echo 'a\rb'{UP}\x05c{DOWN}d", "echo 'ac\nb'd"),
        ("gone\x03echo x", "echo x"),
        ("e\x1b[99;9Zcho x\x1b[5~", "echo x"),
        ("e\u0301a\x01\x1b[CX", "e\u0301Xa"),
        ("日本語\x02\x02\x04", "日語"),
    ],
)
def test_keys_come_to_a_line(keys: str, line: str) -> None:
    assert Person().type(keys + "\r").lines == [line]


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (f"echo one\r{UP}\r", ["echo one", "echo one"]),
        (f"echo one\recho two\r{UP}{UP}{DOWN}\r", ["echo one", "echo two", "echo two"]),
        (f"echo one\rhalf{UP}{DOWN} done\r", ["echo one", "half done"]),
        (f"echo one\r{UP}\x7f\x7f\x7ftwo\r", ["echo one", "echo two"]),
        ("echo needle\recho hay\r\x12need\r", ["echo needle", "echo hay", "echo needle"]),
        ("echo needle\r\x12need\x05 x\r", ["echo needle", "echo needle x"]),
        ("echo a1\recho a2\r\x12a\x12\r", ["echo a1", "echo a2", "echo a1"]),
        ("echo a1\r\x12zz\x7f\x7fa\r", ["echo a1", "echo a1"]),
        ("echo a1\rmine\x12a\x07 x\r", ["echo a1", "mine x"]),
        (f"echo one\recho two\r{UP}{UP}\x0f\r", ["echo one", "echo two", "echo one", "echo two"]),
        ("echo one\recho \x1b.\r", ["echo one", "echo one"]),
        ("one\x15\rtwo \x19\r", ["", "two one"]),
    ],
)
def test_lines_are_remembered(keys: str, lines: list[str]) -> None:
    assert Person().type(keys).lines == lines


def test_the_end() -> None:
    assert Person().type("\x04").outcomes == [Left()]
    assert Person().type("x\x04\x7f\x04").outcomes == [Left()]


def test_what_is_no_text_is_no_part_of_a_line() -> None:
    assert Person().type(b"echo \xff\xc3-a\xe2\x82\x00b\xf0\x9f\r").lines == ["echo -ab"]


def test_a_line_that_is_too_long_is_told_and_never_cut() -> None:
    person = Person().type("x" * 1000 + "y" * LIMIT + "\r")
    (entered,) = person.outcomes
    assert isinstance(entered, Entered)
    assert entered.overlong
    assert person.type("echo\r").lines[1:] == ["echo"]
    paste = "\x1b[200~" + "x" * 200_000 + "\x1b[201~"
    assert Person().type(paste + "echo\r").outcomes == [Entered("", overlong=True)]
    person = Person()
    for at in range(0, len(paste), 30_000):
        person.type(paste[at : at + 30_000])
    assert person.type("echo\r").outcomes == [Entered("", overlong=True)]
    assert Person().type(paste + "\x03echo\r").outcomes == [Entered("echo")]


def test_names_are_put_in() -> None:
    person = Person().type("cat /etc/pass\t")
    assert person.outcomes == [Completing("/etc/pass", first=False)]
    person.editor.complete("/etc/pass", ["/etc/passwd", "/etc/passwd-"])
    assert person.type("").terminal.shown == ["$ cat /etc/passwd"]
    person.type("\t").editor.complete("/etc/passwd", ["/etc/passwd", "/etc/passwd-"])
    assert person.type("").terminal.shown == ["$ cat /etc/passwd", "/etc/passwd  /etc/passwd-", "$ cat /etc/passwd"]
    person.editor.complete("/etc/passwd", ["/etc/passwd-"])
    assert person.type("x\r").lines == ["cat /etc/passwd- x"]


@pytest.mark.parametrize(
    ("typed", "word", "first"), [("l", "l", True), ("a; b", "b", True), ("a | b", "b", True), ("a <b", "b", False)]
)
def test_what_is_completed(typed: str, word: str, first: bool) -> None:
    assert Person().type(typed + "\t").outcomes == [Completing(word, first=first)]


def test_what_cannot_be_completed_safely_is_not() -> None:
    assert Person().type("\t  \t; \t").outcomes == []
    assert Person().type("/bin/l\t").outcomes == [Completing("/bin/l", first=False)]
    person = Person()
    for keys in ("echo $rm\t", " 'a\t", " *\t"):
        person.type(keys)
    assert person.outcomes == []
    assert person.terminal.bells == 3


@pytest.mark.parametrize(
    ("keys", "shown", "place"),
    [
        ("abc", ["$ abc"], (0, 5)),
        (f"abc{LEFT}", ["$ abc"], (0, 4)),
        ("x" * 7, ["$ xxxxxxx"], (0, 9)),
        ("x" * 8, ["$ xxxxxxxx"], (1, 0)),
        ("x" * 9, ["$ xxxxxxxx", "x"], (1, 1)),
        ("x" * 9 + LEFT, ["$ xxxxxxxx", "x"], (1, 0)),
        ("x" * 9 + LEFT * 2, ["$ xxxxxxxx", "x"], (0, 9)),
        ("x" * 9 + "\x01", ["$ xxxxxxxx", "x"], (0, 2)),
        ("xxxxxxx日", ["$ xxxxxxx", "日"], (1, 2)),
        ("xxxxxxx日" + LEFT, ["$ xxxxxxx", "日"], (1, 0)),
        ("'a\rb", ["$ 'a", "> b"], (1, 3)),
        ("\x1b[200~a\x02\tb\x1b[201~", ["$ a^Ib"], (0, 6)),
        ("\u202e", ["$ <202E>"], (0, 8)),
        ("gone\x03", ["$ gone^C", "$"], (1, 2)),
        ("ab\x0c", ["$ ab"], (0, 4)),
        ("one\r\x12o", ["$ one", "(reverse-i", "-search)`o", "': one"], (3, 3)),
    ],
)
def test_what_is_seen(keys: str, shown: list[str], place: tuple[int, int]) -> None:
    terminal = Person(columns=10).type(keys).terminal
    assert (terminal.shown, (terminal.row, terminal.column)) == (shown, place)


def test_a_line_longer_than_the_screen_is_seen_around_its_cursor() -> None:
    person = Person(columns=10, rows=4).type("".join(f"{number:05}" for number in range(40)))
    assert person.terminal.shown == ["3300034000", "3500036000", "3700038000", "39"]
    person.type("\x01")
    assert person.terminal.shown[0] == "$ 00000000"
    person.type("X\r")
    assert person.lines[0].startswith("X0000000001")


def test_a_very_long_line_is_whole_however_little_is_seen_of_it() -> None:
    text = "".join(f"{number:05} " for number in range(5000))
    person = Person(columns=100, rows=30).type(text)
    assert person.terminal.shown[-1].endswith("04999")
    person.type("x\x01y")
    assert person.terminal.shown[0].startswith("$ y00000 00001")
    person.type("\x1bf\x1bd\r")
    assert person.lines == ["y00000" + text[11:] + "x"]


def test_words_of_a_hostile_line_cost_no_more_than_its_length() -> None:
    person = Person().type("a" * 60_000 + "!b c")
    person.type("\x17\x1b\x7f\x1bbx")
    assert person.type("\r").lines == ["x" + "a" * 60_000 + "!"]


def test_what_is_remembered_is_bounded() -> None:
    history = History()
    for number in range(100):
        history.add(str(number % 10) * 60_000)
    assert [history.older("") is not None for _ in range(6)] == [True] * 4 + [False] * 2
    line = Line("x" * 60_000)
    for _ in range(100):
        line.insert("y" * 10)
    for _ in range(100):
        line.undo()
    assert len(line.text) > 60_000


def test_another_size() -> None:
    person = Person(columns=10).type("abcdefgh12")
    person.terminal.columns = 20
    person.terminal.lines, person.terminal.row, person.terminal.column = [list("$ abcdefgh12")], 0, 12
    person.terminal.feed(person.editor.resize(20, 10))
    assert person.terminal.shown == ["$ abcdefgh12"]


PRESSED = [
    *(
        UP,
        DOWN,
        LEFT,
        RIGHT,
        "\x1f",
        "\x01",
        "\x05",
        "\x7f",
        "\x1b[3~",
        "\x0b",
        "\x15",
        "\x17",
        "\x19",
        "\x14",
        "\x03",
        "\x12",
        "\x07",
    ),
    *("\x1bb", "\x1bf", "\x1bd", "\x1b[1;5D", "\r", "\x1b[200~a\nb\x1b[201~", "'", "\\", "\x16\t", "\x0c"),
]
TYPED = st.text(st.sampled_from("ab ;日e\u0301🙂\u202e'\"$"), max_size=12)
KEYS = st.lists(st.one_of(st.sampled_from(PRESSED), TYPED), max_size=30).map("".join)


@given(KEYS, st.lists(st.integers(1, 200), max_size=40), st.integers(5, 30), st.integers(2, 6))
def test_no_matter_how_keys_arrive(keys: str, cuts: list[int], columns: int, rows: int) -> None:
    data = keys.encode()
    whole = Person(columns, rows).type(data)
    pieces = Person(columns, rows)
    at = 0
    for size in [*cuts, len(data) + 1]:
        pieces.type(data[at : at + size])
        at += size
    assert pieces.lines == whole.lines
    for terminal in (whole.terminal, pieces.terminal):
        # The last rows, for what scrolled out may have been drawn at another time.
        assert terminal.shown[-1:] == whole.terminal.shown[-1:]
        assert terminal.column == whole.terminal.column
