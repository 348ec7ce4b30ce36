"""The whole of a verification: which sessions are meant, what the log says of them, and orphans both ways."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, tiles
from chalicelib.contracts.translog.checkpoints import Checkpoint
from cli.verification import hashing, log, originals
from cli.verification.findings import Report
from cli.verification.log import Entry, Keys, Light, Whole
from cli.verification.sessions import LogFacts, SessionCheck, Stored, ahead, day_prefix, gather, noticed, overdue
from cli.verification.sources import LOG, RECORDINGS, Source

_NEWEST: Final = LOG + checkpoints.NEWEST
#: What of the log is written once.
_KEPT: Final = (checkpoints.HISTORY, checkpoints.COSIGNATURES, "tile")
#: How much of an identifier must be given.
_SHORTEST: Final = 6


class Wanted(msgspec.Struct, kw_only=True, frozen=True):
    """What to verify: one of session and day, or neither; ``whole`` is all, otherwise what is new since ``saved``."""

    session: str = ""
    day: str = ""
    """``YYYY-MM-DD`` (UTC)."""
    whole: bool = False
    saved: bytes = b""
    """A checkpoint that was kept."""
    saved_name: str = ""
    second: Source | None = None
    """The second bucket, or a copy of it."""

    @property
    def scope(self) -> str:
        """What the report calls it."""
        if self.session:
            return f"session {self.session}"
        if self.day:
            return f"sessions of {self.day} (UTC)"
        return "everything" if self.whole else f"what is new since {self.saved_name}"


class Watch(NamedTuple):
    """Who is told how it goes: ``began`` with a label and how many bytes there are to hash, ``done`` with bytes that passed."""

    began: Callable[[str, int], None]
    done: Callable[[int], None]


def verify(source: Source, keys: Keys, wanted: Wanted, watch: Watch) -> Report:
    """Return what was found. Raises Fault for what cannot be looked at: not_found, too_large, control_plane_unreachable."""
    report = Report(scope=wanted.scope)
    logged: dict[str, originals.Erasure] | None = None
    if wanted.session:
        checks = _one(source, keys, wanted, report)
    else:
        checks, logged = _many(source, keys, wanted, report, watch)
    _hash(source, checks, report, watch)
    originals.check(source, [each.sealed for each in checks if each.sealed], logged, keys, report)
    _versions(source, wanted, checks, report)
    if not report.proved.get("cosignature") and not report.proved.get("witness_bucket") and not wanted.saved:
        text = "Nobody outside vouches for this history: whoever owns every key could have written it anew. Keep a checkpoint"
        report.leave("consistency", _NEWEST, f"{text} (--save FILE), and compare with it next time (--since FILE).")
    return report


# --- one session


def _one(source: Source, keys: Keys, wanted: Wanted, report: Report) -> list[SessionCheck]:
    stored = _find(source, wanted.session, report)
    report.scope = f"session {stored.sid}"
    check = SessionCheck(source, stored, keys, report)
    light = None
    if source.read(_NEWEST) is None:
        report.leave("consistency", _NEWEST, "There is no log here; the session's own proof has to do.")
    elif stated := log.newest(source, keys, report):
        light = Light(source, stated)
        try:
            _compare(source, stated, light.begins_with, keys, wanted, report, newer_only=True)
        except tiles.TileError as error:
            report.fail("log_root", LOG + error.path, f"The log cannot be read: {error}.")
    check.run(None, light)
    return [check]


def _find(source: Source, text: str, report: Report) -> Stored:
    name = text.upper().removeprefix("SES_")
    whole = f"{ids.SESSION}_{name}"
    if not name.isalnum() or len(name) < _SHORTEST:
        raise Fault("bad_request", f"{text[:80]!r} is not a session's identifier.")
    prefix = day_prefix(whole) if ids.is_id(ids.SESSION, whole) else RECORDINGS
    # Other sessions are not asked for, so what is wrong with them is not told.
    found = [each for each in gather(source.objects(prefix), Report(scope="")).values() if each.sid.endswith(name)]
    if not found:
        hint = "Sessions that recorded nothing have no folder; --all also tells what the log misses."
        raise Fault("unknown_session", f"There is no recording of session {text} here.", hint=hint)
    if len(found) > 1:
        raise Fault("bad_request", f"{text} means {len(found)} sessions: {', '.join(each.sid for each in found[:5])}")
    (only,) = found
    return gather(source.objects(only.prefix), report)[only.sid]


# --- many sessions


def _many(
    source: Source, keys: Keys, wanted: Wanted, report: Report, watch: Watch
) -> tuple[list[SessionCheck], dict[str, originals.Erasure] | None]:
    watch.began("Reading the log", 0)
    stated = log.newest(source, keys, report)
    whole = log.read_whole(source, stated, _sizes(source, wanted, stated.origin), report) if stated else None
    if stated and whole:
        _compare(source, stated, _begins(source, whole), keys, wanted, report)
    by_sid = log.by_session(whole.entries) if whole else {}
    meant = _meant(by_sid, wanted)
    watch.began("Reading manifests", 0)
    stored = _stored(source, wanted, meant, by_sid, report)
    facts = _facts(whole, by_sid) if whole else None
    later = _caught_up(source, keys, whole, stored, watch) if whole else {}
    checks = []
    for each in stored.values():
        check = SessionCheck(source, each, keys, report)
        check.run(later.get(each.sid) or (facts(each.sid) if facts else None), None)
        checks.append(check)
    for entry in _alerts(whole):
        report.fail("versions", f"log entry {entry.index}", f"{noticed(entry)}.")
    if facts:
        for sid in sorted(meant - stored.keys()):
            _gone(sid, facts(sid), report)
    return checks, originals.erasures(whole.entries) if whole else None


def _caught_up(source: Source, keys: Keys, whole: Whole, stored: dict[str, Stored], watch: Watch) -> dict[str, LogFacts]:
    """Read the log on until it tells of what was stored since ``whole`` was read. Returns what it says of these sessions then.

    A manifest lies in the bucket a moment before the log knows of it, and sessions open and end while evidence is read. Their
    folders in ``stored`` become what they are by then.
    """
    by_sid = log.by_session(whole.entries)
    late = {sid for sid, each in stored.items() if ahead(each, by_sid.get(sid, []))} if source.live else set()
    found: dict[str, LogFacts] = {}
    if late:
        watch.began("Waiting for the log", 0)
    until = time.monotonic() + log.PATIENCE_S
    while late and time.monotonic() < until:
        if (grown := log.read_on(source, keys, whole)) is None:
            time.sleep(log.AGAIN_S)
            continue
        whole, by_sid = grown, log.by_session(grown.entries)
        facts = _facts(whole, by_sid)
        for sid in sorted(late):
            # Read again after the log, so that the log cannot tell of anything that is not seen.
            stored[sid] = gather(source.objects(stored[sid].prefix), Report(scope="")).get(sid, stored[sid])
            if not ahead(stored[sid], by_sid.get(sid, [])):
                found[sid] = facts(sid)
        late -= found.keys()
    return found


def _begins(source: Source, whole: Whole) -> log.Begins:
    light = Light(source, whole.stated)

    def begins(size: int, root: bytes) -> bool:
        if size in whole.roots:
            return whole.begins_with(size, root)
        try:
            # A checkpoint that was not there yet when the log was read, as a witness cosigns one that is not the newest.
            return light.begins_with(size, root)
        except tiles.TileError:
            return False

    return begins


def _alerts(whole: Whole | None) -> list[Entry]:
    """Return the alerts that belong to no session: about the log, or something that lies in nobody's folder."""
    entries = whole.entries if whole else []
    return [entry for entry in entries if entry.leaf.type == "evidence.alert" and not entry.leaf.sid]


def _sizes(source: Source, wanted: Wanted, origin: str) -> set[int]:
    sizes = set(log.history(source)) | set(log.copies(wanted.second, origin) if wanted.second else ())
    prefix = f"{LOG}{checkpoints.COSIGNATURES}/"
    named = [name.removeprefix(prefix).partition("/")[0] for name in log.cosigned(source)]
    sizes |= {int(name) for name in named if name.isdecimal()}
    return sizes | {_saved_size(wanted)}


def _saved_size(wanted: Wanted) -> int:
    try:
        return checkpoints.parse(wanted.saved)[0].size if wanted.saved else 0
    except ValueError:
        return 0  # check_saved says what is wrong with it


def _compare(
    source: Source,
    stated: Checkpoint,
    begins: log.Begins,
    keys: Keys,
    wanted: Wanted,
    report: Report,
    *,
    newer_only: bool = False,
) -> None:
    log.check_history(source, stated, begins, keys, report, newer_only=newer_only)
    if wanted.saved:
        log.check_saved(wanted.saved, wanted.saved_name, stated, begins, keys, report)
    log.check_witnesses(source, stated, begins, keys, report)
    if wanted.second:
        log.check_copies(source, wanted.second, stated, begins, keys, report, newest_only=newer_only)


def _meant(by_sid: dict[str, list[Entry]], wanted: Wanted) -> set[str]:
    known = {sid for sid in by_sid if ids.is_id(ids.SESSION, sid)}
    if wanted.day:
        return {sid for sid in known if day_prefix(sid) == _prefix(wanted.day)}
    if wanted.whole:
        return known
    first = _saved_size(wanted)
    return {sid for sid in known if by_sid[sid][-1].index >= first}


def _prefix(day: str) -> str:
    return f"{RECORDINGS}{day.replace('-', '/')}/"


def _stored(source: Source, wanted: Wanted, meant: set[str], by_sid: dict[str, list[Entry]], report: Report) -> dict[str, Stored]:
    if wanted.whole:
        return gather(source.objects(RECORDINGS), report)
    if wanted.day:
        return gather(source.objects(_prefix(wanted.day)), report)
    found: dict[str, Stored] = {}
    for prefix in sorted({day_prefix(sid) for sid in meant}):
        found |= gather(source.objects(prefix), report)
    # Sessions of those days that nothing new was said of were verified before; those that nothing was ever said of were not.
    return {sid: stored for sid, stored in found.items() if sid in meant or sid not in by_sid}


def _facts(whole: Whole, by_sid: dict[str, list[Entry]]) -> Callable[[str], LogFacts]:
    enrolled = [entry.leaf.facts for entry in whole.entries if entry.leaf.type == "agent.enrolled"]
    recorders = {str(facts.get("fingerprint", "")) for facts in enrolled}
    now_ms = max((entry.leaf.time_ms for entry in whole.entries), default=0)
    return lambda sid: LogFacts(by_sid.get(sid, []), recorders, now_ms)


def _gone(sid: str, facts: LogFacts, report: Report) -> None:
    prefix = day_prefix(sid)
    if facts.of("session.sealed"):
        report.fail(
            "orphans", f"{prefix}…/{sid}", "The log says that this session was recorded and sealed; nothing of it is here."
        )
    elif late := overdue(facts):
        report.fail("orphans", f"{prefix}…/{sid}", late)


# --- bytes and versions


def _hash(source: Source, checks: Sequence[SessionCheck], report: Report, watch: Watch) -> None:
    tasks = [task for check in checks for task in check.tasks]
    total = sum(task.size for task in tasks)
    watch.began("Hashing chunks", total)
    incomplete = set()
    problems = 0
    for task, what in hashing.check(source, tasks, watch.done):
        problems += 1
        if what == hashing.MISSING:
            incomplete.add(task.sid)
            report.fail("chain", task.key, "This chunk is missing; the log and the manifest say that it was recorded.")
        else:
            report.fail("chunk_hash", task.key, f"This chunk {what}.")
    report.sessions, report.chunks, report.bytes = len(checks), len(tasks), total
    _prove(report, "chunk_hash", len(tasks) - problems)
    _prove(report, "chain", sum(check.chained and check.sid not in incomplete for check in checks))


def _prove(report: Report, check: str, count: int) -> None:
    if count:
        report.prove(check, count)


def _versions(source: Source, wanted: Wanted, checks: Sequence[SessionCheck], report: Report) -> None:
    named = {task.key: task.version for check in checks for task in check.tasks if task.version}
    # The newest checkpoint is left out: it has a version for every batch there ever was.
    prefixes: Iterable[str] = [*(f"{LOG}{part}/" for part in _KEPT), _prefix(wanted.day) if wanted.day else RECORDINGS]
    if wanted.session:
        name = report.scope.removeprefix("session ")
        prefixes = [day_prefix(name)]
    for prefix in prefixes:
        found = source.versions(prefix)
        if found is None:
            text = (
                "A copy holds one version of each object; whether an object was overwritten or hidden shows in the bucket alone."
            )
            report.leave("versions", prefix, text)
            return
        good = 0
        for key, versions in sorted(found.items()):
            if len(versions) > 1 or "" in versions:
                report.fail(
                    "versions", key, "This object has several versions, or was deleted: nothing of the gateway's does that."
                )
            elif versions != [named.get(key, versions[0])]:
                text = f"This is version {versions[0]}; the manifest names {named[key]}, which is gone for good."
                report.fail("versions", key, text)
            else:
                good += 1
        _prove(report, "versions", good)
