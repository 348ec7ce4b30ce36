"""What bash, zsh and fish write for a value is read back to that value: the real shells are asked."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.shell.guard.quoting import UnquotableError, fields, unpercent

VALUES = [
    "",
    "plain",
    "a b",
    "it's",
    "a;b",
    "x\ny",
    "tab\there",
    "\x01\x07\x1b\x7f",
    "back\\slash",
    "grüße 日本",
    "$(x) `y`",
    "'",
    "''",
    "$'a'",
    "[ ! -f a ] && b !",
]


@pytest.mark.parametrize("value", VALUES)
def test_bash(value: str) -> None:
    said = subprocess.run(
        ["bash", "-c", 'LC_ALL=C; printf "1;%s;2" "${1@Q}"', "-", value], capture_output=True, check=True
    ).stdout
    assert fields(said) == [b"1", value.encode(), b"2"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
@pytest.mark.parametrize("value", VALUES)
def test_zsh(value: str) -> None:
    said = subprocess.run(["zsh", "-fic", 'printf "1;%s;2" "${(qqqq)1}"', "-", value], capture_output=True, check=True).stdout
    assert fields(said) == [b"1", value.encode(), b"2"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize("value", [value for value in VALUES if value])
def test_fish(value: str) -> None:
    said = subprocess.run(["fish", "-c", "string escape --style=url -- $argv[1]", value], capture_output=True, check=True).stdout
    assert unpercent(said.removesuffix(b"\n")) == value.encode()


@pytest.mark.parametrize("bad", [b"'open", b"$'open", b"$'open\\'", b"$'\\q'", b"$'\\ud800'", b"a\\"])
def test_what_no_shell_writes(bad: bytes) -> None:
    with pytest.raises(UnquotableError):
        fields(bad)


@given(st.binary(max_size=60))
def test_never_more_than_one_error(data: bytes) -> None:
    with contextlib.suppress(UnquotableError):
        assert fields(data)
