"""The example of docs/howto/add-a-protocol.md, running: a transcript through real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.core.units import Asked, Side
from agent.runtime.relay import Setting
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import FakeServing, make_claims, make_policy, make_target
from tests.unit.agent.protocols import echo_plugin
from tests.unit.agent.protocols.echo_plugin import PLUGIN, EchoEngine

FORBID = '@message("Not that word.") forbid(principal, action, resource) when { context.text like "*secret*" };'


@pytest.fixture
async def echo() -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_the_transcript(echo: str) -> None:
    target = make_target(protocol="echo", address=echo)
    serving = FakeServing(target=target, policy=make_policy("permit(principal, action, resource);", FORBID, target=target))
    ours, theirs = socket.socketpair()
    running = asyncio.ensure_future(PLUGIN.serve(theirs, serving))
    reader, writer = await asyncio.open_connection(sock=ours)
    for sent, received in [
        (b"hello\n", b"hello\n"),
        (b"the secret word\n", b"sallyport: Not that word. (denied)\n"),
        (b"bye\n", b"bye\n"),
    ]:
        writer.write(sent)
        assert await reader.readline() == received
    writer.close()
    assert (await running).code == "ok"
    heading, *lines = serving.recorder.lines(1, "jsonl")
    assert heading["protocol"] == "echo"
    assert [(line.get("verdict"), line["text"]) for line in lines] == [
        ("allowed", "hello"),
        (None, "hello\n"),
        ("denied", "the secret word"),
        (None, "sallyport: Not that word. (denied)\n"),
        ("allowed", "bye"),
        (None, "bye\n"),
    ]
    assert (serving.operations, serving.denied) == (3, 1)


def test_any_chunking_gives_the_same_units() -> None:
    setting = Setting(make_claims(), make_target())
    data = b"one\ntwo\n\nthree\n"
    whole = EchoEngine(setting).receive(Side.CLIENT, data)
    engine = EchoEngine(setting)
    assert [unit for byte in data for unit in engine.receive(Side.CLIENT, bytes([byte]))] == whole
    assert [unit.data for unit in whole if isinstance(unit, Asked)] == [b"one\n", b"two\n", b"\n", b"three\n"]


@pytest.mark.parametrize("garbage", [b"x" * 1001, b"\xff\n"])
def test_garbage_is_a_fault(garbage: bytes) -> None:
    with pytest.raises(Fault, match="protocol_error"):
        EchoEngine(Setting(make_claims(), make_target())).receive(Side.CLIENT, garbage)


def test_the_page_shows_this_very_file() -> None:
    page = (Path(__file__).parents[4] / "docs/howto/add-a-protocol.md").read_text()
    shown = page.split("```python\n")[1].split("```")[0]
    source = Path(echo_plugin.__file__).read_text().split('"""\n\n', 1)[1]
    assert shown == source
