"""A line's part of the cast is its own output: not the prompt behind it, nor anything of the next line."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.locked import GREETING as LOCKED
from tests.integration.ssh.locked import READY as LOCKED_READY
from tests.integration.ssh.locked import account
from tests.integration.ssh.many import Many, Row
from tests.integration.ssh.test_guarded import NOT, PERMIT
from tests.integration.ssh.test_guarded_corpus import GREETING
from tests.integration.ssh.test_nested import PROMPT
from tests.patience import until

pytestmark = pytest.mark.servers

MODES = [("guarded", "bash"), ("guarded", "zsh"), ("guarded", "fish"), ("locked", "dash"), ("locked", "bash")]
#: Lines that every shell reads alike, and what they say.
LINES = {
    "echo one": "one\r\n",
    "printf 'a\\nb\\n'": "a\r\nb\r\n",
    "cd /": "",
    "true": "",
    "printf 'no end'": "no end",
    "echo wrong >&2": "wrong\r\n",
    "seq 2000 | tail -n 3": "1998\r\n1999\r\n2000\r\n",
    "false": "",
}
#: What zsh and fish draw before they do anything else, to find a row of their own.
NO_END = {"zsh": "\x1b[1m\x1b[7m", "fish": "\x1b[2m⏎"}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Many]:
    mode, shell = request.param
    folder = tmp_path_factory.mktemp(shell)
    sshd = account(folder, shell) if mode == "locked" else Sshd(folder, shell=shutil.which(shell))
    shells = Many(sshd, PERMIT, NOT, shell=mode)
    yield shells
    shells.close()
    sshd.stop()


def said(row: Row, part: list[int]) -> str:
    """What the cast's bytes from one place to another show: whole lines of it, one of which says the verdict."""
    begin, end = part
    cast = row.serving.recorder.written[row.channel, "cast"]
    assert cast[begin - 1 : begin] == b"\n"
    events = [json.loads(line) for line in cast[begin:end].decode().splitlines()]
    (verdict,) = [data for _, kind, data in events if kind == "m"]
    assert verdict.partition(":")[0] in ("allowed", "denied")
    assert {kind for _, kind, _ in events} <= {"m", "o"}
    return "".join(data for _, kind, data in events if kind == "o")


@pytest.mark.parametrize("many", MODES, ids=[" ".join(each) for each in MODES], indirect=True, scope="module")
def test_a_lines_part_of_the_cast_is_its_output(many: Many, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    mode, shell = request.node.callspec.params["many"]
    greeting, ready = (GREETING, PROMPT) if mode == "guarded" else (LOCKED, LOCKED_READY)
    with many.row(greeting=greeting, ready=ready) as row:
        for number, line in enumerate(LINES, 1):
            row.child.send(line + "\r")
            until(lambda number=number: len(row.commands) >= number, f"the end of {line}")
            row.settle(ready, 1.0)
        row.child.send(f"touch {tmp_path}/victim\r")
        row.child.expect_exact("Not that.")
        row.settle(ready, 1.0)
        row.child.send("exit 0\r")
        assert row.leave() == 0
    *ran, last = row.commands
    assert last["text"] == "exit 0"
    found = [said(row, each["cast"]) for each in ran]
    if shell == "fish":
        # fish draws a line once more when it takes it, and then the window's title; the line runs behind that.
        found = [each.partition("\x07")[2].partition("\x1b[m\r")[2] for each in found]
    if shell in NO_END:
        found = [each.partition(NO_END[shell])[0] for each in found]
    assert found == [*LINES.values()]
    (denied,) = [entry for entry in row.serving.recorder.lines(row.channel, "jsonl") if entry.get("event") == "denied"]
    assert said(row, denied["cast"]).lstrip("\r\n").startswith("sallyport: Not that.")
    parts = [*(each["cast"] for each in ran), denied["cast"], last["cast"]]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(parts))
