"""What completing asks, and what it makes of the answer."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.core.shell.locked.completion import ANSWER_LIMIT, HELPER, NAMES_LIMIT, data, names, question


def helper(shell: str) -> list[str]:
    """The fixed program, in ``shell``."""
    name, *rest = shlex.split(shell)
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name}")
    _, _, flag, code = shlex.split(HELPER)
    return [path, *rest, flag, code]


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_the_target_is_asked_for_names(shell: str, tmp_path: Path) -> None:
    for name in ("plain", "pl ain", "pl$(touch x)", "pl'ain", "pl\nain", "other", "-n"):
        (tmp_path / name).write_text("")
    (tmp_path / "play").mkdir()
    (tmp_path / "play" / "prog").write_text("")
    (tmp_path / "play" / "prog").chmod(0o755)

    def asked(word: str, *, program: bool = False, cwd: Path = tmp_path) -> list[str]:
        environment = {"PATH": f"{tmp_path}/play:/bin:/usr/bin", "HOME": str(tmp_path)}
        run = subprocess.run(
            helper(shell), input=data(word, str(cwd), program=program), capture_output=True, check=True, env=environment
        )
        assert run.stderr == b""
        return names(run.stdout, word)

    assert asked("pl") == ["pl", "pl\\ ain", "pl\\$\\(touch\\ x\\)", "pl\\'ain", "plain", "play/"]
    assert asked("play/") == ["play/prog"]
    assert asked(f"{tmp_path}/o") == [f"{tmp_path}/other"]
    assert asked("~/oth") == ["~/other"]
    assert asked("-") == ["-n"]
    assert asked("prog", program=True) == ["prog"]
    assert asked("*") == asked("$(touch y)") == asked("nothing") == asked("x", cwd=tmp_path / "gone") == []
    assert not (tmp_path / "y").exists()


def test_an_answer_is_not_believed_but_read() -> None:
    assert names(b"ab\nac\nab\nxx\na\x1b[2J\na\xff\na\xe2\x80\xae\nad", "a") == ["ab", "ac"]
    assert len(names(b"".join(b"a%d\n" % number for number in range(1000)), "a")) == NAMES_LIMIT
    assert names(b"a" * (2 * ANSWER_LIMIT) + b"\n", "a") == []
    assert names(b"a;rm b\na\tb\n", "a") == ["a\\;rm\\ b"]


def test_nobodys_home_is_meant_by_a_name() -> None:
    assert names(b"~root\nx~\n", "") == ["\\~root", "x~"]
    assert names(b"x~\n", "x") == ["x~"]
    assert names(b"~/a b/\n", "~/") == ["~/a\\ b/"]


def test_a_question_is_an_operation_that_looks() -> None:
    asked = question("etc/pa", "/srv", program=False)
    assert (asked.kind, asked.text, asked.effects, asked.objects) == ("complete", "etc/pa", {"read"}, {"/srv/etc"})
    assert question("/pa", "/srv", program=False).objects == {"/"}
    assert question("pa", "/", program=False).objects == {"/"}
    assert question("~/x", "/", program=False).objects == {"~"}
    assert question("ls", "/", program=True).objects == frozenset()


def test_the_helper_has_no_quote_inside() -> None:
    assert HELPER.count("'") == 2
    assert data("a'b\n", "/x", program=True) == b"/x\na\\0047b\\0012\nc\n"
