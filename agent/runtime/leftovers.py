"""What earlier processes left in the write-ahead log, sorted to the sessions that it is of. Blocks: call it through ``Disk``.

Whatever is genuine is read, on both sides of damage. Damage is laid to the sessions that miss frames, and where those do not
account for all that is missing, to every session that the log knows: it may have been theirs. A torn end was never acknowledged
and is cut.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.runtime import wal
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.wal import Frame, Placed, Progress, Type

_NAME: Final = re.compile(r"wal-(\d{8})\.([0-9a-f]{32})")


class Logged:
    """What the log holds of one session."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.frames: list[Frame] = []
        """Lines and cuts, in order."""
        self.next_seq = 1
        self.damaged = False


class OldSegment(NamedTuple):
    """A segment that may go once no session needs it: for each, the number of its last frame in there."""

    path: Path
    last: dict[str, int]


class Found(NamedTuple):
    """Everything that is in the log. ``unreadable`` segments hold nothing, ``damaged`` ones less than was written."""

    sessions: dict[str, Logged]
    segments: list[OldSegment]
    damaged: list[Path]
    unreadable: list[Path]
    number: int
    """The highest number of a segment."""


class _Read(NamedTuple):
    path: Path
    number: int
    first: int
    segment: wal.Segment
    whole: bool
    """False where its head was not genuine."""


class _Run:
    """What one process wrote."""

    def __init__(self, keys: SpoolKeys, salt: bytes) -> None:
        self._keys = keys
        self._salt = salt
        self._log = keys.log(salt)
        self._lines: dict[int, AESGCM] = {}
        self.sids: dict[int, str] = {}
        self.segments: list[_Read] = []

    def cipher(self, kind: int, session: int) -> AESGCM | None:
        if kind == Type.CHECKPOINT:
            return self._log
        cipher = self._lines.get(session)
        if cipher is None and session in self.sids:
            cipher = self._lines[session] = self._keys.lines(self._salt, self.sids[session])
        return cipher

    def learn(self, placed: Placed) -> None:
        if placed.frame.type is Type.CHECKPOINT:
            self.sids[placed.place.session] = wal.read_checkpoint(placed.frame).sid

    def read(self, path: Path, number: int, data: bytes) -> bool:
        """Read one more segment. Returns whether anything of it was genuine."""
        head = wal.read_head(data, self._log)
        segment = wal.read_frames(data, self.cipher, self.learn)
        if head is None and not segment.frames:
            return False
        first = head.first if head is not None else segment.frames[0].place.counter
        self.segments.append(_Read(path, number, first, segment, whole=head is not None and head.number == number))
        return True

    def acknowledged(self) -> int:
        """The last counter that was on disk before something else was written."""
        said = (each.place.acknowledged for read in self.segments for each in read.segment.frames)
        return max([0, *said, *(read.first - 1 for read in self.segments)])


def name(number: int, salt: bytes) -> str:
    """Return the file name of a segment."""
    return f"wal-{number:08d}.{salt.hex()}"


def read_log(folder: Path, keys: SpoolKeys) -> Found:
    """Read all segments in ``folder``. Raises OSError."""
    found = Found({}, [], [], [], 0)
    runs: dict[bytes, _Run] = {}
    number = 0
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        number, salt, data = int(match[1]), bytes.fromhex(match[2]), path.read_bytes()
        if wal.begun(data):
            path.unlink()
        elif not runs.setdefault(salt, _Run(keys, salt)).read(path, number, data):
            found.unreadable.append(path)
    for run in runs.values():
        _sort(run, found)
    if found.unreadable:
        for logged in found.sessions.values():
            logged.damaged = True
    return found._replace(number=number)


def _sort(run: _Run, found: Found) -> None:
    """Give the frames of ``run`` to their sessions, and tell damage from a torn end."""
    account = _Account(run.acknowledged())
    following = [*run.segments[1:], None][: len(run.segments)]
    for read, after in zip(run.segments, following, strict=True):
        missing, last = account.missing, dict[str, int]()
        account.begin(read)
        spoiled = read.segment.state == "damaged" or not read.whole
        account.damaged = account.damaged or spoiled
        for place, frame in read.segment.frames:
            if account.arrived(place.counter):
                sid = run.sids[place.session]
                account.follows(sid, frame)
                last[sid] = _take(found, sid, frame)
        if after is not None and after.number == read.number + 1:
            account.reaches(after.first)
        if account.missing > missing or spoiled:
            found.damaged.append(read.path)
            account.damaged = True
        found.segments.append(OldSegment(read.path, last))
    for sid in account.concerned():
        found.sessions[sid].damaged = True


class _Account:
    """What is missing of a run, and whose it was."""

    def __init__(self, acknowledged: int) -> None:
        self.missing = 0
        """Frames that were acknowledged and cannot be read."""
        self.damaged = False
        self._acknowledged = acknowledged
        self._torn = False
        self._expected = 0
        self._number = -1
        self._due: dict[str, int] = {}
        self._sids: set[str] = set()
        self._lost: dict[str, int] = defaultdict(int)

    def begin(self, read: _Read) -> None:
        """A segment follows. Where others in front of it have gone, it says itself where sessions stand."""
        if read.number != self._number + 1:
            self._expected = read.first
            self._due.clear()
        self._number = read.number

    def arrived(self, counter: int) -> bool:
        """A frame was read. Returns whether it counts: what stands behind a torn write was never acknowledged, and a frame that
        was read before is not another one. A disk that lost power may show old blocks where new ones were to be."""
        if counter < self._expected:
            return False
        self.reaches(counter)
        self._expected = max(self._expected, counter + 1)
        return not self._torn or counter <= self._acknowledged

    def reaches(self, counter: int) -> None:
        """Everything before ``counter`` was written."""
        if counter > self._expected:
            known = self._acknowledged + 1
            self.missing += min(counter, known) - min(self._expected, known)
            self._torn = self._torn or (counter > known and not self.damaged)
            self._expected = counter

    def follows(self, sid: str, frame: Frame) -> None:
        """``frame`` is the next one of its session's that could be read."""
        self._sids.add(sid)
        self._lost[sid] += max(0, frame.seq - self._due.get(sid, frame.seq))
        self._due[sid] = frame.seq + (frame.type is not Type.CHECKPOINT)

    def concerned(self) -> set[str]:
        """Return whom the damage concerns: who misses frames, and everybody where that does not explain it."""
        if not self.damaged:
            return set()
        if self.missing and sum(self._lost.values()) == self.missing:
            return {sid for sid, lost in self._lost.items() if lost}
        return self._sids


def _take(found: Found, sid: str, frame: Frame) -> int:
    """Keep ``frame`` for its session, and return the number of its last frame so far."""
    logged = found.sessions.setdefault(sid, Logged())
    if frame.type is Type.CHECKPOINT:
        progress = wal.read_checkpoint(frame)
        if logged.progress is None or progress.n >= logged.progress.n:
            logged.progress = progress
        logged.next_seq = max(logged.next_seq, frame.seq)
    else:
        logged.frames.append(frame)
        logged.next_seq = max(logged.next_seq, frame.seq + 1)
    return logged.next_seq - 1
