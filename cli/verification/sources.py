"""Where evidence lies: a folder that holds what ``aws s3 sync`` made, or anything else with these four methods."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from chalicelib.contracts.faults import Fault
from chalicelib.contracts.manifest import MANIFEST_LIMIT

RECORDINGS: Final = "recordings/"
LOG: Final = "log/"


class Object(NamedTuple):
    """One object: its key in the bucket, and its size in bytes."""

    key: str
    size: int


class Source(Protocol):
    """Reads evidence. Missing is None; anything that cannot be read is a Fault."""

    workers: int
    """How many reads at once make sense."""
    live: bool
    """Whether more is written there while it is read."""

    def objects(self, prefix: str) -> Iterator[Object]:
        """Yield every object below ``prefix``, by key."""
        ...

    def read(self, key: str) -> bytes | None:
        """Return an object."""
        ...

    def versions(self, prefix: str) -> dict[str, list[str]] | None:
        """Return the versions of every key below ``prefix``, a delete marker as an empty text; None where that cannot be seen."""
        ...


class Folder:
    """A copy of the bucket. Implements :class:`Source`."""

    live = False

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise Fault("not_found", f"{root} is not a folder.", hint="Copy the bucket: aws s3 sync s3://BUCKET FOLDER")
        self.root = root
        self.workers = max(1, os.cpu_count() or 1)

    def objects(self, prefix: str) -> Iterator[Object]:
        """Yield every file below ``prefix``, by key."""
        yield from self._walk(prefix.rstrip("/"))

    def read(self, key: str) -> bytes | None:
        """Return a file."""
        path = self.root / key
        try:
            with path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                if size > MANIFEST_LIMIT:
                    raise Fault("too_large", f"{key} is larger than anything that the gateway writes.")
                return file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def versions(self, prefix: str) -> dict[str, list[str]] | None:
        """Return None: a copy has the newest versions only."""
        return None

    def _walk(self, key: str) -> Iterator[Object]:
        try:
            entries = sorted(os.scandir(self.root / key), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            # A link could lead the same bytes, or others, in under a second name.
            if entry.is_symlink():
                raise Fault("bad_request", f"{key}/{entry.name} is a symbolic link; a copy of a bucket has none.")
            if entry.is_dir():
                yield from self._walk(f"{key}/{entry.name}")
            else:
                yield Object(f"{key}/{entry.name}", entry.stat().st_size)
