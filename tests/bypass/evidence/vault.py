"""Evidence as it really is: made by the control plane's own code, copied to a folder, and verified by the command line's.

An attack changes the bytes of the folder, or has the control plane do what its owner could make it do.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from chalicelib.contracts import manifest, recording
from chalicelib.contracts.api import SessionClose
from chalicelib.contracts.audit import SessionEnded
from chalicelib.contracts.translog import checkpoints, notes
from chalicelib.usecases.catch_up_log import catch_up_log
from chalicelib.usecases.close_session import close_session
from chalicelib.usecases.reap_sessions import reap_sessions
from chalicelib.usecases.register_chunk import register_chunk
from chalicelib.usecases.seal_session import is_over, seal_session
from chalicelib.usecases.view_recording import Page, view_recording
from cli.verification.audit import Wanted, Watch, verify
from cli.verification.findings import Report
from cli.verification.log import Keys
from cli.verification.sources import Folder
from tests.fakes.log import FakeArchive, FakeLogIndex
from tests.fakes.note_keys import NoteKey
from tests.fakes.world import CAROL, World

QUIET = Watch(lambda label, total: None, lambda amount: None)
WITNESS = NoteKey.ed25519("edge-1", notes.COSIGNATURE)


V = TypeVar("V", bound="Vault")


class Vault(World):
    """A gateway, and the folder that holds a copy of its bucket."""

    folder: Path
    skew_ms = 0
    """How far the agent's clock is from the gateway's."""

    @classmethod
    def at(cls, folder: Path) -> Vault:
        vault = cls.ready()
        assert isinstance(vault, Vault)
        vault.folder = folder
        return vault

    # --- the gateway at work

    def record(self, *bodies: bytes, end: str = "ended") -> str:
        """Record a session of these chunks; ``end`` is how: ended, killed, silent, or open."""
        sid = self.live()
        for body in bodies:
            self.clock.advance(3)
            self.deliver(sid, body)
        if end in ("ended", "killed"):
            self.close(sid, end)
        elif end == "silent":
            self.clock.advance(600)
            reap_sessions(self.ports)
        return sid

    def deliver(self, sid: str, body: bytes) -> str:
        """Register and store the next chunk; return its key."""
        now = self.clock.now
        self.clock.now += self.skew_ms
        asked = self.next_chunk(sid, body)
        self.clock.now = now
        register_chunk(self.ports, self.agent, sid, asked)
        key = recording.key(self.prefix(sid), asked.chunk)
        self.archive.put(key, body)
        return key

    def close(self, sid: str, state: str = "ended") -> None:
        session = self.store.session(sid)
        assert session is not None
        counts: dict[str, Any] = {"chunks": session.chunks, "chain": session.chain, "operations": session.operations}
        close_session(self.ports, self.agent, sid, SessionClose(state=state, denied=session.denied, **counts))  # type: ignore[arg-type]

    def prefix(self, sid: str) -> str:
        session = self.store.session(sid)
        assert session is not None
        return session.recording

    def settle(self) -> Vault:
        """Do what the stream's functions do with everything that happened."""
        for event in list(self.store.recorded):
            if isinstance(event, SessionEnded) and is_over(event):
                seal_session(self.ports, event)
        catch_up_log(self.ports)
        return self

    def look(self, sid: str) -> None:
        """Let an auditor view a recording."""
        view_recording(self.ports, CAROL, sid, Page(), "")

    # --- the copy

    def copy(self) -> Vault:
        """Make the folder a copy of the bucket."""
        self.copy_to(self.folder)
        return self

    def copy_to(self, folder: Path) -> None:
        """Make ``folder`` a copy of the bucket."""
        shutil.rmtree(folder, ignore_errors=True)
        for key, body in self.archive.objects().items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)

    def path(self, sid: str, name: str = "") -> Path:
        return self.folder / self.prefix(sid) / name

    def chunks(self, sid: str) -> list[Path]:
        return sorted(self.path(sid).glob("*.zst"))

    def manifest(self, sid: str) -> manifest.Manifest:
        return manifest.decode(self.path(sid, "manifest.json").read_bytes())

    def checkpoint(self) -> bytes:
        return (self.folder / "log" / "checkpoint").read_bytes()

    def witness(self) -> None:
        """Have a witness cosign the newest checkpoint and store what it saw."""
        stated, note = checkpoints.parse(self.checkpoint())
        line = WITNESS.cosign(note, self.clock.now // 1000).signatures[-1]
        path = self.folder / "log" / checkpoints.cosignature_path(stated.size, WITNESS.key.name)
        path.parent.mkdir(parents=True)
        path.write_text(str(notes.Note(note.text, [line])))

    # --- the owner of every key

    def rewrite(self, *, without: str) -> None:
        """Write and sign the whole log anew as if ``without`` had never been: with the gateway's own code and keys."""
        self.store.recorded[:] = [event for event in self.store.recorded if getattr(event, "sid", "") != without]
        kept = {key: versions for key, versions in self.archive.kept.items() if not key.startswith("log/")}
        self.archive.kept.clear()
        self.archive.kept.update({key: versions for key, versions in kept.items() if without not in key})
        for key in [key for key in self.archive.kept if key.endswith(".tlog-proof")]:
            del self.archive.kept[key]
        self.log.now = FakeLogIndex(self.store).now
        self.log.leaves.clear()
        catch_up_log(self.ports)

    # --- the auditor

    def trusted(self, *, witness: bool = True) -> Keys:
        return Keys([self.notary.key(), *([WITNESS.key] if witness else [])])

    def verify(self, *, witness: bool = True, **wanted: Any) -> Report:
        """Verify the copy: everything, if nothing else is said."""
        scope = wanted or {"whole": True}
        return verify(Folder(self.folder), self.trusted(witness=witness), Wanted(**scope), QUIET)

    def caught_by(self, **wanted: Any) -> set[str]:
        """Return the names of the checks that contradict."""
        return set(self.verify(**wanted).failed_checks())


def good(folder: Path, kind: type[V] = Vault) -> V:  # type: ignore[assignment]
    """A vault with three sessions of three chunks, looked at once, settled and copied; and nothing wrong with it."""
    vault = kind.at(folder)
    assert isinstance(vault, kind)
    for name in (b"a", b"b", b"c"):
        vault.look(vault.record(*(name * 100 + bytes([n]) for n in range(3))))
    vault.settle()
    Vault.copy(vault)
    assert vault.caught_by() == set()
    return vault


def fresh(vault: Vault) -> FakeArchive:
    """An empty bucket of the same kind."""
    assert vault.archive is not None
    return FakeArchive()


def edit(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of a stored object."""
    raw = path.read_bytes()
    assert old in raw
    path.write_bytes(raw.replace(old, new))


def replaced(entry: manifest.Entry, **changes: Any) -> manifest.Entry:
    return msgspec.structs.replace(entry, **changes)
