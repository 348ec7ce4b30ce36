"""What is known about each file afterwards: its bytes, in which order they came, and their hash."""

from __future__ import annotations

import hashlib

import pytest

from agent.core.units import Housekeeping, Remark, Side
from agent.protocols.ssh import sftp_codec as codec
from tests.unit.agent.protocols.ssh.sftp_talk import NOTHING, C, R, T, Talk, W, string, u32, u64


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
    assert entry["copied_from"] == [{"path": "/from", "offset": 0, "at": 0}]
    assert "unconfirmed" not in entry
    backwards = talk.ask(codec.EXTENDED, string(b"copy-data"), string(b"h2"), u64(0), u64(0), string(b"h1"), u64(0))
    assert isinstance(backwards, Housekeeping)
    assert backwards.to is Side.CLIENT


def test_both_files_tell_what_the_server_copied() -> None:
    talk = Talk()
    talk.open(b"/from", R, b"h1")
    talk.open(b"/to", W | C, b"h2")
    talk.ask(codec.EXTENDED, string(b"copy-data"), string(b"h1"), u64(5), u64(7), string(b"h2"), u64(9))
    talk.answer(codec.STATUS, u32(4), string(b""), string(b""))
    (source,), (copy,) = talk.close(b"h1"), talk.close(b"h2")
    assert source["copied_to"] == [{"path": "/to"}]
    assert copy["copied_from"] == [{"path": "/from", "offset": 5, "bytes": 7, "at": 9}]
    assert copy["failed"] == 1


def test_what_the_server_has_not_answered_is_not_confirmed() -> None:
    talk = Talk()
    talk.open(flags=W | C)
    for at in range(3):
        talk.ask(codec.WRITE, string(b"h1"), u64(at), string(b"x"))
        if not at:
            talk.answer(codec.STATUS, u32(0), string(b""), string(b""))
    (remark,) = talk.engine.receive(Side.TARGET, b"")
    assert isinstance(remark, Remark)
    assert (remark.entry["bytes"], remark.entry["unconfirmed"], remark.entry["closed"]) == (3, 2, False)


def test_files_that_were_left_open_are_told_at_the_end() -> None:
    talk = Talk()
    talk.open(flags=W | C)
    talk.ask(codec.WRITE, string(b"h1"), u64(0), string(b"half"))
    (remark,) = talk.engine.receive(Side.TARGET, b"")
    assert isinstance(remark, Remark)
    assert (remark.entry["bytes"], remark.entry["closed"]) == (4, False)
    assert talk.engine.receive(Side.TARGET, b"") == []


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


@pytest.mark.parametrize(
    ("kind", "parts", "text"),
    [
        (codec.REMOVE, [string(b"/x")], "remove /x"),
        (codec.OPEN, [string(b"/x"), u32(W | C), NOTHING], "put /x"),
        (codec.RENAME, [string(b"/x"), string(b"/y")], "rename /x -> /y"),
    ],
)
def test_what_was_allowed_and_failed_at_the_target_is_told(kind: int, parts: list[bytes], text: str) -> None:
    talk = Talk()
    for code, name in ((3, "permission_denied"), (4, "failure"), (31, "31")):
        talk.straight(talk.ask(kind, *parts))
        told = talk.answer(codec.STATUS, u32(code), string(b"somebody's secret"), string(b""))
        assert told == [Remark({"event": "failed", "text": text, "status": name})]
    if kind != codec.OPEN:
        talk.straight(talk.ask(kind, *parts))
        assert talk.answer(codec.STATUS, u32(0), string(b""), string(b"")) == []


def test_a_path_that_leads_nowhere_is_told_as_failed() -> None:
    talk = Talk()
    talk.ask(codec.REMOVE, string(b"/no/x"))
    _, failed = talk.lead(2)
    assert failed == Remark({"event": "failed", "text": "remove /no/x", "status": "no_such_file"})


def test_a_change_of_an_open_file_that_failed_is_told() -> None:
    talk = Talk()
    talk.open(flags=W)
    talk.ask(codec.FSETSTAT, string(b"h1"), u32(4) + u32(0o600))
    (failed,) = talk.answer(codec.STATUS, u32(3), string(b""), string(b""))
    assert isinstance(failed, Remark)
    assert (failed.entry["event"], failed.entry["status"]) == ("failed", "permission_denied")
