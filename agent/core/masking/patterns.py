"""What the built-in classes look like, as RE2 syntax over bytes.

One alternation without captures: RE2 scans it at several hundred megabytes a second, and what a match *is* is asked of matches
alone (see ``checks``). Every repeat is bounded, so that a stream knows how much it may have to hold back; only tokens and key
blocks run longer, and they continue by a byte set (``RUNS``). RE2 has no lookbehind, so all but e-mail and key blocks
consume one byte of left context.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import re2  # type: ignore[import-untyped]

#: Looks through some bytes from a place on, and returns where a match begins and ends, or -1 twice.
Seek = Callable[[bytes, int], tuple[int, int]]

#: No built-in match is longer than this, other than runs. A stream holds back at most this many bytes.
LONGEST: Final = 512

_LOCAL: Final = rb"[A-Za-z0-9._%+'\x80-\xff-]"
_EMAIL: Final = (
    rb"(?:" + _LOCAL + rb"{1,64}|\"[^\"\s\x00]{1,62}\")@"
    rb"(?:[A-Za-z0-9\x80-\xff.-]{1,190}\.(?:[xX][nN]--[A-Za-z0-9-]{2,40}|[A-Za-z\x80-\xff]{2,24}))"
)
_CARD: Final = rb"(?:4\d{15}|5\d{15}|2[2-7]\d{14}|6\d{15}|3[47]\d{13}|3[0689]\d{12}|35\d{14})"
#: In groups: so telling that letters may stand right beside it.
_GROUPED: Final = (
    rb"(?:[2-6]\d{3}[ .-]\d{4}[ .-]\d{4}[ .-]\d{4}(?:[ .-]\d{3})?"
    rb"|3[47]\d\d[ .-]\d{6}[ .-]\d{5}|3[0689]\d\d[ .-]\d{6}[ .-]\d{4})"
)
_SSN: Final = rb"(?:\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4})"
_GAP: Final = rb"(?:[ ./-]|\)[ .-]?|[ .-]?\()?"
_PHONE: Final = (
    rb"(?:\+[1-9](?:" + _GAP + rb"\d){7,14}"
    rb"|00[1-9]\d{0,2}[ .-]\(?\d(?:[ .()-]?\d){6,11}"
    rb"|\([2-9]\d{2}\)[ .-]?[2-9]\d{2}[ .-]\d{4}"
    rb"|[2-9]\d{2}[.-][2-9]\d{2}[.-]\d{4}"
    rb"|1[ .-][2-9]\d{2}[ .-][2-9]\d{2}[ .-]\d{4}"
    rb"|0[1-9]\d{1,3} \d{3,4} \d{3,4}"
    rb"|0[1-9]\d{1,3}/\d{6,8}"
    rb"|0[1-9](?: \d\d){4}|0[1-9](?:\.\d\d){4})"
)
#: IBAN lengths by country (the SWIFT registry).
IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_COUNTRIES: Final = "|".join(sorted(IBAN_LENGTHS)).encode()
_IBAN: Final = rb"(?:(?:" + _COUNTRIES + rb")\d{2}(?:[ -]?[A-Z0-9]){11,30}|(?:" + _COUNTRIES.lower() + rb")\d{2}[a-z0-9]{11,30})"
_JWT: Final = rb"eyJ[A-Za-z0-9_-]{5,400}\.[A-Za-z0-9_-]{6}"
_PEM: Final = rb"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"

#: Credentials that announce themselves by a prefix.
_KEYS: Final = (
    rb"(?:AKIA|ASIA)[A-Z2-7]{16}",  # AWS access keys
    rb"(?i:aws_?secret_?access_?key|aws_?secret_?key|aws_?session_?token)"
    rb"[\"']?[ \t]{0,3}(?:=>|[=:])[ \t]{0,3}[\"']?[A-Za-z0-9/+=]{40,400}",
    rb"AIza[0-9A-Za-z_-]{35}",  # Google API keys
    rb"ya29\.[0-9A-Za-z_-]{20,400}",  # Google OAuth access tokens
    rb"GOCSPX-[A-Za-z0-9_-]{28}",  # Google OAuth client secrets
    rb"(?i:AccountKey|SharedAccessKey)=[A-Za-z0-9+/]{43,86}={1,2}",  # Azure storage, service bus
    rb"[A-Za-z0-9_~.]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}",  # Microsoft Entra client secrets
    rb"gh[pousr]_[A-Za-z0-9]{36,251}",
    rb"github_pat_[A-Za-z0-9_]{22,244}",
    rb"glpat-[A-Za-z0-9_-]{20,64}",
    rb"xox[abeoprs]-[A-Za-z0-9-]{10,250}",
    rb"xapp-\d-[A-Za-z0-9-]{10,250}",
    rb"hooks\.slack\.com/services/[A-Za-z0-9/]{20,80}",
    rb"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,200}",  # Stripe
    rb"whsec_[A-Za-z0-9+/=]{24,80}",
    rb"npm_[A-Za-z0-9]{36}",
    rb"pypi-AgE[A-Za-z0-9_-]{50,400}",
    rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",  # SendGrid
    rb"SK[0-9a-f]{32}",  # Twilio
    rb"sk-[A-Za-z0-9_-]{32,250}",  # OpenAI, Anthropic
    rb"hv[sb]\.[A-Za-z0-9_-]{24,300}",  # Vault
    rb"dop_v1_[a-f0-9]{64}",
    rb"AGE-SECRET-KEY-1[A-Z0-9]{58}",
)
_KEY: Final = rb"(?:" + rb"|".join(_KEYS) + rb")"

_LEFT: Final = rb"(?:\A|[^0-9A-Za-z])"

#: The bytes that carry a token or key block on, once its beginning has been seen.
RUNS: Final = {"jwt": rb"[^A-Za-z0-9_.=-]", "pem": rb"[^A-Za-z0-9+/=\s\\:,.-]"}
_PEM_END: Final = rb"-----END [A-Z0-9 ]{0,44}-----"


def options(*, latin1: bool) -> Any:
    """Return RE2 options: bytes or UTF-8, room for the automaton, no captures, nothing written to standard error."""
    chosen = re2.Options()
    if latin1:
        chosen.encoding = re2.Options.Encoding.LATIN1
    chosen.max_mem = 64 << 20
    chosen.never_capture = True
    chosen.log_errors = False
    return chosen


def bytewise(pattern: bytes) -> Any:
    """Compile ``pattern`` over bytes."""
    return re2.compile(pattern, options(latin1=True))


def seeker(pattern: bytes, *, there: bool = False) -> Seek:
    """Return what looks for ``pattern``, anywhere or just ``there`` where it is told to begin, without objects for matches."""
    return seeking(bytewise(pattern), there=there)


def seeking(compiled: Any, *, there: bool = False) -> Seek:
    """Return the same of a pattern that was compiled."""
    match, anchor = _matcher(compiled, there=there)
    return lambda data, at: match(anchor, data, at, len(data))[0]


def _matcher(compiled: Any, *, there: bool) -> tuple[Callable[[Any, bytes, int, int], Any], Any]:
    """Return what looks through a part of some bytes, and its first argument.

    The wrapper of RE2 makes a generator and an object for each match, which costs more than the match. What lies below it has no
    name to rely on; without it, the wrapper is asked.
    """
    try:
        match, anchors = compiled._regexp.Match, compiled._regexp.Anchor
        anchor = anchors.ANCHOR_START if there else anchors.UNANCHORED
        if match(anchor, b"", 0, 0)[0] != (-1, -1):
            raise AttributeError
    except (AttributeError, TypeError, IndexError):
        return _sought, compiled.match if there else compiled.search
    return match, anchor


def _sought(look: Callable[[bytes, int, int], Any], data: bytes, at: int, end: int) -> tuple[tuple[int, int]]:
    found = look(data, at, end)
    return ((-1, -1) if found is None else found.span(),)


#: A name, quoted or not, begins at most so far before its sign; the shortest address that begins there ends so far behind it.
_NAME: Final = 64
_REST: Final = 256


def _addresses() -> Seek:
    """Return what looks for addresses, and only around signs: where they are few, almost nothing is looked through.

    Where the first address begins is certain, where it ends is not.
    """
    match, anchor = _matcher(bytewise(_EMAIL), there=False)

    def seek(data: bytes, at: int) -> tuple[int, int]:
        size, reach, sign = len(data), 2 * _REST, data.find(b"@", at)
        while sign >= 0:
            begin, end = max(at, sign - _NAME), min(size, sign + reach)
            found: tuple[int, int] = match(anchor, data, begin, end)[0]
            if found[0] >= 0:
                # One that begins before it would be whole in the same stretch.
                return found if end == size or found[0] + _NAME + _REST <= end else match(anchor, data, begin, size)[0]
            if end == size:
                break
            sign = data.find(b"@", max(sign + 1, end - _REST))
            reach *= 2
        return -1, -1

    return seek


_TAIL: Final = re.compile(rb"\{(\d+),\d+\}(?=\||\)*\Z)")


def _shortest(pattern: bytes) -> bytes:
    """Return ``pattern`` without what its last repeat may take beyond its least: it matches where ``pattern`` does, to no end."""
    return _TAIL.sub(rb"{\1}", pattern)


def _joined(*patterns: bytes) -> bytes:
    return rb"(?:" + rb"|".join(patterns) + rb")"


#: Says what a match is, from its first byte to its last.
_ALL: Final = rb"|".join((_LEFT + _joined(_GROUPED, _CARD, _SSN, _PHONE, _JWT, _KEY, _IBAN), _GROUPED, _PEM, _EMAIL))
ALL: Final = bytewise(_ALL)
#: The same: where it is found first, and how far it reaches from a place.
FIRST: Final = seeker(_ALL)
THERE: Final = seeker(_ALL, there=True)
#: Together they say where the next match of ``ALL`` begins; each is for texts that hold the bytes beside it. RE2 builds its
#: automaton as it reads, and unrolls repeats: on hexadecimal numbers, which always look a little like the name in an address and
#: like everything else at once, the states of ``ALL`` multiply, and each new one costs more than a kilobyte of text.
NEXT: Final = (
    (
        b"",
        seeker(
            _LEFT
            + _joined(_GROUPED, _CARD, _SSN, _shortest(_PHONE), _JWT, *map(_shortest, _KEYS), _shortest(_IBAN))
            + rb"|"
            + _joined(_GROUPED, _PEM)
        ),
    ),
    (b"@", _addresses()),
)
KEY: Final = bytewise(_KEY)
AFTER_AT: Final = bytewise(rb"[A-Za-z0-9\x80-\xff.-]{0,190}")
PEM_END: Final = bytewise(_PEM_END)
RUN_ENDS: Final = {name: bytewise(stop) for name, stop in RUNS.items()}
