"""Masking a stream that is cut anywhere.

The promise: however the bytes are cut, the output together is that of masking the whole. What may still become part of a secret
is held back: everything behind the last *break*, a place that no pattern reaches across, and never more than about ``LONGEST``
bytes. A cut is never made inside something that was looked at (a match, a rejected match, a disguise). Tokens and key blocks may
be longer than that: once their beginning is certain, the replacement is shown and the *run* is swallowed up to its end.

    plain ──match of a token or key block that is still open──► run (swallow) ──a byte outside the run, or END──► plain

The promise ends where waiting must end, and time is an argument:

- what is held is shown ``deadline_ms`` after the last bytes came, or ``_PATIENCE`` times that after the first of it came, masked
  as far as it can be seen; what was shown stays as context, so that a secret which goes on is masked from there on;
- an echo passes at once: at most ``_KEYSTROKE`` characters after ``deadline_ms`` of silence, unless together with what was shown
  just before they look like the beginning of a secret (five digits, ``x@``, ``eyJ``, ``AKIA``, ``-----B`` …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from agent.core.masking.checks import Span, run_end
from agent.core.masking.classes import Report, Tally
from agent.core.masking.detectors import Detectors, merge
from agent.core.masking.folding import PARTIAL, disguised, fold
from agent.core.masking.patterns import LONGEST, bytewise
from agent.core.masking.widths import width

DEADLINE_MS: Final = 10
_PATIENCE: Final = 10
_KEYSTROKE: Final = 8
#: What an editor of lines may send to show one key: colours and moves among its bytes.
_DRAWN: Final = 256
#: A read of so many bytes is bulk, and of bulk so many may be held that could be shown.
_BULK: Final = 8 * 1024
_SURPLUS: Final = 1024
_TAIL: Final = 64
#: The shortest line that begins a key block.
_BEGIN: Final = len(b"-----BEGIN PRIVATE KEY-----")
#: An e-mail's local part reaches this far back, so a token is certain only when it is longer.
_CERTAIN: Final = 66

#: No value has one of these inside, but for the lines of a key block.
_HARD: Final = tuple(bytes((byte,)) for byte in b"\n\r\x00\x07\x08,")
#: Behind one of these a blank may be a part of a value.
_GLUE: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ)=:>\"' \tyn")
_INCIPIENT: Final = bytewise(
    rb"(?:[A-Za-z0-9._%+'\x80-\xff-]@\S*"
    rb"|\d(?:[ .()/-]{0,2}\d){4,}[ .()/-]?"
    rb"|\+\d\S*"
    rb"|\b(?:eyJ|AKIA|ASIA|AIza|ya29|GOCSPX|gh[pousr]_|github_|glpat|xox[a-z]-|xapp-|[sr]k[_-]|whsec_|npm_|pypi-|SG\.|hv[sb]\.|dop_v1)\S*"
    rb"|-{3,5}B?\S*|AGE-S\S*|(?i:key|token|secret)[\"']?[ \t]*[=:]\S*"
    rb"|\b[A-Z]{2}\d{2}[A-Z0-9 ]*)\z"
)


#: Bytes as they came, and what is shown in their place; None where that is the same. Together they are the whole stream.
Piece = tuple[bytes, bytes | None]


class Form(Protocol):
    """How what is taken out looks."""

    def instead(self, name: str, value: bytes, seen: int) -> bytes:
        """Return what is shown instead of ``value`` of class ``name``, of which ``seen`` bytes were shown before."""
        ...

    def more(self, data: bytes) -> bytes:
        """Return what is shown instead of ``data``, which carries a token or key block on."""
        ...

    @property
    def reach(self) -> Callable[[bytes], int] | None:
        """Returns how much of some bytes may be one word: no value reaches beyond. None where that is all of them."""
        ...


class _Short:
    """One replacement for a value, however long."""

    reach = None

    def __init__(self, detectors: Detectors) -> None:
        self._replacement = detectors.replacement

    def instead(self, name: str, value: bytes, seen: int) -> bytes:
        # As in ``widths``: what a replacement keeps is not shown beside the rest.
        return b"****" if seen else self._replacement(name, value)

    def more(self, data: bytes) -> bytes:
        return b""


class StreamMasker:
    """Masks one direction of one stream. Feed bytes and time; show what comes back."""

    def __init__(
        self,
        detectors: Detectors,
        reveal: frozenset[str] = frozenset(),
        *,
        deadline_ms: int = DEADLINE_MS,
        form: Form | None = None,
    ) -> None:
        self.reveal = reveal
        """Classes that may be seen. May change between two calls."""
        self._detectors = detectors
        self._form: Form = form or _Short(detectors)
        self._deadline_ms = deadline_ms
        self._tally = Tally()
        self._held = b""
        self._context = b""
        self._at = 0
        self._run = ""
        self._block = b""
        """The end of an open run, where its end may begin."""
        self._looked: list[Span] | None = None
        """What was just found in everything that is held, where nothing of it was shown since."""
        self._last_ms: int | None = None
        self._since_ms = 0

    @property
    def due_ms(self) -> int | None:
        """When :meth:`tick` will show what is held, or None if nothing is."""
        if not self._held or self._run or self._last_ms is None:
            return None
        return min(self._last_ms + self._deadline_ms, self._since_ms + _PATIENCE * self._deadline_ms)

    @property
    def holds(self) -> bool:
        """True while something that came was not shown yet."""
        return bool(self._held)

    def report(self) -> Report:
        """Return how many values of each class were replaced since the last report."""
        return self._tally.take()

    def feed(self, data: bytes, now_ms: int) -> bytes:
        """Take ``data`` and return what may be shown by now."""
        return shown(self.take(data, now_ms))

    def tick(self, now_ms: int) -> bytes:
        """Return what is held if its time has come."""
        return shown(self.overdue(now_ms))

    def flush(self) -> bytes:
        """Return everything held, masked as far as it can be seen. The stream may go on."""
        return shown(self.rest())

    def take(self, data: bytes, now_ms: int) -> list[Piece]:
        """The same as :meth:`feed`, in pieces."""
        quiet = self._last_ms is not None and now_ms - self._last_ms >= self._deadline_ms
        out = self._release() if self._held and quiet else []
        if not data:
            return out
        echo = quiet and not self._run and len(data) <= _DRAWN and width(data) <= _KEYSTROKE
        if not self._held:
            self._since_ms = now_ms
        self._last_ms = now_ms
        # In bulk no more is shown than came, so that a read that fills a packet fills one and does not begin another.
        most = len(data) if len(self._held) < _SURPLUS and len(data) >= _BULK else None
        self._held += data
        out += self._advance(most)
        overdue = self._since_ms + _PATIENCE * self._deadline_ms <= now_ms
        if self._held and (overdue or (echo and _INCIPIENT.search(self._context + self._held) is None)):
            out += self._release(self._looked)
        return out

    def overdue(self, now_ms: int) -> list[Piece]:
        """The same as :meth:`tick`, in pieces."""
        due = self.due_ms
        return self._release() if due is not None and due <= now_ms else []

    def rest(self) -> list[Piece]:
        """The same as :meth:`flush`, in pieces."""
        if not self._run or not self._held:
            return self._release()
        held, self._held = self._held, b""
        return [(held, self._form.more(held))]

    def end(self, now_ms: int) -> list[Piece]:
        """The same as :meth:`rest`, where the stream does not go on."""
        return self.rest()

    def _advance(self, most: int | None) -> list[Piece]:
        out: list[Piece] = []
        self._looked = None
        if self._run:
            out = self._swallow()
            if self._run:
                return out
        buffer = self._context + self._held
        spans = self._spans(buffer)
        opened = self._open(buffer, spans) if spans else None
        if opened is not None and len(buffer) - opened[0] > _CERTAIN:
            return out + self._enter(buffer, spans, opened)
        cut = self._cut(buffer, spans, most)
        if opened is not None:
            cut = min(cut, opened[0])
        if cut > len(self._context):
            return out + self._show(buffer, spans, cut)
        self._looked = spans
        return out

    def _spans(self, buffer: bytes) -> list[Span]:
        spans, reveal, reach = self._detectors.spans(buffer, self._at), self.reveal, self._form.reach
        if reveal:
            spans = [span for span in spans if span[2] not in reveal]
        if reach is not None:
            for place, (start, end, name, _) in enumerate(spans):
                if name and reach(buffer[start:end]) < end - start:
                    spans[place] = (start, end, "", "")
        return spans

    def _show(self, buffer: bytes, spans: list[Span], cut: int) -> list[Piece]:
        """Return ``buffer`` up to ``cut`` without what was shown before, and hold the rest."""
        base = len(self._context)
        plain: list[Piece] = [(buffer[base:cut], None)]
        out = self._masked(buffer[:cut], spans, base) if spans else plain
        self._held = buffer[cut:]
        self._context = buffer[cut - 2 : cut] if cut > 1 else b"\n" + buffer[:1]
        self._at = 1
        return out

    def _masked(self, buffer: bytes, spans: list[Span], base: int) -> list[Piece]:
        hits = merge([span for span in spans if span[2] and base < span[1] <= len(buffer)])
        if not hits:
            return [(buffer[base:], None)] if base < len(buffer) else []
        out: list[Piece] = []
        instead = self._form.instead
        at = base
        for start, end, name, _ in hits:
            if start > at:
                out.append((buffer[at:start], None))
                at = start
            out.append((buffer[at:end], instead(name, buffer[start:end], at - start)))
            at = end
        self._tally.add_all([hit[2] for hit in hits])
        if at < len(buffer):
            out.append((buffer[at:], None))
        return out

    def _cut(self, buffer: bytes, spans: list[Span], most: int | None) -> int:
        """Return how much of ``buffer`` no later byte can change, and ``most`` of what was not shown at the most."""
        base = len(self._context)
        end = len(buffer) if most is None else min(len(buffer), base + most)
        low = max(base, end - LONGEST)
        window = buffer[low:end]
        lines = self._detectors.custom
        cut = low + (window.rfind(b"\n") + 1 if lines else _broken(window, soft=not disguised(window)))
        while cut > base and cut < len(buffer) and 0x80 <= buffer[cut] < 0xC0 and len(buffer) - cut <= LONGEST:
            cut -= 1
        return max(outside(spans, cut), base) if spans else cut

    def _open(self, buffer: bytes, spans: list[Span]) -> Span | None:
        """Return the match at the end of ``buffer`` that more data could carry on without limit."""
        for span in spans:
            if span[3] and (span[1] == len(buffer) or PARTIAL.fullmatch(buffer, span[1]) is not None):
                return span if span[3] == "jwt" or not _ended(buffer[: span[1]]) else None
        return None

    def _enter(self, buffer: bytes, spans: list[Span], opened: Span) -> list[Piece]:
        """Show what stands before ``opened`` and its replacement, and swallow from here on."""
        start, end, _, self._run = opened
        out = self._masked(buffer[:end], [span for span in spans if span[1] <= end], len(self._context))
        self._held = buffer[end:]
        self._block = _tail(buffer[start + _BEGIN : end]) if self._run == "pem" else b""
        self._context = b""
        return out

    def _swallow(self) -> list[Piece]:
        """Return what belongs to the run, taken out; where it has ended, ``_held`` is what follows it."""
        block, known = self._block + self._held, len(self._block)
        end, is_open = run_end(self._run, block, 0)
        folded = fold(block)
        if folded is not None:
            inner, inner_open = run_end(self._run, folded.data, 0)
            end, is_open = max(end, folded.end(inner) if inner else 0), is_open or inner_open
        begun = len(block) - end <= LONGEST and PARTIAL.fullmatch(block, end) is not None
        end = max(end, known)
        reach = end if self._form.reach is None else known + self._form.reach(block[known:])
        if reach < end:
            end, is_open, begun = reach, False, False
        self._held = block[end:]
        if is_open or begun:
            self._block = _tail(block[:end]) if self._run == "pem" else b""
        else:
            self._run = ""
            self._block = b""
            self._context = b"\n" + (block[max(end - 1, 0) : end] or b"-")
            self._at = 1 if self._context[1:].isspace() else 2
        return [(block[known:end], self._form.more(block[known:end]))] if end > known else []

    def _release(self, known: list[Span] | None = None) -> list[Piece]:
        """Show what is held now, and keep it as the context of what comes. ``known`` is what was found in it."""
        if self._run:
            return []
        buffer = self._context + self._held
        spans = self._spans(buffer) if known is None else known
        opened = self._open(buffer, spans)
        if opened is not None:
            return self._enter(buffer, spans, opened)
        out = self._masked(buffer, spans, len(self._context))
        inside = max((span[1] for span in spans if span[2]), default=0)
        self._context = b"\n" + buffer[max(inside, len(buffer) - LONGEST // 2, 1) - 1 :]
        self._at = 1
        self._held = b""
        return out


def shown(pieces: Iterable[Piece]) -> bytes:
    """Return what a screen gets of ``pieces``."""
    return b"".join([raw if instead is None else instead for raw, instead in pieces])


def _tail(block: bytes) -> bytes:
    """Return the end of ``block``, enough to see an END line that the end of the data has cut."""
    folded = fold(block)
    return block[-_TAIL:] if folded is None else block[folded.start(max(0, len(folded.data) - _TAIL)) :]


def outside(spans: list[Span], cut: int) -> int:
    """Return the last place up to ``cut`` that lies inside of none of ``spans``, nor behind what was rejected.

    Disguises may stand one behind the other, thousands of them, so each is looked at once; and few of them in most texts, of
    which what ends before the cut is not even sorted.
    """
    reach, floor = LONGEST, cut + 1
    while cut < floor:
        floor, reach = cut - reach, reach * 4
        for start, end, name, _ in sorted([span for span in spans if span[1] >= floor], key=_from_the_end):
            if end < cut:
                break
            if start < cut and (cut < end or not name):
                cut = start
    return cut


def _from_the_end(span: Span) -> tuple[int, str]:
    # What was rejected moves a cut that values with the same end have left alone, so it comes first.
    return -span[1], span[2]


def _broken(window: bytes, *, soft: bool) -> int:
    """Return where the last break of ``window`` ends. With ``soft``, most blanks are breaks."""
    hard = max([window.rfind(byte) for byte in _HARD]) + 1
    blank = max(window.rfind(b" "), window.rfind(b"\t")) if soft else 0
    while blank >= hard and blank > 0:
        if window[blank - 1] not in _GLUE:
            return blank + 1
        blank = max(window.rfind(b" ", 0, blank), window.rfind(b"\t", 0, blank))
    return hard


def _ended(block: bytes) -> bool:
    """True if a key block has its END line, so that nothing more belongs to it."""
    return block.endswith(b"-----") and b"-----END" in block[-_TAIL:]
