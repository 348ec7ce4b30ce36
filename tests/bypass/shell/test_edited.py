"""What comes from an editor (Ctrl-X Ctrl-E in bash) is a line like any other: decided whole, and before any of it runs.

Everything but a name is permitted, so that the editor may start. bash's own edit-and-execute passes no prompt: of what it runs,
the belt sees simple commands where they run in the shell itself, and none of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bypass.shell.guarded import FORBID, GREETING, PROMPT
from tests.integration.ssh.conftest import Sshd
from tests.integration.ssh.many import Many

pytestmark = pytest.mark.servers

EVERYTHING = "permit(principal, action, resource);"
KEY = "\x18\x05"
BOUND_AGAIN = "bind '\"\\C-x\\C-e\": edit-and-execute-command'\r"

ROWS = [
    ("touch {f}", "echo tw''in"),
    ("{{ touch {f}; }} | cat", "{{ echo tw''in; }} | cat"),
    ("(touch {f})", "(echo tw''in)"),
    ("for x in $(touch {f}); do :; done", "for x in $(echo tw''in); do echo $x; done"),
    ("ls / | while read x; do touch {f}; done", "ls / | while read x; do echo tw''in; break; done"),
    ("while touch {f}; do break; done > /dev/null", "if true; then\n  echo tw''in\nfi"),
    ("true\ntouch {f}", "true\necho tw''in"),
]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    editor = server.home / "editor"
    editor.write_text('#!/bin/sh\nexec cat "${0%/*}/edited" > "$1"\n')
    editor.chmod(0o755)
    (server.home / ".bash_profile").write_text(f"export VISUAL={editor}\n")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def many(sshd: Sshd) -> Iterator[Many]:
    shells = Many(sshd, EVERYTHING, FORBID, shell="guarded")
    yield shells
    shells.close()


@pytest.mark.parametrize("bound_again", ["", BOUND_AGAIN], ids=["", "by the person"])
@pytest.mark.parametrize("text", [evasion for evasion, _ in ROWS])
def test_it_does_not_run(many: Many, sshd: Sshd, tmp_path: Path, text: str, bound_again: str) -> None:
    victim = tmp_path / "victim"
    (sshd.home / "edited").write_text(text.format(f=victim) + "\n")
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        child = shell.child
        if bound_again:
            child.send(bound_again)
            child.expect(PROMPT)
        child.send(f"echo {KEY}")
        if not bound_again:
            child.expect_exact(victim.name)
            child.send("\r")
        child.expect_exact("(not_supported, ses_" if bound_again else "(denied, ses_")
        child.expect(PROMPT)
        shell.close()
        assert shell.denied == 1
    assert not victim.exists()


@pytest.mark.parametrize("text", [twin for _, twin in ROWS])
def test_the_innocent_twin_runs(many: Many, sshd: Sshd, text: str) -> None:
    (sshd.home / "edited").write_text(text.format() + "\n")
    with many.row(greeting=GREETING, ready=PROMPT) as shell:
        child = shell.child
        child.send(f"echo {KEY}")
        child.expect_exact("''in")
        child.send("\r")
        child.expect_exact("twin\r\n")
        child.expect(PROMPT)
        shell.close()
        assert shell.denied == 0
        assert "".join(entry["text"] + "\n" for entry in shell.commands).endswith(text.format() + "\n")
