"""Keys of zsh and fish that start programs, in accounts whose own files bind and define them; and innocent keys beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pexpect
import pytest

from tests.bypass.shell.guarded import FORBID, PERMIT
from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_shell import at_terminal
from tests.integration.terminal import end

pytestmark = pytest.mark.servers

#: An editor and a pager in which a person can type commands, once the shell has started.
CONSOLE = """#!/bin/sh
[ -e "${0%/*}/armed" ] || exec cat
stty sane < /dev/tty; printf 'con''sole: ' > /dev/tty; read -r line < /dev/tty; eval "$line"
"""
ZSHRC = """
setopt promptsubst
MAILCHECK=1
autoload -Uz compinit; compinit -u -D
zstyle ':completion:*' completer _expand _complete
"""


class Over(Exception):  # noqa: N818 - no error
    """The person has gone."""


@pytest.fixture(scope="module", params=["zsh", "fish"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory, shell: str) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"), shell=f"/usr/bin/{shell}")
    console = server.home / "console"
    console.write_text(CONSOLE)
    console.chmod(0o755)
    (server.home / ".zshrc").write_text(ZSHRC)
    (server.home / ".zshenv").write_text(f"export EDITOR={console} PAGER={console}\n")
    config = server.home / ".config" / "fish"
    config.mkdir(parents=True)
    (config / "config.fish").write_text(f"set -x EDITOR {console}\nset -x PAGER {console}\n")
    yield server
    server.stop()


@pytest.fixture
async def guarded(sshd: Sshd, tmp_path: Path) -> AsyncIterator[Gateway]:
    gate = Gateway(FakeIdentity(), tmp_path)
    gate.serving = serving_for(sshd, PERMIT, FORBID, shell="guarded")
    await gate.listen()
    yield gate
    await gate.close()


#: Keys, as they are typed one after the other.
ROWS = {
    "zsh": [
        ["echo $(touch {f})\t", "\r"],
        ["echo $(touch${{IFS}}{f})/\t", "\r"],
        ["echo $(touch {f})\x18e", "\r"],
        ["echo $(touch {f})\x18a", "\r"],
        ["echo \x18\x12", "_files; touch {f}\r"],
        ["echo *(e:'touch {f}':)\t", "\r"],
        ["echo *(e:'touch {f}':)\x04", "\r"],
        ["echo `touch {f}`\x1b!", "\r"],
        ["cat /etc/passwd\x1bh", "touch {f}\r"],
        ["RPROMPT='$(touch {f})'\r", "\r"],
        ["RPS1='$(touch {f})'\r", "\r"],
        ["SPROMPT='$(touch {f})'\r", "setopt correct\r", "ecoh x\r"],
        ["mailpath=('/etc/passwd?$(touch {f})')\r", "\r", "\r"],
        ["zshexit_functions=(_files)\r", "\r"],
    ],
    "fish": [
        ["ls\x1be", "touch {f}\r"],
        ["ls\x1bv", "touch {f}\r"],
        ["ls\x1bh", "touch {f}\r"],
        ["ls\x1bOP", "touch {f}\r"],
        ["cat /etc/passwd\x1bo", "touch {f}\r"],
        ["ls\x1bp", "\r", "touch {f}\r"],
        ["echo (touch {f})\t", "\r"],
        ["echo (touch {f})\x1bl", "\r"],
        ["echo (touch {f})\x1bw", "\r"],
        ["set fish_greeting x\r"],
        ["export fish_function_path=/tmp\r"],
        ["set -U fish_key_bindings x\r"],
        ["abbr -a q touch {f}\r", "q\r"],
        ["env fish_key_bindings=touch fish\r"],
    ],
}


@pytest.mark.parametrize("number", range(14))
async def test_no_key_runs_it(guarded: Gateway, sshd: Sshd, shell: str, tmp_path: Path, number: int) -> None:
    victim = tmp_path / "victim"

    def person(child: pexpect.spawn) -> None:
        prompt_of(child)
        (sshd.home / "armed").touch()
        for keys in ROWS[shell][number]:
            child.send(keys.format(f=victim))
            child.expect(["console: ", pexpect.TIMEOUT], timeout=1)
        child.send("\x03\x03\rexit\r")
        child.expect([pexpect.EOF, pexpect.TIMEOUT], timeout=1)
        end(child)
        raise Over

    with pytest.raises(Over):
        await at_terminal(guarded.ssh(options=["-e", "none"]), person)
    await guarded.idle()
    (sshd.home / "armed").unlink()
    assert not victim.exists()


async def test_completion_completes(guarded: Gateway, tmp_path: Path) -> None:
    (tmp_path / "long-name-of-a-file").write_text("what is in it\n")

    def person(child: pexpect.spawn) -> None:
        prompt_of(child)
        child.send(f"cat {tmp_path}/long-na\t")
        child.expect_exact("me-of-a-file")
        child.send("\r")
        child.expect_exact("what is in it\r\n")
        end(child)
        raise Over

    with pytest.raises(Over):
        await at_terminal(guarded.ssh(), person)
    await guarded.idle()
    assert guarded.serving.denied == 0


def prompt_of(child: pexpect.spawn) -> None:
    child.delaybeforesend = None
    child.expect_exact("every line is decided before it runs")
    child.expect(r"[#$%>] ?(\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*$")
