"""The SFTP engine: what is asked, what passes, what is refused, and what is known about each file afterwards."""

from __future__ import annotations

import hashlib
import posixpath
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.policy import Decision
from agent.core.units import Asked, Housekeeping, Output, Refused, Remark, Side, Unit
from agent.protocols.ssh import sftp, sftp_operations
from agent.protocols.ssh import sftp_codec as codec
from agent.protocols.ssh.sftp import SftpEngine
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Verdict

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


def test_only_extensions_with_a_meaning_are_offered() -> None:
    assert Talk().hello == Housekeeping(Side.CLIENT, codec.version(3, EXTENSIONS[:2]))


@pytest.mark.parametrize(
    ("path", "name", "flags"),
    [
        (b"/etc/passwd", "/etc/passwd", set()),
        (b"notes", "/home/deploy/notes", set()),
        (b".", "/home/deploy", set()),
        (b"", "/home/deploy", set()),
        (b"../root/x", "/home/root/x", {"dotdot"}),
        (b"/tmp/../etc/./passwd", "/etc/passwd", {"dotdot"}),
        (b"/../../etc/passwd", "/etc/passwd", {"dotdot"}),
        (b"//etc//passwd", "/etc/passwd", set()),
        (b"/a\xffb", "/a\\xffb", {"not_utf8"}),
        (b"/a..b/..c", "/a..b/..c", set()),
    ],
)
def test_paths_are_named_absolutely(path: bytes, name: str, flags: set[str]) -> None:
    operation = Talk().open(path).operation
    assert operation.text == f"get {name}"
    assert operation.objects == frozenset({name})
    assert operation.flags == frozenset({"download"} | flags)


R, W, A, C, T, X = 1, 2, 4, 8, 16, 32


@pytest.mark.parametrize(
    ("flags", "verb", "words"),
    [
        (R, "get", {"download"}),
        (0, "get", {"download"}),
        (X, "get", {"download"}),
        (W | C | T, "put", {"upload"}),
        (W | A, "put", {"upload", "append"}),
        (R | W, "edit", {"download", "upload"}),
        # OpenSSH opens these for reading, and truncates or creates all the same.
        (T, "put", {"download", "upload"}),
        (C, "put", {"download", "upload"}),
        (R | T, "edit", {"download", "upload"}),
    ],
)
def test_what_an_opening_does(flags: int, verb: str, words: set[str]) -> None:
    operation = Talk().open(flags=flags).operation
    assert (operation.action, operation.kind, operation.text) == ("transfer", "sftp.open", f"{verb} /x")
    assert operation.flags == frozenset(words)
    assert operation.effects == {"read" if word == "download" else "write" for word in words - {"append"}}


@pytest.mark.parametrize(
    ("kind", "parts", "text", "effects", "flags"),
    [
        (codec.STAT, (string(b"/x"),), "stat /x", {"read"}, {"metadata"}),
        (codec.LSTAT, (string(b"/x"),), "lstat /x", {"read"}, {"metadata"}),
        (codec.REALPATH, (string(b"."),), "realpath /home/deploy", {"read"}, {"metadata"}),
        (codec.READLINK, (string(b"/x"),), "readlink /x", {"read"}, {"metadata"}),
        (codec.OPENDIR, (string(b"/x"),), "ls /x", {"read"}, {"listing"}),
        (codec.REMOVE, (string(b"/x"),), "remove /x", {"write"}, set()),
        (codec.RMDIR, (string(b"/x"),), "rmdir /x", {"write"}, set()),
        (codec.MKDIR, (string(b"/x"), u32(4) + u32(0o755)), "mkdir /x mode=0755", {"write"}, set()),
        (codec.SETSTAT, (string(b"/x"), u32(1) + u64(0)), "setstat /x size=0", {"write"}, set()),
        (codec.RENAME, (string(b"/x"), string(b"y")), "rename /x -> /home/deploy/y", {"write"}, set()),
        (codec.SYMLINK, (string(b"/etc/shadow"), string(b"/x/l")), "symlink /x/l -> /etc/shadow", {"write"}, set()),
        (codec.SYMLINK, (string(b"../s"), string(b"/x/l")), "symlink /x/l -> /s", {"write"}, {"dotdot"}),
    ],
)
def test_requests_that_name_a_path(kind: int, parts: tuple[bytes, ...], text: str, effects: set[str], flags: set[str]) -> None:
    talk = Talk()
    asked = talk.ask(kind, *parts)
    assert isinstance(asked, Asked)
    assert asked.operation.text == text
    assert asked.operation.effects == frozenset(effects)
    assert asked.operation.flags == frozenset(flags)
    relative = {string(b"y"): string(b"/home/deploy/y"), string(b"."): string(HOME)}
    assert talk.straight(asked) == codec.request(kind, 1, *(relative.get(part, part) for part in parts))


@pytest.mark.parametrize(
    ("name", "parts", "text"),
    [
        (b"posix-rename@openssh.com", (b"/a", b"/b"), "rename /a -> /b"),
        (b"hardlink@openssh.com", (b"/a", b"/b"), "hardlink /a -> /b"),
        (b"statvfs@openssh.com", (b"/a",), "statvfs /a"),
        (b"expand-path@openssh.com", (b"~/a",), "expand /home/deploy/a"),
        (b"expand-path@openssh.com", (b"~root/a",), "expand /home/deploy/~root/a"),
    ],
)
def test_extensions_that_name_a_path(name: bytes, parts: tuple[bytes, ...], text: str) -> None:
    asked = Talk().ask(codec.EXTENDED, string(name), *(string(part) for part in parts))
    assert isinstance(asked, Asked)
    assert asked.operation.text == text


@pytest.mark.parametrize("kind", [0, 2, 21, 101, 199, 201, 255])
def test_unknown_requests_are_refused(kind: int) -> None:
    talk = Talk()
    refused = talk.ask(kind, string(b"/x"))
    assert isinstance(refused, Refused)
    assert refused.operation.effects == frozenset({"unknown"})
    answer = talk.engine.deny(refused, Decision(verdict=Verdict("deny", message=refused.message), code=refused.code))
    assert codec.Reader(answer).type == codec.STATUS


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (codec.OPEN, string(b"/x") + u32(R)),
        (codec.OPEN, string(b"/x") + u32(64) + NOTHING),
        (codec.OPEN, string(b"/x\0y") + u32(R) + NOTHING),
        (codec.OPEN, string(b"/x") + u32(R) + NOTHING + b"more"),
        (codec.OPEN, u32(5000) + b"x"),
        (codec.REMOVE, string(b"/x") + string(b"/y")),
        (codec.RENAME, string(b"/x")),
        (codec.SETSTAT, string(b"/x") + u32(0x8000_0000) + u32(0)),
        (codec.EXTENDED, b""),
        (codec.EXTENDED, string(b"evil@example.com")),
    ],
)
def test_requests_that_cannot_be_read_to_their_end_are_refused(kind: int, body: bytes) -> None:
    assert isinstance(Talk().ask(kind, body), Refused)


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (codec.READ, (string(b"h9"), u64(0), u32(10))),
        (codec.WRITE, (string(b"h9"), u64(0), string(b"x"))),
        (codec.CLOSE, (string(b"h9"),)),
        (codec.FSTAT, (string(b"h9"),)),
        (codec.READDIR, (string(b"h9"),)),
        (codec.FSETSTAT, (string(b"h9"), NOTHING)),
        (codec.EXTENDED, (string(b"fsync@openssh.com"), string(b"h9"))),
        (codec.WRITE, (string(b"h1"), u64(0), string(b"x"))),
        (codec.READDIR, (string(b"h1"),)),
    ],
)
def test_handles_that_the_target_never_gave_for_this_are_not_used(kind: int, parts: tuple[bytes, ...]) -> None:
    talk = Talk()
    talk.open(flags=R)
    unit = talk.ask(kind, *parts)
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT
    assert codec.Reader(unit.data).type == codec.STATUS


def test_an_upload_handle_reads_nothing() -> None:
    talk = Talk()
    talk.open(flags=W | C | T)
    unit = talk.ask(codec.READ, string(b"h1"), u64(0), u32(10))
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT


def test_a_download_is_hashed_in_order() -> None:
    talk = Talk()
    talk.open()
    numbers = []
    for offset in (0, 5):
        unit = talk.ask(codec.READ, string(b"h1"), u64(offset), u32(5))
        assert unit == Housekeeping(Side.TARGET, codec.request(codec.READ, talk.number, string(b"h1"), u64(offset), u32(5)))
        numbers.append(talk.number)
    talk.answer(codec.DATA, string(b"hello"), number=numbers[0])
    talk.answer(codec.DATA, string(b"world"), number=numbers[1])
    assert talk.close() == [
        {
            "event": "file",
            "path": "/x",
            "direction": "download",
            "bytes": 10,
            "offset": 0,
            "sha256": hashlib.sha256(b"helloworld").hexdigest(),
            "closed": True,
        }
    ]


def test_an_upload_out_of_order_lists_ranges_and_failures() -> None:
    talk = Talk()
    talk.open(flags=W | C | T)
    for offset, data in ((5, b"world"), (0, b"hello")):
        talk.ask(codec.WRITE, string(b"h1"), u64(offset), string(data))
        talk.answer(codec.STATUS, u32(0 if offset else 4), string(b""), string(b""))
    (entry,) = talk.close()
    assert "sha256" not in entry
    assert (entry["direction"], entry["bytes"], entry["ranges"], entry["failed"]) == ("upload", 10, [[5, 10], [0, 5]], 1)


@pytest.mark.parametrize(
    ("flags", "attributes", "size"),
    [
        (W | C | T, NOTHING, sftp_operations.SIZE_UNKNOWN),
        (W | C | T, u32(1) + u64(10), 10),
        (W | C | T, u32(1) + u64(1 << 64 - 1), sftp_operations.SIZE_UNKNOWN),
        (R, NOTHING, sftp_operations.SIZE_UNKNOWN),
        (R, u32(1) + u64(10), sftp_operations.SIZE_UNKNOWN),
        (R | W, u32(1) + u64(10), sftp_operations.SIZE_UNKNOWN),
    ],
)
def test_a_size_that_is_not_known_is_the_largest(flags: int, attributes: bytes, size: int) -> None:
    asked = Talk().ask(codec.OPEN, string(b"/x"), u32(flags), attributes)
    assert isinstance(asked, Asked)
    assert asked.operation.size == size


@pytest.mark.parametrize(
    ("writes", "fits"),
    [([(0, 10)], True), ([(0, 6), (6, 4)], True), ([(0, 11)], False), ([(5, 6)], False), ([(0, 6), (0, 5)], False)],
)
def test_nothing_is_written_past_what_was_announced(writes: list[tuple[int, int]], fits: bool) -> None:
    talk = Talk()
    talk.straight(talk.ask(codec.OPEN, string(b"/x"), u32(W | C | T), u32(1) + u64(10)))
    talk.answer(codec.HANDLE, string(b"h1"))
    units = []
    for offset, size in writes:
        units.append(talk.ask(codec.WRITE, string(b"h1"), u64(offset), string(b"x" * size)))
        if units[-1].to is Side.TARGET:  # type: ignore[union-attr]
            talk.answer(codec.STATUS, u32(0), string(b""), string(b""))
    assert (units[-1].to is Side.TARGET) is fits  # type: ignore[union-attr]


def test_ranges_are_bounded() -> None:
    talk = Talk()
    talk.open(flags=W)
    for offset in range(0, 2000, 10):
        talk.ask(codec.WRITE, string(b"h1"), u64(offset), string(b"x"))
        talk.answer(codec.STATUS, u32(0), string(b""), string(b""))
    (entry,) = talk.close()
    assert len(entry["ranges"]) == 64
    assert entry["more_ranges"] is True


def test_bytes_copied_by_the_server_are_not_claimed_to_be_hashed() -> None:
    talk = Talk()
    talk.open(b"/from", R, b"h1")
    talk.open(b"/to", W | C, b"h2")
    unit = talk.ask(codec.EXTENDED, string(b"copy-data"), string(b"h1"), u64(0), u64(0), string(b"h2"), u64(0))
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.TARGET
    talk.answer(codec.STATUS, u32(0), string(b""), string(b""))
    (entry,) = talk.close(b"h2")
    assert "sha256" not in entry
    backwards = talk.ask(codec.EXTENDED, string(b"copy-data"), string(b"h2"), u64(0), u64(0), string(b"h1"), u64(0))
    assert isinstance(backwards, Housekeeping)
    assert backwards.to is Side.CLIENT


def test_a_handle_is_gone_when_it_is_closed() -> None:
    talk = Talk()
    talk.open()
    talk.close()
    unit = talk.ask(codec.READ, string(b"h1"), u64(0), u32(1))
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT


def test_a_denied_opening_leaves_nothing_behind() -> None:
    talk = Talk()
    asked = talk.ask(codec.OPEN, string(b"/x"), u32(R), NOTHING)
    assert isinstance(asked, Asked)
    decision = Decision(verdict=Verdict("deny", message="Not \x1b[2J that."), code="denied")
    answer = codec.Reader(talk.engine.deny(asked, decision))
    assert (answer.type, answer.u32(), answer.u32()) == (codec.STATUS, 1, codec.PERMISSION_DENIED)
    assert answer.string() == b"sallyport: Not  [2J that. (denied, ses_1)"
    assert talk.engine.take_words() == ["get /x: Not \x1b[2J that. (denied, ses_1)"]
    assert talk.engine.take_words() == []
    # A target that answers all the same is making things up.
    with pytest.raises(Fault, match="target_closed"):
        talk.answer(codec.HANDLE, string(b"h1"))


def test_words_are_bounded() -> None:
    talk = Talk()
    for _ in range(sftp.WORDS_LIMIT + 5):
        asked = talk.ask(codec.STAT, string(b"/x"))
        assert isinstance(asked, Asked)
        talk.engine.deny(asked, Decision(verdict=Verdict("deny", message="No."), code="denied"))
    assert len(talk.engine.take_words()) == sftp.WORDS_LIMIT


def test_one_number_for_two_requests_on_the_way_ends_the_channel() -> None:
    talk = Talk()
    talk.straight(talk.ask(codec.STAT, string(b"/x")))
    with pytest.raises(Fault, match="protocol_error"):
        talk.engine.receive(Side.CLIENT, codec.request(codec.STAT, talk.number, string(b"/y")))


def test_requests_on_the_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp, "PENDING_LIMIT", 3)
    talk = Talk()
    for _ in range(3):
        talk.straight(talk.ask(codec.STAT, string(b"/x")))
    with pytest.raises(Fault, match="protocol_error"):
        talk.ask(codec.STAT, string(b"/x"))


def test_open_files_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sftp, "HANDLES_LIMIT", 1)
    talk = Talk()
    talk.open()
    unit = talk.ask(codec.OPEN, string(b"/y"), u32(R), NOTHING)
    assert isinstance(unit, Housekeeping)
    assert unit.to is Side.CLIENT


@pytest.mark.parametrize(
    "first",
    [
        codec.request(codec.STAT, 1, string(b"/x")),
        codec.packet(codec.INIT),
        codec.packet(codec.INIT, u32(3), u32(99)),
        codec.packet(0),
    ],
)
def test_a_client_that_does_not_say_hello_is_not_served(first: bytes) -> None:
    with pytest.raises(Fault):
        SftpEngine("ses_1").receive(Side.CLIENT, first)


def test_an_old_client_is_told() -> None:
    with pytest.raises(Fault, match="not_supported"):
        SftpEngine("ses_1").receive(Side.CLIENT, codec.packet(codec.INIT, u32(2)))


def test_no_request_passes_before_the_target_has_answered() -> None:
    engine = SftpEngine("ses_1")
    engine.receive(Side.CLIENT, codec.packet(codec.INIT, u32(3)))
    with pytest.raises(Fault):
        engine.receive(Side.CLIENT, codec.request(codec.STAT, 1, string(b"/x")))


@pytest.mark.parametrize(
    "answers",
    [
        [codec.version(4, [])],
        [codec.version(3, []), codec.status(0xFFFF_FFFF, 4, "no")],
        [codec.version(3, []), codec.request(codec.NAME, 0xFFFF_FFFF, u32(1), string(b"relative"), string(b""), NOTHING)],
        [codec.request(codec.NAME, 0xFFFF_FFFF, u32(1), string(b"/x"), string(b""), NOTHING)],
    ],
)
def test_a_target_that_greets_wrongly_is_not_spoken_to(answers: list[bytes]) -> None:
    engine = SftpEngine("ses_1")
    engine.receive(Side.CLIENT, codec.packet(codec.INIT, u32(3)))
    *good, bad = answers
    for answer in good:
        engine.receive(Side.TARGET, answer)
    with pytest.raises(Fault, match="target_closed"):
        engine.receive(Side.TARGET, bad)


def test_a_handle_given_out_twice_is_a_targets_fault() -> None:
    talk = Talk()
    talk.open()
    talk.straight(talk.ask(codec.OPEN, string(b"/y"), u32(R), NOTHING))
    with pytest.raises(Fault, match="target_closed"):
        talk.answer(codec.HANDLE, string(b"h1"))


def test_files_that_were_left_open_are_told_at_the_end() -> None:
    talk = Talk()
    talk.open(flags=W | C)
    talk.ask(codec.WRITE, string(b"h1"), u64(0), string(b"half"))
    (remark,) = talk.engine.receive(Side.TARGET, b"")
    assert isinstance(remark, Remark)
    assert (remark.entry["bytes"], remark.entry["closed"]) == (4, False)
    assert talk.engine.receive(Side.TARGET, b"") == []


def follow(kind: int, *parts: bytes, found: tuple[bytes | int, ...]) -> Unit:
    """Where a permitted request goes when its paths lead to ``found``."""
    talk = Talk()
    talk.ask(kind, *parts)
    (unit,) = talk.lead(*found)
    return unit


@pytest.mark.parametrize(
    ("kind", "parts", "found", "text", "forwarded"),
    [
        (codec.OPEN, (b"/x/l",), (b"/etc/shadow",), "get /etc/shadow", (b"/etc/shadow",)),
        (codec.STAT, (b"/x/l",), (b"/etc/shadow",), "stat /etc/shadow", (b"/etc/shadow",)),
        (codec.OPENDIR, (b"/x/l",), (b"/etc",), "ls /etc", (b"/etc",)),
        (codec.SETSTAT, (b"/x/l",), (b"/etc/shadow",), "setstat /etc/shadow", (b"/etc/shadow",)),
        (codec.LSTAT, (b"/x/l",), (b"/y",), "lstat /y/l", (b"/y/l",)),
        (codec.LSTAT, (b"/x/l/",), (b"/etc",), "lstat /etc", (b"/etc",)),
        (codec.LSTAT, (b"/x/l/.",), (b"/etc",), "lstat /etc", (b"/etc",)),
        (codec.READLINK, (b"/x/l",), (b"/y",), "readlink /y/l", (b"/y/l",)),
        (codec.REMOVE, (b"/x/l",), (b"/y",), "remove /y/l", (b"/y/l",)),
        (codec.REMOVE, (b"l",), (b"/y",), "remove /y/l", (b"/y/l",)),
        (codec.RMDIR, (b"/x/l/",), (b"/y",), "rmdir /y/l", (b"/y/l/",)),
        (codec.MKDIR, (b"/x/../l",), (b"/y",), "mkdir /y/l", (b"/y/l",)),
        (codec.RENAME, (b"/x/a", b"/z/b"), (b"/y", b"/etc"), "rename /y/a -> /etc/b", (b"/y/a", b"/etc/b")),
        (codec.SYMLINK, (b"../s", b"/x/l"), (b"/etc/s", b"/y"), "symlink /y/l -> /etc/s", (b"../s", b"/y/l")),
        (codec.SYMLINK, (b"../s", b"/x/l"), (2, b"/y"), "symlink /y/l -> /s", (b"../s", b"/y/l")),
    ],
)
def test_policy_is_asked_where_a_link_leads(
    kind: int, parts: tuple[bytes, ...], found: tuple[bytes | int, ...], text: str, forwarded: tuple[bytes, ...]
) -> None:
    rest = {codec.OPEN: u32(R) + NOTHING, codec.SETSTAT: NOTHING, codec.MKDIR: NOTHING}.get(kind, b"")
    unit = follow(kind, *map(string, parts), rest, found=found)
    assert isinstance(unit, Asked)
    assert unit.operation.text == text
    assert "symlink" in unit.operation.flags
    assert not unit.operation.objects & {part.decode() for part in parts}, "the name that was asked for permits nothing"
    assert unit.data == codec.request(kind, 1, *map(string, forwarded), rest)


@pytest.mark.parametrize(
    ("extension", "parts", "found", "text"),
    [
        (b"posix-rename@openssh.com", (b"/x/a", b"/x/b"), (b"/y", b"/x"), "rename /y/a -> /x/b"),
        (b"hardlink@openssh.com", (b"/x/a", b"/x/b"), (b"/etc/shadow", b"/x"), "hardlink /etc/shadow -> /x/b"),
        (b"statvfs@openssh.com", (b"/x/a",), (b"/etc",), "statvfs /etc"),
        (b"expand-path@openssh.com", (b"~root",), (b"/root",), "expand /root"),
    ],
)
def test_so_do_extensions(extension: bytes, parts: tuple[bytes, ...], found: tuple[bytes, ...], text: str) -> None:
    unit = follow(codec.EXTENDED, string(extension), *map(string, parts), found=found)
    assert isinstance(unit, Asked)
    assert unit.operation.text == text
    reader = codec.Reader(unit.data)
    reader.u32()
    assert reader.string() == extension


def test_a_denied_link_opens_nothing_and_those_behind_it_go_on() -> None:
    talk = Talk()
    opening, other = (codec.request(codec.OPEN, n, string(b"/x/l"), u32(R), NOTHING) for n in (1, 2))
    (first,) = talk.engine.receive(Side.CLIENT, opening + other)
    assert isinstance(first, Asked)
    assert talk.engine.waits
    second, behind = talk.lead(b"/etc/shadow")
    assert isinstance(second, Asked)
    assert isinstance(behind, Asked)
    assert (first.tag, second.tag, behind.tag) == (1, 1, 2)
    talk.engine.deny(second, Decision(verdict=Verdict("deny", message="No."), code="denied"))
    with pytest.raises(Fault, match="target_closed"):
        talk.engine.receive(Side.TARGET, codec.request(codec.HANDLE, 1, string(b"h1")))


def test_a_denied_name_is_not_followed() -> None:
    talk = Talk()
    asked = talk.ask(codec.OPEN, string(b"/x/l"), u32(R), NOTHING)
    assert isinstance(asked, Asked)
    talk.engine.deny(asked, Decision(verdict=Verdict("deny", message="No."), code="denied"))
    assert not talk.engine.waits
    with pytest.raises(Fault, match="target_closed"):
        talk.engine.receive(Side.TARGET, name(OWN, b"/etc/shadow"))


def test_what_leads_nowhere_is_said_in_the_targets_words() -> None:
    talk = Talk()
    talk.ask(codec.OPEN, string(b"/no/such"), u32(R), NOTHING)
    assert talk.lead(codec.NO_SUCH_FILE) == [Housekeeping(Side.CLIENT, failure(1, codec.NO_SUCH_FILE))]
    assert isinstance(talk.ask(codec.STAT, string(b"/x")), Asked)


def test_the_gateways_own_numbers_keep_out_of_the_clients() -> None:
    talk = Talk()
    for number in (OWN, OWN - 1):
        (asked,) = talk.engine.receive(Side.CLIENT, codec.request(codec.STAT, number, string(b"/x")))
        assert isinstance(asked, Asked)
        own = codec.Reader(asked.data).u32()
        assert own not in (OWN, number)
        (passed,) = talk.engine.receive(Side.TARGET, name(own, b"/x"))
        assert passed == Housekeeping(Side.TARGET, codec.request(codec.STAT, number, string(b"/x")))


@pytest.mark.parametrize(
    "answer",
    [
        codec.request(codec.NAME, OWN, u32(1), string(b"relative"), string(b""), NOTHING),
        codec.request(codec.NAME, OWN, u32(2), string(b"/x"), string(b""), NOTHING),
        codec.request(codec.NAME, OWN, u32(1), string(b"/x\0"), string(b""), NOTHING),
        codec.request(codec.STATUS, OWN, u32(0), string(b""), string(b"")),
        codec.request(codec.STATUS, OWN),
        codec.request(codec.HANDLE, OWN, string(b"h1")),
        codec.request(codec.HANDLE, 1, string(b"h1")),
        name(OWN - 1, b"/x"),
    ],
)
def test_a_target_that_does_not_know_where_a_path_leads_is_at_fault(answer: bytes) -> None:
    talk = Talk()
    talk.ask(codec.OPEN, string(b"/x"), u32(R), NOTHING)
    with pytest.raises(Fault, match="target_closed"):
        talk.engine.receive(Side.TARGET, answer)


def test_a_file_is_on_record_under_both_its_names() -> None:
    talk = Talk()
    talk.ask(codec.OPEN, string(b"/x/l"), u32(R), NOTHING)
    talk.lead(b"/srv/file")
    talk.answer(codec.HANDLE, string(b"h1"))
    (entry,) = talk.close()
    assert (entry["path"], entry["asked_as"]) == ("/srv/file", "/x/l")


@pytest.mark.parametrize(("size", "whole"), [(5, True), (9, False)])
def test_a_download_to_the_end_is_whole(size: int, whole: bool) -> None:
    talk = Talk()
    talk.open()
    talk.ask(codec.READ, string(b"h1"), u64(0), u32(5))
    talk.answer(codec.DATA, string(b"hello"))
    talk.ask(codec.READ, string(b"h1"), u64(size), u32(5))
    talk.answer(codec.STATUS, u32(codec.EOF), string(b""), string(b""))
    (entry,) = talk.close()
    assert entry.get("whole", False) is whole


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(0, 3))
def test_answers_around_a_question_are_shown_whole_and_in_order(cuts: list[int], split: int) -> None:
    """Whatever the network cuts: our own answers are never shown, and everybody else's always are."""
    talk = Talk()
    talk.open()
    for number in (11, 12, 13):
        talk.engine.receive(Side.CLIENT, codec.request(codec.READ, number, string(b"h1"), u64(number), u32(5)))
    before = codec.request(codec.DATA, 11, string(b"eleven"))
    early = talk.engine.receive(Side.TARGET, before[: split * 5]) if split else []
    shown = b"".join(unit.data for unit in early if isinstance(unit, Output))
    (asked,) = talk.engine.receive(Side.CLIENT, codec.request(codec.STAT, 14, string(b"/x")))
    assert isinstance(asked, Asked)
    twelve, thirteen = (codec.request(codec.DATA, n, string(b"data")) for n in (12, 13))
    fourteen = codec.request(codec.ATTRS, 14, NOTHING)
    stream, forwarded, at = before[split * 5 :] + twelve + name(OWN, b"/x") + thirteen + fourteen, [], 0
    for size in [*cuts, len(stream)]:
        if not (piece := stream[at : at + size]):
            break
        for unit in talk.engine.receive(Side.TARGET, piece):
            if isinstance(unit, Output):
                shown += unit.data
            else:
                forwarded.append(unit)
        at += size
    assert shown == before + twelve + thirteen + fourteen
    assert forwarded == [Housekeeping(Side.TARGET, codec.request(codec.STAT, 14, string(b"/x")))]


@given(st.binary(max_size=120), st.integers(0, 255))
def test_garbage_asks_for_nothing_that_was_not_read_to_its_end(body: bytes, kind: int) -> None:
    talk = Talk()
    data = codec.packet(kind, u32(1), body)
    for unit in talk.engine.receive(Side.CLIENT, data):
        if isinstance(unit, Asked):
            # Nothing that the client wrote is forwarded yet: only questions, under numbers of the gateway's own.
            for number, packet in enumerate(codec.Splitter().feed(unit.data)):
                question = codec.Reader(packet)
                assert question.type in (codec.REALPATH, codec.EXTENDED)
                assert question.u32() == OWN - number
        elif isinstance(unit, Housekeeping) and unit.to is Side.TARGET:
            # Nothing is open, so only extensions without a handle can pass.
            assert kind == codec.EXTENDED
            assert codec.Reader(data[:5] + data[9:]).string() in sftp_operations.HANDLE_EXTENSIONS


@given(st.binary(max_size=200))
def test_garbage_from_the_target_is_its_fault(data: bytes) -> None:
    engine, code = Talk().engine, "target_closed"
    try:
        engine.receive(Side.TARGET, data)
    except Fault as fault:
        code = fault.code
    assert code in ("target_closed", "protocol_error")
