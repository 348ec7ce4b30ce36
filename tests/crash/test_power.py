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
