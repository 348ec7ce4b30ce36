"""Looking on: what a watcher gets, what a slow one loses, and what whoever works there is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agent.runtime.watching import WAITING_BYTES, WATCHERS, Audience, Tapped, Watch
from chalicelib.contracts import watching
from chalicelib.contracts.capability import WatchClaims
from chalicelib.contracts.faults import Fault, Notice
from tests.fakes.agent_runtime import NOW_MS, SID, FakeRecorder
from tests.patience import HANG_S

HEADING = b'{"version":3}\n'


def claims(sub: str = "bob@example.com") -> WatchClaims:
    return WatchClaims(
        iss="https://gw", aud="agt", wid="wat_" + "0" * 26, sid=SID, sub=sub, iat=0, exp=60, deadline_ms=NOW_MS + 60_000
    )


class Line:
    """One watcher's end: what was written, and a plug that stops it from taking more."""

    def __init__(self) -> None:
        self.sights: list[watching.Sight] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self.says: asyncio.Queue[bytes] = asyncio.Queue()
        self.broken = False
        self.news = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.sights.append(watching.decode(data))
        self.news.set()

    async def drain(self) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise ConnectionResetError
        await self.takes.wait()

    async def read(self, n: int) -> bytes:
        return await self.says.get()

    async def until(self, found: Any) -> None:
        async with asyncio.timeout(HANG_S):
            while not found():
                self.news.clear()
                await self.news.wait()

    def text(self) -> str:
        return "".join(sight.lines for sight in self.sights if isinstance(sight, watching.Fresh | watching.Seen))


def shown(text: str) -> bytes:
    return b'[0.0,"o","%b"]\n' % text.encode()


class Scene:
    """An audience with one channel, and one watcher."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.audience = Audience(self.said.append)
        self.line = Line()

    def begin(self, sub: str = "bob@example.com", seconds: float = 60.0) -> tuple[Watch, asyncio.Task[Notice]]:
        watch = self.audience.enter(claims(sub), "ticket")
        return watch, asyncio.create_task(watch.run(self.line, self.line, seconds))


async def test_a_watcher_sees_what_was_there_and_what_comes() -> None:
    scene = Scene()
    scene.audience.seen(1, "cast", HEADING + shown("before"))
    watch, running = scene.begin()
    await scene.line.until(lambda: "before" in scene.line.text())
    scene.audience.seen(1, "cast", shown("after"))
    scene.audience.seen(2, "jsonl", b'{"format":"x"}\n')
    await scene.line.until(lambda: len(scene.line.sights) == 3)
    fresh, seen, second = scene.line.sights
    assert isinstance(fresh, watching.Fresh)
    assert fresh.lines == (HEADING + shown("before")).decode()
    assert seen == watching.Seen(channel=1, kind="cast", lines=shown("after").decode())
    assert isinstance(second, watching.Seen)
    assert second.channel == 2
    scene.audience.close(Notice("ok", "The session has ended."))
    assert (await running).code == "ok"
    await watch.last_words(scene.line, 5)
    assert scene.line.sights[-1] == watching.Over(code="ok", message="The session has ended.")
    assert watch.shown == len(scene.line.text())


async def test_what_waits_is_still_shown_when_the_session_ends() -> None:
    scene = Scene()
    watch, running = scene.begin()
    scene.audience.seen(1, "cast", HEADING + shown("a"))
    await scene.line.until(lambda: "a" in scene.line.text())
    scene.audience.seen(1, "cast", shown("the end"))
    scene.audience.close(Notice("session_killed", "bob ended it"))
    await running
    await watch.last_words(scene.line, 5)
    assert "the end" in scene.line.text()


async def test_originals_are_for_nobody() -> None:
    scene = Scene()
    watch, running = scene.begin()
    scene.audience.seen(0, "sealed", b"secret\n")
    scene.audience.seen(1, "cast", HEADING + shown("x"))
    await scene.line.until(lambda: "x" in scene.line.text())
    assert "secret" not in scene.line.text()
    watch.end(Notice("ok", ""))
    await running


async def test_a_slow_watcher_holds_nobody_up_and_is_shown_everything_anew() -> None:
    scene = Scene()
    scene.audience.seen(1, "cast", HEADING + shown("first"))
    watch, running = scene.begin()
    scene.line.takes.clear()
    await scene.line.until(lambda: "first" in scene.line.text())
    count, piece = 0, shown("y" * 1000)
    while count * len(piece) < 3 * WAITING_BYTES:
        scene.audience.seen(1, "cast", piece)
        count += 1
        assert watch._size <= WAITING_BYTES + len(piece)
    scene.audience.seen(1, "cast", shown("last"))
    assert len(scene.line.sights) == 1, "nothing is written to who takes nothing"
    scene.line.takes.set()
    await scene.line.until(lambda: "last" in scene.line.text())
    assert isinstance(scene.line.sights[1], watching.Behind)
    assert isinstance(scene.line.sights[2], watching.Fresh)
    assert len(scene.line.sights) == 3
    scene.audience.seen(1, "cast", shown("and on"))
    await scene.line.until(lambda: "and on" in scene.line.text())
    watch.end(Notice("ok", ""))
    await running


async def test_keys_of_a_watcher_end_the_watch() -> None:
    scene = Scene()
    _, running = scene.begin()
    scene.line.says.put_nowait(b"r")
    assert (await running).code == "protocol_error"


@pytest.mark.parametrize("how", ["leaves", "breaks"])
async def test_who_leaves_is_gone(how: str) -> None:
    scene = Scene()
    watch, running = scene.begin()
    if how == "leaves":
        scene.line.says.put_nowait(b"")
    else:
        scene.line.broken = True
        scene.audience.seen(1, "cast", HEADING)
    assert (await running) == Notice("ok", "The watcher left.")
    scene.audience.leave(watch)
    assert scene.audience.names() == []


async def test_a_watch_ends_by_the_clock() -> None:
    scene = Scene()
    _, running = scene.begin(seconds=0.0)
    assert (await running).code == "session_ended"


async def test_whoever_works_there_is_told_each_name_once_and_not_after_the_end() -> None:
    scene = Scene()
    first, second = scene.audience.enter(claims(), "a"), scene.audience.enter(claims("eve"), "b")
    again = scene.audience.enter(claims(), "c")
    assert scene.audience.names() == ["bob@example.com", "eve"]
    scene.audience.leave(first)
    scene.audience.leave(second)
    assert scene.said == [
        "bob@example.com is watching this session.",
        "eve is watching this session.",
        "bob@example.com is watching this session.",
        "eve stopped watching this session.",
    ]
    scene.audience.close(Notice("ok", ""))
    scene.audience.leave(again)
    assert len(scene.said) == 4
    async with asyncio.timeout(HANG_S):
        await scene.audience.emptied()


async def test_a_session_that_is_over_or_full_lets_nobody_in() -> None:
    scene = Scene()
    for number in range(WATCHERS):
        scene.audience.enter(claims(f"w{number}"), "t")
    with pytest.raises(Fault) as full:
        scene.audience.enter(claims(), "t")
    assert full.value.code == "too_many"
    scene.audience.close(Notice("ok", ""))
    with pytest.raises(Fault) as over:
        scene.audience.enter(claims(), "t")
    assert over.value.code == "session_ended"


async def test_a_policy_that_takes_it_back_ends_it() -> None:
    scene = Scene()
    _, bob = scene.begin()
    eve = scene.audience.enter(claims("eve"), "t")
    scene.audience.recheck(lambda claims: Notice("denied", "No more.") if claims.sub != "eve" else None)
    assert (await bob) == Notice("denied", "No more.")
    assert not eve.over.done()


async def test_channels_that_nobody_remembers_are_the_oldest_but_the_first() -> None:
    scene = Scene()
    for channel in range(1, 40):
        scene.audience.seen(channel, "cast", HEADING)
    kept = [fresh.channel for fresh in scene.audience._repaint()]
    assert kept == [1, *range(33, 40)]


async def test_the_recorder_gets_what_the_audience_gets_in_the_same_order() -> None:
    happened: list[tuple[Any, ...]] = []
    recorder, heard = FakeRecorder(happened), []
    tapped = Tapped(recorder, lambda channel, kind, lines: heard.append((channel, kind, lines)))
    done: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()
    await tapped.write(1, "cast", b"a\n", durable=True)
    tapped.write_then(1, "cast", b"b\n", done.set_result)
    tapped.write_soon(2, "jsonl", b"c\n")
    assert await done is None
    assert heard == [(1, "cast", b"a\n"), (1, "cast", b"b\n"), (2, "jsonl", b"c\n")]
    assert recorder.written == {(1, "cast"): b"a\nb\n", (2, "jsonl"): b"c\n"}
    assert not tapped.pressure()
    recorder.relief.set()
    await tapped.relieved()
