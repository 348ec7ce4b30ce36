"""The SFTP engine: reads both directions of an sftp channel, with the target's own file server behind it. Pure.

Requests that name a path are operations, decided one by one. Requests on a handle are part of the operation that opened it, and
pass if they do what it was opened for. Everything permitted is forwarded byte for byte, so that pipelining, attributes and
extensions work as without a gateway. Packets and extensions without a meaning here are refused.

Answers pass as they come and are only watched: for the handles that the target gives out, and for the bytes of files.
"""

from __future__ import annotations

from typing import Final

from agent.core.policy import Decision
from agent.core.units import Asked, Housekeeping, Output, Refused, Remark, Side, Unit
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh import sftp_operations as operations
from agent.protocols.ssh.denial import plain
from agent.protocols.ssh.sftp_codec import Reader, Splitter
from agent.protocols.ssh.sftp_files import OpenFile
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import UNKNOWN, Operation

#: Requests without an answer yet, and open handles. OpenSSH's clients keep 64 and a handful.
PENDING_LIMIT: Final = 16_384
HANDLES_LIMIT: Final = 4_096
#: Denials that are put into words on standard error (clients print only "Permission denied"); the transcript has all.
WORDS_LIMIT: Final = 20

#: How the client is told that the gateway itself refuses; everything else is a denial.
_STATUS: Final = {"protocol_error": codec.BAD_MESSAGE, "not_supported": codec.OP_UNSUPPORTED}

#: The number of the one request that the gateway itself makes, before the client may make any.
_OWN: Final = 0xFFFF_FFFF


class _Pending:
    """A request on its way: what its answer will mean."""

    __slots__ = ("file", "kind", "offset")

    def __init__(self, kind: int, file: OpenFile | None = None, offset: int = 0) -> None:
        self.kind = kind
        self.file = file
        self.offset = offset


class SftpEngine:
    """One sftp channel."""

    def __init__(self, sid: str) -> None:
        self._sid = sid
        self._from = {Side.CLIENT: Splitter(), Side.TARGET: Splitter()}
        self._paths = operations.Paths()
        self._phase = "init"
        self._extensions: list[tuple[bytes, bytes]] = []
        self._pending: dict[int, _Pending] = {}
        self._handles: dict[bytes, OpenFile] = {}
        self._words: list[str] = []
        self._said = 0

    def receive(self, side: Side, data: bytes) -> list[Unit]:
        """Return the units in ``data``. Empty data ends the channel. Raises Fault(protocol_error)."""
        if not data:
            return self._finish()
        if side is Side.CLIENT:
            return [unit for packet in self._from[side].feed(data) for unit in self._request(packet)]
        units: list[Unit] = []
        if self._phase == "ready":
            units.append(Output(data, recorded=False))
        for packet in self._from[side].feed(data):
            units += self._answer(packet)
        return units

    def deny(self, asked: Asked | Refused, decision: Decision) -> bytes:
        """Return a STATUS answer with the policy's words. They are also kept for :meth:`take_words`."""
        self._pending.pop(asked.tag, None)
        if self._said < WORDS_LIMIT:
            self._said += 1
            self._words.append(f"{asked.operation.text}: {decision.message} ({decision.code}, {self._sid})")
        code = _STATUS.get(asked.code, codec.PERMISSION_DENIED) if isinstance(asked, Refused) else codec.PERMISSION_DENIED
        return codec.status(asked.tag, code, plain(f"sallyport: {decision.message} ({decision.code}, {self._sid})"))

    def take_words(self) -> list[str]:
        """Return what should be said on standard error since the last call."""
        words, self._words = self._words, []
        return words

    def _finish(self) -> list[Unit]:
        left = [Remark(entry) for file in self._handles.values() for entry in file.entries(closed=False)]
        self._handles.clear()
        return [*left]

    # -- requests ------------------------------------------------------------------------------------------------------------

    def _request(self, packet: bytes) -> list[Unit]:
        reader = Reader(packet)
        if self._phase != "ready":
            return self._hello(reader, packet)
        try:
            number = reader.u32()
        except ValueError:
            raise Fault("protocol_error", "The file transfer sent a request without a number.") from None
        if number in self._pending:
            # Two requests under one number would make the transcript name the wrong file.
            raise Fault("protocol_error", "The file transfer used a request number twice.")
        if len(self._pending) >= PENDING_LIMIT:
            raise Fault("protocol_error", "The file transfer has too many requests on the way.")
        try:
            return [self._meaning(reader, packet, number)]
        except ValueError as error:
            operation = Operation(
                action="transfer", kind="sftp.malformed", text=f"request of type {reader.type}", effects=frozenset({UNKNOWN})
            )
            return [Refused(operation, "protocol_error", f"The request cannot be read: {error}.", number)]

    def _hello(self, reader: Reader, packet: bytes) -> list[Unit]:
        if self._phase != "init" or reader.type != codec.INIT:
            raise Fault("protocol_error", "The file transfer did not begin with its version.")
        try:
            number, _ = codec.read_version(packet)
        except ValueError:
            raise Fault("protocol_error", "The file transfer's version cannot be read.") from None
        if number < 3:
            raise Fault("not_supported", "Only version 3 of the file transfer protocol is supported.")
        self._phase = "version"
        return [Housekeeping(Side.TARGET, codec.packet(codec.INIT, b"\0\0\0\3"))]

    def _meaning(self, reader: Reader, packet: bytes, number: int) -> Unit:
        kind = reader.type
        if kind in (codec.READ, codec.WRITE):
            return self._move(kind, reader, packet, number)
        if kind == codec.OPEN:
            return self._open(reader, packet, number)
        if kind == codec.OPENDIR:
            raw = reader.path()
            reader.end()
            operation = operations.listing(self._paths, raw)
            return self._ask(operation, packet, number, OpenFile(self._paths.name(raw)[0], directory=True))
        if kind in operations.PATH_REQUESTS:
            operation = operations.PATH_REQUESTS[kind](self._paths, reader)
            reader.end()
            return self._ask(operation, packet, number)
        if kind in (codec.CLOSE, codec.FSTAT, codec.READDIR, codec.FSETSTAT):
            return self._on_handle(kind, reader, packet, number)
        if kind == codec.EXTENDED:
            return self._extended(reader, packet, number)
        return self._unknown(f"request of type {kind}", number)

    def _open(self, reader: Reader, packet: bytes, number: int) -> Unit:
        raw, flags, attributes = reader.path(), reader.u32(), reader.attributes()
        reader.end()
        if flags & ~codec.ALL_FLAGS:
            raise ValueError("unknown flags")
        if len(self._handles) >= HANDLES_LIMIT:
            return self._no(number, "too many open files")
        operation, reads, writes = self._paths.open(raw, flags, attributes.size or 0)
        return self._ask(operation, packet, number, OpenFile(self._paths.name(raw)[0], reads=reads, writes=writes))

    def _move(self, kind: int, reader: Reader, packet: bytes, number: int) -> Unit:
        file = self._handles.get(reader.string(codec.HANDLE_LIMIT))
        offset = reader.u64()
        if kind == codec.READ:
            reader.u32()
            reader.end()
            if file is None or not file.reads:
                return self._no(number, "not open for reading")
        else:
            data = reader.view()
            reader.end()
            if file is None or not file.writes:
                return self._no(number, "not open for writing")
            file.written.move(offset, data)
        return self._pass(kind, packet, number, file, offset)

    def _on_handle(self, kind: int, reader: Reader, packet: bytes, number: int) -> Unit:
        handle = reader.string(codec.HANDLE_LIMIT)
        file = self._handles.get(handle)
        if kind == codec.FSETSTAT:
            attributes = str(reader.attributes())
            reader.end()
            if file is None:
                return self._no(number, "no such handle")
            return self._ask(operations.change_open_file(file.path, attributes), packet, number)
        reader.end()
        if file is None or (kind == codec.READDIR and not file.directory):
            return self._no(number, "no such handle")
        if kind == codec.CLOSE:
            # The target may give the same handle out again as soon as it has read this.
            del self._handles[handle]
        return self._pass(kind, packet, number, file)

    def _extended(self, reader: Reader, packet: bytes, number: int) -> Unit:
        name = reader.string(codec.HANDLE_LIMIT)
        if name in operations.PATH_EXTENSIONS:
            operation = operations.PATH_EXTENSIONS[name](self._paths, reader)
            reader.end()
            return self._ask(operation, packet, number)
        if name not in operations.HANDLE_EXTENSIONS:
            return self._unknown(f"extension {plain(name.decode(errors='replace'))}", number)
        if name == b"copy-data":
            return self._copy(reader, packet, number)
        if name in (b"fstatvfs@openssh.com", b"fsync@openssh.com"):
            file = self._handles.get(reader.string(codec.HANDLE_LIMIT))
            reader.end()
            return self._pass(codec.EXTENDED, packet, number, file) if file else self._no(number, "no such handle")
        return self._pass(codec.EXTENDED, packet, number)

    def _copy(self, reader: Reader, packet: bytes, number: int) -> Unit:
        source = self._handles.get(reader.string(codec.HANDLE_LIMIT))
        reader.u64()
        reader.u64()
        destination = self._handles.get(reader.string(codec.HANDLE_LIMIT))
        reader.u64()
        reader.end()
        if source is None or destination is None or not source.reads or not destination.writes:
            return self._no(number, "not open for copying")
        source.read.disorder()
        destination.written.disorder()
        return self._pass(codec.EXTENDED, packet, number)

    def _ask(self, operation: Operation, packet: bytes, number: int, file: OpenFile | None = None) -> Unit:
        self._pending[number] = _Pending(codec.OPEN if file else codec.EXTENDED, file)
        return Asked(operation, packet, number)

    def _pass(self, kind: int, packet: bytes, number: int, file: OpenFile | None = None, offset: int = 0) -> Unit:
        self._pending[number] = _Pending(kind, file, offset)
        return Housekeeping(Side.TARGET, packet)

    def _no(self, number: int, why: str) -> Unit:
        return Housekeeping(Side.CLIENT, codec.status(number, codec.FAILURE, f"sallyport: {why}"))

    def _unknown(self, what: str, number: int) -> Unit:
        operation = Operation(action="transfer", kind="sftp.unknown", text=what[:300], effects=frozenset({UNKNOWN}))
        return Refused(operation, "not_supported", f"The gateway does not know this request ({what[:100]}).", number)

    # -- answers -------------------------------------------------------------------------------------------------------------

    def _answer(self, packet: bytes) -> list[Unit]:
        reader = Reader(packet)
        try:
            if self._phase != "ready":
                return self._greeting(reader, packet)
            pending = self._pending.pop(reader.u32(), None)
            if pending is None:
                raise ValueError("an answer to nothing")
            return self._settle(pending, reader)
        except ValueError as error:
            raise Fault("target_closed", f"The target's file server made no sense: {error}.") from None

    def _greeting(self, reader: Reader, packet: bytes) -> list[Unit]:
        if self._phase == "version" and reader.type == codec.VERSION:
            number, extensions = codec.read_version(packet)
            if number != 3:
                raise ValueError("not version 3")
            self._extensions = [pair for pair in extensions if pair[0] in operations.KNOWN_EXTENSIONS]
            self._phase = "home"
            # Relative paths mean something only with the directory that the file server runs in.
            return [Housekeeping(Side.TARGET, codec.request(codec.REALPATH, _OWN, codec.string(b".")))]
        if self._phase == "home" and reader.type == codec.NAME and reader.u32() == _OWN and reader.u32() == 1:
            home = reader.path()
            if not home.startswith(b"/"):
                raise ValueError("a home that is not absolute")
            self._paths.home = home.decode(errors="backslashreplace")
            self._phase = "ready"
            return [Housekeeping(Side.CLIENT, codec.version(3, self._extensions))]
        raise ValueError("an answer out of order")

    def _settle(self, pending: _Pending, reader: Reader) -> list[Unit]:
        file = pending.file
        if file is None:
            return []
        kind = reader.type
        if pending.kind == codec.OPEN and kind == codec.HANDLE:
            handle = reader.string(codec.HANDLE_LIMIT)
            if handle in self._handles:
                raise ValueError("a handle given out twice")
            self._handles[handle] = file
        elif pending.kind == codec.READ and kind == codec.DATA:
            file.read.move(pending.offset, reader.view())
        elif pending.kind == codec.WRITE and kind == codec.STATUS and reader.u32() != codec.OK:
            file.written.failed += 1
        elif pending.kind == codec.CLOSE:
            return [Remark(entry) for entry in file.entries(closed=True)]
        return []
