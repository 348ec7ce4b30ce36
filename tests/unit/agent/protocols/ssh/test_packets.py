"""What the short road leans on: AES-GCM as asyncssh speaks it, and asyncssh's own code as it was when it was read."""

from __future__ import annotations

import hashlib
import inspect

import asyncssh
import pytest
from asyncssh.channel import SSHChannel
from asyncssh.connection import SSHConnection
from asyncssh.crypto.cipher import GCMCipher
from asyncssh.encryption import GCMEncryption
from asyncssh.misc import MACError
from hypothesis import given
from hypothesis import strategies as st

from agent.protocols.ssh.packets import Gcm, known

#: What was read, and a hash over it. Where this fails, asyncssh changed: read these again beside ``packets.py``, let the tests of
#: integration/ssh/test_packets.py agree, and only then write the new hash here and the new version into ``packets.READ``.
LEANT_ON = (
    SSHConnection._recv_data,
    SSHConnection._reset_keepalive_timer,
    SSHConnection._set_keepalive_timer,
    SSHConnection._keepalive_timer_callback,
    SSHConnection._recv_pkthdr,
    SSHConnection._recv_packet,
    SSHConnection._finish_recv_packet,
    SSHConnection._send,
    SSHConnection.data_received,
    SSHConnection.send_packet,
    SSHConnection._send_deferred_packets,
    SSHConnection._force_close,
    SSHConnection._cleanup,
    SSHChannel.write,
    SSHChannel.send_packet,
    SSHChannel._pause_resume_writing,
    SSHChannel._accept_data,
    SSHChannel._deliver_data,
    SSHChannel._process_data,
    SSHChannel._process_window_adjust,
    SSHChannel._flush_send_buf,
    SSHChannel._process_close,
    SSHChannel._close_send,
    SSHChannel._flush_recv_buf,
    GCMCipher,
    GCMEncryption,
)
HASH = "2a12c694f4d0f4698c7e83bc6d84b02a451318c88260ea3cf903cc630411db94"


def test_asyncssh_is_the_one_that_was_read() -> None:
    assert known(), asyncssh.__version__
    sources = "".join(inspect.getsource(each) for each in LEANT_ON)
    assert hashlib.sha256(sources.encode()).hexdigest() == HASH


def stock(count: int) -> GCMEncryption:
    return GCMEncryption.new("aes128-gcm", b"k" * 16, b"iv__" + count.to_bytes(8, "big"))


PACKETS = st.lists(st.binary(min_size=16, max_size=200), min_size=1, max_size=5)
COUNTS = st.integers(0, 2**64 - 1) | st.just(2**64 - 1)


@given(PACKETS, COUNTS)
def test_it_seals_as_asyncssh_does(packets: list[bytes], count: int) -> None:
    ours, theirs = Gcm(stock(count)), stock(count)
    for packet in packets:
        header = len(packet).to_bytes(4, "big")
        sealed, mac = theirs.encrypt_packet(0, header, packet)
        assert header + ours.seal(header, packet) == sealed + mac


@given(PACKETS, COUNTS)
def test_it_opens_what_asyncssh_sealed_by_either_way(packets: list[bytes], count: int) -> None:
    ours, theirs = Gcm(stock(count)), stock(count)
    for number, packet in enumerate(packets):
        header = len(packet).to_bytes(4, "big")
        sealed, mac = theirs.encrypt_packet(0, header, packet)
        if number % 2:
            assert ours.open(header, memoryview(sealed + mac)[4:]) == packet
        else:
            assert ours.decrypt_packet(0, sealed[:16], sealed[16:], 4, mac) == packet


@given(st.binary(min_size=16, max_size=64), st.integers(0, 10_000), st.integers(1, 255))
def test_nothing_that_was_touched_opens(packet: bytes, at: int, flip: int) -> None:
    header = len(packet).to_bytes(4, "big")
    sealed = bytearray(header + Gcm(stock(1)).seal(header, packet))
    sealed[at % len(sealed)] ^= flip
    with pytest.raises(MACError):
        Gcm(stock(1)).open(bytes(sealed[:4]), bytes(sealed[4:]))


def test_what_was_opened_ahead_is_handed_over_once() -> None:
    packet, header = b"p" * 16, (16).to_bytes(4, "big")
    sealed, mac = stock(1).encrypt_packet(0, header, packet)
    gcm = Gcm(stock(1))
    gcm.opened = gcm.open(header, sealed[4:] + mac)
    assert gcm.decrypt_packet(0, sealed[:16], sealed[16:], 4, mac) == packet
    with pytest.raises(MACError):
        gcm.decrypt_packet(0, sealed[:16], sealed[16:], 4, mac)


@given(PACKETS, COUNTS)
def test_what_is_looked_at_is_not_taken_yet(packets: list[bytes], count: int) -> None:
    ours, theirs = Gcm(stock(count)), stock(count)
    for packet in packets:
        sealed, mac = theirs.encrypt_packet(0, len(packet).to_bytes(4, "big"), packet)
        whole, before = sealed + mac, ours.taken
        assert ours.look(whole[:-1] + bytes([whole[-1] ^ 1])) is None
        assert ours.look(whole) == ours.look(whole) == packet
        assert ours.taken == before
        ours.passed(len(whole))
        assert ours.look(whole) is None
        assert ours.taken == before + len(whole)
