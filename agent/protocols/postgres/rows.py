"""Masks the answers of one session with ``agent.core.masking``: rows, and COPY. Pure.

What a policy reveals is part of a mask. Policies change while a result is under way, so every batch is masked under the one that
is in force.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Final

import numpy as np

from agent.core.masking.classes import MaskFault
from agent.core.masking.copies import CopyForm as CopyFormat
from agent.core.masking.copies import CopyMasker
from agent.core.masking.detectors import Detectors
from agent.core.masking.pgtypes import BUILT_IN, HARMLESS, TEXT
from agent.core.masking.rows import Column, RowMasker
from agent.core.masking.values import Members
from agent.core.sql.model import CopyForm
from agent.protocols.postgres.codec import Copied, Rows, join_copied
from agent.protocols.postgres.messages import Field
from chalicelib.contracts.faults import Fault

#: Stands for a column that holds more than one class: nothing of it is shown.
SEVERAL: Final = "several"
_TEXT: Final = 25
#: Of the type ``name`` (``pg_type.oid``), which has a longest value.
NAME: Final = 19
_WHOLE: Final = methodcaller("endswith", b"\n")

Reveals = Callable[[], frozenset[str]]


class RowMask:
    """The mask of one result, whose columns hold ``classes``. ``reveals`` says which classes may be seen now."""

    def __init__(
        self,
        fields: tuple[Field, ...],
        classes: list[frozenset[str]],
        detectors: Detectors,
        reveals: Reveals,
        members: list[Members | None] | None = None,
    ) -> None:
        """``members`` says of each column which names of its JSON's members are no values."""
        self._fields = fields
        self._members = members or [None] * len(fields)
        self._classes = classes
        self._detectors = detectors
        self._reveals = reveals
        self.looks: Final = None if any(classes) else _looks(fields)
        self.quiet: Final = detectors.quiet
        self._revealed: frozenset[str] | None = None
        self._masker: RowMasker

    def rows(self, rows: Rows) -> tuple[bytes, int]:
        """Return the rows as the client may see them, and how many values were masked. Raises Fault(target_unmaskable)."""
        masker = self._current()
        try:
            shown = masker.mask_framed(rows.raw, rows.starts)
        except MaskFault as fault:
            raise torn(str(fault)) from None
        return shown, masker.counted()

    def few(self, raw: bytes, starts: tuple[int, ...]) -> tuple[bytes, int, list[list[bytes | None]]]:
        """Return the same of DataRows that begin at ``starts``, and their values as they are shown."""
        masker = self._current()
        try:
            shown, values = masker.mask_few(raw, starts)
        except MaskFault as fault:
            raise torn(str(fault)) from None
        return shown, masker.counted(), values

    def _current(self) -> RowMasker:
        revealed = self._reveals()
        if revealed is not self._revealed:
            self._revealed, self._masker = revealed, self._made(revealed)
        return self._masker

    def _made(self, revealed: frozenset[str]) -> RowMasker:
        columns = [
            Column(field.type, field.format, one_of(classes - revealed), members)
            for field, classes, members in zip(self._fields, self._classes, self._members, strict=True)
        ]
        return RowMasker(columns, self._detectors, revealed)


def _looks(fields: tuple[Field, ...]) -> tuple[int, ...] | None:
    """Return the columns that hold text, if no other has to be looked at: text of which nothing is cut off, and no container.

    A line break stands beside what a detector finds as the value's own end does.
    """
    others = [(at, field) for at, field in enumerate(fields) if field.type not in HARMLESS]
    if any(BUILT_IN.kind(field.type) is not TEXT or field.type == NAME or BUILT_IN.element(field.type) for _, field in others):
        return None
    return tuple(at for at, _ in others)


def one_of(hidden: frozenset[str]) -> str | None:
    """Return the class that a column is masked as, or None where it is shown."""
    return None if not hidden else next(iter(hidden)) if len(hidden) == 1 else SEVERAL


def torn(why: str) -> Fault:
    """Return the fault of a server whose rows are not what it described."""
    return Fault(
        "target_unmaskable", "The target sent data that cannot be masked as it was described, so it is not shown.", detail=why
    )


_FORMS: Final[dict[str, CopyFormat]] = {"text": "text", "csv": "csv", "binary": "binary"}


class LineCopyMask:
    """The mask of one COPY. The types of its columns are not announced: in the text and CSV formats all of them count as text."""

    def __init__(
        self,
        form: CopyForm,
        classes: list[frozenset[str]],
        detectors: Detectors,
        revealed: frozenset[str],
        members: list[Members | None] | None = None,
    ) -> None:
        types = form.types if form.format == "binary" else (_TEXT,) * len(classes)
        named = members or [None] * len(classes)
        columns = [Column(kind, 0, one_of(each - revealed), name) for kind, each, name in zip(types, classes, named, strict=True)]
        self._form = _FORMS[form.format]
        self._header = form.header and self._form != "binary"
        self._masker = CopyMasker(columns, detectors, revealed, form=self._form, delimiter=form.delimiter.encode())

    def data(self, body: bytes) -> tuple[bytes, int]:
        """Return what can be shown of the data so far, and how many values were masked. Raises Fault(target_unmaskable)."""
        if self._header:
            # The first message is the names of the columns, which are no data.
            self._header = False
            return body, 0
        try:
            return self._masker.feed(body), self._count()
        except MaskFault as fault:
            raise torn(str(fault)) from None

    def messages(self, copied: Copied) -> tuple[bytes, int]:
        """Return the messages of ``copied`` as the client may see them, and how many values were masked.

        Every message stays one: clients take each for a row. Raises Fault(target_unmaskable).
        """
        if not self._header and copied.count > 1:
            try:
                framed = self._masker.mask_framed(copied.raw, np.asarray(copied.starts, np.int64))
            except MaskFault as fault:
                raise torn(str(fault)) from None
            if framed is not None:
                return framed, self._count()
        bodies = copied.bodies()
        joined = b"".join(bodies)
        if self._header or not self._at_once(bodies, joined):
            parts = [self.data(body) for body in bodies]
            return join_copied([shown for shown, _ in parts if shown]), sum(masked for _, masked in parts)
        shown, masked = self.data(joined)
        if shown == joined:
            return copied.raw, masked
        return join_copied(shown.splitlines(keepends=True) if b"\r" not in shown else [shown]), masked

    def _at_once(self, bodies: list[bytes], joined: bytes) -> bool:
        quoted = self._form == "csv" and b'"' in joined
        return self._form != "binary" and self._masker.idle and not quoted and all(map(_WHOLE, bodies))

    def end(self) -> tuple[bytes, int]:
        """Return the rest, when the data is over. Raises Fault(target_unmaskable)."""
        try:
            return self._masker.end(), self._count()
        except MaskFault as fault:
            raise torn(str(fault)) from None

    def _count(self) -> int:
        return sum(self._masker.report().hits.values())


class WholeCopy:
    """A COPY of which nothing has to be masked."""

    def data(self, body: bytes) -> tuple[bytes, int]:
        """Return the data."""
        return body, 0

    def messages(self, copied: Copied) -> tuple[bytes, int]:
        """Return the messages."""
        return copied.raw, 0

    def end(self) -> tuple[bytes, int]:
        """Return nothing more."""
        return b"", 0
