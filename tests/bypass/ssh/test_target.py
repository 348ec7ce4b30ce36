"""A target that lies: nothing that it says reaches the terminal, the recording or the agent's memory as anything but output."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.bypass.raw import ask, raw_channel
from tests.bypass.ssh.test_files import client, opening, s
from tests.bypass.world import World
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


def last(world: World, target: str = "hostile") -> str:
    return str(world.sessions(target=target)[0]["sid"])


async def test_its_refusal_reaches_the_terminal_without_escapes(world: World) -> None:
    async with await world.connect("hostile", login="refuser") as conn:
        status, said = await ask(conn, b"exec", s(b"x"))
    assert status == 255
    assert b"target_closed" in said
    for bad in (b"\x1b", b"\x07", b"\r", "\u202e".encode(), "\u2066".encode()):
        assert bad not in said, said


async def test_its_banner_goes_nowhere(world: World) -> None:
    async with await world.connect("hostile", login="banner") as conn:
        assert await ask(conn, b"exec", s(b"x")) == (0, b"ok\n")


async def test_what_looks_like_a_recording_is_output_in_the_recording(world: World) -> None:
    async with await world.connect("hostile", login="forger") as conn:
        _, said = await ask(conn, b"exec", s(b"honest"))
    assert b"forged" in said
    lines = world.recorded((await world.over(last(world)))["sid"])
    said_or_told = [json.loads(line) for line in lines[1:]]
    # One line, which is ours, tells what ran. What the host says is in events.
    assert [each["text"] for each in said_or_told if isinstance(each, dict) and "text" in each] == ["honest"]
    events = [each for each in said_or_told if isinstance(each, list)]
    assert [event[2] for event in events if event[1] == "m"] == ["allowed: honest (everything-on-hostile)"]
    assert "forged" in "".join(event[2] for event in events if event[1] == "o")


async def test_its_last_words_by_signal(world: World) -> None:
    async with await world.connect("hostile", login="signaller") as conn:
        _, said = await ask(conn, b"exec", s(b"x"))
    assert said == b"signalled\n"


async def test_neither_name_nor_words_of_a_signal_say_what_output_may_not(world: World) -> None:
    async with await world.connect("hostile", login="talker") as conn:
        chan, _ = await raw_channel(conn)
        assert await chan._make_request(b"exec", s(b"x"))
        chan.resume_reading()
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert chan.get_exit_signal() == ("SIG@openssh.com", False, "", "")
    recorded = "".join(world.recorded((await world.over(last(world)))["sid"]))
    assert "4111" not in recorded
    assert "ended by signal SIG@openssh.com" in recorded


@pytest.mark.parametrize("name", ["TERM", "SEGV"])
async def test_the_twin_a_signal_of_the_standard(world: World, name: str) -> None:
    async with await world.connect() as conn:
        chan, _ = await raw_channel(conn)
        assert await chan._make_request(b"exec", s(f"kill -{name} $$".encode()))
        chan.resume_reading()
        async with asyncio.timeout(HANG_S):
            await chan.wait_closed()
        assert chan.get_exit_signal() == (name, False, "", "")


async def test_it_hangs_up_in_the_middle(world: World) -> None:
    async with await world.connect("hostile", login="vanisher") as conn:
        status, said = await ask(conn, b"exec", s(b"x"))
        assert said.startswith(b"half an ans")
        assert (status, b"target_closed" in said) == (255, True)
        # The next channel dials again.
        assert (await ask(conn, b"exec", s(b"x")))[1].startswith(b"half an ans")


@pytest.mark.parametrize("login", ["wrong-number", "huge"])
async def test_its_file_server_makes_no_sense(world: World, login: str) -> None:
    async with await world.connect("hostile", login=login) as conn:
        sftp = await client(conn)
        sftp.send(17, 5, s(b"/x"))
        async with asyncio.timeout(HANG_S):
            await sftp.chan.wait_closed()
        assert sftp.chan.get_exit_status() == 255
        twin = await client(await world.connect("hostile", login="files"))
        assert (await twin.ask(17, s(b"/x")))[0] == 2
    assert "ssh.channel.failed" not in world.log()


async def test_one_handle_for_two_files(world: World) -> None:
    async with await world.connect("hostile", login="one-handle") as conn:
        sftp = await client(conn)
        assert (await sftp.ask(3, opening(b"/a"), number=1))[0] == -102
        sftp.send(3, 2, opening(b"/b", 2))
        async with asyncio.timeout(HANG_S):
            await sftp.chan.wait_closed()
        assert sftp.chan.get_exit_status() == 255


@pytest.mark.parametrize(
    "greeting",
    [
        b"x" * 100_000,
        b"hello\r\n" * 1000,
        b"SSH-2.0-" + b"\x1b[2J" * 1000 + b"\r\n",
        b"SSH-2.0-\xff\xfe\x1b]0;x\x07\r\n",
        b"SSH-9.9-x\r\n",
    ],
    ids=["line without end", "banner without end", "long version", "version of bytes", "another version"],
)
async def test_it_never_becomes_a_server(world: World, greeting: bytes) -> None:
    before = world.agent_rss()
    world.hostile.greeting = greeting
    try:
        async with await world.connect("raw") as conn:
            status, said = await ask(conn, b"exec", s(b"true"))
    finally:
        world.hostile.greeting = b""
    assert status == 255
    assert b"sallyport: " in said
    assert b"\x1b" not in said
    assert world.agent_rss() - before < 64 << 20
    assert "\x1b" not in world.log()


async def test_it_says_nothing_at_all(world: World) -> None:
    async with await world.connect("raw") as conn:
        status, said = await ask(conn, b"exec", s(b"true"))
    assert (status, b"target_timeout" in said) == (255, True), said
