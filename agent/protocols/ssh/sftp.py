"""The SFTP engine: reads both directions of an sftp channel, with the target's own file server behind it. Pure.

Requests that name a path are operations, decided one by one. Requests on a handle are part of the operation that opened it, and
pass if they do what it was opened for. Everything permitted is forwarded byte for byte, so that pipelining, attributes and
extensions work as without a gateway. Packets and extensions without a meaning here are refused.

A request that names a path takes two steps: policy is asked about the name, and what that permits is not the request but the
questions where the name leads (``sftp_links.py``). If it leads to itself, the request follows; otherwise policy is asked about
what it leads to. Requests behind it wait, so that the target gets them in their order.

Answers pass as they come and are only watched: for the handles that the target gives out, and for the bytes of files. Those to
the gateway's own questions do not pass.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from agent.core.policy import Decision
from agent.core.units import Asked, Housekeeping, Output, Refused, Remark, Side, Unit
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh import sftp_operations as operations
from agent.protocols.ssh.denial import plain
from agent.protocols.ssh.sftp_codec import Reader, Splitter
from agent.protocols.ssh.sftp_files import Copy, OpenFile
from agent.protocols.ssh.sftp_links import Question, Trail
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import UNKNOWN, Operation

#: Requests without an answer yet, and open handles. OpenSSH's clients keep 64 and a handful.
PENDING_LIMIT: Final = 16_384
HANDLES_LIMIT: Final = 4_096
#: Denials that are put into words on standard error (clients print only "Permission denied"); the transcript has all.
WORDS_LIMIT: Final = 20

#: How the client is told that the gateway itself refuses; everything else is a denial.
_STATUS: Final = {"protocol_error": codec.BAD_MESSAGE, "not_supported": codec.OP_UNSUPPORTED}

#: The number of the gateway's own requests, counted down where the client has used it.
_OWN: Final = 0xFFFF_FFFF


class _Pending:
    """A request on its way: what its answer will mean."""

    __slots__ = ("file", "kind", "offset", "text")

    def __init__(self, kind: int, file: OpenFile | None = None, offset: int = 0, text: str = "") -> None:
        self.kind = kind
        self.file = file
        self.offset = offset
        self.text = text
        """Of the operation that it is; nothing where it is part of one."""


def _failed(text: str, status: int) -> Remark:
    """Return what is recorded of an operation that was allowed and that the target did not do. Its words may say anything."""
    return Remark({"event": "failed", "text": text, "status": codec.STATUS_NAMES.get(status, str(status))})


class _Walk:
    """A request whose paths are being followed."""

    def __init__(self, number: int, operation: Operation, file: OpenFile | None, trail: Trail) -> None:
        self.number = number
        self.operation = operation
        self.file = file
        self.trail = trail
        self.open: dict[int, int] = {}
        """Questions without an answer yet: their numbers, and which path they are about."""
        self.found: list[bytes | None] = [None] * len(trail.questions)
        self.failure = b""
        """What the target said where it would not answer: the body of its status, behind the number."""


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
        self._walk: _Walk | None = None
        self._later: deque[bytes] = deque()
        """Requests behind the one whose paths are being followed."""
        self._words: list[str] = []
        self._said = 0

    def receive(self, side: Side, data: bytes) -> list[Unit]:
        """Return the units in ``data``. Empty data ends the channel. Raises Fault(protocol_error)."""
        if not data:
            return self._finish()
        if side is Side.TARGET:
            return self._answers(data)
        self._later.extend(self._from[side].feed(data))
        return self.go_on()

    @property
    def waits(self) -> bool:
        """True while a request's paths are being followed: nothing more should be received from the client."""
        return self._walk is not None

    def begins(self, number: int) -> bool | None:
        """Tell whether request ``number``, whose path is about to be followed, changes where names lead. None for any other."""
        return self._walk.trail.changes if self._walk is not None and self._walk.number == number else None

    def awaits(self, number: int) -> bool:
        """Tell whether request ``number`` was not answered yet."""
        return number in self._pending

    def go_on(self) -> list[Unit]:
        """Return the units of requests that waited, up to the next one that others have to wait for. Raises as ``receive``."""
        units: list[Unit] = []
        while self._later and self._walk is None:
            units += self._request(self._later.popleft())
        return units

    def deny(self, asked: Asked | Refused, decision: Decision) -> bytes:
        """Return a STATUS answer with the policy's words. They are also kept for :meth:`take_words`."""
        self._pending.pop(asked.tag, None)
        if self._walk is not None and self._walk.number == asked.tag:
            self._walk = None
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
        named = operations.named(self._paths, packet)
        if named is not None:
            return self._ask(*named, packet, number)
        if kind in (codec.CLOSE, codec.FSTAT, codec.READDIR, codec.FSETSTAT):
            return self._on_handle(kind, reader, packet, number)
        if kind == codec.EXTENDED:
            return self._extended(reader, packet, number)
        return self._unknown(f"request of type {kind}", number)

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
            if not file.has_room(offset, len(data)):
                return self._no(number, "more than was announced")
            file.written.send(offset, data)
        return self._pass(kind, packet, number, file, offset)

    def _on_handle(self, kind: int, reader: Reader, packet: bytes, number: int) -> Unit:
        handle = reader.string(codec.HANDLE_LIMIT)
        file = self._handles.get(handle)
        if kind == codec.FSETSTAT:
            attributes = str(reader.attributes())
            reader.end()
            if file is None:
                return self._no(number, "no such handle")
            operation = operations.change_open_file(file.path, attributes)
            self._pending[number] = _Pending(kind, text=operation.text)
            return Asked(operation, packet, number)
        reader.end()
        if file is None or (kind == codec.READDIR and not file.directory):
            return self._no(number, "no such handle")
        if kind == codec.CLOSE:
            # The target may give the same handle out again as soon as it has read this.
            del self._handles[handle]
        return self._pass(kind, packet, number, file)

    def _extended(self, reader: Reader, packet: bytes, number: int) -> Unit:
        name = reader.string(codec.HANDLE_LIMIT)
        if name not in operations.HANDLE_EXTENSIONS:
            return self._unknown(f"extension {plain(name.decode(errors='replace'))}", number)
        if name == b"copy-data":
            return self._copy(reader, packet, number)
        if name in (b"fstatvfs@openssh.com", b"fsync@openssh.com"):
            file = self._handles.get(reader.string(codec.HANDLE_LIMIT))
            reader.end()
            return self._pass(codec.EXTENDED, packet, number, file) if file else self._no(number, "no such handle")
        if name == b"users-groups-by-id@openssh.com":
            for _ in ("users", "groups"):
                if len(reader.string()) % 4:
                    raise ValueError("half a number")
        reader.end()
        return self._pass(codec.EXTENDED, packet, number)

    def _copy(self, reader: Reader, packet: bytes, number: int) -> Unit:
        source = self._handles.get(reader.string(codec.HANDLE_LIMIT))
        offset, size = reader.u64(), reader.u64()
        destination = self._handles.get(reader.string(codec.HANDLE_LIMIT))
        at = reader.u64()
        reader.end()
        if source is None or destination is None or not source.reads or not destination.writes:
            return self._no(number, "not open for copying")
        if destination.limit is not None:
            return self._no(number, "more than was announced")
        Copy(source, offset, size, destination, at).begin()
        # What it means is a write: taken, or not.
        return self._pass(codec.WRITE, packet, number, destination)

    def _ask(self, operation: Operation, file: OpenFile | None, packet: bytes, number: int) -> Unit:
        if file is not None and len(self._handles) >= HANDLES_LIMIT:
            return self._no(number, "too many open files")
        self._pending[number] = _Pending(codec.OPEN if file else codec.EXTENDED, text=operation.text)
        self._walk = walk = _Walk(number, operation, file, Trail(packet))
        own = _OWN
        for at in range(len(walk.found)):
            while own in self._pending:
                own -= 1
            walk.open[own] = at
            own -= 1
        questions = (walk.trail.questions[at].packet(mine) for mine, at in walk.open.items())
        return Asked(operation, b"".join(questions), number)

    def _pass(self, kind: int, packet: bytes, number: int, file: OpenFile | None = None, offset: int = 0) -> Unit:
        self._pending[number] = _Pending(kind, file, offset)
        return Housekeeping(Side.TARGET, packet)

    def _no(self, number: int, why: str) -> Unit:
        return Housekeeping(Side.CLIENT, codec.status(number, codec.FAILURE, f"sallyport: {why}"))

    def _unknown(self, what: str, number: int) -> Unit:
        operation = Operation(action="transfer", kind="sftp.unknown", text=what[:300], effects=frozenset({UNKNOWN}))
        return Refused(operation, "not_supported", f"The gateway does not know this request ({what[:100]}).", number)

    # -- answers -------------------------------------------------------------------------------------------------------------

    def _answers(self, data: bytes) -> list[Unit]:
        """Only whole answers are shown: between two of them, and nowhere else, the gateway's own may stand."""
        shown: list[bytes] = []
        units: list[Unit] = []
        for packet in self._from[Side.TARGET].feed(data):
            if self._phase != "ready":
                units += self._answer(packet)
            elif self._walk is not None and int.from_bytes(packet[5:9], "big") in self._walk.open:
                units += self._led(packet)
            else:
                shown.append(packet)
                units += self._answer(packet)
        return [Output(b"".join(shown), recorded=False), *units] if shown else units

    def _led(self, packet: bytes) -> list[Unit]:
        """Take the answer to a question of ours; with the last one, go on with the request."""
        walk = self._walk
        assert walk is not None
        reader = Reader(packet)
        at = walk.open.pop(reader.u32())
        question = walk.trail.questions[at]
        try:
            self._note(walk, at, question, reader)
            if walk.open:
                return []
            self._walk = None
            return [*self._arrived(walk), *self.go_on()]
        except ValueError as error:
            raise Fault("target_closed", f"The target's file server made no sense: {error}.") from None

    def _note(self, walk: _Walk, at: int, question: Question, reader: Reader) -> None:
        if reader.type == codec.NAME:
            walk.found[at] = question.answer(reader)
            return
        body = reader.rest()
        if reader.type != codec.STATUS or len(body) < 4 or body.startswith(b"\0\0\0\0"):
            raise ValueError("neither a name nor a failure")
        if question.needed and not walk.failure:
            walk.failure = body

    def _arrived(self, walk: _Walk) -> list[Unit]:
        if walk.failure:
            del self._pending[walk.number]
            told = Housekeeping(Side.CLIENT, codec.request(codec.STATUS, walk.number, walk.failure))
            return [told, _failed(walk.operation.text, int.from_bytes(walk.failure[:4], "big"))]
        named = operations.named(self._paths, walk.trail.led(walk.found))
        assert named is not None
        led, file = named
        packet = walk.trail.forwarded(walk.found)
        if file is not None and walk.file is not None:
            file.asked_as = walk.file.path
        self._pending[walk.number].file = file
        elsewhere = operations.through_links(walk.operation, led)
        if elsewhere is None:
            return [Housekeeping(Side.TARGET, packet)]
        return [Asked(elsewhere, packet, walk.number)]

    def _answer(self, packet: bytes) -> list[Unit]:
        reader = Reader(packet)
        try:
            if self._phase != "ready":
                return self._greeting(reader, packet)
            number = reader.u32()
            pending = self._pending.pop(number, None)
            if pending is None or (self._walk is not None and self._walk.number == number):
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
        file, kind = pending.file, reader.type
        if pending.text and kind == codec.STATUS:
            status = reader.u32()
            return [] if status == codec.OK else [_failed(pending.text, status)]
        if file is None:
            return []
        if pending.kind == codec.OPEN and kind == codec.HANDLE:
            handle = reader.string(codec.HANDLE_LIMIT)
            if handle in self._handles:
                raise ValueError("a handle given out twice")
            self._handles[handle] = file
        elif pending.kind == codec.READ and kind == codec.DATA:
            file.read.move(pending.offset, reader.view())
        elif pending.kind == codec.WRITE and kind == codec.STATUS:
            file.written.settle(taken=reader.u32() == codec.OK)
        elif pending.kind == codec.READ and kind == codec.STATUS and reader.u32() == codec.EOF:
            file.read.ends(pending.offset)
        elif pending.kind == codec.CLOSE:
            return [Remark(entry) for entry in file.entries(closed=True)]
        return []
