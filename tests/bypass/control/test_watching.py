"""People who want to look on or end sessions without a rule for it, and watchers who want more than to look.

Beside each: what must go on to work.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import asyncssh
import pytest
from websockets.exceptions import InvalidStatus

from agent.runtime.tunnel import Tunnel, bridge
from chalicelib.contracts import watching
from chalicelib.contracts.faults import Fault
from tests.bypass.world import World
from tests.integration.control.parties import Socket
from tests.patience import HANG_S, until

pytestmark = pytest.mark.servers

#: Steals the clipboard, asks the terminal for its name, sets a title, clears the scrollback.
HOSTILE = r"printf '\033]52;c;cm0gLXJm\007\033[c\033]0;owned\007\033[3J\033P+q544e\033\\ha%srmless\n' ''"


def code(answer: tuple[int, Any]) -> str:
    return str(answer[1]["error"]["code"])


class Shell:
    """A shell of alice's on prod-web."""

    def __init__(self, process: asyncssh.SSHClientProcess[str], sid: str) -> None:
        self.process, self.sid, self.said = process, sid, ""

    async def until(self, words: str) -> None:
        async with asyncio.timeout(HANG_S):
            while words not in self.said:
                data = await self.process.stdout.read(4096)
                assert data, f"ended before {words!r}: {self.said!r}"
                self.said += data


@asynccontextmanager
async def shell(world: World) -> AsyncIterator[Shell]:
    before = {each["sid"] for each in await asyncio.to_thread(world.sessions, state="live")}
    async with await world.connect() as conn:
        process = await conn.create_process(term_type="xterm", stderr=asyncssh.STDOUT)

        def live() -> set[str]:
            return {each["sid"] for each in world.sessions(state="live")} - before

        (sid,) = await asyncio.to_thread(until, live, "the session is live")
        found = Shell(process, sid)
        process.stdin.write("echo rea''dy\n")
        await found.until("ready")
        yield found


async def asked(world: World, verb: str, sid: str, who: str, **body: str) -> tuple[int, Any]:
    return await asyncio.to_thread(world.api, "POST", f"/sessions/{sid}/{verb}", body, who=who)


class Watcher:
    """A watcher without the command line: sees every message, and can say whatever it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.seen = ""

    async def next(self) -> watching.Sight | None:
        async with asyncio.timeout(HANG_S):
            line = await self.reader.readline()
        return watching.decode(line) if line else None

    async def until(self, words: str) -> None:
        while words not in self.seen:
            sight = await self.next()
            assert sight is not None, self.seen
            self.seen += getattr(sight, "lines", "")

    async def over(self) -> watching.Over:
        while (sight := await self.next()) is not None:
            if isinstance(sight, watching.Over):
                return sight
        raise AssertionError("it ended without a word")


@asynccontextmanager
async def looking(world: World, offer: dict[str, Any]) -> AsyncIterator[Watcher]:
    async def credentials(resume: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {offer['ticket']}", "X-Sallyport-Socket": "watch"}

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with Tunnel.connect(offer["url"], credentials, opening=offer["ticket"].encode()) as tunnel:
        reader, writer = await asyncio.open_connection(
            sock=await bridge(tunnel), ssl=context, server_hostname="x", limit=watching.WATCH_MESSAGE_LIMIT
        )
        try:
            yield Watcher(reader, writer)
        finally:
            writer.transport.abort()


async def presented_again(world: World, offer: dict[str, Any]) -> str:
    """Present a ticket that was used; return what that shows within five seconds."""
    seen = ""
    with contextlib.suppress(TimeoutError, OSError, Fault):
        async with asyncio.timeout(5), looking(world, offer) as again:
            await again.until("ready")
            seen = again.seen
    return seen


async def test_who_may_not_learns_nothing_and_leaves_nothing(world: World) -> None:
    async with shell(world) as alice:
        for who in ("mallory", "carol"):  # carol may replay, and that is another thing
            assert code(await asked(world, "watch", alice.sid, who)) in ("unknown_session", "denied")
            assert code(await asked(world, "kill", alice.sid, who, reason="x")) in ("unknown_session", "denied")
        assert code(await asked(world, "kill", alice.sid, "bob", reason="x")) == "denied", "who may watch may not end"
        assert code(await asked(world, "watch", alice.sid, "pat")) == "denied", "who may end may not watch"
        assert code(await asked(world, "watch", alice.sid, "alice")) == "denied"
        alice.process.stdin.write("echo still he''re\n")
        await alice.until("still here")
    assert "watching" not in alice.said


@pytest.mark.parametrize(
    "sid", ["ses_01JD8QZ6T3N0V9C4K2M7X5B1HR", "ses_", "..", "x' OR 1", "ses_%2e%2e", "wat_01JD8QZ6T3N0V9C4K2M7X5B1HR"]
)
def test_a_guessed_name_is_no_name(world: World, sid: str) -> None:
    for verb in ("watch", "kill"):
        status, answer = world.api("POST", f"/sessions/{sid.replace(' ', '%20')}/{verb}", {"reason": "x"}, who="bob")
        assert status in (403, 404), answer


async def test_a_watcher_looks_on_and_its_keys_end_that(world: World) -> None:
    async with shell(world) as alice:
        status, offer = await asked(world, "watch", alice.sid, "bob")
        assert status == 200, offer
        async with looking(world, offer) as bob:
            await bob.until("ready")
            await alice.until("bob@example.com is watching")
            alice.process.stdin.write("echo on''e\n")
            await bob.until("one")
            bob.writer.write(b"touch /tmp/typed-by-a-watcher\n")
            assert (await bob.over()).code == "protocol_error"
        await alice.until("stopped watching")
        alice.process.stdin.write("echo tw''o\n")
        await alice.until("two")
        assert "typed-by" not in alice.said


async def test_a_ticket_is_good_once_for_one_thing(world: World) -> None:
    async with shell(world) as alice:
        _, offer = await asked(world, "watch", alice.sid, "bob")
        async with looking(world, offer) as bob:
            await bob.until("ready")
            with pytest.raises(InvalidStatus) as session:
                await asyncio.to_thread(Socket, offer["url"], {"Authorization": f"Bearer {offer['ticket']}"})
            assert session.value.response.status_code == 401
        # The watch is over; its ticket is still in time, and the agent knows it.
        assert await presented_again(world, offer) == ""
        other = await asyncio.to_thread(world.offer)
        token = world.saved("bob")["token"]
        head, _, rest = offer["ticket"].partition(".")
        claims, _, signature = rest.partition(".")
        forged = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": "mallory@example.com"}
        body = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
        for text in (other["ticket"], token, f"{head}.{body}.{signature}", "x"):
            headers = {"Authorization": f"Bearer {text}", "X-Sallyport-Socket": "watch"}
            with pytest.raises(InvalidStatus) as refused:
                await asyncio.to_thread(Socket, offer["url"], headers)
            assert refused.value.response.status_code == 401, text


async def test_a_policy_that_takes_it_back_ends_a_watch_at_once(world: World) -> None:
    files = {path.name: path.read_text() for path in world.gateway.iterdir()}
    without = files["policies.cedar"].replace('@id("bob-looks-on")\npermit', '@id("bob-looks-on")\nforbid')
    assert without != files["policies.cedar"]
    try:
        async with shell(world) as alice:
            _, offer = await asked(world, "watch", alice.sid, "bob")
            async with looking(world, offer) as bob:
                await bob.until("ready")
                given = {"files": files | {"policies.cedar": without}}
                status, plan = await asyncio.to_thread(world.api, "POST", "/config/apply", given, who="pat")
                assert status == 200, plan
                assert (await bob.over()).code == "denied"
            assert code(await asked(world, "watch", alice.sid, "bob")) == "unknown_session"
            await alice.until("stopped watching")
            alice.process.stdin.write("echo mi''ne\n")
            await alice.until("mine")
    finally:
        await asyncio.to_thread(world.restore)


async def test_what_a_target_prints_does_nothing_to_a_watchers_terminal(world: World) -> None:
    async with shell(world) as alice:
        words = world.people["bob"].command(["sallyport", "watch", alice.sid])
        # script gives it a terminal, for only there escapes are of any use.
        process = await asyncio.create_subprocess_exec(
            "script", "-qec", " ".join(words), "/dev/null",
            env=world.people["bob"].environment | {"TERM": "xterm"},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        await alice.until("bob@example.com is watching")
        alice.process.stdin.write(HOSTILE + "\n")
        shown = b""
        async with asyncio.timeout(HANG_S):
            while b"harmless" not in shown:
                data = await process.stdout.read(4096)
                assert data, shown
                shown += data
        for escape in (b"\x1b]52", b"\x1b[c", b"\x1b]0", b"\x1b[3J", b"\x1bP"):
            assert escape not in shown
        # What is told of a line that has ended does not tear the picture.
        alice.process.stdin.write("echo o''ne\necho t''wo\n")
        async with asyncio.timeout(HANG_S):
            while b"two\r" not in shown:
                data = await process.stdout.read(4096)
                assert data, shown
                shown += data
        assert "── channel".encode() not in shown
        process.terminate()
        await process.communicate()
        await alice.until("\x1b]52")  # her own terminal gets what her target says


async def test_what_masking_takes_out_is_not_in_what_a_watcher_gets(world: World) -> None:
    async with shell(world) as alice:
        _, offer = await asked(world, "watch", alice.sid, "bob")
        async with looking(world, offer) as bob:
            alice.process.stdin.write("printf 'card 4111%s end%s\\n' 111111111111 ed\n")
            await bob.until(" ended")
            assert "4111111111111111" not in bob.seen
            # Keys are not recorded, so a watcher cannot see what is typed where nothing is echoed.
            alice.process.stdin.write("read -rsp 'se''cret? '; echo re''ad\n")
            await alice.until("secret? ")
            alice.process.stdin.write("hunter2\n")
            await bob.until("read\\r\\n")
            assert "hunter2" not in bob.seen


async def test_a_watcher_who_takes_nothing_costs_the_session_nothing(world: World) -> None:
    async with await world.connect("hostile", login="flood") as conn:
        process = await conn.create_process("flood", encoding=None)
        await process.stdout.readexactly(1 << 20)

        def alone() -> str:
            # What another test had there may still be on its way to its end.
            found = world.sessions(state="live", target="hostile")
            return str(found[0]["sid"]) if len(found) == 1 else ""

        sid = await asyncio.to_thread(until, alone, "one session is live")
        status, offer = await asked(world, "watch", sid, "bob")
        assert status == 200, offer
        async with looking(world, offer) as bob:
            assert isinstance(await bob.next(), watching.Begun)
            before = world.agent_rss()
            bob.reader._transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(HANG_S):
                await process.stdout.readexactly(24 << 20)
            assert world.agent_rss() - before < 48 << 20
            bob.reader._transport.resume_reading()  # type: ignore[attr-defined]
            while not isinstance(await bob.next(), watching.Behind):
                pass
            assert isinstance(await bob.next(), watching.Fresh)
        status, _ = await asked(world, "kill", sid, "pat", reason="enough")
        assert status == 200
        await process.wait()


async def test_an_order_to_end_is_good_for_one_session_however_often_it_is_sent(world: World) -> None:
    async with shell(world) as first, shell(world) as second:
        status, answer = await asked(world, "kill", first.sid, "pat", reason="once")
        assert (status, answer["reached"]) == (200, True)
        await first.until("pat@example.com ended this session: once")
        for _ in range(3):
            status, answer = await asked(world, "kill", first.sid, "pat", reason="again\x1b[2J")
            assert (status, answer["message"]) == (200, "pat@example.com ended this session: once")
        second.process.stdin.write("echo ali''ve\n")
        await second.until("alive")
        over = await world.over(first.sid)
        assert (over["state"], over["killed_by"]) == ("killed", "pat@example.com")
        status, _ = await asked(world, "kill", second.sid, "alice", reason="my own")
        assert status == 200
        await second.until("alice@example.com ended this session: my own")


def held(world: World, sid: str, last: str) -> list[dict[str, Any]]:
    """Return a session's events in their order once ``last`` is among them and the log holds them all; nothing before."""
    rows = world.rows()
    bodies = [json.loads(row["body"]["S"]) for row in rows if row["pk"]["S"].startswith("EVENT#")]
    found = sorted((each for each in bodies if each.get("sid") == sid), key=lambda each: str(each["id"]))
    logged = {row["pk"]["S"].removeprefix("LOGGED#") for row in rows if row["pk"]["S"].startswith("LOGGED#")}
    whole = any(each["type"] == last for each in found) and {each["id"] for each in found} <= logged
    return found if whole else []


async def test_every_look_and_every_order_is_an_event_that_the_log_holds(world: World) -> None:
    async with shell(world) as alice:
        _, offer = await asked(world, "watch", alice.sid, "bob")
        async with looking(world, offer) as bob:
            await bob.until("ready")
        await alice.until("stopped watching")
        # The agent says so to her at once, and to the control plane as soon as it can.
        await asyncio.to_thread(until, lambda: held(world, alice.sid, "watch.ended"), "it is reported")
        assert (await asked(world, "kill", alice.sid, "pat", reason="enough"))[0] == 200
        await alice.until("ended this session")
    await world.over(alice.sid)
    found = await asyncio.to_thread(
        until, lambda: held(world, alice.sid, "session.ended"), "the log holds every event up to the session's end"
    )
    told = [
        (each["type"], each["actor"]) for each in found if each["type"].startswith(("watch.", "session.kill", "session.ended"))
    ]
    assert told == [
        ("watch.allowed", "bob@example.com"),
        ("watch.began", "bob@example.com"),
        ("watch.ended", "bob@example.com"),
        ("session.kill_ordered", "pat@example.com"),
        ("session.ended", "agent:edge-1"),
    ]
    ended = next(each for each in found if each["type"] == "watch.ended")
    assert (ended["wid"], ended["owner"], ended["code"]) == (offer["wid"], "alice@example.com", "ok")
    assert ended["shown"] > 0
