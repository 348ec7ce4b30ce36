"""The relay and the performer: order, failing closed, and both sockets' ends."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.core.effects import Close, Count, Effect, Housekeep, Record, Repeat, Report, Show, ToClient, ToTarget
from agent.core.masking import Clean, Masker
from agent.core.policy import Decider, Permit, joined
from agent.core.units import Asked, Side
from agent.runtime import relay
from agent.runtime.relay import Ended, EnginePlugin, Performer, split_address
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Verdict
from tests.fakes.agent_runtime import NOW_MS, FakeDoor, FakeServing, make_claims, make_policy, make_target
from tests.unit.agent.protocols.echo_plugin import ANNOUNCEMENT, PLUGIN, EchoEngine

READ = Operation(kind="line", text="hello", effects=frozenset({"read"}))


class Stage:
    def __init__(self, happened: list[tuple[Any, ...]]) -> None:
        self.happened = happened

    def to_target(self, data: bytes) -> None:
        self.happened.append(("target", data))

    def to_client(self, data: bytes, stream: str) -> None:
        self.happened.append(("client", data, stream))


def permitted(operation: Operation = READ) -> ToTarget:
    decision = Decider(make_claims(), make_policy).decide(operation, NOW_MS)
    assert decision.permit is not None
    return ToTarget(Asked(operation, operation.text.encode()), decision.permit)


async def test_effects_are_performed_in_their_order() -> None:
    serving = FakeServing()
    stage = Stage(serving.happened)
    effects: list[Effect] = [
        Count(operations=1),
        Record(1, "jsonl", b"one\n", durable=True),
        permitted(),
        Record(1, "jsonl", b"two\n"),
        ToClient(Masker().mask(b"shown"), "err"),
        Housekeep(Side.CLIENT, b"sync"),
        Housekeep(Side.TARGET, b"flush"),
        Report(READ, Verdict("deny")),
    ]
    await Performer(serving, stage).perform(effects)
    assert serving.happened == [
        ("record", 1, "jsonl"),
        ("target", b"hello"),
        ("output", 1, "jsonl"),
        ("client", b"shown", "err"),
        ("client", b"sync", "out"),
        ("target", b"flush"),
        ("denied", "hello"),
    ]
    assert serving.operations == 1


async def test_what_cannot_be_recorded_is_not_forwarded() -> None:
    serving = FakeServing()
    serving.recorder.failing = True
    with pytest.raises(Fault, match="recording_failed"):
        await Performer(serving, Stage(serving.happened)).perform([Record(1, "jsonl", b"one\n", durable=True), permitted()])
    assert serving.happened == []


async def test_nothing_is_forwarded_before_the_disk_has_it() -> None:
    serving = FakeServing()
    serving.recorder.gate = asyncio.Event()
    performer = Performer(serving, Stage(serving.happened))
    effects: list[Effect] = [Record(1, "jsonl", b"one\n", durable=True), permitted()]
    assert performer.perform_now(effects) == effects
    running = asyncio.ensure_future(performer.perform(effects))
    for _ in range(10):
        await asyncio.sleep(0)
    assert serving.happened == []
    serving.recorder.gate.set()
    await running
    assert serving.happened == [("record", 1, "jsonl"), ("target", b"hello")]


def repeated() -> Repeat:
    asked = permitted()
    data = asked.asked.data
    return Repeat(1, "jsonl", b"one\n", joined([(asked.permit, asked.asked.operation)], data))


async def test_what_is_repeated_waits_for_the_disk() -> None:
    serving = FakeServing()
    serving.recorder.gate = asyncio.Event()
    over = asyncio.Event()

    def again(data: bytes, error: Exception | None) -> None:
        serving.happened.append(("target", data))
        over.set()

    Performer(serving, Stage(serving.happened)).repeat(repeated(), again)
    for _ in range(10):
        await asyncio.sleep(0)
    assert serving.happened == []
    assert serving.operations == 0
    serving.recorder.gate.set()
    await over.wait()
    assert serving.happened == [("record", 1, "jsonl"), ("target", b"hello")]
    assert serving.operations == 1


async def test_what_is_repeated_and_cannot_be_recorded_is_not_forwarded() -> None:
    serving = FakeServing()
    serving.recorder.failing = True
    told: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
    sent = []

    def again(data: bytes, error: Exception | None) -> None:
        sent.append(data)
        told.set_result(error)

    Performer(serving, Stage(serving.happened)).repeat(repeated(), again)
    assert isinstance(await told, Fault)
    assert sent == [b""]
    assert serving.happened == []
    assert serving.operations == 0


@pytest.mark.parametrize("forged", [object.__new__(Permit), permitted().permit, object(), b"hello", None])
async def test_what_no_permit_holds_is_neither_recorded_nor_forwarded(forged: Any) -> None:
    serving = FakeServing()
    told: list[tuple[bytes, Exception | None]] = []
    Performer(serving, Stage(serving.happened)).repeat(
        Repeat(1, "jsonl", b"one\n", forged), lambda data, error: told.append((data, error))
    )
    ((data, error),) = told
    assert data == b""
    assert isinstance(error, PermissionError)
    assert serving.happened == []
    assert serving.operations == 0


class Dirty:
    """Looks like clean bytes."""

    genuine = True
    data = _data = b"secret"
    _seal = True


@pytest.mark.parametrize("forged", [object.__new__(Clean), Dirty(), b"secret", None])
async def test_what_masking_has_not_seen_is_neither_recorded_nor_shown(forged: Any) -> None:
    serving = FakeServing()
    with pytest.raises(PermissionError):
        Performer(serving, Stage(serving.happened)).show(Show(1, "jsonl", b"one\n", forged))
    assert serving.happened == []


async def test_an_answer_is_recorded_and_shown() -> None:
    serving = FakeServing()
    Performer(serving, Stage(serving.happened)).show(Show(1, "jsonl", b"one\n", Masker().mask(b"shown")))
    assert serving.happened == [("output", 1, "jsonl"), ("client", b"shown", "out")]


async def test_nothing_follows_a_close() -> None:
    serving = FakeServing()
    with pytest.raises(Ended) as ended:
        await Performer(serving, Stage(serving.happened)).perform([Close(Notice("session_ended", "Over.")), permitted()])
    assert ended.value.notice.code == "session_ended"
    assert serving.happened == []


class Client:
    """A person's side of the plug-in, before a target that repeats what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.spoken_to = asyncio.Event()

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._target, "127.0.0.1", 0)
        target = make_target(protocol="echo", address=f"127.0.0.1:{self.server.sockets[0].getsockname()[1]}")
        self.serving = FakeServing(target=target)

    async def _target(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.heard.append(data)
            self.spoken_to.set()
            writer.write(data)
        writer.write(b"goodbye\n")
        writer.close()

    async def connect(self) -> None:
        ours, theirs = socket.socketpair()
        self.running = asyncio.ensure_future(PLUGIN.serve(theirs, self.serving))
        self.reader, self.writer = await asyncio.open_connection(sock=ours)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    one = Client()
    await one.start()
    await one.connect()
    yield one
    one.writer.close()
    one.running.cancel()
    one.server.close()


async def test_the_clients_end_still_hears_the_answer(client: Client) -> None:
    client.writer.write(b"hello\n")
    client.writer.write_eof()
    assert await client.reader.read() == b"hello\ngoodbye\n"
    assert (await client.running).code == "ok"


async def test_a_recording_that_fails_ends_the_session_and_the_target_hears_nothing(client: Client) -> None:
    client.serving.recorder.failing = True
    client.writer.write(b"hello\n")
    assert await client.reader.read() == b""
    assert (await client.running).code == "recording_failed"
    assert client.heard == []


async def test_an_ended_session_closes(client: Client) -> None:
    client.writer.write(b"hello\n")
    assert await client.reader.readline() == b"hello\n"
    client.serving.ended.set_result(Notice("session_killed", "Ended."))
    assert await client.reader.read() == b""
    assert (await client.running).code == "session_killed"


async def test_garbage_ends_the_session_as_the_clients_fault(client: Client) -> None:
    client.writer.write(b"\xff\n")
    assert await client.reader.read() == b""
    assert (await client.running).code == "protocol_error"


async def test_a_recording_that_cannot_keep_up_stops_the_target(client: Client) -> None:
    client.serving.recorder.full = True
    client.writer.write(b"one\n")
    reading = asyncio.ensure_future(client.reader.readline())
    await client.spoken_to.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not reading.done()
    assert ("output", 1, "jsonl") not in client.serving.happened
    client.serving.recorder.full = False
    client.serving.recorder.relief.set()
    assert await reading == b"one\n"


async def test_a_target_that_is_down() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        serving = FakeServing(target=make_target(address=f"127.0.0.1:{nobody.getsockname()[1]}"))
        ours, theirs = socket.socketpair()
        with ours:
            notice = await PLUGIN.serve(theirs, serving)
    assert notice.code == "target_unreachable"
    assert serving.target_notices == [notice]


async def test_a_target_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(relay, "HANDSHAKE_S", 0.01)
    monkeypatch.setattr(asyncio, "open_connection", never)
    with pytest.raises(Fault, match="target_timeout"):
        await relay.dial(FakeServing())


async def test_a_native_client_is_not_served() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        await EnginePlugin(ANNOUNCEMENT, EchoEngine).accept(theirs, "192.0.2.1", "", FakeDoor(None))
        assert ours.recv(1) == b""


@pytest.mark.parametrize(
    ("address", "parts"), [("web:22", ("web", 22)), ("[::1]:5432", ("::1", 5432)), ("192.0.2.1:80", ("192.0.2.1", 80))]
)
def test_addresses(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["web", "web:", ":", "web:ssh", "web:²", ""])
def test_addresses_without_a_port(address: str) -> None:
    with pytest.raises(Fault, match="target_unreachable"):
        split_address(address)
