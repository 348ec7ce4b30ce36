"""The write-ahead log's bytes: whatever a crash or a bad disk leaves, what is read back was written, whole and in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.runtime.leftovers import Found, name, read_log
from agent.runtime.packing import Packed, text
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.wal import (
    FRAME_BYTES,
    PAYLOAD_LIMIT,
    Cut,
    Frame,
    Head,
    Place,
    Progress,
    Type,
    checkpoint,
    cut_payload,
    encode,
    encode_head,
    read_cut,
)

SECRET = b"s" * 32
KEYS = SpoolKeys(SECRET)
SIDS = ("ses_1", "ses_2")
ZEROS = bytes(2048)

#: Lines, each of one of two sessions, in batches: each batch was on disk before the next was written.
batches = st.lists(st.lists(st.tuples(st.sampled_from([0, 1]), st.binary(max_size=700)), min_size=1, max_size=4), max_size=5)


class Log:
    """A log of one run, and where each of its frames ends."""

    def __init__(self, written: Sequence[Sequence[tuple[int, bytes]]]) -> None:
        log = KEYS.log(KEYS.salt)
        self.seqs, self.counter = [1, 1], 0
        self.data = encode_head(Head(1, 1), log)
        self.frames: list[tuple[int, int, bytes]] = []
        """Of whom, where it ends, what it says."""
        self.begins: list[int] = []
        """Where each of them begins."""
        self.batches: list[int] = []
        """Where each batch ends."""
        for session, sid in enumerate(SIDS):
            self.add(checkpoint(Progress(sid=sid, chain="ab"), 1), session, 0)
        acknowledged = self.counter
        for batch in written:
            for session, payload in batch:
                self.begins.append(len(self.data))
                # Long ones are packed, as what floods is.
                said = Packed([payload]) if len(payload) > 300 else payload
                self.add(Frame(Type.CAST, 1, self.seqs[session], 5, 0, 0, said), session, acknowledged)
                self.seqs[session] += 1
                self.frames.append((session, len(self.data), payload))
            acknowledged = self.counter
            self.batches.append(len(self.data))

    def add(self, frame: Frame, session: int, acknowledged: int) -> None:
        self.counter += 1
        self.last = len(self.data)
        sid = SIDS[session]
        cipher = KEYS.log(KEYS.salt) if frame.type is Type.CHECKPOINT else KEYS.lines(KEYS.salt, sid)
        self.data += encode(frame, Place(session + 1, self.counter, acknowledged), cipher)

    def said(self, upto: int) -> list[list[bytes]]:
        """What each session has in the first ``upto`` bytes."""
        return [[line for owner, end, line in self.frames if owner == session and end <= upto] for session in (0, 1)]


def read(folder: Path, data: bytes) -> Found:
    for path in folder.iterdir():
        path.unlink()
    (folder / name(1, KEYS.salt)).write_bytes(data)
    return read_log(folder, KEYS)


def lines(found: Found) -> list[list[bytes]]:
    return [[text(frame.payload) for frame in found.sessions[sid].frames] if sid in found.sessions else [] for sid in SIDS]


def is_part(some: list[bytes], whole: list[bytes]) -> bool:
    """Whether ``some`` is ``whole`` with elements left out."""
    rest = iter(whole)
    return all(each in rest for each in some)


quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


@quick
@given(batches)
def test_a_whole_log_reads_back(tmp_path: Path, written: list[list[tuple[int, bytes]]]) -> None:
    log = Log(written)
    for tail in (b"", ZEROS):
        found = read(tmp_path, log.data + tail)
        assert lines(found) == log.said(len(log.data))
        assert not found.damaged
        assert [found.sessions[sid].next_seq for sid in SIDS] == log.seqs
        assert not any(each.damaged for each in found.sessions.values())


@quick
@given(batches, st.data())
def test_a_log_cut_off_anywhere_keeps_every_whole_frame(
    tmp_path: Path, written: list[list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    log = Log(written)
    length = data.draw(st.integers(0, len(log.data)))
    found = read(tmp_path, log.data[:length] + bytes(len(log.data) - length) + ZEROS)
    # A tag may end in zeros, and then losing those is no loss.
    assert lines(found) in (log.said(length), log.said(length + 1), log.said(length + 2))
    assert not found.damaged


@quick
@given(batches, st.data())
def test_a_flipped_bit_costs_one_frame_and_is_said(
    tmp_path: Path, written: list[list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    log = Log(written)
    at = data.draw(st.integers(0, len(log.data) - 1))
    spoiled = bytearray(log.data)
    spoiled[at] ^= 1 << data.draw(st.integers(0, 7))
    found = read(tmp_path, bytes(spoiled) + ZEROS)
    said, whole = lines(found), log.said(len(log.data))
    heads = log.begins[0] if log.frames else len(log.data)
    if log.last + 52 <= at < log.last + 56 or (at >= log.last and log.data.endswith(b"\0")):
        # A last frame whose length goes beyond the end, or whose tag ends like unwritten room: so does an unfinished write.
        assert all(map(is_part, said, whole))
        assert sum(map(len, said)) == max(0, len(log.frames) - 1)
    elif at >= heads:
        assert all(map(is_part, said, whole))
        assert sum(map(len, said)) == len(log.frames) - 1
        assert found.damaged
        (lost,) = [session for session in (0, 1) if len(said[session]) < len(whole[session])]
        assert found.sessions[SIDS[lost]].damaged
    else:
        assert found.damaged or found.unreadable


@quick
@given(batches, st.data())
def test_a_write_that_was_torn_anyhow_loses_nothing_that_was_acknowledged(
    tmp_path: Path, written: list[list[tuple[int, bytes]]], data: st.DataObject
) -> None:
    # Sectors of the last write may have reached the disk in any order.
    log = Log(written)
    start = log.batches[-2] if len(log.batches) > 1 else len(log.data) if not log.batches else log.batches[-1]
    torn = bytearray(log.data + ZEROS)
    first = -(-start // 512)
    for sector in data.draw(st.sets(st.integers(first, max(first, len(log.data) // 512)))):
        torn[sector * 512 : (sector + 1) * 512] = bytes(512)
    found = read(tmp_path, bytes(torn))
    acknowledged, whole = log.said(start), log.said(len(log.data))
    for session in (0, 1):
        assert lines(found)[session][: len(acknowledged[session])] == acknowledged[session]
        assert is_part(lines(found)[session], whole[session])
    assert not found.damaged


def test_garbage_behind_the_last_frame_is_damage(tmp_path: Path) -> None:
    log = Log([[(0, b"one\n"), (1, b"two\n")]])
    found = read(tmp_path, log.data + b"\x55" * 100)
    assert lines(found) == [[b"one\n"], [b"two\n"]]
    assert found.damaged
    assert all(each.damaged for each in found.sessions.values())


def test_a_frame_that_stands_there_again_is_read_once(tmp_path: Path) -> None:
    log = Log([[(0, b"one\n"), (1, b"two\n")], [(0, b"three\n")]])
    again = log.data[log.batches[0] :]
    found = read(tmp_path, log.data + log.data[log.frames[0][1] :] + again + ZEROS)
    assert lines(found) == [[b"one\n", b"three\n"], [b"two\n"]]


def test_a_forged_frame_inside_a_damaged_one_is_not_found(tmp_path: Path) -> None:
    forger = SpoolKeys(b"f" * 32)
    forged = encode(Frame(Type.CAST, 1, 2, 0, 0, 0, b"forged\n"), Place(1, 4, 3), forger.lines(KEYS.salt, SIDS[0]))
    log = Log([[(0, b"x" + forged)], [(1, b"behind\n")]])
    assert forged not in log.data
    spoiled = bytearray(log.data)
    spoiled[log.frames[0][1] - 1] ^= 1
    assert lines(read(tmp_path, bytes(spoiled))) == [[], [b"behind\n"]]
    # Not even where it stands in clear, in place of what was written.
    start = log.frames[0][1] - FRAME_BYTES - len(log.frames[0][2])
    spoiled[start : start + len(forged)] = forged
    assert lines(read(tmp_path, bytes(spoiled))) == [[], [b"behind\n"]]


def test_nothing_can_be_read_from_a_copy_without_the_key(tmp_path: Path) -> None:
    log = Log([[(0, b"secret\n")]])
    (tmp_path / name(1, KEYS.salt)).write_bytes(log.data)
    assert b"secret" not in log.data
    assert b"ses_1" not in log.data
    found = read_log(tmp_path, SpoolKeys(b"t" * 32))
    assert (found.sessions, len(found.unreadable)) == ({}, 1)


def test_one_sessions_key_reads_nothing_of_anothers(tmp_path: Path) -> None:
    class OnlyTheFirst(SpoolKeys):
        """Whoever was given one session's key."""

        def lines(self, salt: bytes, sid: str) -> AESGCM:
            return super().lines(salt, SIDS[0])

    log = Log([[(0, b"one\n"), (1, b"other\n")], [(0, b"two\n")]])
    assert lines(read(tmp_path, log.data)) == [[b"one\n", b"two\n"], [b"other\n"]]
    (tmp_path / name(1, KEYS.salt)).write_bytes(log.data)
    assert lines(read_log(tmp_path, OnlyTheFirst(SECRET))) == [[b"one\n", b"two\n"], []]


def test_a_segment_that_was_only_begun_goes(tmp_path: Path) -> None:
    for data in (b"", ZEROS, Log([]).data[:20] + ZEROS):
        found = read(tmp_path, data)
        assert (found.sessions, found.unreadable, found.damaged) == ({}, [], [])
        assert list(tmp_path.iterdir()) == []


def test_a_length_past_the_limit_is_damage_and_not_an_allocation(tmp_path: Path) -> None:
    log = Log([[(0, b"one\n")], [(1, b"two\n")]])
    spoiled = bytearray(log.data)
    at = log.frames[0][1] - FRAME_BYTES - 4
    spoiled[at + 52 : at + 56] = (PAYLOAD_LIMIT + 1).to_bytes(4)
    found = read(tmp_path, bytes(spoiled))
    assert lines(found) == [[], [b"two\n"]]
    assert found.damaged


def test_what_is_packed_is_as_long_as_it_is_on_disk_and_no_longer(tmp_path: Path) -> None:
    lines_ = [b"x" * 3000 + b"\n", b"short\n", b"y" * 100_000 + b"\n", b"last\n"]
    log = Log([[(0, each) for each in lines_]])
    assert len(log.data) < 2000
    found = read(tmp_path, log.data + ZEROS)
    assert lines(found) == [lines_, []]
    assert not found.damaged


def test_a_form_that_nobody_knows_is_damage(tmp_path: Path) -> None:
    log = Log([[(0, b"one\n")], [(1, b"two\n")]])
    spoiled = bytearray(log.data)
    spoiled[log.begins[0] + 5] = 2
    found = read(tmp_path, bytes(spoiled) + ZEROS)
    assert lines(found) == [[], [b"two\n"]]
    assert found.damaged


def test_a_form_is_sealed_with_what_it_is_of(tmp_path: Path) -> None:
    log = Log([[(0, b"z" * 400)], [(1, b"two\n")]])
    spoiled = bytearray(log.data)
    assert spoiled[log.begins[0] + 5] == 1
    spoiled[log.begins[0] + 5] = 0
    found = read(tmp_path, bytes(spoiled) + ZEROS)
    assert lines(found) == [[], [b"two\n"]]
    assert found.damaged


def test_a_payload_past_the_limit_is_refused() -> None:
    frame = Frame(Type.CAST, 1, 1, 0, 0, 0, b"x" * (PAYLOAD_LIMIT + 1))
    with pytest.raises(ValueError, match="at most"):
        encode(frame, Place(1, 1, 0), KEYS.log(KEYS.salt))


def test_progress_moves_forward_only() -> None:
    progress = Progress(sid="ses_0", n=3, chain="ab" * 32, upto={"ch01.cast": 4}, operations=2, denied=1)
    cut = Cut(n=3, kind="ch01.cast", upto=9, chain="cd" * 32)
    later = progress.after(cut)
    assert (later.n, later.chain, later.upto) == (4, "cd" * 32, {"ch01.cast": 9})
    assert later.after(cut) is later
    assert read_cut(Frame(Type.CUT, 0, 1, 0, 0, 0, cut_payload(cut))) == cut
