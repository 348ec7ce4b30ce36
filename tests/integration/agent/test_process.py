"""The agent as a process: its command line, an orderly end, and an end by kill -9 in the middle of a session."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.runtime.clock import ServerClock
from agent.runtime.recovery import RECOVERED
from agent.runtime.tunnel import Tunnel
from chalicelib.contracts import relay
from tests.fakes.control_plane import FakeControlPlane, document
from tests.integration.agent.conftest import ROOT
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


@pytest.fixture
async def control() -> AsyncIterator[FakeControlPlane]:
    async with FakeControlPlane(ServerClock().local_ms) as plane:
        yield plane


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(HANG_S):
        while not true():  # noqa: ASYNC110 - what tests wait for happens in another process
            await asyncio.sleep(0.01)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-m", *arguments, cwd=ROOT, stdout=pipe, stderr=pipe)


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    async with asyncio.timeout(HANG_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def command(*arguments: str) -> tuple[int, str, str]:
    return await ended(await start("agent", *arguments))


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(*arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def enrol(control: FakeControlPlane, state: Path) -> None:
    code, out, err = await command("enrol", "--url", control.url, "--token", "one-time", "--state", str(state))
    assert (code, out) == (0, "Enrolled as edge. Start it with: sallyport-agent run\n"), err


def client(control: FakeControlPlane, sid: str, ticket: str) -> contextlib.AbstractAsyncContextManager[Tunnel]:
    async def headers(_: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {ticket}", "X-Sallyport-Socket": "client", "X-Sallyport-Session": sid}

    return Tunnel.connect(control.websocket_url, headers, opening=ticket.encode())


async def offered(control: FakeControlPlane) -> tuple[str, str]:
    await until(lambda: control.beats)
    made = control.session()
    ticket = control.ticket(made)
    await control.send(relay.Offer(made.sid, ticket))
    return made.sid, ticket


async def test_enrol_run_status_and_an_orderly_end(control: FakeControlPlane, tmp_path: Path) -> None:
    state = tmp_path / "state"
    control.document = document(protocol="ssh")
    await enrol(control, state)
    config = tmp_path / "agent.toml"
    config.write_text(f'state = "{state}"\nlisten = "127.0.0.1:0"\nmin_free_mb = 0\n')
    code, out, _ = await command("status", "--config", str(config))
    assert code == 0
    assert "running     no" in out
    async with running("agent", "run", "--config", str(config)) as agent:
        await until(lambda: control.beats and control.announcements)
        assert [protocol.name for protocol in control.announcements[0].protocols] == ["ssh", "postgres"]
        code, out, _ = await command("status", "--config", str(config))
        assert (code, "running     yes" in out, f"({control.agent_id})" in out) == (0, True, True)
        code, _, err = await command("run", "--config", str(config))
        assert (code, err.startswith("sallyport-agent: Another agent is running")) == (6, True)
        agent.send_signal(signal.SIGTERM)
        code, out, err = await ended(agent)
        assert code == 0, err
        assert '"event": "agent.stopped"' in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["enrol", "--url", "http://example.com", "--token", "t"], "--url: url must be https"),
        (["enrol", "--url", "http://127.0.0.1:1", "--token", "t"], "The control plane cannot be reached."),
        (["enrol", "--url", "http://127.0.0.1:1"], "An enrolment needs a token."),
        (["run", "--config", "/nonexistent/agent.toml"], "/nonexistent/agent.toml: there is no such file."),
        (["status"], "This agent is not enrolled"),
    ],
)
async def test_a_wrong_start_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setenv("SALLYPORT_AGENT_STATE", str(tmp_path / "state"))
    code, _, err = await command(*arguments)
    assert code not in (0, 1)
    assert words in err
    assert "Traceback" not in err


async def test_kill_9_in_a_session_loses_nothing_that_was_answered(control: FakeControlPlane, tmp_path: Path) -> None:
    state = tmp_path / "state"
    await enrol(control, state)
    runner = ("tests.integration.agent.echo_agent", str(state))
    async with running(*runner) as agent:
        sid, ticket = await offered(control)
        said = []
        with contextlib.suppress(Exception):
            async with client(control, sid, ticket) as tunnel:
                for number in range(40):
                    await tunnel.write(b"line %d\n" % number)
                    assert await tunnel.read() == b"echo line %d\n" % number
                    said.append(f"line {number}")
                agent.kill()
                raise ConnectionAbortedError
        assert len(said) == 40
        await agent.communicate()
    assert sid not in control.closes
    control.beats.clear()
    async with running(*runner) as agent:
        await until(lambda: sid in control.closes)
        assert (control.closes[sid].state, control.closes[sid].message) == ("ended", RECOVERED)
        assert control.text_of(sid).splitlines() == said
        assert control.chain_holds(sid)
        assert control.closes[sid].operations == 40
        await until(lambda: [path.name for path in (state / "spool").iterdir()] == ["wal"])
        agent.send_signal(signal.SIGTERM)
        code, _, err = await ended(agent)
        assert code == 0, err
        # Evidence is in the recording, never in the log; nor is anything that opens a door.
        assert "line 1" not in err
        assert ticket not in err
