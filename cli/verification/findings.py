"""What a verification found. Three kinds and no fourth: proved, contradicted, or not proved either way."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec

#: Every check by its stable name, in the order of the report: what holds where it passed.
CHECKS: Final[dict[str, str]] = {
    "chunk_hash": "the bytes of {n} are those that the agent registered before it uploaded them",
    "chain": "the chunks of {n} are all there, in order, none dropped, swapped or added",
    "manifest_signature": "{n} signed by the gateway's key",
    "recorder": "the recorder of {n} was an enrolled agent",
    "originals": "the sealed originals of {n} were sealed for it, its target and its month",
    "clock": "the clocks of agent and gateway agree in {n}",
    "inclusion": "{n} in the log, where nothing can be taken out again",
    "log_root": "{n} make up exactly the tree that the newest checkpoint states",
    "checkpoint_signature": "{n} signed by the log's key",
    "consistency": "{n} of earlier times: today's log begins with each of them",
    "cosignature": "{n} by witnesses, who saw the same history",
    "witness_bucket": "{n} in the second bucket: today's log begins with each of them",
    "orphans": "{n} compared both ways: what the log names is there, and what is there is named",
    "versions": "{n} written once and never hidden",
}
#: What is counted in each check: one, many.
COUNTED: Final[dict[str, tuple[str, str]]] = {
    "chunk_hash": ("chunk", "chunks"),
    "chain": ("session", "sessions"),
    "manifest_signature": ("manifest is", "manifests are"),
    "recorder": ("session", "sessions"),
    "originals": ("session", "sessions"),
    "clock": ("session", "sessions"),
    "inclusion": ("manifest is", "manifests are"),
    "log_root": ("log entry", "log entries"),
    "checkpoint_signature": ("checkpoint is", "checkpoints are"),
    "consistency": ("checkpoint", "checkpoints"),
    "cosignature": ("checkpoint is cosigned", "checkpoints are cosigned"),
    "witness_bucket": ("checkpoint", "checkpoints"),
    "orphans": ("session", "sessions"),
    "versions": ("object was", "objects were"),
}


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """One contradiction, or one thing that could not be proved."""

    check: str
    """Name of the check (``CHECKS``)."""
    subject: str
    """The object, session or checkpoint that it is about."""
    message: str


class Sealed(msgspec.Struct, kw_only=True):
    """The sealed originals under one key."""

    key: str
    target: str
    month: str
    sessions: int = 0
    objects: int = 0
    erased_ms: int = 0
    """When the key was erased; 0 while somebody may still unmask them."""
    leaf: int = -1
    """The log's entry about that."""


class Report(msgspec.Struct, kw_only=True):
    """Everything that was found. The evidence is good if ``failures`` is empty."""

    scope: str
    log: str = ""
    size: int = 0
    root: str = ""
    """Hex root of the tree at ``size``."""
    sessions: int = 0
    chunks: int = 0
    bytes: int = 0
    proved: dict[str, int] = {}
    failures: list[Finding] = []
    not_proved: list[Finding] = []
    originals: list[Sealed] = []

    @property
    def ok(self) -> bool:
        """Whether nothing contradicts."""
        return not self.failures

    def prove(self, check: str, count: int = 1) -> None:
        """Count something that passed."""
        self.proved[check] = self.proved.get(check, 0) + count

    def fail(self, check: str, subject: str, message: str) -> None:
        """Note a contradiction."""
        self.failures.append(Finding(check=check, subject=subject, message=message))

    def leave(self, check: str, subject: str, message: str) -> None:
        """Note what could not be proved."""
        self.not_proved.append(Finding(check=check, subject=subject, message=message))

    def failed_checks(self) -> Counter[str]:
        """Return how many contradictions each check has."""
        return Counter(finding.check for finding in self.failures)
