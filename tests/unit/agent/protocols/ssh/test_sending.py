"""The short road for what is written: whatever is written and whenever the window opens, asyncssh would send the same packets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import asyncssh
import pytest
from asyncssh.channel import SSHChannel, SSHTunTapChannel
from asyncssh.constants import MSG_CHANNEL_DATA
from asyncssh.logging import logger
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh.sending import Sending, quicken_sending


class FakeConnection:
    """Keeps what a channel sends, each packet put together."""

    logger = logger

    def __init__(self) -> None:
        self.packets: list[tuple[int, bytes]] = []

    def add_channel(self, channel: object) -> int:
        return 7

    def send_packet(self, kind: int, *parts: bytes, handler: object = None) -> None:
        self.packets.append((kind, b"".join(parts)))

    def send_data(self, number: int, data: bytes, handler: object) -> None:
        self.send_packet(MSG_CHANNEL_DATA, number.to_bytes(4), len(data).to_bytes(4), data)


class FakeSession:
    """Counts how often it was paused and resumed."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def pause_writing(self) -> None:
        self.said.append("pause")

    def resume_writing(self) -> None:
        self.said.append("resume")


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def make(loop: asyncio.AbstractEventLoop, *, window: int, packet: int, encoding: str | None = None) -> Any:
    channel: Any = SSHChannel(cast(Any, FakeConnection()), loop, encoding, "strict", 2**21, 2**15)
    channel._session = FakeSession()
    channel._write_datatypes = {asyncssh.EXTENDED_DATA_STDERR}
    channel._send_chan, channel._send_window, channel._send_pktsize = 3, window, packet
    channel._send_state = "open"
    channel.set_write_buffer_limits(64)
    channel._session.said.clear()
    return channel


def quick(loop: asyncio.AbstractEventLoop, **sizes: Any) -> Any:
    channel = make(loop, **sizes)
    quicken_sending(channel)
    return channel


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.binary(max_size=200)),
        st.tuples(st.just("warn"), st.binary(max_size=200)),
        st.tuples(st.just("window"), st.integers(1, 300)),
        st.tuples(st.just("eof"), st.none()),
        st.tuples(st.just("close"), st.none()),
    ),
    max_size=20,
)


def play(channel: Any, steps: list[tuple[str, Any]]) -> tuple[object, ...]:
    refused = []
    for what, value in steps:
        try:
            if what == "write":
                channel.write(value)
            elif what == "warn":
                channel.write(value, asyncssh.EXTENDED_DATA_STDERR)
            elif what == "window":
                channel._send_window += value
                channel._flush_send_buf()
            elif what == "eof":
                channel.write_eof()
            else:
                channel.close()
        except OSError as error:
            refused.append(str(error))
    return channel._conn.packets, channel._session.said, refused, channel._send_state, channel.get_write_buffer_size()


@given(STEPS, st.integers(0, 300), st.integers(1, 100))
def test_it_sends_what_asyncssh_would(loop: asyncio.AbstractEventLoop, steps: list[Any], window: int, packet: int) -> None:
    sizes = {"window": window, "packet": packet}
    assert play(quick(loop, **sizes), steps) == play(make(loop, **sizes), steps)


def test_it_refuses_what_asyncssh_refuses(loop: asyncio.AbstractEventLoop) -> None:
    channel = quick(loop, window=100, packet=100)
    with pytest.raises(OSError, match="data type"):
        channel.write(b"x", 9)
    assert channel._conn.packets == []


def test_what_was_written_may_change_afterwards(loop: asyncio.AbstractEventLoop) -> None:
    channel, data = quick(loop, window=2, packet=100), bytearray(b"abcdef")
    channel.write(data)
    data[:] = b"------"
    channel._send_window += 100
    channel._flush_send_buf()
    assert [payload[8:] for _, payload in channel._conn.packets] == [b"ab", b"cdef"]


def test_a_channel_with_a_codec_keeps_it(loop: asyncio.AbstractEventLoop) -> None:
    channel = quick(loop, window=100, packet=100, encoding="utf-8")
    channel.write("é")
    assert channel._conn.packets[0][1][8:] == "é".encode()


def test_a_channel_that_sends_in_its_own_way_is_left_alone(loop: asyncio.AbstractEventLoop) -> None:
    channel: Any = SSHTunTapChannel(cast(Any, FakeConnection()), loop, None, "strict", 2**21, 2**15)
    quicken_sending(channel)
    assert not isinstance(channel, Sending)


def test_each_class_of_channels_stays_what_it_was(loop: asyncio.AbstractEventLoop) -> None:
    first, second = quick(loop, window=1, packet=1), quick(loop, window=1, packet=1)
    assert type(first) is type(second)
    assert isinstance(first, SSHChannel)
    quicken_sending(first)
    assert type(first) is type(second)
