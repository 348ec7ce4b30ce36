"""What a power cut leaves of an agent's files: what was synced, and of the rest whatever happened to reach the disk."""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from pathlib import Path
from typing import Any


class Synced:
    """What the nursery noted: how far each file was synced, and which names each folder had when it was."""

    def __init__(self, notes: Path) -> None:
        self.sizes: dict[int, int] = {}
        self.names: dict[int, set[tuple[str, int]]] = defaultdict(set)
        """Every name that a folder ever had when it was synced. Of two syncs at the same time, the one that looked first may end
        last, so no one of them tells which names are on disk."""
        self.ends: dict[int, int] = {}
        """Where the last write into each log ended that was opened so that writes are synced by themselves."""
        self.begun: dict[int, tuple[int, int]] = {}
        """From where to where a write into such a log was going on."""
        for line in notes.read_text().splitlines() if notes.exists() else []:
            note: dict[str, Any] = json.loads(line)
            if "log" in note and note["done"]:
                self.ends[note["log"]] = max(self.ends.get(note["log"], 0), note["to"])
                self.begun.pop(note["log"], None)
            elif "log" in note:
                self.begun[note["log"]] = (note["at"], note["to"])
            elif "file" in note:
                self.sizes[note["file"]] = note["size"]
                self.begun.pop(note["file"], None)  # synced as a whole, or another file by now
            else:
                self.names[note["folder"]] |= set(note["names"].items())


def cut(state: Path, notes: Path, chance: random.Random) -> list[str]:
    """Take from ``state`` some of what was not synced, and spoil the newest log's end. Returns what was done.

    Nothing that was synced is touched: a disk that forgets that is a broken one, and no software can make up for it.
    """
    synced = Synced(notes)
    done = _forget_names(state / "spool", synced, chance) + _forget_bytes(state, synced, chance)
    done += _tear_writes(state, synced, chance)
    logs = [(path.stat().st_mtime_ns, path) for path in state.rglob("*") if path.is_file() and is_log(path)]
    if logs:
        newest = max(logs)[1]
        with newest.open("r+b") as file:
            # Behind what was written, which in a file that was allocated beforehand is not its end.
            inode = newest.stat().st_ino
            whole = file.read(max(synced.ends.get(inode, 0), synced.begun.get(inode, (0, 0))[1]) or -1)
            tail = garbage(whole, chance)
            file.write(tail)
        done.append(f"{newest.name}: {len(tail)} bytes that are no frame behind byte {len(whole)}")
    return done


def _forget_names(spool: Path, synced: Synced, chance: random.Random) -> list[str]:
    """A file whose folder was not synced since it got its name may have none: fsync(2)."""
    done = []
    for folder in [path for path in sorted(spool.rglob("*")) if path.is_dir()]:
        known = synced.names[folder.stat().st_ino]
        for path in sorted(folder.iterdir()):
            if path.is_file() and (path.name, path.stat().st_ino) not in known and chance.random() < 0.5:
                path.unlink()
                done.append(f"{path.name}: its name was not synced, and is gone")
    return done


def _forget_bytes(state: Path, synced: Synced, chance: random.Random) -> list[str]:
    done = []
    for path in sorted(path for path in state.rglob("*") if path.is_file()):
        about = path.stat()
        safe = synced.sizes.get(about.st_ino, about.st_size)
        if about.st_size > safe and chance.random() < 0.7:
            size = chance.randint(safe, about.st_size)
            os.truncate(path, size)
            done.append(f"{path.name}: {about.st_size - size} of {about.st_size - safe} bytes that were not synced are gone")
    return done


def _tear_writes(state: Path, synced: Synced, chance: random.Random) -> list[str]:
    """Of a write that was going on, some of the beginning may be on disk, and zeros or nothing of the rest."""
    done = []
    for path in sorted(path for path in state.rglob("*") if path.is_file()):
        about = path.stat()
        start, end = synced.begun.get(about.st_ino, (0, 0))
        end = min(end, about.st_size)  # whoever was killed just before the write has not made the file longer yet
        if start < end:
            torn = chance.randint(start, end)
            with path.open("r+b") as file:
                file.seek(torn)
                file.write(bytes(end - torn))
            done.append(f"{path.name}: {end - torn} of {end - start} bytes that were being written are zeros")
    return done


def is_log(path: Path) -> bool:
    """Tell a write-ahead log's file by its name."""
    return path.name.startswith("wal-")


def garbage(whole: bytes, chance: random.Random) -> bytes:
    """What may stand behind the last synced byte: zeros, noise, a frame's beginning, or some of the file once more."""
    length = chance.randint(1, 400)
    match chance.randrange(4):
        case 0:
            return bytes(length)
        case 1:
            return chance.randbytes(length)
        case 2:
            return whole[: min(length, max(1, len(whole) - 1))]
        case _:
            start = chance.randrange(max(1, len(whole)))
            return whole[start : start + length] or b"\0"
