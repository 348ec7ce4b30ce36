"""Prompts that people install: drawn by programs, timed by hooks, substituted, two rows high, drawn twice.

The lines under them are exact, what was denied does not run, and the statuses and durations that prompts reckon with are what
they are without a guard. ``prompts/`` has the start-up files, each written in the way of a kind that is well known. Their time of
day is a file that lines move forward, so a duration is a number and no measurement.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.many import Many, Row, crowds_of, one_each
from tests.integration.ssh.test_guarded import NOT, PERMIT
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

PROMPTS: Final = Path(__file__).parent / "prompts"
GREETING: Final = "every line is decided before it runs"
#: The end of every prompt here, behind a character that takes three bytes.
READY: Final = ">"
#: What is sent when keys are the line editor's.
EDITING: Final = {"bash": r"2004h(?!.*2004l).*>", "zsh": r"2004h(?!.*2004l)", "fish": r"2004h(?!.*2004l).*>"}
START: Final = {"bash": ".bash_profile", "zsh": ".zshrc", "fish": ".config/fish/config.fish"}


class Kind(NamedTuple):
    """A start-up file, and what its prompt reckons."""

    file: str
    timed: bool = False
    piped: bool = False
    late: bool = False
    """Its hooks begin with the second line, as wherever PROMPT_COMMAND goes on behind what installs them."""

    @property
    def shell(self) -> str:
        return self.file.rpartition(".")[2]


KINDS = [
    Kind("timed_by_ps0.bash", timed=True, piped=True),
    Kind("timed_by_trap.bash", timed=True),
    Kind("hooks.bash", timed=True, late=True),
    Kind("substituted.bash"),
    Kind("two_rows.zsh", timed=True, piped=True),
    Kind("instant.zsh", timed=True),
    Kind("themed.zsh"),
    Kind("two_rows.fish", timed=True, piped=True),
    Kind("transient.fish"),
    Kind("themed.fish"),
]


class Typed(NamedTuple):
    """A line, and what the prompt after it says: None where that is the shell's own business."""

    keys: str
    line: str
    status: int | None = 0
    duration: str | None = "0"


LOOP: Final = {
    "bash": Typed("for i in 1 2\rdo echo $i\rdone\r", "for i in 1 2\ndo echo $i\ndone"),
    "zsh": Typed("for i in 1 2\rdo echo $i\rdone\r", "for i in 1 2\ndo echo $i\ndone"),
    "fish": Typed("for i in 1 2\recho $i\rend\r", "for i in 1 2\necho $i\nend"),
}


def lines(shell: str) -> list[Typed]:
    return [
        Typed("echo one\r", "echo one"),
        Typed("false\r", "false", 1),
        Typed("~/prompts/clock 5\r", "~/prompts/clock 5", 0, "5"),
        Typed("\x1b[A\r", "~/prompts/clock 5", 0, "5"),
        Typed("true | sh -c 'exit 3'\r", "true | sh -c 'exit 3'", 3),
        Typed("echo ac\x1b[Db\r", "echo abc"),
        LOOP[shell],
        Typed("sh -c 'exit 7'\r", "sh -c 'exit 7'", 7),
    ]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sshd]]:
    with one_each(START, tmp_path_factory.mktemp) as running:
        yield running


@pytest.fixture(scope="module")
def crowds(servers: dict[str, Sshd]) -> Iterator[dict[str, Many]]:
    with crowds_of(servers, PERMIT, NOT) as crowds:
        yield crowds


class Account:
    """The home of an account that has a prompt."""

    def __init__(self, sshd: Sshd, kind: Kind) -> None:
        self.folder = sshd.home / "prompts"
        shutil.rmtree(self.folder, ignore_errors=True)
        sshd.forget()
        shutil.copytree(PROMPTS, self.folder)
        start = sshd.home / START[kind.shell]
        start.parent.mkdir(parents=True, exist_ok=True)
        start.write_text((PROMPTS / kind.file).read_text())

    def told(self, name: str) -> list[str]:
        """The lines of one of the files that prompts write."""
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture(params=KINDS, ids=[each.file for each in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def account(servers: dict[str, Sshd], kind: Kind) -> Account:
    return Account(servers[kind.shell], kind)


def enter(row: Row, account: Account, shell: str, keys: str) -> str:
    """Type a line and wait until it has run and the prompt behind it was drawn. Returns what the prompt was told."""
    ran, drawn = len(row.commands), len(account.told("rendered"))
    row.child.send(keys)
    row.read_until(lambda: len(row.commands) > ran and len(account.told("rendered")) > drawn, f"no prompt after {keys!r}")
    assert row.settle(EDITING[shell], HANG_S)
    return account.told("rendered")[-1]


def interrupt(row: Row, ready: str) -> None:
    """Press Ctrl-C until a prompt comes: fish drops it while it draws a line, guarded or not."""
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        row.child.send("\x03")
        if row.settle(ready, 5):
            return
    pytest.fail("no prompt after Ctrl-C")


def said(told: str) -> tuple[int, str]:
    found = re.fullmatch(r"status=(\d+) duration=(\d*) jobs=0", told)
    assert found, told
    return int(found[1]), found[2]


def test_lines_are_exact_and_the_prompt_reckons_as_ever(crowds: dict[str, Many], kind: Kind, account: Account) -> None:
    typed = lines(kind.shell)
    with crowds[kind.shell].row(greeting=GREETING, ready=READY) as row:
        for number, each in enumerate(typed):
            status, duration = said(enter(row, account, kind.shell, each.keys))
            assert (each.keys, status) == (each.keys, each.status)
            if kind.timed and (number or not kind.late):
                assert (each.keys, duration) == (each.keys, each.duration)
        if kind.piped:
            assert "0 3" in account.told("pipes")
        row.child.send("exit 4\r")
        assert row.leave() == 4
    assert [(entry["text"], entry["exit"]) for entry in row.commands] == [
        *((each.line, each.status) for each in typed),
        ("exit 4", 4),
    ]
    assert not re.search("7701|__sp_", row.text)


def test_denied_lines_do_not_run_under_it(crowds: dict[str, Many], kind: Kind, account: Account, tmp_path: Path) -> None:
    with crowds[kind.shell].row(greeting=GREETING, ready=READY) as row:
        enter(row, account, kind.shell, "echo one\r")
        for number in range(5):
            row.child.send(f"touch {tmp_path}/victim-{number}\r")
        row.read_until(lambda: row.denied == 5, "five denials")
        enter(row, account, kind.shell, "~/prompts/clock 3\r")
        # Prompts of the lines before it may still be drawn.
        told = "status=0 duration=3 " if kind.timed else "status=0 "
        row.read_until(lambda: account.told("rendered")[-1].startswith(told), "a prompt that knows how long it took")
        row.child.send("echo half a line")
        row.child.expect_exact("line")
        interrupt(row, READY if kind.shell == "fish" else EDITING[kind.shell])
        row.child.send("echo a''a\recho b''b\r")
        row.read_until(lambda: len(row.commands) == 4, "two lines typed in one go")
        row.child.send("exit 0\r")
        assert row.leave() == 0
    assert [entry["text"] for entry in row.commands][1:] == ["~/prompts/clock 3", "echo a''a", "echo b''b", "exit 0"]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def recorded(servers: dict[str, Sshd]) -> Iterator[dict[str, Many]]:
    with crowds_of(servers, PERMIT, shell="recorded") as crowds:
        yield crowds


def _longer(account: Account, drawn: int) -> bool:
    return len(account.told("rendered")) > drawn


def lines_are(row: Row, number: int) -> None:
    row.read_until(lambda: len(row.serving.recorder.seen(row.channel)) >= number, f"no line {number}")


# What is drawn again while somebody types, by a job beside the line editor, may be read as if they had typed it.
@pytest.mark.parametrize("kind", [each for each in KINDS if each.file != "instant.zsh"], ids=lambda each: each.file)
def test_lines_of_a_recorded_shell_are_seen_under_it(recorded: dict[str, Many], kind: Kind, account: Account) -> None:
    with recorded[kind.shell].row(greeting="this shell is recorded", ready="[#$>]") as row:
        seen, first = row.serving.recorder.seen, 0
        if kind.shell != "bash":
            # The account's own shell, which recorded shells are, is one for all.
            row.child.send(f"exec {kind.shell}\r")
            row.read_until(lambda: bool(account.told("rendered") and seen(row.channel)), "a prompt")
            assert row.settle(EDITING[kind.shell], HANG_S)
            first = 1
        for number, keys in enumerate(["echo on''e", "echo xx\x7f\x7ftwo", "\x1b[A"], first):
            row.child.send(keys)
            # Screens are read, so what was typed is on it first.
            row.child.expect_exact("echo two" if keys == "\x1b[A" else keys[-1])
            drawn = len(account.told("rendered"))
            row.child.send("\r")
            lines_are(row, number + 1)
            row.read_until(partial(_longer, account, drawn), f"no prompt after {keys!r}")
            assert row.settle(EDITING[kind.shell], HANG_S)
        row.child.send("exit 0\r")
        assert row.leave() == 0
    assert seen(row.channel)[first:] == ["echo on''e", "echo two", "echo two", "exit 0"]
