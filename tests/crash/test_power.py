"""What a power cut in the tests may take: never what was synced."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.crash import power


def noted(path: Path, *notes: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(note) + "\n" for note in notes))
    return path


def test_a_name_stays_that_any_sync_has_seen(tmp_path: Path) -> None:
    """Two threads sync a folder: the one that looked first, and did not see ``second``, is the last to say that it is done."""
    folder = tmp_path / "state" / "spool" / "ses_1"
    folder.mkdir(parents=True)
    for name in ("first", "second", "third"):
        (folder / name).write_text("whole")
    inodes = {name: (folder / name).stat().st_ino for name in ("first", "second")}
    inode = folder.stat().st_ino
    early = {"folder": inode, "names": {"first": inodes["first"]}}
    notes = noted(tmp_path / "notes", {"folder": inode, "names": inodes}, early)
    for seed in range(20):
        power.cut(tmp_path / "state", notes, random.Random(seed))
    assert sorted(path.name for path in folder.iterdir()) == ["first", "second"]


def test_a_write_that_was_announced_and_never_begun_tears_nothing(tmp_path: Path) -> None:
    """The agent notes a write before it writes, and may be killed in between: the file is then shorter than the note says."""
    log = tmp_path / "state" / "spool" / "ses_1" / "wal-00000001"
    log.parent.mkdir(parents=True)
    for size, whole in ((0, 0), (250, 200)):
        for seed in range(20):
            log.write_bytes(b"x" * size)
            inode = log.stat().st_ino
            folder = {"folder": log.parent.stat().st_ino, "names": {log.name: inode}}
            begun = {"log": inode, "at": 200, "to": 300, "done": False}
            notes = noted(tmp_path / "notes", folder, {"file": inode, "size": size}, begun)
            power.cut(tmp_path / "state", notes, random.Random(seed))
            assert log.read_bytes()[:whole] == b"x" * whole
