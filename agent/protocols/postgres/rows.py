"""Masks the answers of one session with ``agent.core.masking``: rows, and COPY. Pure.

What a policy reveals is part of a mask. Policies change while a result is under way, so every batch is masked under the one that
is in force.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Final, Literal

from agent.core.masking.classes import MaskFault
from agent.core.masking.copies import CopyMasker
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import Column, RowMasker
from agent.protocols.postgres.codec import Copied, Rows, join_copied
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault

#: Stands for a column that holds more than one class: nothing of it is shown.
SEVERAL: Final = "several"
_TEXT: Final = 25
_WHOLE: Final = methodcaller("endswith", b"\n")

Reveals = Callable[[], frozenset[str]]


class RowMask:
    """The mask of one result, whose columns hold ``classes``. ``reveals`` says which classes may be seen now."""

    def __init__(self, fields: tuple[Field, ...], classes: list[frozenset[str]], detectors: Detectors, reveals: Reveals) -> None:
        self._fields = fields
        self._classes = classes
        self._detectors = detectors
        self._reveals = reveals
        self._revealed: frozenset[str] | None = None
        self._masker: RowMasker

    def rows(self, rows: Rows) -> tuple[bytes, int]:
        """Return the rows as the client may see them, and how many values were masked. Raises Fault(target_closed)."""
        revealed = self._reveals()
        if revealed is not self._revealed:
            self._revealed, self._masker = revealed, self._made(revealed)
        try:
            shown = self._masker.mask_framed(rows.raw, rows.starts)
        except MaskFault as fault:
            raise torn(str(fault)) from None
        return shown, sum(self._masker.report().hits.values())

    def _made(self, revealed: frozenset[str]) -> RowMasker:
        columns = [
            Column(field.type, field.format, one_of(classes - revealed))
            for field, classes in zip(self._fields, self._classes, strict=True)
        ]
        return RowMasker(columns, self._detectors, revealed)


def one_of(hidden: frozenset[str]) -> str | None:
    """Return the class that a column is masked as, or None where it is shown."""
    return None if not hidden else next(iter(hidden)) if len(hidden) == 1 else SEVERAL


def torn(why: str) -> Fault:
    """Return the fault of a server whose rows are not what it described."""
    return Fault("target_closed", "The target sent a row that does not have the columns that it described.", detail=why)


class LineCopyMask:
    """The mask of one COPY in text or CSV format. The types of its columns are not announced, so all of them count as text."""

    def __init__(
        self, form: Literal["text", "csv"], classes: list[frozenset[str]], detectors: Detectors, revealed: frozenset[str]
    ) -> None:
        columns = [Column(_TEXT, 0, one_of(each - revealed)) for each in classes]
        self._form = form
        self._masker = CopyMasker(columns, detectors, revealed, form=form)

    def data(self, body: bytes) -> tuple[bytes, int]:
        """Return what can be shown of the data so far, and how many values were masked. Raises Fault(target_closed)."""
        try:
            return self._masker.feed(body), self._count()
        except MaskFault as fault:
            raise torn(str(fault)) from None

    def messages(self, copied: Copied) -> tuple[bytes, int]:
        """Return the messages of ``copied`` as the client may see them, and how many values were masked.

        Every message stays one: clients take each for a row. Raises Fault(target_closed).
        """
        bodies = copied.bodies()
        joined = b"".join(bodies)
        if not self._masker.idle or not all(map(_WHOLE, bodies)) or (self._form == "csv" and b'"' in joined):
            parts = [self.data(body) for body in bodies]
            return join_copied([shown for shown, _ in parts if shown]), sum(masked for _, masked in parts)
        shown, masked = self.data(joined)
        if shown == joined:
            return copied.raw, masked
        return join_copied(shown.splitlines(keepends=True) if b"\r" not in shown else [shown]), masked

    def end(self) -> tuple[bytes, int]:
        """Return the rest, when the data is over. Raises Fault(target_closed)."""
        try:
            return self._masker.end(), self._count()
        except MaskFault as fault:
            raise torn(str(fault)) from None

    def _count(self) -> int:
        return sum(self._masker.report().hits.values())
