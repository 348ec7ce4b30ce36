"""Handing ssh a socket: what arrives is connected, nothing of ours stays in between, and nobody who cannot take one gets one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from chalicelib.contracts.faults import Fault
from cli import handing


def test_only_a_unix_socket_can_take_a_descriptor(tmp_path: Path) -> None:
    read, write = os.pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as tcp, (tmp_path / "file").open("w") as file:
        assert handing.can_receive(ours.fileno())
        assert not handing.can_receive(write)
        assert not handing.can_receive(tcp.fileno())
        assert not handing.can_receive(file.fileno())
        # Asking changes nothing.
        theirs.sendall(b"x")
        assert ours.recv(1) == b"x"
    os.close(read)
    os.close(write)


def test_the_connection_that_arrives_is_the_one_that_was_given() -> None:
    ours, ssh = socket.socketpair()
    connection, agent = socket.socketpair()
    with ours, ssh, agent:
        handing.hand(connection, ours.fileno())
        byte, descriptors, _, _ = socket.recv_fds(ssh, 16, 4)
        # OpenSSH reads exactly one byte beside the descriptor (monitor_fdpass.c).
        assert byte == b"\0"
        assert len(descriptors) == 1
        with socket.socket(fileno=descriptors[0]) as taken:
            taken.sendall(b"SSH-2.0-client")
            assert agent.recv(100) == b"SSH-2.0-client"
            agent.sendall(b"SSH-2.0-agent")
            assert taken.recv(100) == b"SSH-2.0-agent"
        # Nobody else holds the connection any more: its end is seen at once.
        assert agent.recv(1) == b""


def test_an_ssh_that_has_gone_is_told_in_words() -> None:
    ours, ssh = socket.socketpair()
    ssh.close()
    connection, agent = socket.socketpair()
    with ours, agent:
        with pytest.raises(Fault, match="did not take the connection"):
            handing.hand(connection, ours.fileno())
        assert agent.recv(1) == b"", "the connection is not left open"


def test_where_there_is_no_connection_ssh_gets_one_that_is_over() -> None:
    ours, ssh = socket.socketpair()
    with ours, ssh:
        handing.hang_up(ours.fileno())
        _, (descriptor,), _, _ = socket.recv_fds(ssh, 16, 4)
        with socket.socket(fileno=descriptor) as taken:
            assert taken.recv(1) == b""
            with pytest.raises(BrokenPipeError):
                taken.send(b"SSH-2.0-client")


def test_hanging_up_on_an_ssh_that_has_gone_says_nothing() -> None:
    ours, ssh = socket.socketpair()
    ssh.close()
    with ours:
        handing.hang_up(ours.fileno())
