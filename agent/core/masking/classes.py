"""Data classes: what masking knows, and how much of a value each class leaves visible.

A class is declared as data. ``keep_last`` characters of a shaped value (card, phone, IBAN) stay, everything else becomes ``*``;
a value that does not have the shape is replaced whole. Replacements are deterministic and masking a replacement again changes
nothing, so output that passes through two gateways looks the same as output that passes through one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

Shape = Literal["mailbox", "digits", "account", "whole"]

_STAR: Final = b"****"
_DIGITS: Final = b"0123456789*"
_SEPARATORS: Final = b" -.()/+"
_ALNUM: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*"
_STARRED: Final = bytes(0x2A if byte in _ALNUM else byte for byte in range(256))
_MAILBOX: Final = b"***@***."
#: How a number is written: every digit as one.
_WRITTEN: Final = bytes.maketrans(b"0123456789", b"0000000000")
_MOST_WRITTEN: Final = 1_000
#: What stands before the digits that stay, by class and by how the number is written. Holds no digits of anybody.
_before: Final[dict[tuple[str, bytes], bytes]] = {}


class MaskFault(ValueError):  # noqa: N818 - "fault" is the field's term
    """A value that cannot be what its column says: the target's fault. The message never contains the value."""


class DataClass(msgspec.Struct, frozen=True):
    """One data class. ``whole`` replaces a value without the shape; ``least`` and ``most`` bound the size of one with it."""

    name: str
    shape: Shape = "whole"
    whole: bytes = _STAR
    keep_last: int = 0
    least: int = 0
    most: int = 0

    def replace(self, value: bytes) -> bytes:
        """Return what is shown instead of ``value`` (UTF-8 text of this class)."""
        if self.shape == "mailbox":
            return _mailbox(value, self.whole)
        if self.shape == "digits" and self.keep_last:
            return self._number(value)
        if self.shape == "account":
            return self._starred(value, _ALNUM, b" -")
        return self.whole

    def _number(self, value: bytes) -> bytes:
        """The same as :meth:`_starred`, of numbers, which are written in a few ways: what is starred depends on that alone."""
        written = self.name, value.translate(_WRITTEN)
        before = _before.get(written)
        if before is not None:
            return before + value[-self.keep_last :]
        replaced = self._starred(value, _DIGITS, _SEPARATORS)
        if replaced is not self.whole and value[-self.keep_last :].isdigit() and len(_before) < _MOST_WRITTEN:
            _before[written] = replaced[: -self.keep_last]
        return replaced

    def _starred(self, value: bytes, alphabet: bytes, separators: bytes) -> bytes:
        """Star all but the last ``keep_last`` characters of ``alphabet``; separators stay, anything else is no such value."""
        rest = value.translate(None, separators)
        if rest.translate(None, alphabet) or not self.least <= len(rest) <= self.most or len(value) > 2 * self.most:
            return self.whole
        cut = len(value) - self.keep_last
        if value[cut:].translate(None, alphabet):
            cut = len(value)
            for _ in range(self.keep_last):
                cut -= 1
                while value[cut] in separators:
                    cut -= 1
        return value[:cut].translate(_STARRED) + value[cut:]


def _mailbox(value: bytes, whole: bytes) -> bytes:
    """``alice@mail.example.com`` → ``a***@***.com``: the first letter and the last label, and no lengths."""
    at, dot = value.find(b"@"), value.rfind(b".")
    tld = value[dot + 1 :]
    if 0 < at < dot and tld.isalpha() and len(tld) <= 24 and value[:1].isalnum() and value.find(b"@", at + 1) < 0:
        return value[:1] + _MAILBOX + tld
    return whole


#: The closed set. The first six are found by detectors; the others exist only as column tags.
BUILT_IN: Final[Mapping[str, DataClass]] = {
    entry.name: entry
    for entry in (
        DataClass("email", "mailbox"),
        DataClass("card", "digits", keep_last=4, least=12, most=19),
        DataClass("ssn", whole=b"***-**-****"),
        DataClass("iban", "account", keep_last=4, least=15, most=34),
        DataClass("phone", "digits", keep_last=2, least=7, most=16),
        DataClass("secret", whole=b"[masked secret]"),
        DataClass("name"),
        DataClass("address"),
        DataClass("birthdate"),
        DataClass("health"),
        DataClass("finance"),
        DataClass("location"),
        DataClass("personal"),
    )
}


def data_class(name: str) -> DataClass:
    """Return the class called ``name``; a name that is not built in is a custom class, replaced whole by ``[masked <name>]``."""
    found = BUILT_IN.get(name)
    return found if found is not None else DataClass(name, whole=b"[masked %s]" % name.encode())


class Report(msgspec.Struct, frozen=True):
    """How many values of each class were replaced. Never the values."""

    hits: Mapping[str, int]


class Tally:
    """Counts replacements per class until someone asks."""

    __slots__ = ("_hits",)

    def __init__(self) -> None:
        self._hits: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Count ``count`` replacements of class ``name``."""
        if count:
            self._hits[name] = self._hits.get(name, 0) + count

    def add_all(self, names: Iterable[str]) -> None:
        """Count one replacement for each of ``names``."""
        hits = self._hits
        for name in names:
            hits[name] = hits.get(name, 0) + 1

    def count(self) -> int:
        """Return how many replacements there were so far, and start again from nothing."""
        if not self._hits:
            return 0
        return sum(self.take().hits.values())

    def take(self) -> Report:
        """Return the counts so far and start again from nothing."""
        report = Report(self._hits)
        self._hits = {}
        return report
