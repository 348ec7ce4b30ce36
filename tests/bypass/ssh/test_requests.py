"""A user with a valid login asks for what policy denies, by every road that SSH has. Beside each: what must go on to work."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import Boolean, String, UInt32

from tests.bypass.raw import ask, raw_channel
from tests.bypass.world import World
from tests.patience import until

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "command",
    [
        "env scp -t {folder}",
        "\\scp -t {folder}",
        "'scp' -t {folder}",
        "sc''p -r -t {folder}",
        "X=1 scp -qf /etc/passwd",
        "nohup scp -- -t {folder}",
        "sh -c 'scp -t {folder}'",
        "command scp -f /etc/passwd",
        "true; scp -t {folder}",
        "env /usr/lib/openssh/sftp-server",
        "exec /usr/lib/openssh/sftp-server -e",
        "/usr/lib/openssh/./sftp-server",
    ],
)
async def test_a_file_server_behind_a_wrapper(world: World, tmp_path: Path, command: str) -> None:
    # On the hostile target everything may be run: only the gateway itself stands between scp's old protocol and the files.
    before = len(world.hostile.commands)
    async with await world.connect("hostile") as conn:
        status, said = await ask(conn, b"exec", String(command.format(folder=tmp_path)))
    assert status == 126, said
    assert b"not_supported" in said
    assert world.hostile.commands[before:] == []


@pytest.mark.parametrize(
    "command",
    [
        "scp a b:; rm -f x",
        "scp -P 22 a b:c",
        "echo scp -t",
        "ls -lt /usr/lib/openssh/sftp-server",
        "scp-report -t",
        "cat scp.txt -t",
    ],
)
async def test_the_twin_that_only_looks_like_one(world: World, command: str) -> None:
    before = len(world.hostile.commands)
    async with await world.connect("hostile") as conn:
        status, said = await ask(conn, b"exec", String(command))
    assert (status, said) == (0, b"ok\n")
    assert world.hostile.commands[before:] == [command]


@pytest.mark.parametrize(
    ("request_", "parts"),
    [
        (b"exec", (String(b"rm -rf /srv/data"),)),
        (b"exec", (String(b"rm -rf /srv/data\0"),)),
        (b"exec", (String(b"\nrm -rf /srv/data"),)),
        (b"exec", (String(b"true\rrm -rf /srv/data\n"),)),
        (b"exec", (String(b"echo \x1b[2K\x1b[1A; rm -rf /srv/data"),)),
        (b"exec", (String("echo \u202e; rm -rf /srv/data".encode()),)),
        (b"exec", (String(b"rm -rf /srv/data \xff\xfe"),)),
        (b"exec", (String(b"\xc3\x28; rm -rf /srv/data"),)),
        (b"exec", (String(b"rm -rf /srv/data #" + b"x" * 70_000),)),
        (b"exec", (String(b""),)),
        (b"exec", (String(b"   "),)),
        (b"exec", (String(b"$LC_A -rf /srv/data"),)),
        (b"subsystem", (String(b"rm -rf /srv/data"),)),
        (b"subsystem", (String(b"sftp\0"),)),
        (b"subsystem", (String(b"netconf"),)),
        (b"subsystem", (String(b"\xff"),)),
    ],
)
async def test_a_request_that_is_denied(world: World, request_: bytes, parts: tuple[bytes, ...]) -> None:
    async with await world.connect() as conn:
        status, said = await ask(conn, request_, *parts)
    assert status == 126, (status, said)
    assert b"sallyport:" in said
    assert b"\x1b" not in said
    assert "\u202e".encode() not in said
    assert world.stack.target.intact()


@pytest.mark.parametrize("command", ["echo 'a\tb'", "echo grüße", "true\n", "printf '%s' \"$LANG\""])
async def test_the_twin_of_odd_texts(world: World, command: str) -> None:
    async with await world.connect() as conn:
        status, said = await ask(conn, b"exec", String(command))
    assert status == 0, said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"LD_PRELOAD", b"/tmp/x.so"),
        (b"BASH_ENV", b"/tmp/x"),
        (b"PROMPT_COMMAND", b"id"),
        (b"PATH", b"/tmp"),
        (b"LC_ALL", b"() { :; }; id"),
        (b"LANG", b"C\nPATH=/tmp"),
        (b"LC_" + b"A" * 40, b"C"),
        (b"LC_ALL\0BASH_ENV", b"C"),
        (b"\xff", b"C"),
        (b"LC_ALL", b"x" * 300),
    ],
)
async def test_an_environment_that_loads_code_does_not_arrive(world: World, name: bytes, value: bytes) -> None:
    async with await world.connect() as conn:
        chan, heard = await raw_channel(conn)
        assert not await chan._make_request(b"env", String(name), String(value))
        assert await chan._make_request(b"env", String(b"LC_TIME"), String(b"C.UTF-8"))
        assert await chan._make_request(b"exec", String(b"printenv"))
        chan.resume_reading()
        await chan.wait_closed()
    seen = heard.text.splitlines()
    assert name + b"=" + value not in seen
    assert b"LC_TIME=C.UTF-8" in seen


async def test_a_second_program_and_late_wishes_on_one_channel(world: World) -> None:
    async with await world.connect() as conn:
        chan, heard = await raw_channel(conn)
        assert await chan._make_request(b"exec", String(b"echo first; sleep 1"))
        for late in (b"exec", b"subsystem"):
            assert not await chan._make_request(late, String(b"rm -rf /srv/data"))
        assert not await chan._make_request(b"shell")
        assert not await chan._make_request(b"env", String(b"BASH_ENV"), String(b"/tmp/x"))
        for unknown in (b"auth-agent-req@openssh.com", b"surprise"):
            assert not await chan._make_request(unknown)
        assert not await chan._make_request(b"x11-req", Boolean(False), String("MIT"), String("00"), UInt32(0))
        chan.resume_reading()
        await chan.wait_closed()
    assert heard.text.endswith(b"first\n")
    assert heard.text.count(b"not_supported") == 2
    assert world.stack.target.intact()


async def test_a_second_channel_after_a_denial_is_decided_anew(world: World) -> None:
    async with await world.connect() as conn:
        for _ in range(3):
            assert (await ask(conn, b"exec", String("rm -rf /srv/data")))[0] == 126
        assert await ask(conn, b"exec", String("echo still")) == (0, b"still\n")
    assert world.stack.target.intact()


@pytest.mark.parametrize("option", ["-W127.0.0.1:22", "-oProxyJump=prod-web"])
def test_the_gateway_is_no_way_to_elsewhere(world: World, option: str) -> None:
    answer = world.run("ssh", option, "prod-web", *(["true"] if "Jump" in option else []))
    assert answer.returncode != 0, answer.stdout


def test_the_twin_where_policy_makes_it_a_way(world: World) -> None:
    port = world.stack.target.port
    answer = world.run("ssh", f"-W127.0.0.1:{port}", "jump", fed="SSH-2.0-me\r\n")
    assert answer.stdout.startswith("SSH-2.0-OpenSSH"), answer.stderr
    assert "does not list it. (denied, " in world.run("ssh", f"-W127.0.0.1:{port + 1}", "-oLogLevel=INFO", "jump").stderr

    def recorded() -> str:
        told = "".join(world.run("sallyport", "replay", each["sid"]).stdout for each in world.sessions(target="jump"))
        return told if "forward.closed" in told else ""

    told = until(recorded, "the end of the connection is recorded")
    assert f"allowed   direct-tcpip 127.0.0.1:{port}" in told
    assert "sent=12" in told


@pytest.mark.parametrize(("command", "status"), [((), 0), (("bash", "-s"), 0), (("python3", "-"), 126)])
def test_a_script_over_the_whole_way(world: World, command: tuple[str, ...], status: int) -> None:
    answer = world.run("ssh", "-T", "prod-web", *command, fed="for x in 1 2; do echo $x; done\n")
    assert answer.returncode == status, answer
    assert answer.stdout == ("1\n2\n" if status == 0 else "")
    answer = world.run("ssh", "-T", "prod-web", *command, fed="echo 1\nrm -rf /srv/data\n")
    assert (answer.returncode, answer.stdout) == (126, ""), answer
    assert world.stack.target.intact()


async def test_every_kind_of_forwarding_is_refused(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        port = inside.getsockname()[1]
        async with await world.connect() as conn:
            with pytest.raises(asyncssh.ChannelOpenError, match="sallyport"):
                await conn.create_connection(asyncssh.SSHTCPSession, "127.0.0.1", port)
            with pytest.raises(asyncssh.ChannelOpenError, match="sallyport"):
                await conn.create_unix_connection(asyncssh.SSHUNIXSession, "/run/docker.sock")
            with pytest.raises((asyncssh.ChannelOpenError, OSError)):
                await conn.open_tun()
            for listen in (
                conn.forward_remote_port("127.0.0.1", 0, "127.0.0.1", port),
                conn.forward_remote_path("/tmp/s", "/tmp/d"),
            ):
                with pytest.raises(asyncssh.ChannelListenError):
                    await listen
            status, said = await ask(conn, b"exec", String("echo twin"))
        assert status == 0
        assert b"twin\n" in said
        inside.settimeout(0.2)
        with pytest.raises(TimeoutError):
            inside.accept()
    session = await world.over(next(each["sid"] for each in world.sessions(target="prod-web") if each["state"] != "offered"))
    assert session["denied"] == 5, "every attempt is on record"


@pytest.mark.parametrize(
    "login",
    ["root", "-oProxyCommand=id", "a b", f"{'x' * 300}", "deploy", "", "../etc", "*"],
)
async def test_a_login_that_the_target_does_not_have(world: World, login: str) -> None:
    if login == world.account:
        login = "nobody"
    with contextlib.suppress(asyncssh.Error):
        async with await world.connect("no-such" if not login else "prod-web", login=login) as conn:
            status, said = await ask(conn, b"exec", String("echo in"))
            assert status != 0
            assert b"in\n" not in said
            assert b"\x1b" not in said
    assert "agent.internal_fault" not in world.log()


@pytest.mark.parametrize("target", ["prod-web+hostile", "+prod-web+x", "PROD-WEB", "prod-web ", "%2e%2e", "hostile/../prod-web"])
async def test_a_target_name_that_is_none(world: World, target: str) -> None:
    with contextlib.suppress(asyncssh.Error):
        async with await world.connect(target) as conn:
            assert (await ask(conn, b"exec", String("echo in")))[0] != 0


async def test_what_is_passed_to_a_program_is_in_the_record(world: World) -> None:
    """``$LC_A`` means nothing to an auditor who cannot see what it was."""
    async with await world.connect("hostile") as conn:
        process = await conn.create_process("$LC_A -rf x", env={"LC_A": "rm"})
        await process.wait()
    sid = world.sessions(target="hostile")[0]["sid"]
    lines = await asyncio.to_thread(until, lambda: world.recorded(sid), "it is recorded")
    assert '"LC_A":"rm"' in lines[0].replace(" ", "")
