"""How a guarded shell begins, tried with a real POSIX shell."""

import subprocess

import pytest

from agent.core.shell.guard.boot import BOOT, WORD, none, opaque, stage


def boot(typed: bytes, shell: str = "sh") -> bytes:
    """Run the first half in ``shell`` with ``typed`` as its terminal."""
    done = subprocess.run(
        [shell, "-c", BOOT], input=typed, capture_output=True, env={"SHELL": "/bin/bash", "PATH": "/usr/bin:/bin"}
    )
    return done.stdout


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_it_says_which_shell_is_wanted_and_waits(shell: str) -> None:
    assert boot(b"", shell) == b"\x1b]7701;boot;bash\x07"


def test_it_runs_nothing_but_what_the_gateway_types() -> None:
    typed = (
        b"echo one\n\x03\n@sally\n"
        + f" {WORD}echo two\n".encode()
        + b"half"
        + f"\n{WORD}echo three\\nexit 0\n".encode()
        + b"echo four\n"
    )
    assert boot(typed) == b"\x1b]7701;boot;bash\x07three\n"


@pytest.mark.parametrize("typed", [stage("bash", "n" * 16, "w" * 16, login=True), opaque("w" * 16, login=False), none("w" * 16)])
def test_what_is_typed_is_one_line_with_the_word(typed: bytes) -> None:
    first, line, *_ = typed.split(b"\n")
    assert first == b""
    assert line.startswith(b"w" * 16)


def test_none_starts_none() -> None:
    command = BOOT.replace(WORD, "w" * 16)
    assert subprocess.run(["sh", "-c", command], input=none("w" * 16), capture_output=True).returncode == 126
