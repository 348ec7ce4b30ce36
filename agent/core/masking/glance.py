"""A first look at much text: whether anything in it can be a built-in value other than an address.

RE2 takes one step for each byte, and most text holds nothing. What every match of the patterns must contain is looked for here
instead, many bytes at a time:

    numbers        eleven bytes in a row that numbers are written with; only where they are, what the digits and gaps of each
                   kind look like, with ``0`` for every digit
    three of them  which have less than eleven (``+1…``, ``0…/…``) or letters (an IBAN), by what they begin with or hold
    credentials    the words that they announce themselves by

Where one of these stands, RE2 is asked about its surroundings. So this never says what is there, only that nothing is: a text
that it rules out has no match, which tests hold against every pattern. It needs two libraries, ``stringzilla`` and
``ahocorasick_rs``; without them, or where they say something else than Python, every text is RE2's alone.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import Any, Final

from agent.core.masking.patterns import LONGEST, NEXT

#: Of less text RE2 has made an end sooner.
LEAST: Final = 4 * 1024
#: So many places are asked about, and then all of the text.
_TRIES: Final = 4
#: A match begins at most so far before what is looked for. The shortest one of a number that is there ends so far behind.
_BEFORE: Final = 16
_REACH: Final = 64

_DIGITS: Final = string.digits.encode()
_LETTERS: Final = string.ascii_letters.encode()


def _table(*classes: tuple[bytes, bytes], other: bytes | None = None) -> bytes:
    """Return what turns the members of each class into its one byte, and all the rest into ``other`` or leaves it."""
    table = bytearray(range(256) if other is None else other * 256)
    for members, one in classes:
        for member in members:
            table[member] = one[0]
    return bytes(table)


#: Whatever numbers are written with. The shortest ones of most kinds have eleven bytes, which a date has not.
_NUMERIC: Final = _table((_DIGITS + b" .()/-", b"k"), other=b"n")
_RUN: Final = b"k" * 11
#: Cards and SSNs, in groups or not, and telephone numbers of three groups; three digits in parentheses.
_GROUPS: Final = _table((_DIGITS, b"0"), (b" .-", b"-"), (b"(", b"("), (b")", b")"), other=b"n")
_GROUPED: Final = (b"0000-0000", b"0" * 14, b"000-00-0000", b"000-000-0000", b"(000)")
#: Telephone numbers whose gaps are all the same.
_SAME: Final = _table((_DIGITS, b"0"))
_SPACED: Final = (b"000 000 000", b"000 0000 000", b"00 00 00 00 00", b"00.00.00.00.00")
_SLASHED: Final = b"000/000000"
#: Telephone numbers that begin with ``00`` or ``+``, and no such digits stand in the middle of a word.
_ZEROS: Final = _table((_LETTERS, b"a"), (b"0", b"0"), (b"123456789", b"1"), other=b".")
_ABROAD: Final = b"001"
_PLUS: Final = _table((b"+", b"+"), (b"123456789", b"1"), other=b"n")
#: An IBAN: two letters and two digits at the beginning of a word.
_WORDS: Final = _table((_LETTERS, b"a"), (_DIGITS, b"0"), other=b".")
_COUNTRY: Final = b"aa00"

#: What credentials and tokens announce themselves by, in groups for which the search compares many bytes at once.
_SHORT: Final = b"eyJ AKIA ASIA AIza ya29. ghp_ gho_ ghu_ ghs_ ghr_ xox npm_ hvs. hvb.".split()
_SHORTER: Final = [*b"7Q~ 8Q~ SG. sk-".split(), *(b"SK%c" % digit for digit in b"0123456789abcdef")]
#: The same in lower case, however it is written.
_LONG: Final = (
    b"aws_se",
    b"awsse",
    b"accountkey=",
    b"accesskey=",
    b"-----begin ",
    *b"gocspx- github_pat_ glpat- xapp- hooks.slack.com/ k_live_ k_test_ whsec_ pypi-age dop_v1_ age-secret-key-1".split(),
)
_LOWER: Final = _table(*((one.upper().encode(), one.encode()) for one in string.ascii_lowercase))

_seek: Final = NEXT[0][1]


def _possible(text: bytes) -> bool:
    """Return False where nothing in ``text`` matches the first of ``NEXT``."""
    if find(translate(text, _NUMERIC), _RUN) >= 0 and _numbers(text):
        return True
    if b"+" in text and _meant(text, translate(text, _PLUS), (b"+1",)):
        return True
    if b"/" in text and _meant(text, translate(text, _SAME), (_SLASHED,)):
        return True
    return (
        _begins(text, translate(text, _WORDS), _COUNTRY)
        or bool((found := short(text)) and _meant_at(text, found))
        or bool((found := shorter(text)) and _meant_at(text, found))
        or bool((found := long(translate(text, _LOWER))) and _meant_at(text, found))
    )


def _numbers(text: bytes) -> bool:
    return (
        _meant(text, translate(text, _GROUPS), _GROUPED)
        or _meant(text, translate(text, _SAME), _SPACED)
        or _begins(text, translate(text, _ZEROS), _ABROAD)
    )


def _begins(text: bytes, seen: bytes, word: bytes) -> bool:
    """Return whether a match may stand where a word of ``text`` begins like ``word``."""
    return (seen.startswith(word) and _near(text, 0, _REACH)) or _meant(text, seen, (b"." + word,))


def _meant(text: bytes, seen: bytes, needles: Iterable[bytes]) -> bool:
    """Return whether a match may stand where ``seen``, which is how ``text`` looks, has one of ``needles``."""
    left = _TRIES
    for needle in needles:
        at = find(seen, needle)
        while at >= 0:
            if not left or _near(text, at, _REACH):
                return True
            left -= 1
            at = find(seen, needle, at + 1)
    return False


def _meant_at(text: bytes, found: list[tuple[int, int, int]]) -> bool:
    return len(found) > _TRIES or any(_near(text, start, LONGEST) for _, start, _ in found)


def _near(text: bytes, at: int, reach: int) -> bool:
    """Return whether a match stands around ``at``, up to ``reach`` bytes behind."""
    return _seek(text[max(at - _BEFORE, 0) : at + reach], 0)[0] >= 0


def _anything(text: bytes) -> bool:
    return True


#: Returns False where nothing in a text matches the first of ``NEXT``, which was worth asking.
possible: Callable[[bytes], bool] = _anything
try:
    import ahocorasick_rs
    from stringzilla import find, translate
except ImportError:
    pass
else:

    def _words(words: Iterable[bytes]) -> Any:
        # Leftmost: only then is the search made of comparisons, and not of steps through an automaton.
        return ahocorasick_rs.BytesAhoCorasick(words, matchkind=ahocorasick_rs.MatchKind.LeftmostFirst).find_matches_as_indexes

    short, shorter, long = _words(_SHORT), _words(_SHORTER), _words(_LONG)

    def _agree() -> bool:
        """Return whether both find what Python finds. They have other code for each kind of processor, and tests ran on one."""
        tables = {_NUMERIC: (_RUN,), _GROUPS: _GROUPED, _SAME: (*_SPACED, _SLASHED), _ZEROS: (b"." + _ABROAD,), _PLUS: (b"+1",)}
        noise = bytes(range(256)) * 17
        for size in (*range(130), len(noise)):
            for table in (*tables, _WORDS, _LOWER):
                if translate(noise[:size], table) != noise[:size].translate(table):
                    return False
        for before in range(0, 130, 3):
            for needle in (needle for needles in tables.values() for needle in needles):
                if find(b"#" * before + needle + b"#" * 64, needle) != before:
                    return False
            for look, words in ((short, _SHORT), (shorter, _SHORTER), (long, _LONG)):
                for word in words:
                    if [start for _, start, _ in look(b"#" * before + word + b"#" * 64)] != [before]:
                        return False
        return True

    if _agree():
        possible = _possible
