"""Where paths lead: policy is asked about what is reached, and that is what is forwarded."""

from __future__ import annotations

import pytest

from agent.core.policy import Decision
from agent.core.units import Asked, Housekeeping, Remark, Side, Unit
from agent.protocols.ssh import sftp_codec as codec
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Verdict
from tests.unit.agent.protocols.ssh.sftp_talk import NOTHING, OWN, R, Talk, failure, name, string, u32


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
    told, failed = talk.lead(codec.NO_SUCH_FILE)
    assert told == Housekeeping(Side.CLIENT, failure(1, codec.NO_SUCH_FILE))
    assert failed == Remark({"event": "failed", "text": "get /no/such", "status": "no_such_file"})
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
