"""SFTP packets: framing, bodies, and that nothing unbounded is kept."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.sftp_codec import PACKET_LIMIT, Attributes, Reader, Splitter
from chalicelib.contracts.faults import Fault

packets = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=10)


@given(packets, st.lists(st.integers(0, 600), max_size=20))
def test_any_chunking_gives_the_same_packets(parts: list[tuple[int, bytes]], cuts: list[int]) -> None:
    whole = [codec.packet(kind, body) for kind, body in parts]
    stream = b"".join(whole)
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = Splitter()
    assert [packet for a, b in pairwise(edges) for packet in splitter.feed(stream[a:b])] == whole
    assert not splitter._kept


def test_byte_by_byte() -> None:
    stream = codec.request(codec.CLOSE, 7, codec.string(b"h")) + codec.status(7, codec.OK, "fine")
    splitter = Splitter()
    assert b"".join(packet for byte in stream for packet in splitter.feed(bytes([byte]))) == stream


@pytest.mark.parametrize("size", [0, PACKET_LIMIT + 1, 0xFFFF_FFFF])
def test_an_impossible_length_is_refused_before_anything_is_kept_for_it(size: int) -> None:
    with pytest.raises(Fault, match="protocol_error"):
        list(Splitter().feed(struct.pack(">I", size)))


def test_the_packets_before_a_bad_one_are_given_out() -> None:
    good = codec.packet(codec.INIT, b"\0\0\0\3")
    packets_of = Splitter().feed(good + b"\xff\xff\xff\xff")
    assert next(packets_of) == good
    with pytest.raises(Fault):
        next(packets_of)


@given(st.binary(max_size=60))
def test_readers_end_in_a_value_or_in_valueerror(body: bytes) -> None:
    for method in ("u32", "u64", "string", "path", "view", "attributes", "string_size"):
        reader = Reader(codec.packet(1, body))
        with contextlib.suppress(ValueError):
            getattr(reader, method)()
            reader.end()
    with contextlib.suppress(ValueError):
        codec.read_version(codec.packet(2, body))


def test_attributes() -> None:
    every = struct.pack(">IQIIIII", 15, 5, 1000, 100, 0o100640, 111, 222)
    attributes = Reader(codec.packet(9, every)).attributes()
    assert attributes == Attributes(size=5, owner=(1000, 100), permissions=0o100640, times=(111, 222))
    assert str(attributes) == "size=5 owner=1000:100 mode=0640 mtime=222"
    assert Reader(codec.packet(9, b"\0\0\0\0")).attributes() == Attributes()


@pytest.mark.parametrize(
    "body",
    [struct.pack(">I", 0x8000_0000) + b"\0\0\0\0", struct.pack(">I", 16), struct.pack(">I", 1) + b"\0"],
)
def test_attributes_that_nobody_here_understands(body: bytes) -> None:
    with pytest.raises(ValueError):
        Reader(codec.packet(9, body)).attributes()


@pytest.mark.parametrize("path", [b"a\0b", b"x" * 4097])
def test_paths_that_are_refused(path: bytes) -> None:
    with pytest.raises(ValueError):
        Reader(codec.packet(17, codec.string(path))).path()


def test_versions() -> None:
    pairs = [(b"posix-rename@openssh.com", b"1"), (b"x", b"")]
    assert codec.read_version(codec.version(3, pairs)) == (3, pairs)
    with pytest.raises(ValueError):
        codec.read_version(codec.version(3, [(b"a", b"")] * 65))
