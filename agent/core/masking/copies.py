"""COPY … TO STDOUT: rows without messages of their own, in PostgreSQL's text, CSV and binary formats, cut anywhere.

Whole rows are taken off the front of what has arrived; the rest waits for more. In the text and CSV formats the rows are scanned
at once, and only rows with a tagged column or a hit are taken apart (text: fields between delimiters, backslash escapes, ``\\N``;
CSV: doubled quotes, an empty unquoted field is NULL). The binary format has a file of its own (``binary_copies``). Sources:
"COPY", sections Text and CSV Format.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from agent.core.masking.batch import Ints
from agent.core.masking.binary_copies import LONGEST_ROW, BinaryCopy
from agent.core.masking.checks import Span
from agent.core.masking.classes import MaskFault, Report, Tally, data_class
from agent.core.masking.detectors import Detectors, merge
from agent.core.masking.framed import CopyBatches
from agent.core.masking.patterns import bytewise
from agent.core.masking.pgtypes import BUILT_IN, HARMLESS, Catalog
from agent.core.masking.rows import Column
from agent.core.masking.values import Scrubber, mask_value

CopyForm = Literal["text", "csv", "binary"]

#: Rows from which on a batch is masked at once.
FEW: Final = 8
_COPY_NULL: Final = b"\\N"
#: Types whose values are replaced as text: text, bpchar, varchar.
_TEXTS: Final = frozenset({25, 1042, 1043})
_ESCAPE: Final = bytewise(rb"(?s)\\(?:[0-7]{1,3}|x[0-9A-Fa-f]{1,2}|.)")
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPED: Final = {0x08: b"\\b", 0x0C: b"\\f", 0x0A: b"\\n", 0x0D: b"\\r", 0x09: b"\\t", 0x0B: b"\\v", 0x5C: b"\\\\"}


class CopyMasker:
    """Masks one COPY. ``columns`` are in the order of the data; their ``form`` is that of COPY and is not read."""

    def __init__(
        self,
        columns: Sequence[Column],
        detectors: Detectors,
        reveal: frozenset[str] = frozenset(),
        *,
        form: CopyForm = "text",
        delimiter: bytes = b"",
        catalog: Catalog = BUILT_IN,
    ) -> None:
        """Raise MaskFault for a delimiter that is not one byte."""
        self._columns = tuple(columns)
        self._detectors = detectors
        self._reveal = reveal
        self._catalog = catalog
        self._form = form
        self._delimiter = delimiter or (b"," if form == "csv" else b"\t")
        if len(self._delimiter) != 1:
            raise MaskFault("a delimiter is one byte")
        self._tally = Tally()
        self._scrubber = Scrubber(detectors, reveal, catalog=catalog, tally=self._tally)
        self._names = [
            one.data_class if one.data_class is not None and one.data_class not in reveal else None for one in self._columns
        ]
        self._tagged = any(self._names)
        kinds = [(one.oid, catalog.kind(one.oid)) for one in self._columns]
        self._plain = (
            form != "binary"
            and self._delimiter in (b"\t", b",", b"|", b";")
            and all(oid in HARMLESS or (kind.shape == "text" and kind.text is None) for oid, kind in kinds)
        )
        self._mark = b"\\" if form == "text" else b'"'
        tagged = [(at, data_class(name)) for at, name in enumerate(self._names) if name is not None]
        self._replaced = tagged if all(self._columns[at].oid in _TEXTS for at, _ in tagged) else []
        #: Rows can be masked by their tags as they stand, and looked through all at once.
        self._quick = form == "text" and self._plain and bool(self._replaced)
        self._apart = self._tagged or any(self._disguised(one.oid) for one in self._columns)
        mark = b"\\x%02x" % self._delimiter[0]
        plain, quoted = (rb"[^\"" + mark, rb"\"(?:[^\"]|\"\")*\"") if form == "csv" else (rb"[^\\" + mark, rb"\\.")
        self._field: Any = bytewise(rb"(?s)(?:" + quoted + rb"|" + plain + rb"])*")
        batches = CopyBatches(
            detectors, reveal, self._tally, self._rows, delimiter=self._delimiter[0], mark=self._mark, plain=self._plain
        )
        #: Custom patterns may say what is around a match, which is not the same in a batch.
        self._batches = batches if form != "binary" and not detectors.custom and (self._quick or not self._apart) else None
        self._held = b""
        self._typed = BinaryCopy(columns, detectors, reveal, catalog=catalog) if form == "binary" else None

    def report(self) -> Report:
        """Return how many values of each class were replaced since the last report."""
        return self._tally.take() if self._typed is None else self._typed.report()

    def feed(self, data: bytes) -> bytes:
        """Take the content of a CopyData message and return the masked rows that are whole by now."""
        if self._typed is not None:
            return self._typed.feed(data)
        data = self._held + data
        cut = self._last_row(data)
        self._hold(data[cut:])
        return self._rows(data[:cut])

    def end(self) -> bytes:
        """Return the last row, which may lack its newline. Raises MaskFault if binary data ends early."""
        if self._typed is not None:
            return self._typed.end()
        data, self._held = self._held, b""
        return self._rows(data)

    def mask_framed(self, raw: bytes, starts: Ints) -> bytes | None:
        """Return ``raw``, which is CopyData messages that begin at ``starts``, masked: the same object where nothing changes.

        None where they have to be fed one by one, or are too few to gain by it.
        """
        if self._typed is not None:
            return self._typed.messages(raw, starts)
        if self._batches is None or self._held or len(starts) < FEW:
            return None
        if self._quick:
            return self._batches.tagged(raw, starts, len(self._columns), self._replaced)
        return self._batches.untagged(raw, starts)

    @property
    def idle(self) -> bool:
        """True where nothing is held back: what is fed next begins with a row."""
        return not self._held

    def _hold(self, data: bytes) -> None:
        if len(data) > LONGEST_ROW:
            raise MaskFault(f"a row of COPY data is longer than {LONGEST_ROW} bytes")
        self._held = data

    def _disguised(self, oid: int) -> bool:
        shape = self._catalog.kind(oid).shape
        return shape in ("bytea", "json", "jsonb", "record") or self._catalog.element(oid) is not None

    def _last_row(self, data: bytes) -> int:
        """Return where the last whole row ends. In CSV a newline inside quotes ends nothing."""
        if self._form == "text" or b'"' not in data:
            return data.rfind(b"\n") + 1
        cut = at = 0
        quoted = False
        for part in data.split(b'"'):
            if not quoted and b"\n" in part:
                cut = at + part.rfind(b"\n") + 1
            at += len(part) + 1
            quoted = not quoted
        return cut

    def _rows(self, data: bytes) -> bytes:
        if not data:
            return data
        if self._quick:
            return self._quickly(data)
        if not self._apart:
            hits = merge(self._hits(data))
            if not hits:
                return data
            if self._plain and self._mark not in data and all(self._inside(data[start:end]) for start, end, _, _ in hits):
                return self._detectors.replaced(data, hits, self._tally)
        out: list[bytes] = []
        for row in self._split(data):
            if not self._apart and not self._hits(row):
                out.append(row)
                continue
            out.append(self._apart_row(row))
        return b"".join(out)

    def _quickly(self, data: bytes) -> bytes:
        """Mask the tagged fields of rows that hold no escapes but NULL's, and look through the rows between others at once."""
        out: list[bytes] = []
        plain: list[list[bytes]] = []
        delimiter, count = self._delimiter, len(self._columns)
        *rows, last = data.split(b"\n")
        for row in rows:
            fields = row.split(delimiter)
            if len(fields) != count or row[-1:] == b"\r" or (b"\\" in row and row.count(b"\\") != fields.count(_COPY_NULL)):
                out += (self._looked_through(plain), self._apart_row(row + b"\n"))
                plain = []
            else:
                plain.append(fields)
        out.append(self._looked_through(plain))
        if last:
            out.append(self._apart_row(last))
        return b"".join(out)

    def _looked_through(self, rows: list[list[bytes]]) -> bytes:
        """Mask the tagged fields of ``rows``, and scrub the rest of them."""
        if not rows:
            return b""
        for at, how in self._replaced:
            hidden = [fields for fields in rows if fields[at] != _COPY_NULL]
            for fields in hidden:
                fields[at] = how.replace(fields[at])
            self._tally.add(how.name, len(hidden))
        lines = [self._delimiter.join(fields) for fields in rows]
        block = b"\n".join(lines) + b"\n"
        hits = merge(self._hits(block))
        if not hits:
            return block
        if all(self._inside(found := block[start:end]) and b"\\" not in found for start, end, _, _ in hits):
            return self._detectors.replaced(block, hits, self._tally)
        scrub = self._scrubber.scrub_text
        whole = [self._delimiter.join([scrub(field) if field != _COPY_NULL else field for field in fields]) for fields in rows]
        return b"\n".join(whole) + b"\n"

    def _apart_row(self, row: bytes) -> bytes:
        body = row.rstrip(b"\r\n")
        fields = body if self._form == "text" and body == b"\\." else self._fields(body)
        return fields + row[len(body) :]

    def _hits(self, data: bytes) -> list[Span]:
        return [span for span in self._detectors.spans(data) if span[2] and span[2] not in self._reveal]

    def _inside(self, hit: bytes) -> bool:
        """True if a hit lies inside one field, so that it can be replaced where it stands."""
        return self._delimiter not in hit and b"\n" not in hit

    def _split(self, data: bytes) -> list[bytes]:
        rows = data.splitlines(keepends=True) if self._form == "csv" and b"\r" in data else data.split(b"\n")
        if rows and not rows[0].endswith(b"\n"):
            rows = [row + b"\n" for row in rows[:-1]] + ([rows[-1]] if rows[-1] else [])
        if self._form == "text" or b'"' not in data:
            return rows
        whole, open_row = [], b""
        for row in rows:
            open_row += row
            if open_row.count(b'"') % 2 == 0:
                whole.append(open_row)
                open_row = b""
        return [*whole, open_row] if open_row else whole

    def _fields(self, row: bytes) -> bytes:
        fields = row.split(self._delimiter) if self._form == "text" and b"\\" not in row else self._quoted_fields(row)
        if len(fields) != len(self._columns):
            raise MaskFault("a row of COPY data has another number of columns than its description")
        one = self._text_field if self._form == "text" else self._csv_field
        return self._delimiter.join([one(at, field) for at, field in enumerate(fields)])

    def _text_field(self, at: int, field: bytes) -> bytes:
        if field == b"\\N":
            return field
        value = _ESCAPE.sub(lambda match: _plain(match.group()), field) if b"\\" in field else field
        shown = self._value(at, value)
        if shown is None or shown == value:
            return field if shown is not None else b"\\N"
        return b"".join(
            _ESCAPED.get(byte) or (b"\\" + self._delimiter if byte == self._delimiter[0] else bytes((byte,))) for byte in shown
        )

    def _quoted_fields(self, row: bytes) -> list[bytes]:
        fields = []
        at = 0
        while True:
            end = self._field.match(row, at).end()
            fields.append(row[at:end])
            if end == len(row):
                return fields
            if row[end] != self._delimiter[0]:
                raise MaskFault("a row of COPY data is not quoted as its format says")
            at = end + 1

    def _csv_field(self, at: int, field: bytes) -> bytes:
        if not field:
            return field
        value = field[1:-1].replace(b'""', b'"') if field[:1] == b'"' and field[-1:] == b'"' and len(field) > 1 else field
        shown = self._value(at, value)
        if shown == value:
            return field
        return b"" if shown is None else b'"' + shown.replace(b'"', b'""') + b'"'

    def _value(self, at: int, value: bytes) -> bytes | None:
        column, name = self._columns[at], self._names[at]
        if name is None:
            return self._scrubber.scrub_value(column.oid, 0, value)
        self._tally.add(name)
        return mask_value(name, column.oid, 0, value, self._catalog, column.members or self._scrubber.plain)


def _plain(escape: bytes) -> bytes:
    rest = escape[1:]
    if rest[:1] == b"x" and len(rest) > 1:
        return bytes((int(rest[1:], 16),))
    if rest[:1] in b"01234567":
        return bytes((int(rest, 8) & 0xFF,))
    return _CONTROLS.get(rest, rest)
