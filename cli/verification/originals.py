"""Sealed originals in the evidence: whose they are, and whether anybody can still read them.

They are chunks like all others, so every proof covers them, and goes on to do so when their key is erased: what is hashed is
what was sealed. The erasure itself is an entry of the log; beside the log lies a proof of it under the name of the key, for
whoever verifies one session alone.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

import msgspec

from chalicelib.contracts import originals
from chalicelib.contracts.manifest import Manifest
from chalicelib.contracts.originals import Header
from chalicelib.contracts.translog import checkpoints, leaves, merkle, signatures
from cli.verification.findings import Report, Sealed
from cli.verification.log import Entry, Keys
from cli.verification.sources import Source

_HEADING_LIMIT: Final = 64 * 1024
_WINDOW: Final = 32 * 1024 * 1024


class Erasure(msgspec.Struct, frozen=True):
    """That a key was erased, as the log says it."""

    time_ms: int
    leaf: int


class Part(msgspec.Struct, frozen=True):
    """The sealed chunks of one session, in order: keys of objects."""

    made: Manifest
    objects: list[str]


def check(source: Source, parts: Iterable[Part], logged: dict[str, Erasure] | None, keys: Keys, report: Report) -> None:
    """Sort sealed originals by their keys into ``report``. ``logged`` is what the whole log says, None where it was not read."""
    found: dict[str, Sealed] = {}
    for part in parts:
        header = _heading(source, part, report)
        if header is None:
            continue
        if header.key not in found:
            found[header.key] = Sealed(key=header.key, target=header.target, month=header.month)
            erased = logged.get(header.key) if logged is not None else _proved(source, header.key, keys, report)
            if erased is not None:
                found[header.key].erased_ms, found[header.key].leaf = erased.time_ms, erased.leaf
        found[header.key].sessions += 1
        found[header.key].objects += len(part.objects)
        report.prove("originals")
    report.originals = sorted(found.values(), key=lambda each: (each.target, each.month, each.key))


def erasures(entries: Iterable[Entry]) -> dict[str, Erasure]:
    """Return the erased keys of a whole log, by name."""
    found = [entry for entry in entries if entry.leaf.type == "originals.erased"]
    return {str(entry.leaf.facts.get("key", "")): Erasure(entry.leaf.time_ms, entry.index) for entry in found}


def _heading(source: Source, part: Part, report: Report) -> Header | None:
    """Return the heading of one session's originals; None where it is missing, which is told elsewhere, or wrong."""
    import zstandard

    name = part.objects[0]
    body = source.read(name)
    if body is None:
        return None
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(body, read_across_frames=True)
        header = originals.read_header(io.BufferedReader(reader).readline(_HEADING_LIMIT))
    except (zstandard.ZstdError, ValueError):
        report.fail("originals", name, "These sealed originals have no heading: nobody can open them.")
        return None
    made = part.made
    wanted = (made.sid, made.target, originals.month_of(made.clocks.opened_ms))
    if (header.sid, header.target, header.month) != wanted or not originals.is_key_name(header.key):
        report.fail("originals", name, "These originals were sealed for another session, target or month.")
        return None
    return header


def _proved(source: Source, key: str, keys: Keys, report: Report) -> Erasure | None:
    name = originals.erasure_path(key)
    raw = source.read(name)
    if raw is None:
        return None
    try:
        proof = checkpoints.parse_proof(raw)
        said, leaf = checkpoints.read(proof.note), leaves.read(proof.extra)
    except ValueError as error:
        report.fail("originals", name, f"The proof of an erasure is not one: {error}.")
        return None
    if not checkpoints.signed_by_log(proof.note, said.origin, keys.signers, signatures.check):
        report.fail("originals", name, "The checkpoint in the proof of an erasure is not signed by a key that you trust.")
    elif (leaf.type, leaf.facts.get("key")) != ("originals.erased", key):
        report.fail("originals", name, "The proof of an erasure is about something else.")
    elif not merkle.check_inclusion(merkle.leaf_hash(proof.extra), proof.index, said.size, proof.hashes, said.root):
        report.fail("originals", name, "The proof of an erasure does not hold.")
    else:
        return Erasure(leaf.time_ms, proof.index)
    return None
