"""Guarded shells on machines that are far away: what somebody presses meanwhile is there before the gateway's answer."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pexpect
import pytest

from tests.integration.ssh.conftest import FakeIdentity, Gateway, Sshd, serving_for
from tests.integration.ssh.test_guarded import NOT, PERMIT, victims
from tests.integration.ssh.test_held import ALLOW, HOLD
from tests.integration.ssh.test_shell import at_terminal
from tests.integration.terminal import rest

pytestmark = pytest.mark.servers

#: Seconds that what a machine says is under way.
AWAY_S: Final = 0.6
#: Seconds after which the gateway lets go of keys that stood behind Enter, and in which nothing has come back from there.
PRESSED_S: Final = 0.35
#: What bash and zsh send when a line is there to be edited, and when it is no more.
EDITS, EDITED = "\x1b[?2004h", "\x1b[?2004l"
PROMPT: Final = r"[$#%>] ?(\x1b(\[[?0-9;]*[a-zA-Z]|[=>])| |\r)*\Z"


@pytest.fixture(scope="module", params=["bash", "zsh", "fish"])
def near(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp(request.param), shell=shutil.which(request.param))
    (server.home / ".zshrc").write_text("")
    yield server
    server.stop()


def aim(gate: Gateway, sshd: Sshd, port: int, *rules: str) -> None:
    """Have the gateway's next session go to ``sshd`` by the road behind ``port``."""
    gate.serving = serving_for(sshd, *rules, shell="guarded")
    gate.serving.target = msgspec.structs.replace(gate.serving.target, address=f"127.0.0.1:{port}")


def ran(gate: Gateway) -> list[str]:
    """The lines that ran, as they are on record."""
    return [each["text"] for each in gate.serving.recorder.lines(1, "jsonl") if each.get("event") == "command"]


class Road:
    """To a machine whose words take their time. It is near until somebody has logged in, which takes many words."""

    def __init__(self) -> None:
        self.away_s = 0.0

    async def back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self.away_s:
                    loop.call_later(self.away_s, writer.write, data)
                else:
                    writer.write(data)
        loop.call_later(self.away_s, writer.close)

    async def there(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()


@pytest.fixture
def road() -> Road:
    return Road()


@pytest.fixture
async def far(near: Sshd, road: Road, identity: FakeIdentity, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway to a machine at the end of ``road``; ``touch`` is forbidden."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_machine, to_machine = await asyncio.open_connection("127.0.0.1", near.port)
        await asyncio.gather(road.there(reader, to_machine), road.back(from_machine, writer))

    listener = await asyncio.start_server(forward, "127.0.0.1", 0)
    gate = Gateway(identity, tmp_path)
    aim(gate, near, listener.sockets[0].getsockname()[1], PERMIT, NOT)
    await gate.listen()
    yield gate
    await gate.close()
    listener.close()


@pytest.mark.parametrize("line", ["touch {}/victim", "echo allowed > {}/made"])
@pytest.mark.parametrize("typed", ["", "echo lo''st\r"], ids=["", "and a line behind it"])
async def test_a_line_is_interrupted_while_it_is_decided(far: Gateway, road: Road, tmp_path: Path, line: str, typed: str) -> None:
    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("every line is decided before it runs")
        child.expect(PROMPT)
        road.away_s = AWAY_S
        for _ in range(2):
            child.send(line.format(tmp_path) + "\r")
            rest(child, PRESSED_S)
            child.send("\x03" + typed)
            rest(child, 4 * AWAY_S)
        child.send("echo al''ive\r")
        child.expect_exact("alive\r\n")
        child.expect(PROMPT)
        child.send("exit 3\r")

    assert await at_terminal(far.ssh(), person) == 3
    await far.idle()
    assert not victims(tmp_path)
    assert ran(far)[-2:] == ["echo al''ive", "exit 3"], "and nothing of an answer stands in them"


async def test_a_yes_that_comes_too_late_runs_nothing(
    far: Gateway, road: Road, near: Sshd, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    aim(far, near, int(far.serving.target.address.rpartition(":")[2]), ALLOW, HOLD)
    shell = request.node.callspec.params["near"]
    loop = asyncio.get_running_loop()

    def person(child: pexpect.spawn) -> None:
        child.delaybeforesend = None
        child.expect_exact("every line is decided before it runs")
        child.expect(PROMPT)
        road.away_s = AWAY_S
        child.send(f"touch {tmp_path}/victim\r")
        rest(child, PRESSED_S)
        child.send("\x03")
        if shell == "fish":  # which says nothing of it
            child.expect_exact("for dba to agree")
            rest(child, 2 * AWAY_S)
        else:
            child.expect_exact(EDITED)
            awaited = ["for dba to agree", EDITS]
            while awaited:
                del awaited[child.expect_exact(awaited)]
        loop.call_soon_threadsafe(far.serving.approvals.release.set)
        child.send("echo al''ive\r")
        child.expect_exact("alive\r\n")
        child.expect(PROMPT)
        child.send("exit 3\r")

    assert await at_terminal(far.ssh(), person) == 3
    await far.idle()
    assert not victims(tmp_path)
    assert ran(far)[-2:] == ["echo al''ive", "exit 3"]
    if shell != "fish":  # which shows a verdict in the line that it goes on editing, until that is discarded
        assert ":a" not in far.serving.recorder.text(1)
