"""Words before a session's time is over: beside what a program shows, never inside of it, and recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncssh
import pytest

from chalicelib.contracts.faults import Notice
from tests.integration.plugin_listener import eventually
from tests.integration.ssh.conftest import Gateway
from tests.patience import HANG_S

pytestmark = pytest.mark.servers

SOON = "This session ends at 12:00:00 UTC, in 1 minute: its time was granted until then."


@pytest.fixture
async def conn(gateway: Gateway) -> AsyncIterator[asyncssh.SSHClientConnection]:
    async with asyncssh.connect(
        "127.0.0.1", gateway.port, config=None, known_hosts=None, username="web", client_keys=None
    ) as conn:
        yield conn


async def test_a_program_goes_on_and_its_owner_reads_it_on_standard_error(
    gateway: Gateway, conn: asyncssh.SSHClientConnection
) -> None:
    process = await conn.create_process("echo begun; cat")
    assert await process.stdout.readline() == "begun\n"
    gateway.serving.warned(SOON)
    assert await asyncio.wait_for(process.stderr.readline(), HANG_S) == f"sallyport: {SOON}\n"
    process.stdin.write("still here\n")
    process.stdin.write_eof()
    done = await asyncio.wait_for(process.wait(), HANG_S)
    assert (done.exit_status, done.stdout) == (0, "still here\n")
    assert SOON in gateway.serving.recorder.text(1)


async def test_at_a_terminal_it_is_a_line_of_its_own_and_waits_for_the_end_of_a_sequence(
    gateway: Gateway, conn: asyncssh.SSHClientConnection
) -> None:
    command = r"stty -echo; printf 'a\033[3'; read line; printf '1mred'"
    process = await conn.create_process(command, term_type="xterm")
    assert await asyncio.wait_for(process.stdout.readexactly(4), HANG_S) == "a\x1b[3"
    gateway.serving.warned(SOON)
    assert SOON not in gateway.serving.recorder.text(1)
    process.stdin.write("\r")
    assert (await asyncio.wait_for(process.wait(), HANG_S)).exit_status == 0
    shown = gateway.serving.recorder.text(1)
    assert shown.startswith("a\x1b[31mred")
    assert shown.endswith(f"red\r\nsallyport: {SOON}\r\na\x1b[31mred"), "the line that it cut is drawn again"


async def test_files_arrive_byte_for_byte_beside_a_warning(
    gateway: Gateway, conn: asyncssh.SSHClientConnection, tmp_path: object
) -> None:
    data = bytes(range(256)) * 4000
    async with conn.start_sftp_client() as sftp:
        async with sftp.open(f"{tmp_path}/up", "wb") as file:
            await file.write(data[:500_000])
            gateway.serving.warned(SOON)
            await file.write(data[500_000:])
        async with sftp.open(f"{tmp_path}/up", "rb") as file:
            assert await file.read() == data


async def test_a_program_that_begins_later_is_told_too(gateway: Gateway, conn: asyncssh.SSHClientConnection) -> None:
    await eventually(lambda: bool(gateway.serving.tell))
    gateway.serving.warned(SOON)
    ran = await conn.run("echo late")
    assert (ran.stdout, ran.stderr) == ("late\n", f"sallyport: {SOON}\n")


async def test_the_end_itself_is_said(gateway: Gateway, conn: asyncssh.SSHClientConnection) -> None:
    process = await conn.create_process("echo begun; cat")
    assert await process.stdout.readline() == "begun\n"
    gateway.serving.ended.set_result(Notice("session_ended", "The time that was granted for this session is over."))
    assert "The time that was granted for this session is over. (session_ended, " in await process.stderr.readline()
