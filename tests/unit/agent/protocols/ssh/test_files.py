"""An sftp channel in motion: random requests, cut and delayed anywhere on the way, against a file server that is played here."""

from __future__ import annotations

import asyncio
import os
import posixpath
import random
import struct
from collections.abc import Coroutine
from typing import Any

import pytest

from agent.core.gate import Gate
from agent.core.policy import Decider
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Answered, Asked, Refused, Stream
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.files import FileRelay
from agent.protocols.ssh.sftp import SftpEngine
from agent.protocols.ssh.sftp_codec import Reader, Splitter, string
from tests.fakes.agent_runtime import ALLOW_ALL, NOW_MS, FakeServing, make_policy

#: How many lives of a channel. ``FILES_FUZZ=20000`` takes a few minutes.
LIVES = int(os.environ.get("FILES_FUZZ", "120"))
CLOSED = 'forbid(principal, action, resource) when { context.text like "* /real/secret*" };'
PATHS = [b"/real/a", b"/link/a", b"/link/secret", b"/real/secret", b"/link/../real/secret", b"b", b"/none", b"/odd\xff"]
NONE = b"\0\0\0\0"


class FileServer:
    """Answers in order, at once. Everything under /link is under /real."""

    def __init__(self) -> None:
        self._from = Splitter()
        self.heard: list[tuple[int, int, bytes]] = []
        self.out = bytearray()
        self.ended = False
        self._handles = 0

    def feed(self, data: bytes) -> None:
        assert not self.ended, "requests behind the end"
        for packet in self._from.feed(data):
            reader = Reader(packet)
            if reader.type == codec.INIT:
                self.out += codec.version(3, [])
                continue
            number = reader.u32()
            self.heard.append((reader.type, number, packet[9:]))
            self.out += self._answer(reader, number)

    def take(self, size: int) -> bytes:
        """Return what it said, as far as the network brought it."""
        data = bytes(self.out[:size])
        del self.out[:size]
        return data

    def _answer(self, reader: Reader, number: int) -> bytes:
        if reader.type == codec.REALPATH:
            path = posixpath.normpath(posixpath.join(b"/real", reader.path().replace(b"/link", b"/real")))
            if path.startswith(b"/none"):
                return codec.status(number, codec.NO_SUCH_FILE, "none")
            return codec.request(codec.NAME, number, struct.pack(">I", 1), string(path), string(path), NONE)
        if reader.type == codec.OPEN:
            self._handles += 1
            return codec.request(codec.HANDLE, number, string(b"h%d" % self._handles))
        if reader.type == codec.READ:
            return codec.request(codec.DATA, number, string(b"data" * (number % 50)))
        return codec.status(number, codec.OK, "")


class Owner:
    """The channel of a relay."""

    def __init__(self) -> None:
        self.server = FileServer()
        self.held = False
        self.shown = b""
        self.tasks: set[asyncio.Future[Any]] = set()

    def hold_client(self, held: bool) -> None:
        self.held = held

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[Any]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        return task

    async def answered(self, asked: Asked) -> Answered | Refused:
        raise AssertionError("nobody is asked")

    def withdraw(self) -> bool:
        return False

    def send_target(self, data: bytes) -> None:
        self.server.feed(data)

    def send_target_eof(self) -> None:
        self.server.ended = True

    def to_client(self, data: bytes, stream: Stream) -> None:
        if stream == "out":
            self.shown += data


def request(dice: random.Random, number: int) -> bytes:
    """Make a random request. Handles are guessed; most guesses are wrong or early."""
    kind = dice.choice(
        [codec.OPEN, codec.STAT, codec.LSTAT, codec.OPENDIR, codec.RENAME, codec.READ, codec.CLOSE, codec.REMOVE, 99]
    )
    first, second = string(dice.choice(PATHS)), string(dice.choice(PATHS))
    handle = string(b"h%d" % dice.randrange(1, 6))
    bodies = {
        codec.OPEN: first + struct.pack(">I", dice.choice([1, 2, 10])) + NONE,
        codec.RENAME: first + second,
        codec.READ: handle + struct.pack(">QI", 0, 100),
        codec.CLOSE: handle,
        99: b"",
    }
    return codec.request(kind, number, bodies.get(kind, first))


async def live(dice: random.Random) -> tuple[Owner, int]:
    """Live through one channel. Returns what happened at its ends, and how many requests there were."""
    owner, serving = Owner(), FakeServing(policy=make_policy(ALLOW_ALL, CLOSED))
    heading = Heading(sid=serving.claims.sid, target="web", principal="ann", login="deploy", channel=1, opened_ms=NOW_MS)
    transcript, decider = JsonlWriter(heading, protocol="sftp"), Decider(serving.claims, lambda: serving.policy)
    relay = FileRelay(serving, SftpEngine("ses_1"), lambda engine: Gate(decider, transcript, engine, asks=True), owner)
    relay.from_client(codec.packet(codec.INIT, struct.pack(">I", 3)))
    while owner.server.out:
        relay.from_target(owner.server.take(1000))
    owner.server.heard.clear()
    count, at, left = dice.randrange(1, 25), 0, False
    stream = b"".join(request(dice, number) for number in range(1, count + 1))
    for _ in range(20_000):
        if at < len(stream):
            if not owner.held or dice.random() < 0.2:  # what was on its way when reading stopped
                piece = stream[at : at + dice.choice((1, 4, 5, 30, 200, 5000))]
                at += len(piece)
                relay.from_client(piece)
        elif not left:
            left = True
            relay.client_eof()
        elif owner.server.ended and not owner.server.out and all(task.done() for task in owner.tasks):
            for task in owner.tasks:
                task.result()
            return owner, count
        if owner.server.out and dice.random() < 0.5:
            relay.from_target(owner.server.take(dice.choice((1, 4, 9, 13, 100, 5000))))
        if dice.random() < 0.5:
            await asyncio.sleep(0)
    raise AssertionError("it hangs")


@pytest.mark.parametrize("part", range(3))
async def test_every_request_has_its_answer_and_its_place(part: int) -> None:
    denied = passed = 0
    for seed in range(part * LIVES // 3, (part + 1) * LIVES // 3):
        owner, count = await live(random.Random(seed))
        _, *answers = Splitter().feed(owner.shown)
        numbers = [Reader(answer).u32() for answer in answers]
        assert sorted(numbers) == list(range(1, count + 1)), (seed, "one answer for each, and none to the gateway's questions")
        forwarded = [(kind, number, body) for kind, number, body in owner.server.heard if number <= count]
        order = [number for _, number, _ in forwarded]
        assert order == sorted(order), (seed, "in the order of the client")
        for _, _, body in forwarded:
            assert b"/link" not in body, (seed, "links are followed before")
            assert b"secret" not in body, (seed, "and what is closed stays closed")
        denied += sum(
            int.from_bytes(each[9:13], "big") == codec.PERMISSION_DENIED and each[4] == codec.STATUS for each in answers
        )
        passed += len(forwarded)
    assert denied > LIVES
    assert passed > LIVES
