"""Detectors: which spans of some bytes are secrets, and of which class.

One pass of RE2 over the bytes as they are, and a second one over the folded text (see ``folding``) if it wears a disguise. A
match is then checked; one that fails is looked into from its next separator on, so that a card behind an order number is found.
Work is linear in the data: every pattern is bounded and a rejected match has at most a few separators.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import re2  # type: ignore[import-untyped]

from agent.core.masking.certain import certain
from agent.core.masking.checks import Span, inspect
from agent.core.masking.classes import DataClass, Tally, data_class
from agent.core.masking.folding import disguised, fold, plain
from agent.core.masking.glance import LEAST, possible
from agent.core.masking.patterns import FIRST, NEXT, THERE, options
from chalicelib.contracts import patterns
from chalicelib.contracts.patterns import Custom as Custom

_UNDISGUISED: Final = bytes(set(range(0x20, 0x7F)) - set(b"%&\\\x1b"))
#: Bytes between two matches up to which they count as dense.
_NEAR: Final = 256
#: Bytes that are looked through for where and what at once: several searches would take longer than one.
_FEW: Final = 512
#: Text is dense where so many values stand in so many bytes each, and what is left of it is worth a look of another kind.
_MANY: Final = 16
_APART: Final = 256
_BULK: Final = 4 * 1024
_SEPARATOR: Final = re2.compile(rb"[^0-9A-Za-z]", options(latin1=True))


class Hit(NamedTuple):
    """``data[start:end]`` is of ``data_class``."""

    start: int
    end: int
    data_class: str


class Detectors:
    """The built-in detectors and those of one configuration. Immutable; share one between sessions."""

    __slots__ = ("_active", "_any", "_built_in", "_classes", "_constants", "_rules", "custom", "named")

    def __init__(self, custom: Sequence[Custom] = (), *, built_in: bool = True) -> None:
        """Without ``built_in`` only ``custom`` is looked for.

        Raises ValueError for a pattern that ``contracts.patterns`` refuses, or RE2.
        """
        if len(custom) > patterns.MOST:
            raise ValueError(f"there are more than {patterns.MOST} custom detectors")
        self._rules = [(rule.data_class, _compiled(rule)) for rule in custom]
        self._any = _joined_if_possible([rule.pattern for rule in custom])
        self.custom: Final = bool(custom)
        self.named: Final = frozenset(rule.data_class for rule in custom)
        self._active: Final = built_in or self.custom
        self._built_in = built_in
        self._classes: dict[str, DataClass] = {}
        self._constants: dict[str, bytes] = {}

    def find(self, data: bytes) -> list[Hit]:
        """Return the secrets in ``data``: in order, without overlaps."""
        return [Hit(start, end, name) for start, end, name, _ in merge([span for span in self.spans(data) if span[2]])]

    def spans(self, data: bytes, at: int = 0) -> list[Span]:
        """Return everything from ``at`` on that was looked at, rejected (no class) or not, unordered.

        A stream cuts inside none of it: rejected matches and disguises are among them. ``data[:at]`` is context only.
        """
        if not self._active:
            return []
        found = _scan(data, at) if self._built_in else []
        if self.custom:
            found += self._named(data)
        folded = fold(data)
        if folded is not None:
            found = [(folded.outside(start), end, name, run) for start, end, name, run in found]
            inner = _scan(folded.data, folded.at(at)) if self._built_in else []
            if self.custom:
                inner += self._named(folded.data)
            found += [(folded.start(start), folded.end(end), name, run) for start, end, name, run in inner]
            found += [(start, end, "", "") for start, end in folded.spans]
        return [_behind_escape(data, span) for span in found] if b"\x1b" in data else found

    def scrub(self, data: bytes, reveal: frozenset[str], tally: Tally) -> bytes:
        """Return ``data`` with the secrets of all classes but ``reveal`` replaced, each counted in ``tally``."""
        if len(data) < _FEW and self.quiet(data):
            return data
        hits = [span for span in self.spans(data) if span[2] and span[2] not in reveal]
        return self.replaced(data, merge(hits), tally) if hits else data

    def quiet(self, data: bytes) -> bool:
        """True where one look tells that :meth:`spans` would find nothing in ``data``, which is short."""
        return self._built_in and not self.custom and not disguised(data) and FIRST(data, 0)[0] < 0

    def replaced(self, data: bytes, hits: Iterable[Span], tally: Tally) -> bytes:
        """Return ``data`` with ``hits`` (in order, without overlaps) replaced."""
        out: list[bytes] = []
        names: list[str] = []
        at = 0
        for start, end, name, _ in hits:
            out += (data[at:start], self.replacement(name, data[start:end]))
            names.append(name)
            at = end
        out.append(data[at:])
        tally.add_all(names)
        return b"".join(out)

    def replacement(self, name: str, value: bytes) -> bytes:
        """Return what is shown instead of ``value`` of class ``name``."""
        constant = self._constants.get(name)
        if constant is not None:
            return constant
        known = self._classes.get(name)
        if known is None:
            known = self._classes.setdefault(name, data_class(name))
            if known.shape == "whole":
                self._constants[name] = known.whole
        return known.replace(plain(value) if value.translate(None, _UNDISGUISED) else value)

    def _named(self, data: bytes) -> list[Span]:
        """Return what each custom detector finds: one of them may be revealed, so none stands in the way of another one."""
        if self._any is not None and self._any.search(data) is None:
            return []
        return [(*match.span(), name, "") for name, rule in self._rules for match in rule.finditer(data)]


def merge(spans: list[Span]) -> list[Span]:
    """Return ``spans`` in order; overlapping ones become one, of the first one's class."""
    spans.sort()
    merged: list[Span] = []
    reached = -1
    for span in spans:
        if span[0] >= reached:
            merged.append(span)
            reached = span[1]
        elif span[1] > reached:
            start, _, name, run = merged[-1]
            reached = span[1]
            merged[-1] = (start, reached, name, run or span[3])
    return merged


def _scan(data: bytes, at: int) -> list[Span]:
    ahead = _Ahead(data)
    if ahead.over:
        return []
    found: list[Span] = []
    following: int | None = at
    most = _MANY if len(data) - at >= _BULK else sys.maxsize
    while following is not None:
        following = _scan_from(data, following, found, ahead, most)
        if len(found) >= most:
            most = sys.maxsize
            if following is not None and following - at < _MANY * _APART and len(data) - following >= _BULK:
                sure, rest = certain(data, following)
                found += sure
                ahead = _Ahead(rest)
    return found


def _scan_from(data: bytes, at: int, found: list[Span], ahead: _Ahead, most: int) -> int | None:
    """Add what is in ``data`` from ``at`` on; return where to look again after a match that was not what it seemed.

    Returns as well when ``most`` were found. ``ahead`` looks at the text, which may lack what was found already.
    """
    text = ahead.text
    near = len(data) - at < _FEW
    while True:
        start, end = FIRST(text, at) if near else ahead.match(at)
        if start < 0:
            return None
        # Where hits are dense, looking once for where and what is cheaper than looking for each.
        near = start - at < _NEAR or len(data) - end < _FEW
        span = inspect(data, start, end)
        if span is not None:
            found.append(span)
            if span[0] > start + 1:
                found.append((start, end, "", ""))
            if span[1] != end:  # the white space that ends a key block is the left context of what follows
                return span[1] - data[span[1] - 1 : span[1]].isspace()
        else:
            found.append((start, end, "", ""))
            separator = _SEPARATOR.search(data, start + 1, end)
            if separator is not None:
                return int(separator.start())
        at = end
        if len(found) >= most:
            return at


class _Ahead:
    """Looks for the next match of ``ALL``, through text that holds few of them."""

    __slots__ = ("_starts", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._starts = [-1 if sign in text else len(text) + 1 for sign, _ in NEXT]
        if len(text) >= LEAST and not possible(text):
            self._starts[0] = len(text) + 1

    @property
    def over(self) -> bool:
        """True where nothing more is found."""
        return min(self._starts) > len(self.text)

    def match(self, at: int) -> tuple[int, int]:
        """Return where the first match of ``ALL`` from ``at`` on begins and ends, or -1 twice."""
        text, starts = self.text, self._starts
        for place, (_, pattern) in enumerate(NEXT):
            if starts[place] < at:
                start = pattern(text, at)[0]
                starts[place] = len(text) + 1 if start < 0 else start
        first = min(starts)
        return (-1, -1) if first > len(text) else THERE(text, first)


def _compiled(rule: Custom) -> Any:
    patterns.check(rule)
    try:
        compiled = _joined([rule.pattern])
    except re2.error:
        raise ValueError(f"the pattern of {rule.data_class} is not RE2 syntax") from None
    if compiled.programsize > patterns.MOST_PROGRAM:
        raise ValueError(f"the pattern of {rule.data_class} is too large")
    return compiled


def _joined_if_possible(several: list[str]) -> Any:
    """Return one pattern for ``several``, or None where they cannot stand together: their groups may have the same names."""
    try:
        return _joined(several)
    except re2.error:
        return None


def _joined(several: list[str]) -> Any:
    """Compile an alternation over UTF-8 that never crosses a line."""
    chosen = options(latin1=False)
    chosen.never_nl = True
    return re2.compile("|".join(f"(?:{pattern})" for pattern in several).encode(), chosen)


def _behind_escape(data: bytes, span: Span) -> Span:
    """Return ``span`` without a first letter that ends an escape sequence of two bytes. Those are not folded: they may move."""
    start, end, name, run = span
    if start and data[start - 1] == 0x1B and data[start] != 0x1B and end - start > 1:
        return start + 1, end, name, run
    return span
