"""Which values of a batch the hits of one scan belong to. Values are cells, from their first byte to behind their last."""

from __future__ import annotations

import numpy as np

from agent.core.masking.batch import Ints
from agent.core.masking.checks import Span
from agent.core.masking.detectors import merge


def hit_cells(spans: list[Span], firsts: Ints, lasts: Ints) -> dict[int, list[Span]]:
    """Return which spans touch which cell: cells go from ``firsts`` to ``lasts``, in their order."""
    low = np.searchsorted(lasts, [span[0] for span in spans], "right").tolist()
    high = np.searchsorted(firsts, [span[1] for span in spans], "left").tolist()
    touched: dict[int, list[Span]] = {}
    for first, last, span in zip(low, high, spans, strict=True):
        for cell in range(first, last):
            touched.setdefault(cell, []).append(span)
    return touched


def within(inside: list[Span], start: int, end: int) -> list[Span] | None:
    """Return the spans as they are in ``start`` to ``end``, in order and without overlaps; None if one reaches out of it."""
    if any(span[0] < start or span[1] > end for span in inside):
        return None
    return merge([(span[0] - start, span[1] - start, span[2], "") for span in inside])
