"""Values in text that is full of them, found all at once.

Each match of the patterns costs some microseconds, so text with three addresses and numbers in every line costs a hundred times
as much as text with none. Here the usual shapes of such values (an address, a card, an SSN, a telephone number) are recognised
by comparing numbers, and what is left is looked through as ever. Only values are taken that the patterns would certainly find,
with exactly these ends: what stands beside one is such that nothing can reach across it, and nothing else can begin where it
does. Whatever is unusual is left to the patterns, and a test holds both against each other.

Why nothing reaches across: between a value and its neighbours stands a byte that no pattern has inside, or a blank behind a
letter that no number and no IBAN has before a blank. Three shapes have more inside, and where one of their beginnings is
anywhere in the text, nothing is certain: key blocks, names in quotes, and, where ``=`` stands before a value, keys and tokens.
"""

from __future__ import annotations

import string
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from agent.core.masking.checks import NOT_DOMAINS, Span
from agent.core.masking.patterns import bytewise

_Ints = NDArray[np.int64]
_Bools = NDArray[np.bool_]

#: What a certain value is written over with before the rest is looked through: no pattern has it inside.
_NOTHING: Final = 0x0A
_BLANK, _AT, _DOT, _PLUS, _EQUALS, _ZERO = b" @.+=0"


def _set(members: bytes) -> _Bools:
    return np.isin(np.arange(256), np.frombuffer(members, np.uint8))


_LETTERS: Final = _set(string.ascii_letters.encode())
_DIGITS: Final = _set(b"0123456789")
#: What names and domains of usual addresses consist of.
_USUAL: Final = _set(b".-" + (string.ascii_letters + string.digits).encode())
#: What stands before a value. A blank does only behind what no number, and no IBAN, has before one.
_BEFORE: Final = _set(b'\0\t\n\r ,;:|<>[{"=')
_BEFORE_ADDRESS: Final = _set(b'\0\t\n\r ,;:|<>[{"=(')
_BEFORE_BLANK: Final = ~_set(b")" + (string.ascii_uppercase + string.digits).encode())
#: What stands behind one, and begins no other.
_BEHIND: Final = _set(b'\0\t\n\r ,;|<>]}")')
_BEHIND_ADDRESS: Final = _set(b'\0\t\n\r ,;|<>]}"):')
_BEHIND_PHONE: Final = _set(b'\0\t\n\r ,;|<>]}"')
_GOES_ON: Final = _set(b"(0123456789")
#: Between the groups of a card, of an SSN, and of telephone numbers.
_CARD_GAPS, _SSN_GAPS, _PHONE_GAPS, _PLUS_GAPS = _set(b" .-"), _set(b" -"), _set(b".-"), _set(b" ./-")

#: A longer name may be the beginning of something else, and so may one that begins like these, or has digits where an IBAN has.
_LONGEST_NAME: Final = 24
_SHORT_NAME: Final = 12
_LONGEST_DOMAIN: Final = 120
_BEGINNINGS: Final = (b"xox", b"xap", b"eyJ", b"AKI", b"ASI", b"git")
_LABEL: Final = 8
#: Where ``=`` stands inside of something longer.
_LONG: Final = bytewise(rb"(?i)eyJ|whsec_|aws_?se|accountkey|accesskey")


def certain(data: bytes, at: int) -> tuple[list[Span], bytes]:
    """Return values that stand in ``data`` from ``at`` on, and ``data`` without them, as long as it was, for the patterns."""
    if b"-----BEGIN" in data or b'"@' in data:
        return [], data
    look = _Look(data, at)
    found = [look.addresses(), *look.numbers()]
    starts = np.concatenate([start for _, start, _ in found])
    if not len(starts):
        return [], data
    ends = np.concatenate([end for _, _, end in found])
    edges = np.zeros(len(data) + 1, np.int8)
    edges[starts] = 1
    edges[ends] = -1
    rest = np.where(np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_), np.uint8(_NOTHING), look.octets)
    spans = [
        (start, end, name, "")
        for name, each_start, each_end in found
        for start, end in zip(each_start.tolist(), each_end.tolist(), strict=True)
    ]
    return spans, rest.tobytes()


_Found = tuple[str, _Ints, _Ints]


class _Look:
    """One look at ``data``. Candidates are pairs of arrays: where they begin, and where they end."""

    def __init__(self, data: bytes, at: int) -> None:
        self.octets = np.frombuffer(data, np.uint8)
        self._at = at
        self._equals = b"=" not in data or _LONG.search(data) is None

    def addresses(self) -> _Found:
        """Return usual addresses."""
        octets = self.octets
        odd = (~_USUAL[octets]).nonzero()[0]
        signs = (octets[odd] == _AT).nonzero()[0]
        signs = signs[(signs > 0) & (signs < len(odd) - 1)]
        start, sign, end = odd[signs - 1] + 1, odd[signs], odd[signs + 1]
        dots = (octets == _DOT).nonzero()[0]
        if not len(signs) or not len(dots):
            return "email", np.empty(0, np.int64), np.empty(0, np.int64)
        dot = dots[dots.searchsorted(end) - 1]  # the first one may lie behind: it is no dot of this domain then
        name, label = sign - start, end - 1 - dot
        good = (name > 0) & (name <= _LONGEST_NAME) & (end - sign <= _LONGEST_DOMAIN) & (dot > sign + 1)
        good &= (label >= 2) & (label <= _LABEL)
        start, end, name, label = start[good], end[good], name[good], label[good]
        good = self._free(start, end, _BEFORE_ADDRESS, _BEHIND_ADDRESS) & _LETTERS[octets[start]]
        # There is room for these: a label, a dot, a sign and a name stand behind or before.
        good &= (name <= _SHORT_NAME) | ~(_DIGITS[octets[start + 2]] & _DIGITS[octets[start + 3]])
        begins = octets[start].astype(np.uint32) << 16 | octets[start + 1].astype(np.uint32) << 8 | octets[start + 2]
        for each in _BEGINNINGS:
            good &= begins != int.from_bytes(each, "big")
        good &= self._names_a_domain(end, label)
        return "email", start[good], end[good]

    def _names_a_domain(self, end: _Ints, label: _Ints) -> _Bools:
        """Return where the ``label`` bytes before ``end`` are letters, and no end of a file's name."""
        good = np.ones(len(end), np.bool_)
        value = np.zeros(len(end), np.uint64)
        for back in range(_LABEL, 0, -1):
            inside = back <= label
            letter = self.octets[np.where(inside, end - back, 0)]
            good &= ~inside | _LETTERS[letter]
            value = np.where(inside, value << np.uint64(8) | (letter | 0x20), value)
        for each in NOT_DOMAINS:
            if len(each) <= _LABEL:
                good &= value != np.uint64(int.from_bytes(each, "big"))
        return good

    def numbers(self) -> list[_Found]:
        """Return usual cards, SSNs and telephone numbers."""
        digit = np.zeros(len(self.octets) + 2, np.int8)
        digit[1:-1] = _DIGITS[self.octets]
        edges = np.flatnonzero(np.diff(digit))
        starts, ends = edges[::2], edges[1::2]
        sizes = ends - starts
        if len(starts) < 4:
            return []
        gaps = np.zeros(len(starts), np.uint8)  # what stands before the next group, where that is one byte
        gaps[:-1] = np.where(starts[1:] - ends[:-1] == 1, self.octets[ends[:-1]], 0)
        return [
            ("card", *self._cards(starts, ends, sizes, gaps)),
            ("ssn", *self._ssns(starts, ends, sizes, gaps)),
            ("phone", *self._phones(starts, ends, sizes, gaps)),
            ("phone", *self._plus(starts, ends, sizes, gaps)),
        ]

    def _cards(self, starts: _Ints, ends: _Ints, sizes: _Ints, gaps: Any) -> tuple[_Ints, _Ints]:
        whole = (sizes == 16).nonzero()[0]
        four = (sizes == 4) & _CARD_GAPS[gaps]
        groups = (four[:-3] & four[1:-2] & four[2:-1] & (sizes[3:] == 4)).nonzero()[0]
        start, end = np.concatenate((starts[whole], starts[groups])), np.concatenate((ends[whole], ends[groups + 3]))
        good = self._free(start, end, _BEFORE, _BEHIND)
        behind = np.minimum(end + 1, len(self.octets) - 1)
        good &= (self._byte(end) != _BLANK) | ~_DIGITS[self.octets[behind]]
        start, end = start[good], end[good]
        step = np.where(end - start == 16, 0, 1)
        digits = np.empty((len(start), 16), np.int64)
        for place in range(16):
            digits[:, place] = self.octets[start + place + place // 4 * step]
        digits -= _ZERO
        lead = digits[:, :4] @ np.array([1000, 100, 10, 1])
        known = ((lead >= 4000) & (lead <= 5899)) | ((lead >= 2221) & (lead <= 2720)) | ((lead >= 3528) & (lead <= 3589))
        known |= (lead == 6011) | ((lead >= 6200) & (lead <= 6599)) | ((lead >= 6700) & (lead <= 6799))
        doubled = digits[:, ::2] * 2
        luhn = digits[:, 1::2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
        known &= (luhn % 10 == 0) & (digits != digits[:, :1]).any(axis=1)
        return start[known], end[known]

    def _ssns(self, starts: _Ints, ends: _Ints, sizes: _Ints, gaps: Any) -> tuple[_Ints, _Ints]:
        shaped = (sizes[:-2] == 3) & (sizes[1:-1] == 2) & (sizes[2:] == 4) & _SSN_GAPS[gaps[:-2]] & (gaps[:-2] == gaps[1:-1])
        group = shaped.nonzero()[0]
        start, end = starts[group], ends[group + 2]
        good = self._free(start, end, _BEFORE, _BEHIND)
        start, end = start[good], end[good]
        digits = [self.octets[start + place].astype(np.int64) - _ZERO for place in (0, 1, 2, 4, 5, 7, 8, 9, 10)]
        area = digits[0] * 100 + digits[1] * 10 + digits[2]
        issued = (area > 0) & (area != 666) & (area < 900)
        issued &= (digits[3] + digits[4] > 0) & (digits[5] + digits[6] + digits[7] + digits[8] > 0)
        return start[issued], end[issued]

    def _phones(self, starts: _Ints, ends: _Ints, sizes: _Ints, gaps: Any) -> tuple[_Ints, _Ints]:
        """Three, three and four digits."""
        shaped = (sizes[:-2] == 3) & (sizes[1:-1] == 3) & (sizes[2:] == 4) & _PHONE_GAPS[gaps[:-2]] & _PHONE_GAPS[gaps[1:-1]]
        group = shaped.nonzero()[0]
        start, end = starts[group], ends[group + 2]
        good = self._free(start, end, _BEFORE, _BEHIND)
        good &= (self._byte(start) >= _ZERO + 2) & (self._byte(start + 4) >= _ZERO + 2)
        return start[good], end[good]

    def _plus(self, starts: _Ints, ends: _Ints, sizes: _Ints, gaps: Any) -> tuple[_Ints, _Ints]:
        """``+`` and eight to fifteen digits, with single separators."""
        last = np.append((~_PLUS_GAPS[gaps[:-1]]).nonzero()[0], len(starts) - 1)
        group = ((self._byte(starts - 1) == _PLUS) & (starts > 0) & (self._byte(starts) > _ZERO)).nonzero()[0]
        stop = last[last.searchsorted(group)]
        digits = np.concatenate(([0], np.cumsum(sizes)))
        count = digits[stop + 1] - digits[group]
        start, end = starts[group] - 1, ends[stop]
        good = self._free(start, end, _BEFORE, _BEHIND_PHONE) & (count >= 8) & (count <= 15)
        behind = np.minimum(end + 1, len(self.octets) - 1)
        good &= (self._byte(end) != _BLANK) | ~_GOES_ON[self.octets[behind]]
        return start[good], end[good]

    def _byte(self, at: _Ints) -> Any:
        """Return the bytes at ``at``, of which those before or behind the text count as nothing in particular."""
        return self.octets[np.clip(at, 0, len(self.octets) - 1)]

    def _free(self, start: _Ints, end: _Ints, before: _Bools, behind: _Bools) -> _Bools:
        """Return where nothing can reach across either end. There are two bytes before, and two behind."""
        first, second = self._byte(start - 1), self._byte(start - 2)
        good: _Bools = (start >= self._at + 2) & (end < len(self.octets) - 1) & before[first] & behind[self._byte(end)]
        good &= (first != _BLANK) | _BEFORE_BLANK[second]
        if not self._equals:
            good &= first != _EQUALS
        return good
