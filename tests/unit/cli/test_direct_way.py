from __future__ import annotations

import os
import socket
import threading

import pytest

from chalicelib.contracts.faults import Fault
from cli.direct_way import dial, preamble, pump

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_the_session_is_named_first() -> None:
    with listening() as server:
        connection = dial(f"127.0.0.1:{server.getsockname()[1]}", SID, 10)
        assert connection is not None
        with connection, server.accept()[0] as peer:
            assert peer.recv(100) == preamble(SID) == f"SALLYPORT/1 {SID}\n".encode()


@pytest.mark.parametrize("address", ["", "nowhere", "127.0.0.1:", "127.0.0.1:99999", ":1", "no.such.host.invalid:22"])
def test_no_way(address: str) -> None:
    assert dial(address, SID) is None


def test_a_port_that_nobody_serves() -> None:
    with listening() as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    assert dial(address, SID) is None


def test_bytes_go_both_ways_and_ends_are_passed_on() -> None:
    ours, theirs = socket.socketpair()
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    upward, downward = os.urandom(3_000_000), os.urandom(3_000_000)

    def feed() -> None:
        with os.fdopen(stdin_write, "wb") as stream:
            stream.write(upward)

    def echo() -> None:
        got = b"".join(iter(lambda: theirs.recv(65536), b""))
        assert got == upward
        theirs.sendall(downward)
        theirs.close()

    def carry() -> None:
        pump(ours, stdin_read, stdout_write)
        os.close(stdout_write)

    threads = [threading.Thread(target=each) for each in (feed, echo, carry)]
    for thread in threads:
        thread.start()
    with os.fdopen(stdout_read, "rb") as stream:
        assert stream.read() == downward
    for thread in threads:
        thread.join(10)
    os.close(stdin_read)


def test_the_far_end_ends_it_while_stdin_is_open() -> None:
    ours, theirs = socket.socketpair()
    stdin_read, stdin_write = os.pipe()
    theirs.close()
    pump(ours, stdin_read, 1)
    os.close(stdin_write)


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    ours, theirs = socket.socketpair()
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    os.close(stdout_read)
    theirs.sendall(b"x")
    pump(ours, stdin_read, stdout_write)
    os.close(stdin_write)
    theirs.close()


def test_a_broken_connection_is_told() -> None:
    with listening() as server:
        connection = dial(f"127.0.0.1:{server.getsockname()[1]}", SID, 10)
        assert connection is not None
        peer = server.accept()[0]
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # close() sends RST
        peer.close()
        stdin_read, stdin_write = os.pipe()
        with pytest.raises(Fault, match="tunnel_lost"):
            pump(connection, stdin_read, 1)
        os.close(stdin_write)
