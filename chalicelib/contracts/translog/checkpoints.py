"""Checkpoints: a log's statement of its size and root, who vouches for it, and proofs that carry one with them.

gateway.example.com/log                      origin: which log this is
20852163                                     size
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I= root
<empty line>
— gateway.example.com/log Az3gr…             the log itself
— edge-1 jWbPP…                              a witness: it saw this, at a time, and nothing that contradicts it
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from chalicelib.contracts.translog import merkle, notes
from chalicelib.contracts.translog.notes import Check, Key, Note

#: Where the newest checkpoint lies below the log's prefix, and where each one that was ever published lies.
NEWEST: Final = "checkpoint"
HISTORY: Final = "checkpoints"
COSIGNATURES: Final = "cosignatures"
_PROOF: Final = "c2sp.org/tlog-proof@v1"
_PROOF_LIMIT: Final = 64


class Checkpoint(msgspec.Struct, frozen=True):
    """What a checkpoint says."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class Witnessed(msgspec.Struct, frozen=True):
    """A good cosignature."""

    name: str
    time_s: int
    """When the witness saw it, Unix seconds, by its own clock."""


class Proof(msgspec.Struct, frozen=True):
    """A leaf with everything that proves it was in the log (https://c2sp.org/tlog-proof); ``extra`` is the leaf itself."""

    index: int
    hashes: list[bytes]
    note: Note
    extra: bytes = b""

    def __str__(self) -> str:
        lines = [_PROOF]
        if self.extra:
            lines.append(f"extra {base64.b64encode(self.extra).decode()}")
        lines += [f"index {self.index}", *(base64.b64encode(part).decode() for part in self.hashes)]
        return "\n".join(lines) + f"\n\n{self.note}"


def history_path(size: int) -> str:
    """Return where the checkpoint of ``size`` is kept for ever; names sort by size."""
    return f"{HISTORY}/{size:020d}"


def cosignature_path(size: int, name: str) -> str:
    """Return where a witness's line for the checkpoint of ``size`` is kept."""
    return f"{COSIGNATURES}/{size:020d}/{name}"


def copy_path(origin: str, size: int) -> str:
    """Return where the second bucket keeps the checkpoint of ``size``; one such bucket may serve many logs."""
    return f"{origin}/{history_path(size)}"


def read(note: Note) -> Checkpoint:
    """Return what the text of ``note`` says. Raises ValueError."""
    lines = note.text.split("\n")
    if len(lines) < 4 or not lines[0] or not lines[1].isdecimal() or not lines[1].isascii() or len(lines[1]) > 18:
        raise ValueError("a checkpoint says its log, its size and its root, a line each")
    root = _decode(lines[2])
    if len(root) != merkle.HASH_BYTES or str(int(lines[1])) != lines[1] or int(lines[1]) > merkle.SIZE_LIMIT:
        raise ValueError("a checkpoint's size or root is not well-formed")
    return Checkpoint(lines[0], int(lines[1]), root)


def parse(raw: bytes) -> tuple[Checkpoint, Note]:
    """Return the checkpoint and the note it is. Raises ValueError; signatures are not looked at."""
    note = notes.parse(raw)
    return read(note), note


def signed_by_log(note: Note, origin: str, keys: Iterable[Key], check: Check) -> bool:
    """Tell whether the log ``origin`` signed ``note``, by a key of that very name."""
    return bool(notes.signers(note, [key for key in keys if key.name == origin], check))


def cosigned_text(text: str, time_s: int) -> bytes:
    """Return what a witness signs (https://c2sp.org/tlog-cosignature)."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()


def cosignature(key: Key, time_s: int, made: bytes) -> notes.Signature:
    """Return the line of witness ``key``, which made the signature ``made`` over :func:`cosigned_text`."""
    return notes.Signature(key.name, key.id, struct.pack(">Q", time_s) + made)


def witnesses(note: Note, keys: Iterable[Key], check: Check) -> list[Witnessed]:
    """Return the good cosignatures under ``note``."""
    found = []
    for key in keys:
        if key.kind != notes.COSIGNATURE:
            continue
        for line in note.by(key):
            if len(line.body) <= 8:
                continue
            (time_s,) = struct.unpack_from(">Q", line.body)
            if check(key.kind, key.public, cosigned_text(note.text, time_s), line.body[8:]):
                found.append(Witnessed(key.name, time_s))
    return found


def parse_proof(raw: bytes) -> Proof:
    """Return a self-contained proof. Raises ValueError; nothing is verified."""
    head, gap, tail = raw.partition(b"\n\n")
    lines = head.decode("ascii", "replace").split("\n")
    if not gap or lines[0] != _PROOF or len(lines) < 2:
        raise ValueError("this is not a c2sp.org/tlog-proof@v1")
    extra = b""
    if lines[1].startswith("extra "):
        extra = _decode(lines.pop(1).removeprefix("extra "))
    index = lines[1].removeprefix("index ") if len(lines) > 1 else ""
    if not index.isdecimal() or len(index) > 18 or len(lines) > _PROOF_LIMIT + 2:
        raise ValueError("the proof does not say which leaf it is about")
    hashes = [_decode(line) for line in lines[2:]]
    if any(len(part) != merkle.HASH_BYTES for part in hashes):
        raise ValueError("the proof holds something that is not a hash")
    return Proof(int(index), hashes, notes.parse(tail), extra)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
