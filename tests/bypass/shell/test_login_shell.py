"""Single commands whose meaning differs with the account's login shell: sshd has that one read them, and it may be zsh.

Each row is run by a real ``zsh -c``, where it runs what a file says, and must be ``unknown``. The twins are innocent, in zsh and
in bash alike.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.core.units import Asked
from agent.protocols.ssh import engine
from agent.protocols.ssh.engine import Wish
from tests.patience import HANG_S

#: ``$(cat f)`` and ``< f`` are data that names a program between brackets.
ROWS = [
    ('read x < f; exit "$x"', "test -e f; rc=$?; exit $rc"),
    ("x=$(cat f); exit $x", "rc=0; test -e g || rc=1; exit $rc"),
    ('x=$(cat f); printf "%d" "$x"', "x=5; printf '%d' $x"),
    ('printf "%x" "$(cat f)"', "printf '%s' \"$(cat f)\""),
    ('read x < f; shift "$x"', "true | true; exit ${PIPESTATUS[0]}"),
    ('read x < f; [ -t "$x" ]', "[ -t 0 ] || echo no"),
    ("rc=$?; read rc < f; exit $rc", 'cat f; rc=$?; exit "${rc}"'),
    ("for i in 1 2; do [ $i = 1 ] || exit $rc; read rc < f; done", 'for i in 1 2; do test -e "$i" || exit 1; done'),
    ("read x < f; LISTMAX=$x", "read x < f; y=$x; echo done"),
    ("rc=1; typeset -T rc FOO; FOO=$(cat f); exit $rc", "typeset rc=1; exit $rc"),
]


def effects(text: str) -> frozenset[str]:
    asked = engine.read(Wish(kind="exec", text=text), shell=None)
    assert isinstance(asked, Asked)
    return asked.operation.effects


def run(shell: str, text: str, folder: Path) -> None:
    (folder / "f").write_text("path[$(touch victim)1]\n")
    subprocess.run([shell, "-c", text], cwd=folder, capture_output=True, timeout=HANG_S, check=False)


@pytest.mark.parametrize("text", [text for text, _ in ROWS])
def test_what_zsh_would_evaluate_is_unknown(tmp_path: Path, text: str) -> None:
    run("zsh", text, tmp_path)
    assert (tmp_path / "victim").exists(), "zsh runs what the file says"
    assert "unknown" in effects(text)


@pytest.mark.parametrize("text", [twin for _, twin in ROWS])
def test_the_innocent_twin_is_known(tmp_path: Path, text: str) -> None:
    for shell in ("zsh", "bash"):
        run(shell, text, tmp_path)
    assert not (tmp_path / "victim").exists()
    assert "unknown" not in effects(text)
