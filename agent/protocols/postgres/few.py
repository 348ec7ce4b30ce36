"""A few rows of an answer that is whole: read once, for whoever shows them as they came. Pure."""

from __future__ import annotations

import struct
from typing import Final

from agent.protocols.postgres.forms import Form

#: Bytes of a ReadyForQuery, which an answer ends with.
READY_SIZE: Final = 6
_ROW: Final = ord("D")
#: A DataRow's length and number of columns, and a value's length.
_ROW_HEAD: Final = struct.Struct(">IH")
_SIZE: Final = struct.Struct(">i")


def plain_rows(data: bytes, at: int, width: int, most: int) -> tuple[int, list[list[str | None]]] | None:
    """Read the DataRows from ``at`` on. Returns where they end and their values, in text; None where masking has to judge.

    Behind them is what no row begins with. Raises struct.error, UnicodeDecodeError.
    """
    rows: list[list[str | None]] = []
    last = len(data) - READY_SIZE
    while data[at] == _ROW:
        size, count = _ROW_HEAD.unpack_from(data, at + 1)
        end = at + 1 + size
        if end > last or count != width or len(rows) == most:
            return None
        at += 7
        row: list[str | None] = []
        for _ in range(count):
            (size,) = _SIZE.unpack_from(data, at)
            at += 4
            if size < 0:
                if size < -1:
                    return None
                row.append(None)
                continue
            if at + size > end:
                return None
            row.append(data[at : at + size].decode())
            at += size
        if at != end:
            return None
        rows.append(row)
    return at, rows


def quiet(form: Form, rows: list[list[str | None]]) -> bool:
    """Return True where nothing is found in those values that have to be looked at."""
    assert form.mask is not None
    assert form.looks is not None
    if len(form.looks) == 1 and len(rows) == 1:
        only = rows[0][form.looks[0]]
        return only is None or form.mask.quiet(only.encode())
    texts = [text for row in rows for at in form.looks if (text := row[at]) is not None]
    return form.mask.quiet("\n".join(texts).encode())
