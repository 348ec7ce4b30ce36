"""A session's folder and the log as a crash may leave them."""

from __future__ import annotations

from pathlib import Path

from agent.runtime import identity as identities
from agent.runtime.leftovers import name
from agent.runtime.spool import LOG, Folder
from agent.runtime.spool_keys import SpoolKeys
from agent.runtime.wal import Cut, Frame, Head, Place, Progress, Type, checkpoint, encode, encode_head
from chalicelib.contracts import recording
from tests.fakes.control_plane import FakeControlPlane


class Left:
    """A folder as a crash may leave it."""

    def __init__(self, control: FakeControlPlane, state: Path, public_key: bytes) -> None:
        self.sid = control.session().sid
        self.seed = recording.seed(self.sid, public_key)
        self.keys = SpoolKeys(identities.load(state)[1].spool_secret)
        self.log = state / "spool" / LOG
        self.folder = Folder(state / "spool" / self.sid, self.keys)
        self.folder.create()
        self.log.mkdir(exist_ok=True)
        self.progress = Progress(sid=self.sid, chain=self.seed)
        self.counter = 0

    def segment(self, number: int, *frames: Frame, first: int = 1) -> Path:
        path = self.log / name(number, self.keys.salt)
        head = encode_head(Head(number, self.counter + 1), self.keys.log(self.keys.salt))
        path.write_bytes(head + self.frames(checkpoint(self.progress, first), *frames) + bytes(1000))
        return path

    def frames(self, *frames: Frame) -> bytes:
        """Each of them written when everything before it was on disk."""
        written = b""
        for frame in frames:
            of_log = frame.type is Type.CHECKPOINT
            cipher = self.keys.log(self.keys.salt) if of_log else self.keys.lines(self.keys.salt, self.sid)
            written += encode(frame, Place(1, self.counter + 1, self.counter), cipher)
            self.counter += 1
        return written

    def chunk(self, upto: int, *lines: bytes, kind: str = "ch01.cast") -> Cut:
        made = self.folder.write_chunk(self.progress, kind, 1_700_000_000_000, upto, lines)
        self.progress = self.progress.after(made.cut)
        return made.cut


def spoil(path: Path, at: int, *, zeros: bool = False) -> None:
    """Change what stands ``at`` before the end of what is written; or lose everything from there."""
    data = bytearray(path.read_bytes())
    place = len(data.rstrip(b"\0")) + at
    if zeros:
        data[place:] = bytes(len(data) - place)
    else:
        data[place] ^= 0xFF
    path.write_bytes(data)


def line(seq: int, text: bytes, channel: int = 1, operations: int = 0) -> Frame:
    return Frame(Type.CAST, channel, seq, 1_700_000_000_000 + seq, operations, 0, text)
