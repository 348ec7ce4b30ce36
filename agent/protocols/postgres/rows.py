"""Masks the answers of one session with ``agent.core.masking``: rows, and COPY in text format. Pure.

What a policy reveals is part of a mask. Policies change while a result is under way, so every batch is masked under the one that
is in force.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from agent.core.masking.classes import MaskFault, data_class
from agent.core.masking.detectors import Detectors
from agent.core.masking.rows import Column, RowMasker
from agent.protocols.postgres.codec import Rows
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault

#: Stands for a column that holds more than one class: nothing of it is shown.
SEVERAL: Final = "several"

Detect = Callable[[bytes], bytes]
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
            shown = self._masker.mask(rows.bodies())
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


class TextCopyMask:
    """The mask of one COPY in text format: a line per row, tabs between values, a backslash before what is special."""

    def __init__(self, hidden: list[str | None], detect: Detect) -> None:
        self._hidden = hidden
        self._detect = detect
        self._tagged = any(hidden)

    def data(self, body: bytes) -> tuple[bytes, int]:
        """Return one CopyData as the client may see it, and how many values were masked."""
        if not self._tagged:
            shown = self._detect(body)
            return shown, int(shown is not body)
        values = body.removesuffix(b"\n").split(b"\t")
        if len(values) != len(self._hidden):
            raise torn("a line of COPY")
        masked, found = 0, []
        for value, hidden in zip(values, self._hidden, strict=True):
            shown = value if value == b"\\N" else data_class(hidden).replace(value) if hidden else self._detect(value)
            masked += shown is not value
            found.append(shown)
        return b"\t".join(found) + b"\n", masked
