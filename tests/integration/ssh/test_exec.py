"""Single commands through the plug-in, with real ssh and a real sshd."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import msgspec
import pytest

from agent.core.units import Stream
from agent.protocols.ssh.recorded import Recorded
from chalicelib.contracts.faults import Notice
from tests.fakes.agent_runtime import FakeServing
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for, settled
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

BLOB = os.urandom(1 << 20) * 50

NO_TOUCH = '@message("Touching is forbidden here.") forbid(principal, action, resource) when { context.verbs.contains("touch") };'
ALLOW = "permit(principal, action, resource);"


async def test_a_command_runs_and_is_recorded(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("echo hello; echo oops >&2"))
    assert (ran.status, ran.out, ran.err) == (0, b"hello\n", b"oops\n")
    await gateway.idle()
    recorder = gateway.serving.recorder
    head = recorder.lines(1, "cast")[0]
    assert (head["version"], head["command"], head["sid"]) == (3, "echo hello; echo oops >&2", gateway.serving.claims.sid)
    assert recorder.markers(1) == ["allowed: echo hello; echo oops >&2 (rule-1)"]
    assert sorted(recorder.text(1).split()) == ["hello", "oops"]
    assert recorder.lines(1, "cast")[-1][1:] == ["x", "0"]
    assert gateway.serving.happened[0] == ("record", 1, "cast")
    assert gateway.serving.operations == 1
    assert [notice.code for notice in gateway.notices] == ["ok"]


@pytest.mark.parametrize("status", [0, 1, 42, 126, 255])
async def test_the_exit_status_is_the_commands_own(gateway: Gateway, status: int) -> None:
    assert (await run(gateway.ssh(f"exit {status}"))).status == status


async def test_output_before_the_exit_is_whole(gateway: Gateway) -> None:
    # The exit status overtakes the output in sshd; a relay that closes on it truncates.
    for _ in range(5):
        ran = await run(gateway.ssh("head -c 1000000 /dev/zero; exit 3"))
        assert (ran.status, len(ran.out)) == (3, 1_000_000)


async def test_a_signal_ends_it_as_a_signal(gateway: Gateway) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        result = await conn.run("kill -TERM $$")
        assert result.exit_signal is not None
        assert result.exit_signal[0] == "TERM"
    await gateway.idle()
    assert "ended by signal TERM" in gateway.serving.recorder.markers(1)


class Odd(asyncssh.SSHServer):
    """A target that says what it was sent, and sends its exit status before its output."""

    def begin_auth(self, username: str) -> bool:
        return False

    def session_requested(self) -> OddSession:
        return OddSession()


class OddSession(asyncssh.SSHServerSession[bytes]):
    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self.channel = chan

    def exec_requested(self, command: str) -> bool:
        self.command = command
        return True

    def session_started(self) -> None:
        if self.command == "early":
            self.channel._send_request(b"exit-status", b"\0\0\0\5")
            self.channel.write(b"x" * 500_000)
            self.channel.close()
        else:
            self.channel.write(b"ready\n")

    def signal_received(self, signal: str) -> None:
        self.channel.write(signal.encode() + b"\n")
        self.channel.exit(7)

    def break_received(self, msec: int) -> bool:
        self.channel.write(b"break %d\n" % msec)
        return True


@pytest.fixture
async def odd(gateway: Gateway, sshd: Sshd) -> AsyncIterator[Gateway]:
    """The gateway before a target of our own making (sshd as root refuses to deliver signals)."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Odd, server_host_keys=[key], encoding=None, line_editor=False)
    pinned = key.export_public_key().decode().strip()
    target = sshd.target(host_keys=[pinned])
    target = msgspec.structs.replace(target, address=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    gateway.serving = FakeServing(target=target, claims=gateway.serving.claims, credential=sshd.credential())
    yield gateway
    server.close()


async def test_signals_and_breaks_reach_the_target(odd: Gateway) -> None:
    async with asyncssh.connect("127.0.0.1", odd.port, config=None, known_hosts=None, username="web", client_keys=None) as conn:
        process = await conn.create_process("wait")
        assert await process.stdout.readline() == "ready\n"
        process.send_break(250)
        assert await process.stdout.readline() == "break 250\n"
        process.send_signal("USR1")
        assert await process.stdout.readline() == "USR1\n"
        await process.wait()
        assert process.exit_status == 7


async def test_an_exit_status_before_the_output_truncates_nothing(odd: Gateway) -> None:
    ran = await run(odd.ssh("early"))
    assert (ran.status, len(ran.out)) == (5, 500_000)


async def test_fifty_megabytes_in_and_out_are_equal(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("sha256sum"), BLOB)
    assert ran.out.split()[0].decode() == hashlib.sha256(BLOB).hexdigest()
    ran = await run(gateway.ssh("cat"), BLOB)
    assert hashlib.sha256(ran.out).digest() == hashlib.sha256(BLOB).digest()


async def test_a_reader_that_stops_holds_the_command(gateway: Gateway) -> None:
    process = await asyncio.create_subprocess_exec(
        *gateway.ssh("yes"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=4096,
    )
    assert process.stdout is not None
    assert len(await process.stdout.readexactly(4096)) == 4096
    recorder = gateway.serving.recorder
    shown = await settled(recorder.size)
    # Two windows, the sockets' buffers and the pipe, and not more.
    assert shown < 40_000_000
    process.kill()
    await process.communicate()
    await gateway.idle()


@pytest.mark.parametrize("terminal", [[], ["-tt"]], ids=["pipe", "terminal"])
async def test_a_program_ends_when_nobody_reads_any_more(gateway: Gateway, terminal: list[str]) -> None:
    """``ssh host yes | head`` ends, as it does directly."""
    text = f"{shlex.join(gateway.ssh('yes', options=terminal))} | head -n 1; echo ended"
    async with asyncio.timeout(HANG_S):
        ran = await run(["sh", "-c", text])
    assert ran.out.split() == [b"y", b"ended"]
    await gateway.idle()
    assert "the client reads no more" in str(gateway.serving.recorder.lines(1, "cast"))


async def test_a_program_that_is_read_to_its_end_ends_by_itself(gateway: Gateway) -> None:
    """The twin: what is late is not cut off."""
    text = f"{shlex.join(gateway.ssh('echo first; exec >&-; sleep 0.3; echo late >&2; exit 4'))}; echo $?"
    ran = await run(["sh", "-c", text])
    assert (ran.out, ran.err.splitlines()[-1:]) == (b"first\n4\n", [b"late"])


async def test_a_recording_that_cannot_keep_up_holds_the_command(gateway: Gateway) -> None:
    recorder = gateway.serving.recorder
    recorder.full = True
    running = asyncio.ensure_future(run(gateway.ssh("head -c 20000000 /dev/zero")))
    await eventually(lambda: recorder.text(1))
    await settled(recorder.size)
    assert len(recorder.text(1)) < 5_000_000
    assert not running.done()
    recorder.full = False
    recorder.relief.set()
    assert len((await running).out) == 20_000_000


async def test_a_denied_command_never_reaches_the_host(gateway: Gateway, sshd: Sshd, tmp_path: Path) -> None:
    gateway.serving = serving_for(sshd, ALLOW, NO_TOUCH)
    ran = await run(gateway.ssh(f"touch {tmp_path}/evidence"))
    sid = gateway.serving.claims.sid
    assert ran.status == 126
    assert ran.out == b""
    assert ran.err.decode() == f"sallyport: Touching is forbidden here. (denied, {sid})\n"
    assert not (tmp_path / "evidence").exists()
    await gateway.idle()
    recorder = gateway.serving.recorder
    assert recorder.markers(1) == [f"denied: touch {tmp_path}/evidence (rule-2)"]
    assert "Touching is forbidden here." in recorder.text(1)
    assert recorder.lines(1, "cast")[-1][1:] == ["x", "126"]
    assert (gateway.serving.operations, gateway.serving.denied) == (1, 1)
    assert [operation.text for operation, _ in gateway.serving.denials] == [f"touch {tmp_path}/evidence"]


async def test_nothing_runs_when_it_cannot_be_recorded(gateway: Gateway, tmp_path: Path) -> None:
    gateway.serving.recorder.failing = True
    ran = await run(gateway.ssh(f"touch {tmp_path}/evidence"))
    assert ran.status == 255
    assert b"(recording_failed, " in ran.err
    assert not (tmp_path / "evidence").exists()
    await gateway.idle()
    assert gateway.notices[0].code == "recording_failed"


async def test_the_command_waits_for_the_disk(gateway: Gateway, tmp_path: Path) -> None:
    recorder = gateway.serving.recorder
    recorder.gate = asyncio.Event()
    running = asyncio.ensure_future(run(gateway.ssh(f"touch {tmp_path}/evidence")))
    await asyncio.sleep(0.5)
    assert not (tmp_path / "evidence").exists()
    recorder.gate.set()
    assert (await running).status == 0
    assert (tmp_path / "evidence").exists()


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("scp -t /tmp/x", "not_supported", b"without -O"),
        ("/usr/bin/scp -r -p -f /tmp", "not_supported", b"without -O"),
        ("/usr/lib/openssh/sftp-server", "not_supported", b"without -s"),
        (" ", "bad_request", b"empty"),
        ("echo " + "x" * 70_000, "too_large", b"64 KiB"),
    ],
)
async def test_commands_that_the_gateway_itself_refuses(gateway: Gateway, command: str, code: str, words: bytes) -> None:
    ran = await run(gateway.ssh(command))
    assert ran.status == 126
    assert words in ran.err
    assert f"({code}, ".encode() in ran.err
    await gateway.idle()
    assert gateway.serving.denied == 1
    assert gateway.serving.recorder.markers(1)[0].startswith("denied: ")


async def test_an_empty_exec_is_no_shell(gateway: Gateway) -> None:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        channel, session = await conn.create_session(Collector, "x")
        await session.closed.wait()
        # asyncssh itself will not send an empty command, so it is sent by hand.
        for raw in (b"", b"\xff\xfe"):
            session = Collector()
            channel = asyncssh.SSHClientChannel(conn, asyncio.get_running_loop(), "strict", None, "strict", 1 << 20, 1 << 15)
            await channel._open(b"session")
            channel._session = session
            session.connection_made(channel)
            assert await channel._make_request(b"exec", len(raw).to_bytes(4, "big") + raw)
            channel.resume_reading()
            await session.closed.wait()
            assert session.status == 126
            assert b"(bad_request, " in session.err


class Collector(asyncssh.SSHClientSession[bytes]):
    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.status: int | None = None
        self.err = b""

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is not None:
            self.err += data if isinstance(data, bytes) else str(data).encode()

    def exit_status_received(self, status: int) -> None:
        self.status = status

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()


async def test_only_the_locale_of_the_environment_passes(gateway: Gateway) -> None:
    ran = await run(
        gateway.ssh("env", options=["-o", "SendEnv=*"]),
        env={"LC_TIME": "C.UTF-8", "LD_PRELOAD": "/tmp/evil.so", "BASH_ENV": "/tmp/evil", "LC_ALL": "x'; id", "SECRET": "1"},
    )
    assert ran.status == 0
    names = {line.split(b"=")[0] for line in ran.out.splitlines()}
    assert b"LC_TIME" in names
    assert not names & {b"LD_PRELOAD", b"BASH_ENV", b"LC_ALL", b"SECRET"}


async def test_a_command_with_a_terminal(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("-tt", "tty; stty size; echo $TERM"), env={"TERM": "xterm-256color"})
    assert ran.status == 0
    assert b"/dev/pts/" in ran.out
    assert b"xterm-256color" in ran.out
    await gateway.idle()
    head = gateway.serving.recorder.lines(1, "cast")[0]
    assert head["term"]["type"] == "xterm-256color"
    assert head["env"] == {"TERM": "xterm-256color"}


async def test_several_channels_of_one_connection(gateway: Gateway, sockets: Path) -> None:
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={sockets}/ctl", "-o", "ControlPersist=30"]
    # The first -o wins, so these come before the gateway's own ControlPath.
    first = await run(gateway.ssh("echo 0", options=control), None)
    assert first.out == b"0\n"
    rans = await asyncio.gather(
        *(run(gateway.ssh(f"cat; echo {n} >&2", options=control), BLOB[: n * 100_000]) for n in range(1, 9))
    )
    assert [(ran.status, len(ran.out), ran.err) for ran in rans] == [(0, n * 100_000, b"%d\n" % n) for n in range(1, 9)]
    denied = await run(gateway.ssh("scp -t x", options=control))
    assert denied.status == 126
    assert (await run(gateway.ssh("echo still here", options=control))).out == b"still here\n"
    await run(["ssh", "-O", "exit", *control, "-p", str(gateway.port), "web@127.0.0.1"])
    await gateway.idle()
    recorder = gateway.serving.recorder
    assert {channel for channel, _ in recorder.written} == set(range(1, 12))
    assert gateway.serving.operations == 11


async def test_a_bug_of_ours_ends_its_program_in_words_and_leaves_others_alone(
    gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear = Recorded.hear

    def stumble(recorded: Recorded, data: bytes, stream: Stream) -> None:
        if data == b"stumble\n":
            raise ZeroDivisionError
        hear(recorded, data, stream)

    monkeypatch.setattr(Recorded, "hear", stumble)
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        other = await conn.create_process(f"until [ -e {tmp_path}/over ]; do sleep 0.05; done; echo on")
        ran = await conn.run("echo stumble; cat")
        assert ran.exit_status == 255
        assert "Something went wrong inside the gateway. (internal, " in str(ran.stderr)
        (tmp_path / "over").touch()
        assert (await other.wait()).stdout == "on\n"
    await gateway.idle()


async def test_an_ended_session_says_why(gateway: Gateway) -> None:
    running = asyncio.ensure_future(run(gateway.ssh("sleep 60")))
    await eventually(lambda: gateway.serving.recorder.markers(1))
    gateway.serving.ended.set_result(Notice("session_killed", "An administrator ended this session."))
    ran = await running
    assert ran.status == 255
    assert b"sallyport: An administrator ended this session. (session_killed, " in ran.err
    await gateway.idle()
    assert gateway.notices[0].code == "session_killed"


async def test_an_agent_that_stops_leaves_nobody_hanging(gateway: Gateway) -> None:
    running = asyncio.ensure_future(run(gateway.ssh("sleep 60")))
    await eventually(lambda: gateway.serving.recorder.markers(1))
    await gateway.close()
    assert (await running).status == 255


async def test_a_client_that_leaves_takes_its_command_along(gateway: Gateway, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *gateway.ssh("-tt", f"echo $$ > {tmp_path}/pid; exec sleep 600"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    pid = int((tmp_path / "pid").read_text())
    process.kill()
    await process.wait()
    await gateway.idle()
    await eventually(lambda: not Path(f"/proc/{pid}").exists())
