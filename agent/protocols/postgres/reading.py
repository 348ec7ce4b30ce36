"""What the plug-in reads and masks with: ``agent.core.sql`` and ``agent.core.masking``, for one session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from agent.core.masking.classes import BUILT_IN, Tally
from agent.core.masking.detectors import Detectors
from agent.core.masking.own import read_detectors
from agent.core.masking.text import TextScrubber, Written
from agent.core.masking.values import Members
from agent.core.sql import Session, analyse, literals
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from agent.protocols.postgres import errors
from agent.protocols.postgres.classify import Classifier, Meaning
from agent.protocols.postgres.columns import Columns, read_tags
from agent.protocols.postgres.masks import DIGITS, CopyMask
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.rows import LineCopyMask, RowMask, WholeCopy
from agent.protocols.postgres.snapshot import Snapshot
from agent.runtime.reveals import Reveals
from agent.runtime.serving import Serving

#: Nothing that a built-in detector finds has fewer characters.
_SHORTEST: Final = 6
#: Nothing that a built-in detector finds is fewer digits than this, and nothing else.
_DIGITS: Final = 14


#: Statements whose kept form is remembered, because clients repeat themselves, and the longest of them.
_KEPT: Final = 256
_KEPT_TEXT: Final = 4_096


class _Kept(msgspec.Struct, frozen=True):
    meaning: Meaning | None
    revealed: frozenset[str]
    detectors: Detectors
    text: str
    parameters: dict[int, frozenset[str]] = {}
    blank: bool = False
    """Nothing of its values may be kept."""
    constants: bool = False
    """Constants were left out."""

    def values(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return bound values as they may be kept."""
        hidden = self.parameters
        if not hidden and not self.blank:
            return tuple([_scrubbed(value, self.revealed, self.detectors) for value in values])
        return tuple(
            _word(hidden[at]) if at in hidden else "…" if self.blank else _scrubbed(value, self.revealed, self.detectors)
            for at, value in enumerate(values, 1)
        )


class _Words:
    """Implements ``masks.Words``."""

    def __init__(self, meaning: Meaning, revealed: frozenset[str], detectors: Detectors) -> None:
        self._meaning = meaning
        self._revealed = revealed
        self._detectors = detectors
        known = _kept(meaning.text, meaning, revealed, detectors)
        # Whether a constant stands beside a hidden column is the same for all that mean the same: their trees are one but for
        # constants (``shapes``). To find that out takes longer than all else that is done with a statement.
        self._plain: Final = not (known.constants or known.blank)
        self.values: Final = known.values
        self.numbers: Final = not (known.parameters or known.blank or detectors.custom)
        self._last = (meaning.text, known.text)

    def text(self, text: str) -> str:
        """Return the text of a statement that means the same."""
        if text != self._last[0]:
            if self._plain:
                kept = _scrubbed(text, self._revealed, self._detectors)
            else:
                kept = _kept(text, self._meaning, self._revealed, self._detectors).text
            self._last = (text, kept)
        return self._last[1]

    def steady(self, lead: str, tail: str) -> bool:
        """Return True where a short number between ``lead`` and ``tail`` is no part of a secret, and there is none beside it.

        No built-in detector crosses a comparison but for what announces a token, which takes letters and digits alike: if it
        takes too little of the longest number, it does of a shorter one. Behind the number stands what no number goes on with.
        """
        return self._plain and self._detectors.quiet(f"{lead}{'0' * DIGITS}{tail}".encode())


def make_classifier(serving: Serving, snapshot: Snapshot) -> Classifier:
    """Return what reads the texts of one connection. Raises Fault(config_invalid) for tags that do not read."""

    def read(text: str, catalogue: Catalogue, session: Session) -> Analysis:
        return analyse(text, catalogue, session=session)

    return Classifier(read, snapshot.catalogue, read_tags(serving.target.options))


def make_masks(serving: Serving, snapshot: Callable[[], Snapshot]) -> SessionMasks:
    """Return the masking rules of one session. Raises Fault(config_invalid) for tags that do not read."""
    return SessionMasks(serving, snapshot)


class SessionMasks:
    """Implements ``masks.Masks``."""

    def __init__(self, serving: Serving, snapshot: Callable[[], Snapshot]) -> None:
        self._serving = serving
        self._snapshot = snapshot
        self._tags = read_tags(serving.target.options)
        self._classes = frozenset(self._tags.values())
        self._detectors = read_detectors(serving.target.options)
        self._every = self._classes | frozenset(BUILT_IN) | self._detectors.named
        self.revealed: Final = Reveals(serving, self._every)
        """What the policy in force reveals."""
        self._kept: dict[str, _Kept] = {}
        # Errors name columns without their tables.
        self._names = {column.rpartition(".")[2]: data_class for column, data_class in self._tags.items()}
        self._written: tuple[Catalogue, frozenset[bytes]] | None = None
        self._scrubs_for: frozenset[str] | None = None
        self._scrubber: TextScrubber

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> RowMask:
        """Return what masks a result with these columns."""
        snapshot = self._snapshot()
        columns = Columns(self._tags, snapshot.catalogue, snapshot.relations)
        classes = columns.classes(fields, meaning.tagged if meaning is not None else None)
        members = self._members(columns, fields, meaning) if any(classes) else None
        return RowMask(fields, classes, self._detectors, self.revealed, members)

    def copy(self, meaning: Meaning, overall: int, columns: int, described: tuple[Field, ...] | None = None) -> CopyMask | None:
        """Return what masks a COPY of ``columns`` columns, or None where its form cannot be."""
        revealed = self.revealed()
        if self._every <= revealed:
            return WholeCopy()
        form = meaning.form
        if form is None or not form.plain or (overall == 1) != (form.format == "binary"):
            return None
        if described is not None and not form.types:
            form = msgspec.structs.replace(form, types=tuple(each.type for each in described))
        if overall and len(form.types) != columns:
            return None
        members: list[Members | None] | None = None
        if described is not None and len(described) == columns:
            snapshot = self._snapshot()
            known = Columns(self._tags, snapshot.catalogue, snapshot.relations)
            classes = known.classes(described, meaning.tagged)
            members = self._members(known, described, meaning)
        else:
            classes = [meaning.tagged.column(place) for place in range(columns)]
            members = [self._members_of(meaning)] * columns if form.query else None
        return LineCopyMask(form, classes, self._detectors, revealed, members)

    def _members(self, columns: Columns, fields: tuple[Field, ...], meaning: Meaning | None) -> list[Members | None]:
        """Return what says of each column which names of JSON's members are no values.

        What a statement makes can have a value as a name (``jsonb_object_agg(mail, 1)``), so words stay that somebody wrote.
        """
        members = self._members_of(meaning)
        return [None if columns.stored(field) else members for field in fields]

    def _members_of(self, meaning: Meaning | None) -> Members:
        told: list[Written] = []

        def name(member: bytes) -> bool:
            if not told:
                told.append(self._writes(self._snapshot().catalogue, meaning.text if meaning is not None else ""))
            return errors.all_written(member, told[0])

        return name

    def recorded(self, text: str, values: tuple[str, ...], meaning: Meaning | None) -> tuple[str, tuple[str, ...]]:
        """Return a statement and its values as the transcript may hold them, without what would be masked on its way back."""
        revealed = self.revealed()
        known = self._kept.get(text)
        if known is None or known.meaning is not meaning or known.revealed is not revealed:
            known = _kept(text, meaning, revealed, self._detectors)
            if len(text) <= _KEPT_TEXT:
                if len(self._kept) >= _KEPT:
                    self._kept.clear()
                self._kept[text] = known
        return known.text, known.values(values) if values else ()

    def words(self, meaning: Meaning) -> _Words:
        """Return what says the same of ``meaning`` and its like."""
        return _Words(meaning, self.revealed(), self._detectors)

    def copies(self, meaning: Meaning) -> bool:
        """Return False where the COPY out of ``meaning`` would have to be masked, and cannot be."""
        form = meaning.form
        if self._every <= self.revealed():
            return True
        return form is not None and form.plain and (form.format != "binary" or bool(form.types or form.query))

    def asks(self, meaning: Meaning) -> str:
        """Return the query whose columns the server has to describe before it is copied in binary."""
        form = meaning.form
        if meaning.copy != "out" or form is None or form.types or self._every <= self.revealed():
            return ""
        return form.query

    def hidden(self) -> frozenset[str]:
        """Return the classes of data that policy does not reveal now."""
        return self._every - self.revealed()

    def text(self, words: str, about: Meaning | None = None) -> str:
        """Return a text that may quote data: of what ``about`` reaches, where it is known, or else of anything."""
        scrubber, hidden = self._scrubbing(about)
        return scrubber.scrub(words.encode(errors="replace"), quoted=hidden).decode(errors="replace")

    def fields(self, fields: dict[str, str], about: Meaning | None, asked: str) -> dict[str, str]:
        """Return an error or a notice: what it quotes and what a function raises is held to what was written (``errors``)."""
        scrubber, hidden = self._scrubbing(about)
        if not hidden:
            return errors.scrubbed(fields, scrubber, None)
        catalogue = self._snapshot().catalogue
        return errors.scrubbed(fields, scrubber, self._writes(catalogue, asked), english=catalogue.english)

    def told(self, words: str, heard: str) -> str:
        """Return a part of a notification: whoever sent it may have put anything there, so it is held to what was written."""
        scrubber, hidden = self._scrubbing(None)
        data = words.encode(errors="replace")
        if not hidden:
            return scrubber.scrub(data, quoted=False).decode(errors="replace")
        return scrubber.raised(data, self._writes(self._snapshot().catalogue, heard)).decode(errors="replace")

    def _writes(self, catalogue: Catalogue, asked: str) -> Written:
        """Return what tells of a word whether it was written: in ``catalogue``, or in what was ``asked``."""
        if self._written is None or self._written[0] is not catalogue:
            self._written = catalogue, errors.vocabulary(catalogue)
        return errors.written(self._written[1], asked)

    def _scrubbing(self, about: Meaning | None) -> tuple[TextScrubber, bool]:
        """Return what scrubs texts now, and whether a text of ``about`` may hold what is hidden."""
        revealed = self.revealed()
        if revealed is not self._scrubs_for:
            self._scrubs_for = revealed
            self._scrubber = TextScrubber(self._detectors, revealed, tags=self._names)
        return self._scrubber, not (self._classes if about is None else about.tagged.reached) <= revealed


def _hidden(meaning: Meaning, revealed: frozenset[str]) -> tuple[dict[str, frozenset[str]], frozenset[str]] | None:
    """Return the hidden classes by the names of their columns, and those of every constant; None where there are none."""
    if meaning.tagged.reached <= revealed:
        return None
    names = {name: classes - revealed for name, classes in meaning.tagged.names.items() if classes - revealed}
    # The arguments of EXECUTE stand beside no column.
    every = meaning.tagged.reached - revealed if meaning.kind == "execute" else frozenset[str]()
    return (names, every) if names or every else None


def _kept(text: str, meaning: Meaning | None, revealed: frozenset[str], detectors: Detectors) -> _Kept:
    """Leave out constants and values that stand where a column of a hidden class is read, compared or written."""
    hidden = _hidden(meaning, revealed) if meaning is not None else None
    if meaning is None or hidden is None:
        return _Kept(meaning, revealed, detectors, _scrubbed(text, revealed, detectors))
    names, every = hidden
    found = literals.find(text, names, meaning.tagged.orders, every)
    if not found.understood:
        words = f"(a statement of {len(text)} characters, too large to leave out the values in it)"
        return _Kept(meaning, revealed, detectors, words, blank=True)
    shown = literals.replaced(text, found, _word) if found.constants else text
    shown = _scrubbed(shown, revealed, detectors)
    return _Kept(meaning, revealed, detectors, shown, found.parameters, constants=bool(found.constants))


def _scrubbed(text: str, revealed: frozenset[str], detectors: Detectors) -> str:
    short = len(text) < _SHORTEST or (len(text) < _DIGITS and text.isascii() and text.isdigit())
    if short and not detectors.custom:
        return text
    data = text.encode(errors="replace")
    shown = detectors.scrub(data, revealed, Tally())
    return text if shown is data or shown == data else shown.decode(errors="replace")


def _word(classes: frozenset[str]) -> str:
    return f"[masked {'/'.join(sorted(classes))}]"
