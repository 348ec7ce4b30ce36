"""Requests as operations: what is asked of policy for each, and what is refused unasked."""

from __future__ import annotations

import pytest

from agent.core.policy import Decision
from agent.core.units import Asked, Housekeeping, Refused, Side
from agent.protocols.ssh import sftp, sftp_operations
from agent.protocols.ssh import sftp_codec as codec
from chalicelib.contracts.policy import Verdict
from tests.unit.agent.protocols.ssh.sftp_talk import EXTENSIONS, HOME, NOTHING, A, C, R, T, Talk, W, X, string, u32, u64


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


def test_words_are_bounded() -> None:
    talk = Talk()
    for _ in range(sftp.WORDS_LIMIT + 5):
        asked = talk.ask(codec.STAT, string(b"/x"))
        assert isinstance(asked, Asked)
        talk.engine.deny(asked, Decision(verdict=Verdict("deny", message="No."), code="denied"))
    assert len(talk.engine.take_words()) == sftp.WORDS_LIMIT
