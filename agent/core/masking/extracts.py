"""Values that are looked through, taken out of a batch that consists mostly of something else.

One scan of a whole batch costs as much for lengths, numbers and dates as for texts. Where the texts are less than half of it,
they are copied beside each other first: for each column, pieces as wide as its longest value, filled up with zeros. No pattern
reaches across a zero (see ``rows``), and a place in the copy says which value it belongs to.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from agent.core.masking.batch import Ints, items
from agent.core.masking.cells import hit_cells
from agent.core.masking.checks import Span

#: The copy is at most so much of the batch. Taking one value out costs about as much as looking through a few more bytes.
_PART: Final = 2
#: Widths below are compared as small numbers.
_SHORT: Final = 1 << 15


class Extract(NamedTuple):
    """Values side by side."""

    text: bytes
    widths: list[int]
    """Bytes that each value of a column has in ``text``, the columns one after another."""
    begins: Ints
    """Where the values begin in the batch, and how long they are: a row of each array for every column."""
    sizes: Ints

    def cells(self, spans: list[Span]) -> dict[int, list[Span]]:
        """Return what was found in ``text`` by value, counted row by row, and where that is in the batch."""
        if not spans:
            return {}
        columns, rows = self.begins.shape
        firsts = np.concatenate(([0], np.repeat(self.widths, rows).cumsum()[:-1]))
        moved = (self.begins.ravel() - firsts).tolist()
        touched = hit_cells(spans, firsts, firsts + self.sizes.ravel().clip(min=0))
        return {
            cell % rows * columns + cell // rows: [
                (start + moved[cell], end + moved[cell], name, run) for start, end, name, run in inside
            ]
            for cell, inside in touched.items()
        }


def extract(raw: bytes, begins: Ints, sizes: Ints) -> Extract | None:
    """Return the values that begin at ``begins`` in ``raw``, a row of each array for every column (a size below 1 is none).

    None where looking through all of ``raw`` is less work.
    """
    rows, widths = begins.shape[1], [max(int(most), 0) + 1 for most in sizes.max(axis=1)]
    if sum(widths) * rows * _PART > len(raw):
        return None
    # A piece may reach past the last value.
    padded, text, at = raw + bytes(max(widths)), np.empty(sum(widths) * rows, np.uint8), 0
    for begin, size, width in zip(begins, sizes, widths, strict=True):
        piece, end = items(padded, width)[begin].view(np.uint8).reshape(rows, width), at + rows * width
        kind = np.int16 if width < _SHORT else np.int64
        there = np.arange(width, dtype=kind) < size.astype(kind)[:, None]
        np.multiply(piece, there.view(np.uint8), out=text[at:end].reshape(rows, width))
        at = end
    return Extract(text.tobytes(), widths, begins, sizes)
