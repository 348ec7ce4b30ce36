"""An sftp channel in motion: random requests, cut and delayed anywhere on the way, against a file server that is played here."""

from __future__ import annotations

import asyncio
import os
import posixpath
import random
import struct
from collections.abc import Coroutine
from typing import Any
from weakref import WeakValueDictionary

import pytest

from agent.core.gate import Gate
from agent.core.policy import Decider, Yes
from agent.core.recording.jsonl import JsonlWriter
from agent.core.recording.transcript import Heading
from agent.core.units import Answered, Asked, Refused, Stream
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh import sftp_turns
from agent.protocols.ssh.files import FileRelay
from agent.protocols.ssh.sftp import SftpEngine
from agent.protocols.ssh.sftp_codec import Reader, Splitter, string
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import ALLOW_ALL, NOW_MS, FakeServing, make_approval, make_claims, make_policy
from tests.patience import HANG_S

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
        self.asked = asyncio.Event()
        self.agreed = asyncio.Event()
        """What others say yes to, in a session with these claims."""
        self.claims = make_claims()
        self.tasks: set[asyncio.Future[Any]] = set()

    def hold_client(self, held: bool) -> None:
        self.held = held

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[Any]:
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        return task

    async def answered(self, asked: Asked) -> Answered | Refused:
        self.asked.set()
        await self.agreed.wait()
        return Answered(asked, Yes(claims=make_approval(self.claims, asked.operation), approvers=("carol@example.com",)))

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


# -- two transfers of one person -------------------------------------------------------------------------------------------------

HOLD = (
    '@approval("group:dba") forbid(principal, action, resource) when { context.verbs.contains("put") } '
    'unless { context.approvals.contains("dba") };'
)
LOOK = codec.request(codec.OPEN, 1, string(b"/real/a"), struct.pack(">I", 1), NONE)
PUT = codec.request(codec.OPEN, 1, string(b"/real/a"), struct.pack(">I", 2), NONE)
MOVE = codec.request(codec.RENAME, 1, string(b"/real/b"), string(b"/real/a"))
LINK = codec.request(codec.SYMLINK, 1, string(b"b"), string(b"/real/a"))
POSIX = codec.request(codec.EXTENDED, 1, string(b"posix-rename@openssh.com"), string(b"/real/b"), string(b"/real/a"))
REMOVE = codec.request(codec.REMOVE, 1, string(b"/real/a"))


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_turns, "_all", WeakValueDictionary())


class Transfer:
    """One channel of ``person``, after its greeting. What its file server says waits until ``hear`` brings it."""

    def __init__(self, person: str = "ann") -> None:
        self.owner = owner = Owner()
        owner.claims = make_claims(sub=person)
        self.serving = serving = FakeServing(policy=make_policy(ALLOW_ALL, HOLD), claims=owner.claims)
        heading = Heading(sid=serving.claims.sid, target="web", principal="ann", login="deploy", channel=1, opened_ms=NOW_MS)
        transcript, decider = JsonlWriter(heading, protocol="sftp"), Decider(serving.claims, lambda: serving.policy)
        self.relay = FileRelay(serving, SftpEngine("ses_1"), lambda engine: Gate(decider, transcript, engine, asks=True), owner)
        self.relay.from_client(codec.packet(codec.INIT, struct.pack(">I", 3)))
        while owner.server.out:
            self.relay.from_target(owner.server.take(1000))
        owner.server.heard.clear()
        owner.shown = b""

    @property
    def kinds(self) -> list[int]:
        """The types of the requests that its file server got."""
        return [kind for kind, _, _ in self.owner.server.heard]

    async def ask(self, packet: bytes) -> None:
        """Send a request, and give it time to reach the file server if it may."""
        self.relay.from_client(packet)
        await rest()

    async def hear(self) -> None:
        """Hear what the file server has said so far."""
        self.relay.from_target(self.owner.server.take(10_000))
        await rest()


async def rest() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


ASKED = [codec.REALPATH]


@pytest.mark.parametrize("change", [MOVE, LINK, POSIX], ids=["rename", "symlink", "posix-rename"])
@pytest.mark.parametrize("use", [LOOK, REMOVE], ids=["open", "remove"])
async def test_no_name_changes_between_the_question_where_it_leads_and_its_use(use: bytes, change: bytes) -> None:
    looks, moves, stranger = Transfer(), Transfer(), Transfer("bob")
    await looks.ask(use)
    await moves.ask(change)
    await stranger.ask(change)
    assert (looks.kinds, moves.kinds) == (ASKED, [])
    assert stranger.kinds, "nobody waits for somebody else's transfer"
    await looks.hear()
    assert (looks.kinds, moves.kinds) == ([*ASKED, use[4]], []), "the target may not have done it yet"
    await looks.hear()
    assert moves.kinds == ASKED * 2
    await looks.ask(use[:5] + struct.pack(">I", 2) + use[9:])
    assert looks.kinds == [*ASKED, use[4]], "and not before the change is done"
    await moves.hear()
    assert moves.kinds == [*ASKED * 2, change[4]]
    assert looks.kinds == [*ASKED, use[4]]
    await moves.hear()
    assert looks.kinds == [*ASKED, use[4], *ASKED]


@pytest.mark.parametrize("first", [LOOK, MOVE])
async def test_a_transfer_that_ends_gives_its_turn_back(first: bytes) -> None:
    leaves, moves = Transfer(), Transfer()
    await leaves.ask(first)
    await moves.ask(MOVE)
    assert moves.kinds == []
    leaves.relay.finish(None)
    await rest()
    assert moves.kinds == ASKED * 2


async def test_who_is_denied_by_the_target_gives_the_turn_back_as_well() -> None:
    looks, moves = Transfer(), Transfer()
    await looks.ask(codec.request(codec.OPEN, 1, string(b"/none"), struct.pack(">I", 1), NONE))
    await moves.ask(MOVE)
    assert moves.kinds == []
    await looks.hear()
    assert moves.kinds == ASKED * 2


async def test_who_waits_for_people_has_no_turn_meanwhile() -> None:
    puts, moves = Transfer(), Transfer()
    await puts.ask(PUT)
    assert puts.owner.asked.is_set()
    await moves.ask(MOVE)
    assert (puts.kinds, moves.kinds) == ([], ASKED * 2)
    for task in puts.owner.tasks:
        task.cancel()


async def test_a_yes_whose_use_is_not_counted_gives_the_turn_back() -> None:
    puts, moves = Transfer(), Transfer()
    await puts.ask(PUT)
    puts.serving.approvals.no_use = Fault("approval_used", "It was used already.")
    puts.owner.agreed.set()
    await rest()
    assert b"(approval_used, ses_1)" in puts.owner.shown
    await moves.ask(MOVE)
    assert (puts.kinds, moves.kinds) == ([], ASKED * 2)


async def test_a_change_whose_turn_does_not_come_is_refused_and_the_next_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp_turns, "TURN_S", 0.01)
    looks, moves = Transfer(), Transfer()
    await looks.ask(LOOK)
    await moves.ask(MOVE)
    async with asyncio.timeout(HANG_S):
        await asyncio.gather(*moves.owner.tasks)
    assert moves.kinds == []
    assert b"(conflict, ses_1)" in moves.owner.shown
    await looks.hear()
    await looks.hear()
    await moves.ask(MOVE)
    assert moves.kinds == ASKED * 2
