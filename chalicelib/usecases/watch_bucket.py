"""The evidence bucket, watched: every write and every delete marker as S3 tells of it, and everything again by a slow sweep.

S3 delivers its notifications at least once and in no order, so nothing is concluded from one alone: where something is odd, the
object's versions are listed. The first version is what was recorded. The policy of the bucket refuses every second one; an owner
who takes that policy away is seen here, because retention keeps what was there and versioning shows what came over it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.audit import EvidenceAlert
from chalicelib.contracts.translog.checkpoints import NEWEST
from chalicelib.domain.log_batch import PREFIX
from chalicelib.ports import Ports, Version
from chalicelib.usecases.minting import mint
from chalicelib.usecases.raise_alert import raise_alert

RECORDINGS: Final = "recordings/"
#: What is watched. The newest checkpoint is the one object that is replaced.
_WATCHED: Final = (RECORDINGS, PREFIX)
_REPLACED: Final = f"{PREFIX}{NEWEST}"
_CHUNK: Final = re.compile(r"recordings/.+_(ses_[0-9A-Z]{26})/([0-9]{6})_[0-9]{6}Z\.ch[0-9]{2,4}\.[a-z]+\.zst")
_SID: Final = re.compile(r"_(ses_[0-9A-Z]{26})/")
_WORDS: Final = {
    "rewritten": "was written again",
    "hidden": "was deleted, which hides it",
    "stray": "lies where nothing was registered",
}
#: Pages of one sweep: about fifty thousand objects, which a function lists in some twenty seconds.
PAGES: Final = 50


class Happened(msgspec.Struct, kw_only=True, frozen=True):
    """What one notification of S3 says."""

    key: str
    version: str
    deleted: bool = False
    """A delete marker was put over the object, or one of its versions was deleted for good."""


def watch_bucket(ports: Ports, happened: Happened) -> str:
    """Note the version of a chunk that arrived; return what is wrong (``rewritten``, ``hidden``, ``stray``), or nothing."""
    if not happened.key.startswith(_WATCHED):
        return ""
    if happened.deleted:
        return _alert(ports, "hidden", happened.key, happened.version, "", "notification")
    if happened.key == _REPLACED:
        return ""  # every batch replaces it, so its versions are many and none of them is odd
    if match := _CHUNK.fullmatch(happened.key):
        stored = ports.store.chunk(match[1], int(match[2]))
        if stored is None or stored.key != happened.key:
            return _alert(ports, "stray", happened.key, happened.version, "", "notification")
        if ports.store.chunk_arrived(match[1], int(match[2]), happened.version) == happened.version:
            return ""
    versions = [each for each in ports.archive.versions(happened.key) if each.key == happened.key]
    return _judge(ports, versions, "notification")


def sweep_bucket(ports: Ports, pages: int = PAGES) -> int:
    """Look through the next part of the bucket for what no notification told; return how many objects are not as they should be.

    A sweep goes on where the last one stopped, and begins again at the end: every object is looked at once in each round.
    """
    alerts = 0
    mark = ports.store.sweep_mark()
    for _ in range(pages):
        prefix = next((each for each in sorted(_WATCHED, reverse=True) if mark.startswith(each)), min(_WATCHED))
        versions, mark = ports.archive.page(prefix, mark)
        if not mark and prefix != max(_WATCHED):
            mark = max(_WATCHED)  # behind which the other prefix begins
        alerts += sum(bool(_judge(ports, each, "sweep")) for each in _by_key(versions))
        ports.store.save_sweep_mark(mark)
        if not mark:
            break
    return alerts


def _by_key(versions: Sequence[Version]) -> list[list[Version]]:
    found: dict[str, list[Version]] = {}
    for version in versions:
        found.setdefault(version.key, []).append(version)
    return list(found.values())


def _judge(ports: Ports, versions: Sequence[Version], found_by: str) -> str:
    """Judge the versions of one key, oldest first."""
    if not versions:
        return ""
    key, last = versions[0].key, versions[-1]
    first = next((each for each in versions if not each.deleted), last)
    wrong = ""
    for hidden in (each for each in versions if each.deleted):
        wrong = _alert(ports, "hidden", key, hidden.version, "" if first.deleted else first.version, found_by)
    for later in (each for each in versions if not each.deleted and each is not first and key != _REPLACED):
        wrong = _alert(ports, "rewritten", key, later.version, first.version, found_by)
    if wrong:
        return wrong
    if match := _CHUNK.fullmatch(key):
        stored = ports.store.chunk(match[1], int(match[2])) if found_by == "notification" else None
        if stored and stored.version not in ("", first.version):
            # The version that arrived first is not in the bucket any more, which Object Lock does not allow.
            return _alert(ports, "rewritten", key, first.version, stored.version, found_by)
    return ""


def _alert(ports: Ports, what: str, key: str, version: str, first: str, found_by: str) -> str:
    found = _SID.search(key)
    event = EvidenceAlert(
        id=mint(ports.clock, ids.EVENT),
        time_ms=ports.clock.now_ms(),
        actor="system",
        sid=found[1] if found else "",
        what=what,
        key=key,
        version=version,
        first=first,
        found_by=found_by,
    )
    raise_alert(ports, f"{what} {key} {version}", event, f"{key} {_WORDS[what]} (version {version}).")
    return what
