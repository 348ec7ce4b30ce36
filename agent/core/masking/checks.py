"""What a match of the alternation is, if it is anything: checksums, neighbours, and the shapes that only look like secrets.

Everything here runs on matches alone. A check answers with the class and the exact span, or with nothing.
"""

from __future__ import annotations

from typing import Final

from agent.core.masking.patterns import AFTER_AT, IBAN_LENGTHS, KEY, PEM_END, RUN_ENDS

_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
_KEEP_DIGITS: Final = bytes(byte for byte in range(256) if not 0x30 <= byte <= 0x39)
_ALNUM: Final = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGIT: Final = frozenset(b"0123456789")
_GROUPS: Final = (b" ", b".", b"-", b"/", b")", b"(")
_SHORTEST: Final = 7
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")

#: Last labels that are file or unit names rather than domains: ``icon@2x.png``, ``getty@tty1.service``.
NOT_DOMAINS: Final = frozenset(
    b"png jpg jpeg gif svg webp ico service socket timer target slice scope mount automount swap device path".split()
)


#: Start, end, class, and the run that may carry it on (``jwt``, ``pem``) if it reaches the end of the data. A plain tuple: dense
#: data makes thirty thousand of them for a megabyte.
Span = tuple[int, int, str, str]


def luhn(digits: bytes) -> bool:
    """True if ASCII ``digits`` end in their Luhn check digit."""
    return (sum(digits[-1::-2]) + sum(digits[-2::-2].translate(_DOUBLED)) - 0x30 * len(digits)) % 10 == 0


def card(digits: bytes) -> bool:
    """True if ``digits`` are a payment card's number: an issuer's prefix, its length, the check digit, not one digit repeated."""
    size, lead = len(digits), int(digits[:4])
    known = (
        (size in (16, 19) and 4000 <= lead <= 4999)
        or (size == 16 and (5000 <= lead <= 5899 or 2221 <= lead <= 2720 or 3528 <= lead <= 3589))
        or (size in (16, 19) and (lead == 6011 or 6200 <= lead <= 6299 or 6300 <= lead <= 6599 or 6700 <= lead <= 6799))
        or (size == 15 and lead // 100 in (34, 37))
        or (size == 14 and (3000 <= lead <= 3059 or lead // 100 in (36, 38, 39)))
    )
    return known and len(set(digits)) > 1 and luhn(digits)


def iban(text: bytes) -> bool:
    """True if ``text`` (letters and digits only) has its country's length and the check digits of ISO 13616 (mod 97)."""
    upper = text.upper()
    if IBAN_LENGTHS.get(upper[:2].decode("ascii", "replace")) != len(upper):
        return False
    return int("".join(str(int(chr(byte), 36)) for byte in upper[4:] + upper[:4])) % 97 == 1


def inspect(data: bytes, start: int, end: int) -> Span | None:
    """Return what the match ``data[start:end]`` of the alternation is, or None if it only looks like something."""
    if b"@" in data[start:end]:
        return _email(data, start, end)
    start = _body(data, start)
    lead = data[start]
    if lead == 0x65 and data[start : start + 3] == b"eyJ":
        return (start, run_end("jwt", data, end)[0], "secret", "jwt")
    if lead == 0x2D:
        return (start, run_end("pem", data, end)[0], "secret", "pem")
    if lead in _DIGIT or lead in b"+(":
        found = _number(data, start, end)
        if found is not None or lead not in _DIGIT:
            return found
    key = KEY.match(data, start, end)
    if key is not None:
        return _key(data, start, key.end())
    return _iban(data, start, end)


def run_end(run: str, data: bytes, at: int) -> tuple[int, bool]:
    """Return where the run that is open at ``at`` ends, and whether more data could carry it on."""
    stop = RUN_ENDS[run].search(data, at)
    limit = len(data) if stop is None else stop.start()
    if run == "pem":
        last = PEM_END.search(data, at, limit)
        if last is not None:
            return last.end(), False
    return limit, stop is None


def _body(data: bytes, start: int) -> int:
    """Skip the byte of left context that the alternation may have consumed."""
    first = data[start]
    if first in _ALNUM:
        return start
    following = data[start + 1]
    if first == 0x2B:
        return start + (
            following in b"+(" or following == 0x30 or data[start + 1 : start + 4] == b"eyJ" or following not in _DIGIT
        )
    if first == 0x28:
        return start if following in _DIGIT and data[start + 4 : start + 5] == b")" else start + 1
    if first == 0x2D:
        return start if data.startswith(b"-----BEGIN", start) else start + 1
    return start if first in b"_~." and KEY.match(data, start) is not None else start + 1


def _free(data: bytes, end: int) -> bool:
    """True if no letter or digit follows."""
    return end >= len(data) or data[end] not in _ALNUM


def _email(data: bytes, start: int, end: int) -> Span | None:
    local, _, domain = data[start:end].rpartition(b"@")
    if local == b"git" or domain.rpartition(b".")[2].lower() in NOT_DOMAINS:
        return None
    if data[end : end + 1] == b"@":  # two addresses in one word: the first has eaten the second one's name
        end = AFTER_AT.match(data, end + 1).end()
    return (start, end, "email", "")


def _number(data: bytes, start: int, end: int) -> Span | None:
    text = data[start:end]
    digits = text.translate(None, _KEEP_DIGITS)
    size = len(digits)
    found = None
    if _free(data, end) or (data[end] not in _DIGIT and size < len(text)):
        if text[0] in b"+(" or (text[0] == 0x30 and size != 9):
            found = (start, end, "phone", "") if _phone(data, start, end, text, size) else None
        elif size >= 14:
            found = _card(data, start, end, text, digits)
        elif size == 9 and text[3:4] in (b"-", b" ") and text[6:7] == text[3:4]:
            found = (start, end, "ssn", "") if _ssn(data, start, end, digits) else None
        elif _phone(data, start, end, text, size):
            found = (start, end, "phone", "")
    if found is None and size < len(text) and (text[0] == 0x2B or text[:2] == b"00" or size > 16):
        cut = max(map(text.rfind, _GROUPS))  # the match may have begun to eat the number that follows
        if cut > _SHORTEST:
            return _number(data, start, start + len(text[:cut].rstrip(b" .-/()")))
    return found


def _card(data: bytes, start: int, end: int, text: bytes, digits: bytes) -> Span | None:
    if start and data[start - 1] in _DIGIT:
        return None
    if start >= 2 and data[start - 1] == 0x2E and data[start - 2] in _DIGIT:
        return None  # the fraction of a decimal number
    if len(digits) == 19 and len(text) > 19 and card(digits[:16]):
        return (start, end - 4, "card", "")  # followed by a security code, or by the next number
    return (start, end, "card", "") if card(digits) else None


def _ssn(data: bytes, start: int, end: int, digits: bytes) -> bool:
    """The Social Security Administration never issued area 000, 666 or 9xx, group 00 or serial 0000."""
    area = digits[:3]
    if area in (b"000", b"666") or area[0] == 0x39 or digits[3:5] == b"00" or digits[5:] == b"0000":
        return False
    if data[end : end + 1] in (b"-", b".") and data[end + 1 : end + 2].isdigit():
        return False
    return not (start >= 2 and data[start - 1] in b"-." and data[start - 2] in _DIGIT)


def _phone(data: bytes, start: int, end: int, text: bytes, size: int) -> bool:
    if not 7 <= size <= 15 or text.count(b"(") != text.count(b")"):
        return False
    if data[end : end + 1] in (b"-", b".", b":") and data[end + 1 : end + 2].isdigit():
        return False
    if start >= 2 and data[start - 1] in b"-." and data[start - 2] in _ALNUM:
        return False
    if text[0] == 0x30 and len(text) == 14 and text[2:3] in (b" ", b"."):  # five pairs: a hex dump has more of them
        behind, before = data[end + 1 : end + 3], data[max(start - 3, 0) : max(start - 1, 0)]
        follows = data[end : end + 1] == text[2:3] and _octet(behind) and _free(data, end + 3)
        precedes = data[start - 1 : start] == text[2:3] and _octet(before) and (start < 4 or data[start - 4] not in _ALNUM)
        return not follows and not precedes
    return True


def _octet(pair: bytes) -> bool:
    return len(pair) == 2 and pair[0] in _HEX and pair[1] in _HEX


def _key(data: bytes, start: int, end: int) -> Span | None:
    text = data[start:end]
    if text.startswith((b"AKIA", b"ASIA", b"SK", b"AIza", b"npm_")) and not _free(data, end):
        return None
    if text.startswith(b"sk-") and not (any(map(_DIGIT.__contains__, text)) and text.lower() != text):
        return None
    if text[:3].lower() == b"aws":
        value = max(text.find(b"="), 0) or text.find(b":")
        cut = value + 1
        if b":" in text[:value]:
            cut = text.find(b":") + 1
        while text[cut : cut + 1] in (b" ", b"\t", b'"', b"'", b">"):
            cut += 1
        return (start + cut, end, "secret", "")
    if text[:1] in (b"A", b"a", b"S", b"s") and b"=" in text and text[:7].lower() in (b"account", b"shareda"):
        return (start + text.find(b"=") + 1, end, "secret", "")
    return (start, end, "secret", "")


def _iban(data: bytes, start: int, end: int) -> Span | None:
    length = IBAN_LENGTHS.get(data[start : start + 2].decode("ascii", "replace").upper())
    if length is None:
        return None
    seen, at = 0, start
    while at < end and seen < length:
        seen += data[at] in _ALNUM
        at += 1
    if seen < length or not _free(data, at) or not iban(bytes(byte for byte in data[start:at] if byte in _ALNUM)):
        return None
    return (start, at, "iban", "")
