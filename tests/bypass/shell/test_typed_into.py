"""Programs that are plain but for this: they open an editor or a pager, in which somebody types what nobody decides.

A policy forbids that by the flags ``opaque`` and ``pager``, so a line that opens one has its flag, and its twin has not. Rows are
only ever added.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from agent.core.shell import classify
from tests.patience import HANG_S

ROWS = [
    # an editor for a message, where none is given
    ("opaque", "git commit", "git commit -m fix"),
    ("opaque", "git commit -a", "git commit -am 'fix: copy'"),
    ("opaque", "git commit --amend", "git commit --amend --no-edit"),
    ("opaque", "git commit --author -m", "git commit --author x -m y"),
    ("opaque", "git commit -- -m", "git commit -m fix -- a"),
    ("opaque", "git commit --trailer --message=x", "git commit --message=x"),
    ("opaque", "git commit -t -m", "git commit -m'fix: a typo'"),
    ("opaque", "git commit -m x -e", "git commit -a -m x"),
    ("opaque", "git commit -c HEAD", "git commit -C HEAD"),
    ("opaque", "git tag -a v1", "git tag -a v1 -m one"),
    ("opaque", "git tag -a v1 -m one -e", "git tag v1"),
    ("opaque", "git merge topic", "git merge --no-edit topic"),
    ("opaque", "git pull --no-rebase", "git pull --ff-only"),
    ("opaque", "git revert HEAD", "git revert --no-edit HEAD"),
    ("opaque", "git cherry-pick -e x", "git cherry-pick x"),
    ("opaque", "git notes add", "git notes list"),
    ("opaque", "git notes append HEAD", "git notes add -m x HEAD"),
    ("opaque", "git branch --edit-description", "git branch topic"),
    # for something else
    ("opaque", "git add -p", "git add ."),
    ("opaque", "git add --int", "git add -A"),
    ("opaque", "git stash -p", "git stash"),
    ("opaque", "git checkout -p a", "git checkout a"),
    ("opaque", "git rebase -i HEAD~2", "git rebase main"),
    ("opaque", "apt edit-sources", "apt update"),
    # a pager, where there is a terminal
    ("pager", "dpkg -l", "dpkg -i x.deb"),
    ("pager", "dpkg -s bash", "dpkg -r x"),
    ("pager", "dpkg-query -W", "uname -a"),
    ("pager", "dmesg -H", "dmesg -T"),
    ("pager", "dmesg --hum", "dmesg --ctime"),
    ("pager", "apt-get changelog bash", "apt-get update"),
    ("pager", "apt show bash", "apt-cache show bash"),
    ("pager", "nmcli connection", "ip a"),
]


@pytest.mark.parametrize(("flag", "line"), [(flag, line) for flag, line, _ in ROWS], ids=[line for _, line, _ in ROWS])
def test_it_says_that_it_opens_one(flag: str, line: str) -> None:
    found = classify(line)
    assert flag in found.flags
    assert flag == "pager" or "execute" in found.effects


@pytest.mark.parametrize(("flag", "twin"), [(flag, twin) for flag, _, twin in ROWS], ids=[twin for _, _, twin in ROWS])
def test_the_innocent_twin_opens_none(flag: str, twin: str) -> None:
    assert flag not in classify(twin).flags


def test_a_description_of_a_terminal_is_a_program(tmp_path: Path) -> None:
    """Why ``tput init`` is no plain reading."""
    tic, victim = shutil.which("tic"), tmp_path / "victim"
    if tic is None:
        pytest.skip("ncurses-bin is not installed")
    (tmp_path / "source").write_text(f"evil|evil terminal,\n\tcols#80, iprog=touch {victim},\n")
    subprocess.run([tic, "-x", "-o", tmp_path / "terminfo", tmp_path / "source"], check=True, capture_output=True)
    where = {"TERMINFO": str(tmp_path / "terminfo"), "PATH": "/usr/bin:/bin"}
    pexpect.spawn("tput", ["-T", "evil", "cols"], env=where, timeout=HANG_S).expect(pexpect.EOF)
    assert not victim.exists()
    pexpect.spawn("tput", ["-T", "evil", "init"], env=where, timeout=HANG_S).expect(pexpect.EOF)
    assert victim.exists()
