"""The challenge of fish's guard: never one that somebody could know before."""

from __future__ import annotations

import re
import subprocess

import pytest

from agent.core.shell.guard import fish

FILE = "/proc/sys/kernel/random/uuid"
KNOWN = "0123456789abcdef0123456789abcdef"
DICE = fish._TEXT[fish._TEXT.index("c=; IFS=-") : fish._TEXT.index("|| exit 1") + len("|| exit 1")] + '; printf %s "$c"'


def thrown(text: str) -> str:
    # What is exported under the names that the guard reads into must not become the challenge.
    environment = {"PATH": "/usr/bin:/bin", "a": KNOWN, "b": "", "c": KNOWN}
    return subprocess.run(["sh", "-c", text], env=environment, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("file", [FILE, "/nonexistent/file", "/dev/null", "/proc/version"])
def test_it_is_fresh_wherever_it_comes_from(file: str) -> None:
    said = [thrown(DICE.replace(FILE, file)) for _ in range(2)]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in said)
    assert len({*said, KNOWN}) == 3


def test_without_any_chance_nothing_is_asked() -> None:
    assert thrown(DICE.replace(FILE, "/dev/null").replace("/dev/urandom", "/dev/null")) == ""
