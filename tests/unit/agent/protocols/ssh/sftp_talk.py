"""Speaking to an SFTP engine: requests, answers, and what comes of them."""

from __future__ import annotations

import posixpath
import struct
from typing import Any

from agent.core.units import Asked, Housekeeping, Output, Remark, Side, Unit
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.sftp import SftpEngine

HOME = b"/home/deploy"


EXTENSIONS = [(b"posix-rename@openssh.com", b"1"), (b"limits@openssh.com", b"1"), (b"evil@example.com", b"1")]


NOTHING = b"\0\0\0\0"


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def string(data: bytes) -> bytes:
    return codec.string(data)


OWN = 0xFFFF_FFFF


def name(number: int, path: bytes) -> bytes:
    return codec.request(codec.NAME, number, u32(1), string(path), string(path), NOTHING)


def failure(number: int, code: int) -> bytes:
    return codec.request(codec.STATUS, number, u32(code), string(b"no"), string(b""))


class Talk:
    """An engine after its greeting, and ways to speak to it."""

    def __init__(self) -> None:
        self.engine = SftpEngine("ses_1")
        init = codec.packet(codec.INIT, u32(3), string(b"ext"), string(b""))
        assert self.engine.receive(Side.CLIENT, init) == [Housekeeping(Side.TARGET, codec.packet(codec.INIT, u32(3)))]
        (ask,) = self.engine.receive(Side.TARGET, codec.version(3, EXTENSIONS))
        assert ask == Housekeeping(Side.TARGET, codec.request(codec.REALPATH, 0xFFFF_FFFF, string(b".")))
        (self.hello,) = self.engine.receive(
            Side.TARGET, codec.request(codec.NAME, 0xFFFF_FFFF, u32(1), string(HOME), string(HOME), NOTHING)
        )
        self.number = 0

    def ask(self, kind: int, *parts: bytes) -> Unit:
        self.number += 1
        (unit,) = self.engine.receive(Side.CLIENT, codec.request(kind, self.number, *parts))
        return unit

    def answer(self, kind: int, *parts: bytes, number: int | None = None) -> list[Unit]:
        data = codec.request(kind, self.number if number is None else number, *parts)
        shown, *rest = self.engine.receive(Side.TARGET, data)
        assert shown == Output(data, recorded=False)
        return rest

    def lead(self, *found: bytes | int) -> list[Unit]:
        """Say where the paths of the last request lead, or why that is not to be had. No answer may be shown."""
        units: list[Unit] = []
        for at, each in enumerate(found):
            assert units == []
            units = self.engine.receive(Side.TARGET, name(OWN - at, each) if isinstance(each, bytes) else failure(OWN - at, each))
            assert not any(isinstance(unit, Output) for unit in units)
        return units

    def straight(self, asked: Unit) -> bytes:
        """Let every path of ``asked`` lead to itself. Returns what is forwarded then."""
        assert isinstance(asked, Asked)
        found = []
        for at, packet in enumerate(codec.Splitter().feed(asked.data)):
            reader = codec.Reader(packet)
            assert (reader.type, reader.u32()) == (codec.REALPATH, OWN - at)
            found.append(posixpath.normpath(posixpath.join(HOME, reader.path())))
        (unit,) = self.lead(*found)
        assert isinstance(unit, Housekeeping)
        assert unit.to is Side.TARGET
        return unit.data

    def open(self, path: bytes = b"/x", flags: int = codec.FLAG_READ, handle: bytes = b"h1") -> Asked:
        asked = self.ask(codec.OPEN, string(path), u32(flags), NOTHING)
        assert isinstance(asked, Asked)
        self.straight(asked)
        assert self.answer(codec.HANDLE, string(handle)) == []
        return asked

    def close(self, handle: bytes = b"h1") -> list[dict[str, Any]]:
        assert isinstance(self.ask(codec.CLOSE, string(handle)), Housekeeping)
        remarks = self.answer(codec.STATUS, u32(0), string(b""), string(b""))
        assert all(isinstance(remark, Remark) for remark in remarks)
        return [remark.entry for remark in remarks if isinstance(remark, Remark)]


R, W, A, C, T, X = 1, 2, 4, 8, 16, 32
