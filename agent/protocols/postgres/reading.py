"""What the plug-in reads and masks with: ``agent.core.sql`` and ``agent.core.masking``, for one session."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from agent.core.masking.classes import BUILT_IN, Tally
from agent.core.masking.detectors import Detectors
from agent.core.sql import Session, analyse
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from agent.protocols.postgres.catalogue import Snapshot
from agent.protocols.postgres.classify import Classifier, Meaning
from agent.protocols.postgres.columns import Columns, read_tags
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.rows import RowMask, TextCopyMask, one_of
from agent.runtime.serving import Serving
from chalicelib.contracts.policy import Moment, Policy

_DETECTORS: Final = Detectors()
#: Words in the options of a COPY whose data is not lines of text. Errs towards refusing.
_NOT_TEXT: Final = re.compile(r"(?i)\b(?:csv|binary|delimiter|delimiters|null|header)\b")


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
        self._every = frozenset(self._tags.values()) | frozenset(BUILT_IN)
        self._policy: Policy | None = None
        self._revealed: frozenset[str] = frozenset()
        self._tally = Tally()

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> RowMask:
        """Return what masks a result with these columns."""
        snapshot = self._snapshot()
        columns = Columns(self._tags, snapshot.catalogue, snapshot.relations)
        tagged = meaning.tagged if meaning is not None else None
        return RowMask(fields, columns.classes(fields, tagged), _DETECTORS, self.revealed)

    def copy(self, meaning: Meaning, overall: int, columns: int) -> TextCopyMask | None:
        """Return what masks a COPY in text format; the others cannot be masked yet."""
        if overall or _NOT_TEXT.search(meaning.text):
            return None
        hidden = [one_of(meaning.tagged.column(place) - self.revealed()) for place in range(columns)]
        return TextCopyMask(hidden, self.detected)

    def text(self, words: str) -> str:
        """Return a text that may quote data."""
        return self.detected(words.encode(errors="replace")).decode(errors="replace")

    def detected(self, data: bytes) -> bytes:
        """Return ``data`` without the secrets that show by themselves; the same object where there are none."""
        return _DETECTORS.scrub(data, self.revealed(), self._tally)

    def revealed(self) -> frozenset[str]:
        """Return the classes that the policy in force lets this person see; the same object while that is the same."""
        policy = self._serving.policy
        if policy is not self._policy:
            self._policy = policy
            self._revealed = frozenset(name for name in self._every if self._ask(policy, name))
        return self._revealed

    def _ask(self, policy: Policy, data_class: str) -> bool:
        claims = self._serving.claims
        target = policy.document.target(claims.target)
        if target is None:
            return False
        moment = Moment(now_ms=self._serving.now_ms(), reason=claims.reason, login=claims.login, source_ip=claims.source_ip)
        return policy.reveal(claims.principal, target, data_class, moment).allowed
