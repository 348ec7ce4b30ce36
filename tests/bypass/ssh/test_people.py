"""Other people: their certificates, their sessions, their recordings; and the moment after somebody may no longer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from infra.demo.stack import must
from tests.bypass.raw import ask, raw_channel
from tests.bypass.ssh.test_files import s
from tests.bypass.world import World
from tests.patience import HANG_S

pytestmark = pytest.mark.servers


async def named(world: World, sid: str, client_keys: Any) -> str:
    """Connect to the listener, name ``sid``, log in with ``client_keys``; return what a command said or how it was refused."""
    host, port = await asyncio.to_thread(world.listener)
    sock = socket.create_connection((host, port))
    sock.sendall(f"SALLYPORT/1 {sid}\n".encode())
    sock.setblocking(False)
    said = b""
    try:
        async with await asyncssh.connect(
            sock=sock, config=None, known_hosts=None, agent_path=None, username="x", client_keys=client_keys
        ) as conn:
            _, said = await ask(conn, b"exec", s(b"echo mine"))
    except asyncssh.PermissionDenied as refused:
        return str(refused)
    return said.decode()


async def test_somebody_elses_session_with_ones_own_certificate(world: World) -> None:
    sid = (await asyncio.to_thread(world.offer))["sid"]
    assert "unknown_session" in await named(world, sid, world.credentials("pat"))
    assert "unknown_session" in await named(world, "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR", world.credentials())
    # The twin: her own, once. It was not spent by those who tried.
    assert await named(world, sid, world.credentials()) == "mine\n"
    assert "mine" not in await named(world, sid, world.credentials())


async def soon(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(HANG_S):
        while not true():  # noqa: ASYNC110 - what is waited for happens in other processes
            await asyncio.sleep(0.01)


async def test_two_clients_race_for_one_session(world: World) -> None:
    sid = (await asyncio.to_thread(world.offer))["sid"]
    said = await asyncio.gather(*(named(world, sid, world.credentials()) for _ in range(6)))
    assert said.count("mine\n") == 1, said


def certificate(signer: asyncssh.SSHKey, key: asyncssh.SSHKey, **options: Any) -> asyncssh.SSHCertificate:
    names = {"principals": ["alice@example.com"], "valid_after": "-1h", "valid_before": "+1h"} | options
    return signer.generate_user_certificate(key, "alice@example.com", **names)


async def test_certificates_that_are_not_the_gateways(world: World) -> None:
    key, stranger = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    mine, genuine = world.credentials()[0]
    home = world.home()
    host_certificate = stranger.generate_host_certificate(key, "alice@example.com", principals=["alice@example.com"])
    attempts: list[Any] = [
        [key],
        [mine],
        [(key, certificate(stranger, key))],
        [(mine, certificate(mine, mine))],
        [(key, certificate(stranger, key, valid_before="-1m", valid_after="-2h"))],
        [(key, certificate(stranger, key, force_command="id"))],
        [(key, certificate(stranger, key, source_address=["127.0.0.1/32"]))],
        [(key, host_certificate)],
    ]
    for keys in attempts:
        with pytest.raises(asyncssh.PermissionDenied):
            await world.connect(client_keys=keys)
    # Her certificate with another key: shown, but not proved.
    with pytest.raises((asyncssh.Error, ValueError)):
        await world.connect(client_keys=[(key, genuine)])
    assert (home / "id_ed25519").exists()
    async with await world.connect() as conn:
        assert (await ask(conn, b"exec", s(b"echo twin")))[1] == b"twin\n"


async def test_mallory_with_a_genuine_certificate_gets_nothing(world: World) -> None:
    for target in ("prod-web", "no-shell", "hostile", "no-such"):
        async with await world.connect(target, who="mallory") as conn:
            status, said = await ask(conn, b"exec", s(b"echo in"))
        assert status in (126, 255), said
        assert b"in\n" not in said


async def test_listing_and_replaying_what_is_somebody_elses(world: World) -> None:
    assert (await asyncio.to_thread(world.run, "ssh", "prod-web", "echo private")).stdout == "private\n"
    sid = (await world.over(world.sessions()[0]["sid"]))["sid"]
    for who in ("bob", "mallory", "pat"):
        others = [each for each in world.sessions(who=who) if each["principal"] != f"{who}@example.com"]
        # Bob may watch and pat may end what goes on; what is over is nobody's business.
        assert not [each for each in others if who == "mallory" or each["state"] not in ("offered", "live")], who
        for path in (f"/sessions/{sid}", f"/sessions/{sid}/recording"):
            assert world.api("GET", path, who=who)[0] == 404, (who, path)
    assert world.api("GET", f"/sessions/{sid}")[0] == 200
    assert world.api("GET", f"/sessions/{sid}", who="carol")[0] == 200


async def test_a_newer_policy_ends_the_session_and_the_shell_in_it(world: World, tmp_path: Path) -> None:
    """Taking back ``connect`` takes back what was opened with it, within seconds."""
    folder = tmp_path / "gateway"
    shutil.copytree(world.gateway, folder)
    rules = folder / "policies.cedar"
    rules.write_text(rules.read_text() + '\n@id("out")\nforbid (principal, action == Action::"connect", resource);\n')
    async with await world.connect() as conn:
        chan, heard = await raw_channel(conn)
        await chan._make_request(b"exec", s(b"echo begun; sleep 60; echo survived"))
        chan.resume_reading()
        await soon(lambda: heard.text == b"begun\n")
        sid = world.sessions(target="prod-web")[0]["sid"]
        try:
            must(await asyncio.to_thread(world.people["pat"].run, ["sallyport", "apply", "--yes", str(folder)]))
            async with asyncio.timeout(HANG_S):
                await conn.wait_closed()
        finally:
            await asyncio.to_thread(world.restore)
    assert heard.text.startswith(b"begun\n")
    assert b"session_killed" in heard.text
    assert (await world.over(sid))["state"] == "killed"


async def test_the_twin_a_newer_policy_that_still_permits(world: World) -> None:
    async with await world.connect() as conn:
        chan, heard = await raw_channel(conn)
        await chan._make_request(b"exec", s(b"echo begun; read line; echo survived"))
        chan.resume_reading()
        await soon(lambda: heard.text == b"begun\n")
        await asyncio.to_thread(world.restore)
        chan.write(b"go on\n")
        await chan.wait_closed()
    assert heard.text == b"begun\nsurvived\n"


async def status_of_a_shell(conn: asyncssh.SSHClientConnection) -> int | None:
    """Open a shell that is told to end at once. Returns its exit status."""
    chan = await conn.create_process(term_type="xterm")
    with contextlib.suppress(BrokenPipeError):  # it may be refused before
        chan.stdin.write("exit\n")
    return (await chan.wait()).exit_status


async def test_shells_that_are_switched_off_while_a_session_lives(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    shutil.copytree(world.gateway, folder)
    file = folder / "gateway.yaml"
    file.write_text(file.read_text().replace("      shell: guarded\n", ""))
    async with await world.connect() as conn:
        chan = await conn.create_process(term_type="xterm")
        chan.stdin.write("echo $((6*7)); exit\n")
        assert "42" in await chan.stdout.read()
        try:
            must(await asyncio.to_thread(world.people["pat"].run, ["sallyport", "apply", "--yes", str(folder)]))
            async with asyncio.timeout(HANG_S):
                while await status_of_a_shell(conn) != 126:
                    pass
            assert (await ask(conn, b"exec", s(b"echo twin")))[1] == b"twin\n"
        finally:
            await asyncio.to_thread(world.restore)


async def test_nothing_starts_in_a_session_that_is_being_ended(world: World, tmp_path: Path) -> None:
    """A hostile client opens channels as fast as it can while its session is taken back."""
    folder = tmp_path / "gateway"
    shutil.copytree(world.gateway, folder)
    rules = folder / "policies.cedar"
    rules.write_text(rules.read_text() + '\n@id("out")\nforbid (principal, action == Action::"connect", resource);\n')
    heard: list[tuple[float, bytes]] = []
    async with await world.connect() as conn:
        chan, first = await raw_channel(conn)
        await chan._make_request(b"exec", s(b"sleep 60"))
        chan.resume_reading()

        async def hammer() -> None:
            with contextlib.suppress(asyncssh.Error, OSError, asyncio.CancelledError):
                while True:
                    try:
                        _, said = await ask(conn, b"exec", s(b"echo ran"))
                        heard.append((time.monotonic(), said))
                    except asyncssh.ChannelOpenError as refused:
                        heard.append((time.monotonic(), str(refused).encode()))
                        await asyncio.sleep(0.01)

        hammering = asyncio.ensure_future(hammer())
        await soon(lambda: len(heard) > 2)
        try:
            must(await asyncio.to_thread(world.people["pat"].run, ["sallyport", "apply", "--yes", str(folder)]))
            async with asyncio.timeout(HANG_S):
                await conn.wait_closed()
        finally:
            hammering.cancel()
            await asyncio.to_thread(world.restore)
    # The connection may end before another attempt is told why.
    endings = [at for at, said in heard if b"session_killed" in said]
    assert not [said for at, said in heard if endings and at > endings[0] and said == b"ran\n"]
    assert heard[0][1] == b"ran\n", "the twin: it ran before"
    assert b"session_killed" in first.text


async def test_after_logout_nothing_opens(world: World) -> None:
    pat = world.people["pat"]
    keys = world.credentials("pat")
    async with await world.connect(client_keys=keys) as conn:
        assert (await ask(conn, b"exec", s(b"echo twin")))[1] == b"twin\n"
    status, _ = await asyncio.to_thread(world.api, "POST", "/logout", {}, who="pat")
    assert status == 200
    try:
        async with await world.connect(client_keys=keys) as conn:
            status_, said = await ask(conn, b"exec", s(b"echo in"))
        assert (status_, b"token_revoked" in said) == (255, True), said
        assert (await asyncio.to_thread(world.api, "GET", "/targets", who="pat"))[0] == 401
    finally:
        must(await asyncio.to_thread(pat.login, world.stack.url))


async def test_an_offer_from_before_the_logout(world: World) -> None:
    keys = world.credentials("pat")
    offered = await asyncio.to_thread(world.offer, who="pat")
    assert (await asyncio.to_thread(world.api, "POST", "/logout", {}, who="pat"))[0] == 200
    try:
        late = await named(world, offered["sid"], keys)
    finally:
        must(await asyncio.to_thread(world.people["pat"].login, world.stack.url))
    assert "mine" not in late


def test_no_secret_is_anywhere_that_it_does_not_belong(world: World) -> None:
    assert world.run("ssh", "prod-web", "echo secret-hunt").returncode == 0
    assert world.run("ssh", "prod-web", "rm -rf /srv/data").returncode == 126
    offered = world.offer()
    state = world.stack.folder / "agent" / "state"
    secrets: dict[str, str] = {
        "access token": world.saved()["token"],
        "ticket": offered["ticket"],
        "the person's key": body((world.home() / "id_ed25519").read_text()),
        "the target's credential": body(world.stack.target.credential.read_text()),
    }
    for path in state.rglob("*"):
        # What was uploaded is removed from the spool meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_size < 100_000 and b"PRIVATE KEY" in path.read_bytes():
                secrets[f"agent's {path.name}"] = body(path.read_text(errors="replace"))
                assert path.stat().st_mode & 0o077 == 0, path
    assert len(secrets) >= 5, "the agent's own key was not found"
    places = {"agent.log": world.log(), "cloud.log": world.log("cloud")}
    for session in world.sessions()[:5]:
        places[f"recording of {session['sid']}"] = "\n".join(world.recorded(session["sid"]))
    for name, secret in secrets.items():
        for place, text in places.items():
            assert secret not in text, f"{name} in {place}"
    rows = repr(world.rows())
    for name, secret in secrets.items():
        assert secret not in rows, f"{name} in the table"


def body(key: str) -> str:
    """Return a telling piece of a private key's middle."""
    lines = [line for line in re.split(r"\s+", key) if len(line) > 40 and "PRIVATE" not in line]
    return lines[len(lines) // 2] if lines else key
