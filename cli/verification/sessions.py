"""One session's folder: what its manifest says, who signed that, and whether the log says the same."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from chalicelib.contracts import ids, manifest, recording
from chalicelib.contracts.manifest import Manifest
from chalicelib.contracts.originals import KIND
from chalicelib.contracts.translog import checkpoints, leaves, merkle, notes, signatures, tiles
from cli.verification import originals
from cli.verification.findings import Report
from cli.verification.hashing import Task
from cli.verification.log import Entry, Keys, Light, begins_now
from cli.verification.sources import RECORDINGS, Object, Source

_FOLDER: Final = re.compile(r"(?:[^/]+/){5}\d{6}Z_(ses_[0-7][0-9A-HJKMNP-TV-Z]{25})")
#: How far the agent's clock may be from the gateway's before times in a recording mean nothing.
SKEW_MS: Final = 5 * 60 * 1000
#: How long after a session's end its manifest may take.
GRACE_MS: Final = 60 * 60 * 1000
_STATUSES: Final = ("complete", "recovered")


class Stored(msgspec.Struct):
    """A session's folder as it lies there: file names and sizes."""

    sid: str
    prefix: str
    """Key prefix with a slash at its end."""
    files: dict[str, int] = {}


class LogFacts(msgspec.Struct):
    """What the whole log says of one session, and what is needed to judge it."""

    entries: list[Entry]
    recorders: set[str]
    """Fingerprints of every agent that ever enrolled."""
    now_ms: int
    """Time of the log's last entry: what counts as now."""

    def of(self, kind: str) -> list[Entry]:
        """Return the entries of one type."""
        return [entry for entry in self.entries if entry.leaf.type == kind]


def gather(objects: Iterable[Object], report: Report) -> dict[str, Stored]:
    """Sort objects below ``recordings/`` into sessions; whatever lies in no session's folder is an orphan."""
    found: dict[str, Stored] = {}
    for key, size in objects:
        prefix, _, name = key.rpartition("/")
        match = _FOLDER.fullmatch(prefix.removeprefix(RECORDINGS))
        if not match:
            report.fail("orphans", key, "This lies where no session's recording lies.")
            continue
        stored = found.setdefault(match[1], Stored(match[1], f"{prefix}/"))
        if stored.prefix != f"{prefix}/":
            report.fail("orphans", key, f"Session {match[1]} lies in two folders.")
            continue
        stored.files[name] = size
    return found


def ahead(stored: Stored, entries: Iterable[Entry]) -> bool:
    """Tell whether a folder shows what these entries of the log about its session do not tell: the session, or a manifest."""
    told = [entry.leaf for entry in entries]
    sealed = {str(leaf.facts.get("status")) for leaf in told if leaf.type == "session.sealed"}
    shown = {name for name in map(_first_name, _STATUSES) if name in stored.files}
    return not any(leaf.type == "session.opened" for leaf in told) or not shown <= {_first_name(status) for status in sealed}


def _first_name(status: str) -> str:
    return manifest.names(status)[0]


def day_prefix(sid: str) -> str:
    """Return the prefix of the day on which ``sid`` was minted: where its folder lies."""
    when = recording.prefix(ids.minted_ms(sid), "x", "x", sid)
    return when.rpartition("/x/x/")[0] + "/"


class SessionCheck:
    """Verifies one folder. ``tasks`` are the chunks that are still to be hashed."""

    def __init__(self, source: Source, stored: Stored, keys: Keys, report: Report) -> None:
        self._source, self._stored, self._keys, self._report = source, stored, keys, report
        self.sid = stored.sid
        self.tasks: list[Task] = []
        self.sealed: originals.Part | None = None
        """Its sealed originals, as its manifest names them."""
        self.chained = False
        """The chain holds, if every chunk of ``tasks`` is there."""
        self._raw: dict[str, bytes] = {}
        self._sound = True

    def run(self, facts: LogFacts | None, light: Light | None) -> None:
        """Check everything but the bytes of chunks. With neither ``facts`` nor ``light``, the folder's own proof must do."""
        manifests = self._manifests()
        self._log_says(manifests, facts, light)
        if not manifests:
            self._without_manifest(facts)
            return
        final = manifests[-1]
        self._recovered(manifests)
        self._clocks(final, facts)
        self._recorder(final, facts)
        self._chunks(final)
        self.chained = self._sound
        if self._sound:
            self._report.prove("orphans")

    # --- what lies there

    def _manifests(self) -> list[Manifest]:
        found = []
        for status in _STATUSES:
            name, signature, _ = manifest.names(status)
            if name not in self._stored.files:
                continue
            raw = self._source.read(self._stored.prefix + name) or b""
            made = self._manifest(name, raw, self._source.read(self._stored.prefix + signature))
            if made:
                self._raw["recovered" if made.status == "recovered" else "complete"] = raw
                found.append(made)
        return found

    def _manifest(self, name: str, raw: bytes, signature: bytes | None) -> Manifest | None:
        subject = self._stored.prefix + name
        try:
            made = manifest.decode(raw)
            folder = recording.prefix(made.clocks.opened_ms, made.target, made.principal, made.sid)
        except (ValueError, OverflowError, OSError) as error:
            self._fail("manifest_signature", subject, f"This is {error}.")
            return None
        if not self._signed(made, raw, signature):
            self._fail("manifest_signature", subject, "The gateway did not sign this manifest: it was changed, or replaced.")
            return None
        self._report.prove("manifest_signature")
        if made.sid != self._stored.sid or f"{folder}/" != self._stored.prefix or manifest.names(made.status)[0] != name:
            self._fail("orphans", subject, f"This is the manifest of {made.sid}, in another place than it was made for.")
            return None
        if wrong := manifest.broken_link(made):
            self._fail("chain", subject, f"The manifest contradicts itself: {wrong}.")
            return None
        return made

    def _signed(self, made: Manifest, raw: bytes, signature: bytes | None) -> bool:
        try:
            note = notes.parse(signature or b"")
        except ValueError:
            return False
        named = [key for key in self._keys.signers if key.name == made.log]
        text = manifest.statement(made.log, made.sid, manifest.digest(raw))
        return note.text == text and bool(notes.signers(note, named, signatures.check))

    def _chunks(self, final: Manifest) -> None:
        sealed = [entry.name for entry in final.chunks if entry.kind == KIND and not entry.missing]
        if sealed:
            self.sealed = originals.Part(final, [self._stored.prefix + name for name in sealed])
        listed = set()
        for entry in final.chunks:
            listed.add(entry.name)
            key = self._stored.prefix + entry.name
            if entry.missing and entry.name not in self._stored.files:
                text = "It was registered, and had not arrived when the session was sealed."
                if final.status == "truncated":
                    self._report.leave("chunk_hash", key, f"{text} The agent fell silent.")
                else:
                    self._fail("chunk_hash", key, f"{text} It is missing from a session that its agent closed.")
                continue
            self.tasks.append(Task(self._stored.sid, key, entry.size, entry.sha256, entry.version))
        for name in sorted(self._stored.files.keys() - listed):
            if not name.endswith(".zst"):
                continue
            if final.status == "truncated":
                self._report.leave("orphans", self._stored.prefix + name, "It arrived after the session was sealed as truncated.")
            else:
                self._fail(
                    "orphans", self._stored.prefix + name, "The session's manifest does not know this chunk: it was added."
                )

    def _recovered(self, manifests: list[Manifest]) -> None:
        if len(manifests) < 2:
            return
        first, second = manifests
        chunks = [entry.chunk for entry in first.chunks]
        if first.status != "truncated" or [entry.chunk for entry in second.chunks[: len(chunks)]] != chunks:
            self._fail("chain", self._stored.prefix, "The recovered recording does not continue the one that was truncated.")

    def _clocks(self, final: Manifest, facts: LogFacts | None) -> None:
        clocks = final.clocks
        ended = max(
            [clocks.ended_ms, *(entry.leaf.time_ms for entry in facts.of("session.ended"))] if facts else [clocks.ended_ms]
        )
        times = [entry.time_ms for entry in final.chunks]
        if not clocks.opened_ms <= clocks.started_ms <= ended or ids.minted_ms(final.sid) != clocks.opened_ms:
            self._fail("clock", self._stored.prefix, "The gateway's own times are out of order.")
        elif times and not (clocks.started_ms - SKEW_MS <= min(times) and (max(times) <= ended + SKEW_MS or not facts)):
            off = min(times) - clocks.started_ms if min(times) < clocks.started_ms - SKEW_MS else max(times) - ended
            text = f"The agent's clock was {abs(off) // 1000} s {'behind' if off < 0 else 'ahead of'} the gateway's"
            self._fail("clock", self._stored.prefix, f"{text}: the order of chunks holds, the times in them do not.")
        else:
            self._report.prove("clock")

    # --- what the log says

    def _log_says(self, manifests: list[Manifest], facts: LogFacts | None, light: Light | None) -> None:
        if facts is not None:
            self._whole(manifests, facts)
            return
        for made in manifests:
            raw = self._raw["recovered" if made.status == "recovered" else "complete"]
            self._proof(made, manifest.digest(raw), light)

    def _whole(self, manifests: list[Manifest], facts: LogFacts) -> None:
        sealed: dict[str, Any] = {str(entry.leaf.facts.get("status")): entry.leaf.facts for entry in facts.of("session.sealed")}
        for made in manifests:
            raw = self._raw["recovered" if made.status == "recovered" else "complete"]
            said = sealed.pop(made.status, None)
            subject = self._stored.prefix + manifest.names(made.status)[0]
            if said is None:
                self._fail("inclusion", subject, "The log does not know this manifest: it is an orphan.")
            elif (said.get("manifest"), said.get("chain")) != (manifest.digest(raw), made.chain):
                self._fail("inclusion", subject, "The log knows another manifest of this session: this one took its place.")
            else:
                self._report.prove("inclusion")
        for status in sealed:
            name = manifest.names(status)[0]
            if name not in self._stored.files:
                self._fail("orphans", self._stored.prefix + name, "The log says that this manifest was stored; it is gone.")
        if not facts.of("session.opened"):
            self._fail("orphans", self._stored.prefix, "The log does not know this session: it was never opened, or taken out.")
        for entry in facts.of("evidence.conflict"):
            self._fail("orphans", self._stored.prefix, f"The gateway itself noticed: {entry.leaf.facts.get('what', '')}.")
        for entry in facts.of("evidence.alert"):
            self._fail("versions", self._stored.prefix, f"{noticed(entry)}.")

    def _proof(self, made: Manifest, digest: str, light: Light | None) -> None:
        name = self._stored.prefix + manifest.names(made.status)[2]
        raw = self._source.read(name)
        if raw is None:
            self._report.leave("inclusion", name, "There is no proof yet that the log holds this manifest.")
            return
        try:
            proof = checkpoints.parse_proof(raw)
            said, leaf = checkpoints.read(proof.note), leaves.read(proof.extra)
        except ValueError as error:
            self._fail("inclusion", name, f"The proof is not one: {error}.")
            return
        if not checkpoints.signed_by_log(proof.note, said.origin, self._keys.signers, signatures.check):
            self._fail("inclusion", name, "The proof's checkpoint is not signed by a key that you trust.")
        elif (leaf.type, leaf.sid, leaf.facts.get("manifest")) != ("session.sealed", made.sid, digest):
            self._fail("inclusion", name, "The proof is about another manifest than the one that lies here.")
        elif not merkle.check_inclusion(merkle.leaf_hash(proof.extra), proof.index, said.size, proof.hashes, said.root):
            self._fail("inclusion", name, "The proof does not hold: the log it speaks of does not contain this manifest.")
        else:
            self._continues(name, proof, said, light)

    def _continues(self, name: str, proof: checkpoints.Proof, said: checkpoints.Checkpoint, light: Light | None) -> None:
        if light is None:
            self._report.prove("inclusion")
            self._report.leave("consistency", name, "Without the log, its later history cannot be compared with this proof.")
            return
        try:
            if said.size > light.stated.size and begins_now(self._source, self._keys, light.stated, said.size, said.root):
                self._report.prove("inclusion")
                self._report.prove("consistency")
            elif said.size > light.stated.size:
                self._fail("consistency", name, "The log is shorter than when this proof was made: it was cut or replaced.")
            elif not light.begins_with(said.size, said.root) or not light.holds(proof.index, proof.extra):
                self._fail("consistency", name, "Today's log is another than when this proof was made: history was rewritten.")
            else:
                self._report.prove("inclusion")
                self._report.prove("consistency")
        except tiles.TileError as error:
            self._fail("log_root", f"log/{error.path}", f"The log cannot be read: {error}.")

    def _without_manifest(self, facts: LogFacts | None) -> None:
        if self._sound:
            text = (
                "There is no manifest: nothing says yet what the recording consists of. The session is open, or was sealed later."
            )
            if facts and (late := overdue(facts)):
                self._fail("orphans", self._stored.prefix, late)
            else:
                self._report.leave("orphans", self._stored.prefix, text)

    def _recorder(self, made: Manifest, facts: LogFacts | None) -> None:
        fingerprint = hashlib.sha256(bytes.fromhex(made.recorder.public_key)).hexdigest()
        if facts is None:
            return
        if fingerprint in facts.recorders:
            self._report.prove("recorder")
        else:
            text = "Its agent's enrolment is not in the log: it enrolled before there was a log, or is not one of this gateway's."
            self._report.leave("recorder", self._stored.prefix, text)

    def _fail(self, check: str, subject: str, message: str) -> None:
        self._sound = False
        self._report.fail(check, subject, message)


def noticed(entry: Entry) -> str:
    """Say what an alert of the gateway itself is about."""
    facts = entry.leaf.facts
    what, version, first = (str(facts.get(name, ""))[:80] for name in ("what", "version", "first"))
    told = {
        "rewritten": "an object was written again",
        "hidden": "an object was deleted, which hides it",
        "stray": "an object lies where nothing was registered",
    }
    kept = f"; version {first} is what was recorded" if first else ""
    return f"The gateway itself noticed: {told.get(what, what)} (version {version}{kept})"


def overdue(facts: LogFacts) -> str:
    """Say why a session without a manifest should have one by now, or return an empty text."""
    if not facts.of("session.started"):
        return ""
    ends = [entry.leaf.time_ms for entry in facts.of("session.ended")]
    if ends and facts.now_ms > max(ends) + GRACE_MS:
        return "The session ended long ago, and no manifest was ever logged."
    deadlines = [entry.leaf.facts.get("deadline_ms", 0) for entry in facts.of("session.opened")]
    if not ends and deadlines and facts.now_ms > max(deadlines) + GRACE_MS:
        return "The session's time was over long ago, and the log does not say that it ended."
    return ""
