"""What the plug-in reads and masks with: ``agent.core.sql`` and ``agent.core.masking``, for one session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.core.masking.classes import Tally
from agent.core.masking.detectors import Detectors
from agent.core.sql import Session, analyse
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from agent.protocols.postgres.catalogue import Snapshot
from agent.protocols.postgres.classify import Classifier, Meaning
from agent.protocols.postgres.columns import Columns, read_tags
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.rows import RowMask, TextCopyMask
from agent.runtime.serving import Serving
from chalicelib.contracts.policy import Moment, Policy

_DETECTORS: Final = Detectors()


def make_classifier(serving: Serving, snapshot: Snapshot) -> Classifier:
    """Return what reads the texts of one connection. Raises Fault(config_invalid) for tags that do not read."""

    def read(text: str, catalogue: Catalogue, session: Session) -> Analysis:
        return analyse(text, catalogue, session=session)

    return Classifier(read, snapshot.catalogue, read_tags(serving.target.options))


def make_masks(serving: Serving, snapshot: Callable[[], Snapshot]) -> SessionMasks:
    """Return the masking rules of one session. Raises Fault(config_invalid) for tags that do not read."""
    return SessionMasks(serving, snapshot)


class SessionMasks:
    """Implements ``masks.Masks``. What policy reveals is asked once for each class and version of the policy."""

    def __init__(self, serving: Serving, snapshot: Callable[[], Snapshot]) -> None:
        self._serving = serving
        self._snapshot = snapshot
        self._tags = read_tags(serving.target.options)
        self._policy: Policy | None = None
        self._answers: dict[str, bool] = {}
        self._tally = Tally()

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> RowMask:
        """Return what masks a result with these columns."""
        snapshot = self._snapshot()
        columns = Columns(self._tags, snapshot.catalogue, snapshot.relations)
        tagged = meaning.tagged if meaning is not None else None
        hidden = [self._hidden(classes) for classes in columns.classes(fields, tagged)]
        return RowMask(fields, hidden, self.detected)

    def copy(self, meaning: Meaning, overall: int, columns: int) -> TextCopyMask | None:
        """Return what masks a COPY in text format; the others cannot be masked yet."""
        if overall or "csv" in meaning.text.lower():
            return None
        tagged = meaning.tagged
        hidden = [self._hidden(tagged.column(place)) for place in range(columns)]
        return TextCopyMask(hidden, self.detected)

    def text(self, words: str) -> str:
        """Return a text that may quote data."""
        data = words.encode(errors="replace")
        return self.detected(data).decode(errors="replace")

    def detected(self, data: bytes) -> bytes:
        """Return ``data`` without the secrets that it shows by itself."""
        spans = [span for span in _DETECTORS.spans(data) if span[2]]
        if not spans:
            return data
        reveal = frozenset(span[2] for span in spans if self._reveals(span[2]))
        return _DETECTORS.scrub(data, reveal, self._tally)

    def _hidden(self, classes: frozenset[str]) -> frozenset[str]:
        return frozenset(name for name in classes if not self._reveals(name))

    def _reveals(self, data_class: str) -> bool:
        policy = self._serving.policy
        if policy is not self._policy:
            self._policy, self._answers = policy, {}
        known = self._answers.get(data_class)
        if known is None:
            known = self._answers[data_class] = self._ask(policy, data_class)
        return known

    def _ask(self, policy: Policy, data_class: str) -> bool:
        claims = self._serving.claims
        target = policy.document.target(claims.target)
        if target is None:
            return False
        moment = Moment(now_ms=self._serving.now_ms(), reason=claims.reason, login=claims.login, source_ip=claims.source_ip)
        return policy.reveal(claims.principal, target, data_class, moment).allowed
