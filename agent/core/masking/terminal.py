"""Masking what a terminal shows: the stream, and what stands on the screen because of it.

The stream alone is looked at first, like any other. Most of it is all that there is to see: text, line ends, colours. It is kept
unread, a screenful of it, until something moves the cursor. From there on the cells are followed, rows are read as a person
reads them, and what of a secret has not been shown yet is covered cell by cell. So the rest of a line that an editor writes again
behind a key that was typed into its middle is covered, and a card whose first digits were written over others.

What was shown before the secret could be told cannot be taken back; its other part is covered.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from agent.core.masking.checks import Span
from agent.core.masking.classes import Report, Tally
from agent.core.masking.detectors import Detectors, merge
from agent.core.masking.patterns import bytewise
from agent.core.masking.screen import NOWHERE, Row, Screen, begun
from agent.core.masking.stream import Piece, StreamMasker
from agent.core.masking.widths import SameWidth, sized

#: What puts text elsewhere than into the next cell or the next line, or takes no room and is not seen through by folding (marks
#: that stand on letters, sequences that are too long). Colours, modes and character sets are.
_MOVES: Final = bytewise(
    rb"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]|\r[^\r\n]|\xc2[\x80-\x9f]|\xcc[\x80-\xbf]|\xcd[\x80-\xaf]|\xe2\x83[\x90-\xb0]"
    rb"|\x1b(?:\[[0-9;:?]*(?:[^0-9;:?mhlnqt]|\z)|\[[0-9;:?]{65}|[^\[()=>]|[()][^AB012]|\z|\[4[hl]|\[\?(?:1049|1047|47)[hl])"
)
#: Bytes that are kept unread: a screenful and more.
_UNREAD = 32 * 1024
#: A read of at least so many bytes that moves nothing has nothing to do with the lines that were edited before it.
_BULK = 4 * 1024
#: Rows with fewer bytes are looked at in one go.
_SHORT = 512
#: Cells that are read for key blocks above the rows that one read has drawn: what a hostile program can cost is bounded so.
_ABOVE: Final = 4_000_000
#: Tokens that are remembered, and how much of the end of one is not shown again.
_RECENT, _END = 8, 6


class TerminalMasker:
    """Masks one terminal. Implements what ``Outputs`` asks of a StreamMasker."""

    def __init__(self, detectors: Detectors, columns: int, rows: int) -> None:
        self._detectors = detectors
        self._stream = StreamMasker(detectors, form=SameWidth(detectors))
        self._screen = Screen(columns, rows, self._look)
        self._begun = b""
        self._unread: list[bytes] = []
        self._size = 0
        self._line = b""
        """What the line has so far that was written last."""
        self._follows = False
        """The cells are followed."""
        self._returned = False
        """The last byte was a carriage return, with which a line may end."""
        self._written = 0
        """The number of the next byte of the stream."""
        self._base = 0
        """The number of the first byte that was not shown yet."""
        self._covered: dict[int, bytes] = {}
        self._keys = False
        """A key block stood on the screen: its lines are lines of their own."""
        self._above = _ABOVE
        """How many cells may still be read above rows that are looked at."""
        self._recent: list[bytes] = []
        """Tokens that stood on the screen last."""
        self._tally = Tally()

    @property
    def reveal(self) -> frozenset[str]:
        """Classes that may be seen."""
        return self._stream.reveal

    @reveal.setter
    def reveal(self, classes: frozenset[str]) -> None:
        self._stream.reveal = classes

    @property
    def due_ms(self) -> int | None:
        """When something held back has to be shown, or None."""
        return self._stream.due_ms

    @property
    def holds(self) -> bool:
        """True while something that came was not shown yet."""
        return self._stream.holds

    def report(self) -> Report:
        """Return how many values of each class were replaced since the last report."""
        for name, count in self._stream.report().hits.items():
            self._tally.add(name, count)
        return self._tally.take()

    def take(self, data: bytes, now_ms: int) -> list[Piece]:
        """Take ``data`` and return what may be shown by now. A sequence that has only begun waits for its end."""
        data, self._begun = self._begun + data, b""
        cut = begun(data)
        if cut < len(data):
            data, self._begun = data[:cut], data[cut:]
        return self._shown(self._stream.take(data, now_ms))

    def begun(self) -> bytes:
        """Return the sequence that has only begun, for whoever shows what follows unlooked at."""
        kept, self._begun = self._begun, b""
        return kept

    def passed(self, data: bytes) -> bytes:
        """Take ``data``, which is shown unlooked at. Returns it behind the sequence that has only begun."""
        if self._begun:
            data, self._begun = self._begun + data, b""
        self._keep(data)
        return data

    def overdue(self, now_ms: int) -> list[Piece]:
        """Return what is held if its time has come."""
        return self._shown(self._stream.overdue(now_ms))

    def rest(self) -> list[Piece]:
        """Return everything held, but for a sequence that has only begun."""
        return self._shown(self._stream.rest())

    def end(self, now_ms: int) -> list[Piece]:
        """Return everything: nothing comes any more, so a sequence that has only begun is shown like text."""
        begun, pieces = self.begun(), self.rest()
        return [*pieces, *self._stream.take(begun, now_ms), *self._stream.rest()] if begun else pieces

    def tell(self, words: bytes) -> None:
        """The terminal is shown ``words`` of somebody else, or bytes that need no masking."""
        self._keep(words)

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        self._read()
        self._screen.resize(columns, rows)

    def _shown(self, pieces: list[Piece]) -> list[Piece]:
        if not pieces:
            return pieces
        whole = pieces[0][0] if len(pieces) == 1 else b"".join([raw for raw, _ in pieces])
        self._keys = self._keys or b"PRIVATE KEY" in whole
        moves = _MOVES.search(b"\r" + whole if self._returned else whole) is not None or self._wraps(whole)
        self._returned = whole.endswith(b"\r")
        self._follows = moves or (self._follows and len(whole) < _BULK)
        if not self._follows:
            self._keep(whole)
            return pieces
        self._read()
        self._base = self._written
        self._above = _ABOVE
        for raw, instead in pieces:
            self._screen.write(raw, self._written if instead is None else NOWHERE)
            self._written += len(raw)
        self._screen.settle()
        covered, self._covered = self._covered, {}
        self._screen.spread, spread = {}, self._screen.spread
        return self._patched(pieces, covered, spread) if covered else pieces

    def _keep(self, raw: bytes) -> None:
        self._unread.append(raw)
        self._size += len(raw)
        if self._size > 2 * _UNREAD:
            self._unread = [b"".join(self._unread)[-_UNREAD:]]
            self._size = len(self._unread[0])

    def _read(self) -> None:
        """Follow what was kept unread."""
        if self._unread:
            unread, self._unread, self._size = b"".join(self._unread), [], 0
            self._screen.write(unread, NOWHERE)
            self._screen.settle()

    def _wraps(self, raw: bytes) -> bool:
        """Return True if a value goes on in another line because a program has broken the line at the edge of the screen."""
        columns = self._screen.columns
        text = self._line + raw
        lines = text.split(b"\n")
        plain = b"\x1b" not in text and text.isascii()
        # A line that fills its last row is kept beside the one behind it; the rest is cut row by row, so that it fills it still.
        kept = lines[-2:] if len(lines) > 1 and len(lines[-2]) >= columns else lines[-1:]
        self._line = b"\n".join([line[max(0, len(line) // columns - _SHORT // columns - 1) * columns :] for line in kept])
        sizes = set(map(len, lines[:-1]))
        if not (
            sizes and max(sizes) >= columns and (not plain or any(not size % columns or size % columns == 1 for size in sizes))
        ):
            return False
        for line, following in pairwise(lines):
            size = len(line)
            if size < columns or (plain and size % columns > 1):
                continue
            before = line.rstrip(b"\r")[-_SHORT:]
            joined = before + following[:_SHORT]
            if any(name and start < len(before) < end for start, end, name, _ in self._detectors.spans(joined)):
                return True
        return False

    def _look(self, row: Row) -> None:
        """Cover what is to be covered of the text that ``row`` is part of."""
        rows = self._screen.around(row)
        if self._keys:
            self._look_for_keys(row)
        cells = [cell for each in rows for cell in each.text]
        text = "".join(cells).rstrip()
        data = text.encode(errors="replace")
        spans: list[Span] = []
        if len(data) >= _SHORT or not self._detectors.quiet(data):
            spans = [span for span in self._detectors.spans(data) if span[2] and span[2] not in self.reveal]
            self._recent += [data[start:end] for start, end, name, _ in spans if name == "secret"]
            del self._recent[:-_RECENT]
        ends = self._again(data)
        if not spans and not ends:
            return
        origins = [origin for each in rows for origin in each.origin]
        places = _places(cells) if len(data) != len(cells[: len(text)]) or "" in cells else range(len(cells))
        known = {(start, end) for start, end, _, _ in spans}
        for start, end, name, _ in merge(spans + ends):
            first, last = places[start], places[end - 1] + 1
            while last < len(cells) and not cells[last]:
                last += 1
            # Beside a part that was shown, nothing of the value is kept.
            whole = min(origins[first:last]) >= self._base and (start, end) in known
            value = data[start:end]
            glyphs = sized(self._detectors.replacement(name, value), last - first) if whole else _stars(cells[first:last])
            self._cover(name, origins[first:last], glyphs)

    def _look_for_keys(self, row: Row) -> None:
        """Cover what ``row`` has of a key block whose beginning stands above."""
        if "secret" in self.reveal:
            return
        place = next((place for place, each in enumerate(self._screen.rows) if each is row), 0)
        self._above -= place * self._screen.columns
        if self._above < 0:
            # More than a program needs that draws a whole screen: what cannot be told from a key is covered like one.
            self._cover("secret", row.origin, _stars(row.text))
            return
        above = "\n".join("".join(each.text).rstrip() for each in self._screen.rows[:place]) + "\n"
        if "PRIVATE KEY" not in above:
            return
        before = len(above.encode(errors="replace"))
        cells = row.text
        data = "".join(cells).rstrip().encode(errors="replace")
        for _, end, name, run in self._detectors.spans(above.encode(errors="replace") + data):
            if run == "pem" and end > before:
                last = _places(cells)[end - before - 1] + 1
                self._cover(name, row.origin[:last], _stars(cells[:last]))

    def _again(self, data: bytes) -> list[Span]:
        """Return where the end of a token stands that was whole a moment ago: somebody edits in its middle."""
        if "secret" in self.reveal:
            return []
        found: list[Span] = []
        for value in self._recent:
            end = data.find(value[-_END:]) + _END
            if end < _END:
                continue
            size = _END
            while size < min(len(value), end) and value[-size - 1] == data[end - size - 1]:
                size += 1
            found.append((end - size, end, "secret", ""))
        return found

    def _cover(self, name: str, origins: list[int], glyphs: bytes) -> None:
        covers: dict[int, bytes] = {}
        for origin, glyph in zip(origins, glyphs, strict=True):
            if origin >= self._base:
                covers[origin] = covers.get(origin, b"") + bytes((glyph,))
        if covers and not covers.keys() <= self._covered.keys():
            self._tally.add(name)
        self._covered.update(covers)

    def _patched(self, pieces: list[Piece], covered: dict[int, bytes], spread: dict[int, int]) -> list[Piece]:
        out: list[Piece] = []
        begin = self._base
        places = iter(sorted(covered))
        place = next(places, None)
        for raw, instead in pieces:
            at = 0
            while place is not None and place < begin + len(raw):
                start = place - begin
                # Bytes that are no characters may belong to one that was covered, or to a piece that was masked.
                if instead is None and start >= at:
                    size = spread.get(place) or _size(raw, start)
                    if start > at:
                        out.append((raw[at:start], None))
                    out.append((raw[start : start + size], covered[place]))
                    at = start + size
                place = next(places, None)
            if at < len(raw):
                out.append((raw[at:], instead))
            begin += len(raw)
        return out


def _places(cells: list[str]) -> list[int]:
    """Return the cell of every byte of the text in ``cells``."""
    return [place for place, cell in enumerate(cells) for _ in cell.encode(errors="replace")]


def _stars(cells: list[str]) -> bytes:
    return b"".join([b" " if cell == " " else b"*" for cell in cells])


def _size(data: bytes, at: int) -> int:
    """Return how many bytes the character at ``data[at]`` has."""
    lead = data[at]
    size = 1 if lead < 0xC2 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    try:
        data[at : at + size].decode()
    except UnicodeDecodeError:
        return 1
    return size
