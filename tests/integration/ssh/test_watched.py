"""Somebody looks on: what a person at a terminal reads of that, and what they were typing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import PERMIT, READY, prompt
from tests.integration.ssh.test_shell import ANY_PROMPT, at_terminal

pytestmark = pytest.mark.servers

BOB = "bob@example.com is watching this session."


async def gateway(sshd: Sshd, identity: FakeIdentity, folder: Path, shell: str) -> AsyncIterator[Gateway]:
    gate = Gateway(identity, folder)
    gate.serving = serving_for(sshd, PERMIT, shell=shell)
    await gate.listen()
    yield gate
    await gate.close()


@pytest.fixture
async def guarded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    async for gate in gateway(sshd, identity, tmp_path, "guarded"):
        yield gate


@pytest.fixture
async def locked(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    async for gate in gateway(sshd, identity, tmp_path, "locked"):
        yield gate


async def test_the_line_that_somebody_types_goes_on_below(guarded: Gateway) -> None:
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.send("echo on''e t")
        child.expect_exact("echo on''e t")
        loop.call_soon_threadsafe(guarded.serving.warned, BOB)
        child.expect_exact(f"\r\nsallyport: {BOB}\r\n")
        child.expect_exact("ready> ")
        child.expect_exact("echo on''e t")
        child.send("''wo\r")
        child.expect_exact("one two\r\n")
        child.expect(READY)
        child.sendline("exit")

    assert await at_terminal(guarded.ssh("-tt"), person) == 0
    assert f"sallyport: {BOB}" in guarded.serving.recorder.text(1)


async def test_so_it_does_in_a_shell_that_is_only_recorded(sshd: Sshd, identity: FakeIdentity, tmp_path: Path) -> None:
    gate = Gateway(identity, tmp_path)
    gate.serving = serving_for(sshd, PERMIT, shell="recorded")
    gate.serving.watching = ["bob@example.com"]
    await gate.listen()
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("sallyport: this shell is recorded; bob@example.com is watching (ses_")
        child.send("exec env PS1='ready''> ' bash --norc\r")
        child.expect(READY)
        child.send("echo on''e t")
        child.expect_exact("echo on''e t")
        loop.call_soon_threadsafe(gate.serving.warned, BOB)
        child.expect_exact(f"\r\nsallyport: {BOB}\r\n")
        child.expect_exact("ready> ")
        child.expect_exact("echo on''e t")
        child.send("''wo\r")
        child.expect_exact("one two\r\n")
        child.expect(READY)
        child.send("exit\r")

    try:
        assert await at_terminal(gate.ssh("-tt"), person) == 0
    finally:
        await gate.close()
    assert gate.serving.recorder.seen(1)[-2:] == ["echo on''e t''wo", "exit"]


async def test_a_full_screen_program_is_not_scrolled(guarded: Gateway) -> None:
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline(r"printf '\033[?1049h\033[2J\033[5;5Hfu''ll'; read -r; printf '\033[?1049l'; echo do''ne")
        child.expect_exact("\x1b[5;5Hfull")
        loop.call_soon_threadsafe(guarded.serving.warned, BOB)
        child.expect_exact(f"\x1b7\x1b[999;1H\x1b[0;7msallyport: {BOB}\x1b[0m\x1b[K\x1b8")
        assert b"\n" not in child.before
        child.send("\r")
        child.expect_exact("done")
        child.expect(READY)
        child.sendline("exit")

    assert await at_terminal(guarded.ssh("-tt"), person) == 0


async def test_a_locked_shells_own_line_editor_goes_on(locked: Gateway) -> None:
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("locked shell: every line is edited here")
        child.expect(ANY_PROMPT)
        child.send("echo on''e t")
        child.expect_exact("echo on''e t")
        loop.call_soon_threadsafe(locked.serving.warned, BOB)
        child.expect_exact(f"sallyport: {BOB}\r\n")
        child.expect_exact("echo on''e t")
        child.send("''wo\r")
        child.expect_exact("one two\r\n")
        child.expect(ANY_PROMPT)
        child.send("exit\r")

    assert await at_terminal(locked.ssh("-tt"), person) == 0


WATCHERS = [
    ([], ""),
    (["bob@example.com"], "; bob@example.com is watching"),
    (["bob@example.com", "carol@example.com"], "; bob@example.com, carol@example.com are watching"),
]
BANNERS = {
    "guarded": "every line is decided before it runs, and recorded",
    "locked": "locked shell: every line is edited here, decided before it leaves the gateway, and recorded",
    "recorded": "this shell is recorded",
}


@pytest.mark.parametrize(("watching", "said"), WATCHERS, ids=["nobody", "one", "two"])
@pytest.mark.parametrize("shell", BANNERS)
async def test_the_first_line_says_what_is_recorded_and_who_watches(
    sshd: Sshd, identity: FakeIdentity, tmp_path: Path, shell: str, watching: list[str], said: str
) -> None:
    async for gate in gateway(sshd, identity, tmp_path, shell):
        gate.serving.watching = watching
        line = f"sallyport: {BANNERS[shell]}{said} ({gate.serving.claims.sid})"

        def person(child: pexpect.spawn, line: str = line) -> None:
            child.expect(r"^([^\r\n]*)\r\n")
            assert child.match[1].decode() == line
            child.expect(ANY_PROMPT)
            child.send("exit\r")

        assert await at_terminal(gate.ssh("-tt"), person) == 0
        await gate.idle()
        assert line in gate.serving.recorder.text(1)
