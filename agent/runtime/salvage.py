"""What this agent still holds of recordings, opened for its operator: everything that was sealed and never delivered.

    DIR/refused/ses_…/000003_140503Z.ch01.cast.zst    a chunk, byte for byte as it would have been stored
    DIR/refused/ses_…/chunks.jsonl                    number, hash and chain of each, as it would have been registered
    DIR/spool/ses_…/lines.ch01.cast                   lines of the write-ahead log that are in no chunk yet

Nothing is changed or removed where it came from. One thing that cannot be opened keeps nobody from the rest.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from agent.runtime.leftovers import Logged
from agent.runtime.packing import text
from agent.runtime.spool import SPOOL, Folder, beyond, cut_of
from agent.runtime.spool_keys import SpoolKeys
from chalicelib.contracts import ids, recording
from chalicelib.contracts.faults import Fault

REFUSED: Final = "refused"


class Held(NamedTuple):
    """One recording, or what is left of it."""

    folder: Path
    place: str
    """``spool``: it waits, or is going on. ``refused``: the control plane does not take it."""
    chunks: int
    size: int
    """Bytes."""

    @property
    def sid(self) -> str:
        """The session. What was refused more than once has a number behind it."""
        return self.folder.name.partition(".")[0]


class Opened(NamedTuple):
    """What could be opened, and what could not."""

    place: Path
    chunks: int
    lines: int
    unreadable: list[str]


def held(state: Path) -> list[Held]:
    """Return everything that is held, oldest first. Raises OSError."""
    found = []
    for place in (SPOOL, REFUSED):
        root = state / place
        for path in sorted(root.iterdir()) if root.is_dir() else ():
            if ids.is_id(ids.SESSION, path.name.partition(".")[0]):
                files = [each for each in path.iterdir() if each.suffix == ".sealed"]
                found.append(Held(path, place, len(files), sum(each.stat().st_size for each in files)))
    return sorted(found, key=lambda each: (each.sid, each.folder.name))


def find(state: Path, sid: str) -> list[Held]:
    """Return what is held of a session; ``sid`` is its identifier or an end of it. Raises Fault, OSError."""
    found = [each for each in held(state) if each.sid.lower().endswith(sid.lower())]
    if not found:
        raise Fault("unknown_session", f"This agent holds nothing of a session {sid}.", hint="See: sallyport-agent unseal")
    if len({each.sid for each in found}) > 1:
        raise Fault("bad_request", f"{sid} is the end of {len(found)} sessions.", hint="Give more of the identifier.")
    return found


def unseal(what: Held, keys: SpoolKeys, into: Path, logged: Logged | None) -> Opened:
    """Write what is held into a new folder in ``into``, for this user alone. ``logged`` is what the log has of the session.

    Raises OSError where that cannot be written, or exists.
    """
    place = into / what.place / what.folder.name
    place.mkdir(mode=0o700, parents=True)
    folder = Folder(what.folder, keys)
    names, facts, unreadable = folder.names(), list[bytes](), list[str]()
    for name in names:
        try:
            found = folder.chunk(name)
            body = found.body()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):  # delivered meanwhile, by an agent that runs
                unreadable.append(str(error))
            continue
        _write(place / recording.key("", found.chunk).removeprefix("/"), body)
        facts.append(msgspec.json.encode(found.chunk) + b"\n")
    _write(place / "chunks.jsonl", b"".join(facts))
    texts: dict[str, list[bytes]] = defaultdict(list)
    if logged is not None and logged.progress is not None:
        for frame in beyond(logged, logged.progress, [cut_of(name) for name in names])[1]:
            texts[frame.kind].append(text(frame.payload))
    for kind, parts in texts.items():
        _write(place / f"lines.{kind}", b"".join(parts))
    lines = sum(part.count(b"\n") for parts in texts.values() for part in parts)
    return Opened(place, len(facts), lines, unreadable)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
