"""The transparency log, verified: who signed it, that it is one tree, and that it begins with everything that was seen of it.

Two ways to the same answers. :func:`read_whole` reads every entry and computes every root again. :class:`Light` asks the tiles
for proofs, which are as good for one session and cost a few kilobytes however long the log is.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, leaves, merkle, notes, tiles
from chalicelib.contracts.translog.checkpoints import Checkpoint
from chalicelib.contracts.translog.leaves import Leaf
from chalicelib.contracts.translog.signatures import check
from cli.verification.findings import Report
from cli.verification.sources import LOG, Source

Begins = Callable[[int, bytes], bool]
"""Tells whether the log begins with the tree of this size and root. May raise TileError."""

_NEWEST: Final = LOG + checkpoints.NEWEST
#: Seconds that the log of a bucket where people work may take to tell of what lies there, and between two looks meanwhile.
PATIENCE_S: Final = 60.0
AGAIN_S: Final = 0.5


class Keys(msgspec.Struct, frozen=True):
    """The keys that the person trusts: the gateway's, and those of witnesses."""

    keys: list[notes.Key]

    @property
    def signers(self) -> list[notes.Key]:
        """Keys that may sign for a log."""
        return [key for key in self.keys if key.kind != notes.COSIGNATURE]

    @property
    def witnesses(self) -> list[notes.Key]:
        """Keys that may only vouch."""
        return [key for key in self.keys if key.kind == notes.COSIGNATURE]


class Entry(msgspec.Struct, frozen=True):
    """A leaf and where it is."""

    index: int
    leaf: Leaf


class Whole(msgspec.Struct):
    """Every entry of the log."""

    stated: Checkpoint
    entries: list[Entry]
    roots: dict[int, bytes]
    """The root at each size that a checkpoint speaks of."""
    frontier: merkle.Frontier
    """What the next entry is appended to."""

    def begins_with(self, size: int, root: bytes) -> bool:
        """Tell whether the log begins with the tree of ``size`` and ``root`` (:data:`Begins`)."""
        return self.roots.get(size) == root


class Light:
    """A log of which only proofs are read."""

    def __init__(self, source: Source, stated: Checkpoint) -> None:
        self.stated = stated
        self._tiles = tiles.Tiles(lambda path: source.read(LOG + path), stated.size)

    def begins_with(self, size: int, root: bytes) -> bool:
        """Tell whether the log begins with the tree of ``size`` and ``root``. Raises TileError."""
        proof = merkle.consistency_proof(size, self.stated.size, self._tiles.node)
        return merkle.check_consistency(size, root, self.stated.size, self.stated.root, proof)

    def holds(self, index: int, entry: bytes) -> bool:
        """Tell whether ``entry`` is leaf ``index``. Raises TileError."""
        proof = merkle.inclusion_proof(index, self.stated.size, self._tiles.node)
        return merkle.check_inclusion(merkle.leaf_hash(entry), index, self.stated.size, proof, self.stated.root)


def newest(source: Source, keys: Keys, report: Report) -> Checkpoint | None:
    """Return the log's newest checkpoint if the gateway signed it; otherwise the report says why not."""
    raw = source.read(_NEWEST)
    if raw is None:
        report.fail("checkpoint_signature", _NEWEST, "There is no checkpoint: without one nothing shows what the log holds.")
        return None
    stated = signed(raw, _NEWEST, keys, report)
    if stated:
        report.log, report.size, report.root = stated.origin, stated.size, stated.root.hex()
    return stated


def signed(raw: bytes, name: str, keys: Keys, report: Report) -> Checkpoint | None:
    """Return a checkpoint that one of ``keys`` signed as the log it is of; otherwise the report says why not."""
    try:
        stated, note = checkpoints.parse(raw)
    except ValueError as error:
        report.fail("checkpoint_signature", name, f"This is no checkpoint: {error}.")
        return None
    if not checkpoints.signed_by_log(note, stated.origin, keys.signers, check):
        report.fail("checkpoint_signature", name, f"No key that you trust signed this checkpoint of {stated.origin}.")
        return None
    report.prove("checkpoint_signature")
    return stated


def read_whole(source: Source, stated: Checkpoint, sizes: Iterable[int], report: Report) -> Whole | None:
    """Read every entry, compute the root, and keep it at each of ``sizes``; None if the log is not what ``stated`` says."""
    wanted = set(sizes)
    frontier, entries, ids = merkle.Frontier(), [], set()
    roots = {0: merkle.EMPTY}
    try:
        for index, raw in tiles.Tiles(lambda path: source.read(LOG + path), stated.size).entries():
            frontier.append(merkle.leaf_hash(raw))
            if frontier.size in wanted:
                roots[frontier.size] = frontier.root()
            leaf = leaves.read(raw)
            if leaf.id in ids:
                report.fail("log_root", f"log entry {index}", f"Event {leaf.id} is in the log twice.")
            ids.add(leaf.id)
            entries.append(Entry(index, leaf))
    except tiles.TileError as error:
        report.fail("log_root", LOG + error.path, f"The log cannot be read whole: {error}.")
        return None
    except ValueError as error:
        report.fail("log_root", f"log entry {len(entries)}", f"The log holds something that the gateway does not write: {error}.")
        return None
    roots[stated.size] = frontier.root()
    if frontier.root() != stated.root:
        report.fail(
            "log_root", _NEWEST, f"The {stated.size} entries are not the tree that the checkpoint states: some were changed."
        )
        return None
    report.prove("log_root", stated.size)
    return Whole(stated, entries, roots, frontier)


def read_on(source: Source, keys: Keys, whole: Whole) -> Whole | None:
    """Return the log with what was appended since ``whole`` was read; None if nothing was, or something else is there now."""
    now = _now(source, keys, whole.stated)
    if now is None:
        return None
    frontier, entries = copy.deepcopy(whole.frontier), list(whole.entries)
    try:
        for index, raw in tiles.Tiles(lambda path: source.read(LOG + path), now.size).entries(whole.stated.size):
            frontier.append(merkle.leaf_hash(raw))
            entries.append(Entry(index, leaves.read(raw)))
    except (tiles.TileError, ValueError):
        return None
    return Whole(now, entries, whole.roots, frontier) if frontier.root() == now.root else None


def begins_now(source: Source, keys: Keys, stated: Checkpoint, size: int, root: bytes) -> bool:
    """Tell whether the log as it is by now continues ``stated``, and begins with the longer tree of ``size`` and ``root``.

    People work while evidence is read: what was signed meanwhile is held against the log of meanwhile. A checkpoint that was
    put back, or a log that was cut, is as short as before when it is read again.
    """
    now = _now(source, keys, stated)
    if now is None or not stated.size < size <= now.size:
        return False
    light = Light(source, now)
    try:
        return light.begins_with(stated.size, stated.root) and light.begins_with(size, root)
    except tiles.TileError:
        return False


def _until_shown(source: Source, keys: Keys, stated: Checkpoint, size: int) -> None:
    # A checkpoint is stored among the others a moment before it is shown as the newest.
    until, shown = time.monotonic() + PATIENCE_S, stated
    while source.live and shown.size < size and time.monotonic() < until:
        shown = _now(source, keys, stated) or stated
        if shown.size < size:
            time.sleep(AGAIN_S)


def _now(source: Source, keys: Keys, stated: Checkpoint) -> Checkpoint | None:
    now = signed(source.read(_NEWEST) or b"", _NEWEST, keys, Report(scope=""))
    return now if now and now.origin == stated.origin and now.size > stated.size else None


def history(source: Source) -> dict[int, str]:
    """Return the keys of every published checkpoint by the size in its name."""
    prefix = f"{LOG}{checkpoints.HISTORY}/"
    names = [found.key for found in source.objects(prefix)]
    return {int(name.removeprefix(prefix)): name for name in names if name.removeprefix(prefix).isdecimal()}


def cosigned(source: Source) -> list[str]:
    """Return the keys of every stored cosignature."""
    return [found.key for found in source.objects(f"{LOG}{checkpoints.COSIGNATURES}/")]


def check_history(
    source: Source, stated: Checkpoint, begins: Begins, keys: Keys, report: Report, *, newer_only: bool = False
) -> None:
    """Compare every checkpoint that was ever published with the log as it is; or only those that the newest one denies."""
    named = history(source)
    _until_shown(source, keys, stated, max(named, default=0))
    for size, name in sorted(named.items()):
        if newer_only and size <= stated.size:
            continue
        raw = source.read(name)
        earlier = signed(raw or b"", name, keys, report)
        if earlier is None:
            continue
        if earlier.size != size:
            report.fail("consistency", name, f"This checkpoint is of {earlier.size} entries, not of {size} as its name says.")
        elif size > stated.size:
            if begins_now(source, keys, stated, size, earlier.root):
                report.prove("consistency")
                continue
            text = f"The log once had {size} entries; the newest checkpoint shows {stated.size}. An old one was put in its place"
            report.fail("consistency", name, f"{text}, or the log was cut.")
        else:
            compare(earlier, name, begins, report)


def compare(earlier: Checkpoint, name: str, begins: Begins, report: Report) -> None:
    """Compare a genuine earlier checkpoint with the log as it is."""
    if begins(earlier.size, earlier.root):
        report.prove("consistency")
        return
    report.fail(
        "consistency",
        name,
        f"The first {earlier.size} entries of the log are others than when this checkpoint was signed: history was rewritten.",
    )


def check_saved(raw: bytes, name: str, stated: Checkpoint, begins: Begins, keys: Keys, report: Report) -> Checkpoint | None:
    """Compare a checkpoint that the person kept with the log as it is; return it if it is genuine."""
    saved = signed(raw, name, keys, report)
    if saved is None:
        return None
    if saved.origin != stated.origin:
        report.fail("consistency", name, f"You kept a checkpoint of {saved.origin}; this is the log {stated.origin}.")
    elif saved.size > stated.size:
        report.fail(
            "consistency", name, f"You saw {saved.size} entries; now there are {stated.size}. The log was cut or replaced."
        )
    else:
        compare(saved, name, begins, report)
    return saved


def check_witnesses(source: Source, stated: Checkpoint, begins: Begins, keys: Keys, report: Report) -> None:
    """Compare what witnesses signed with the log as it is."""
    vouched = 0
    for name in cosigned(source):
        try:
            seen, note = checkpoints.parse(source.read(name) or b"")
        except ValueError as error:
            report.fail("cosignature", name, f"This is no cosigned checkpoint: {error}.")
            continue
        good = checkpoints.witnesses(note, keys.witnesses, check)
        if not good:
            # Of a witness that the person does not know; or no good.
            _unknown(note, name, keys, report)
        elif seen.origin != stated.origin or not (
            begins(seen.size, seen.root) if seen.size <= stated.size else begins_now(source, keys, stated, seen.size, seen.root)
        ):
            who = ", ".join(sorted({each.name for each in good}))
            report.fail(
                "cosignature", name, f"Witness {who} saw another log at {seen.size} entries: history was rewritten or cut."
            )
        else:
            vouched += 1
    raw = source.read(_NEWEST)
    vouched += bool(checkpoints.witnesses(notes.parse(raw), keys.witnesses, check)) if raw else 0
    if vouched:
        report.prove("cosignature", vouched)


def copies(second: Source, origin: str) -> dict[int, str]:
    """Return the keys of the second bucket's checkpoints of the log ``origin``, by size."""
    prefix = checkpoints.copy_path(origin, 0).rpartition("/")[0] + "/"
    names = [found.key for found in second.objects(prefix)]
    return {int(name.removeprefix(prefix)): name for name in names if name.removeprefix(prefix).isdecimal()}


def check_copies(
    source: Source, second: Source, stated: Checkpoint, begins: Begins, keys: Keys, report: Report, *, newest_only: bool
) -> None:
    """Compare what the second bucket kept with the log as it is; or only its newest checkpoints."""
    named = copies(second, stated.origin)
    if not named:
        report.leave("witness_bucket", stated.origin, "The second bucket holds no checkpoint of this log.")
        return
    for size, name in sorted(named.items(), reverse=True):
        if newest_only and size < max(named):
            break
        kept = signed(second.read(name) or b"", name, keys, report)
        if kept is None:
            continue
        if kept.origin != stated.origin or kept.size != size:
            report.fail(
                "witness_bucket", name, f"This is a checkpoint of {kept.origin} with {kept.size} entries, under another name."
            )
        elif begins(size, kept.root) if size <= stated.size else begins_now(source, keys, stated, size, kept.root):
            report.prove("witness_bucket")
        elif size > stated.size:
            text = f"The log once had {size} entries; the newest checkpoint shows {stated.size}. It was cut or replaced."
            report.fail("witness_bucket", name, text)
        else:
            text = f"The first {size} entries of the log are others than when this was copied: history was rewritten."
            report.fail("witness_bucket", name, text)


def _unknown(note: notes.Note, name: str, keys: Keys, report: Report) -> None:
    if any(note.by(key) for key in keys.witnesses):
        report.fail("cosignature", name, "The cosignature is not good: it was made for something else, or forged.")
    else:
        report.leave("cosignature", name, "Cosigned by a witness whose key you did not give.")


def load_keys(text: str, name: str) -> Keys:
    """Return the keys of a file. Raises Fault(bad_request)."""
    try:
        found = Keys(notes.read_keys(text))
    except ValueError as error:
        raise Fault("bad_request", f"{name}: {error}.", hint="A key reads like name+0123abcd+BASE64, one on a line.") from None
    if not found.signers:
        raise Fault("bad_request", f"{name} holds no key of a gateway.", hint="Ask the gateway: curl URL/trust | jq -r .log_key")
    return found


def by_session(entries: Sequence[Entry]) -> dict[str, list[Entry]]:
    """Return the entries about each session, in order."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.leaf.sid:
            found.setdefault(entry.leaf.sid, []).append(entry)
    return found
