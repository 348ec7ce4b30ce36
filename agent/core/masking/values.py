"""One PostgreSQL value: masked because its column is tagged, or scrubbed because a detector found something in it.

    mask   text → the class's replacement; JSON → its leaves; arrays and records → their elements; other types → a valid constant
    scrub  text → the hits inside it; bytea, JSON, arrays, records → inside them; numbers → 0 if they are a card; unknown types →
           NULL on a hit

What a replacement leaves visible is the class's declared remainder, and nothing of the value where the type has no room for text.
Known limit: nothing is looked for in dates, addresses, ranges and geometry.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, Literal

from agent.core.masking.classes import DataClass, MaskFault, Tally, data_class
from agent.core.masking.containers import array_binary, array_text, json_text, record_binary, record_text
from agent.core.masking.detectors import Detectors
from agent.core.masking.patterns import bytewise
from agent.core.masking.pgtypes import BUILT_IN, HARMLESS, TEXT, Catalog, Kind

Format = Literal[0, 1]
#: Says whether the name of a member of JSON is a name, and no value.
Members = Callable[[bytes], bool]

_MOST_NESTED: Final = 8
_NAME_LIMIT: Final = 63
_NAME: Final = 19
_OCTAL: Final = bytewise(rb"(?s)\\(?:[0-7]{3}|\\)")
_JSON_CONSTANTS: Final = {b"true": b"false", b"false": b"false"}


def nobody(_: bytes) -> bool:
    """Return that this name of a member may be a value."""
    return False


def mask_value(
    name: str, oid: int, form: int, value: bytes | None, catalog: Catalog = BUILT_IN, members: Members = nobody
) -> bytes | None:
    """Return ``value`` of type ``oid``, format ``form`` (0 text, 1 binary), as a value of class ``name`` is shown. NULL stays.

    ``members`` says which names of JSON's members are no values, and stay.
    """
    return _masked(data_class(name), oid, form, value, catalog, members, 0)


def _masked(
    how: DataClass, oid: int, form: int, value: bytes | None, catalog: Catalog, members: Members, depth: int
) -> bytes | None:
    if value is None:
        return None
    _guard(form, depth)
    if catalog.element(oid) is not None:
        element = catalog.element(oid)
        if form == 0:
            return array_text(value, lambda item: _masked(how, element or 0, 0, item, catalog, members, depth + 1))
        return array_binary(value, lambda inner, item: _masked(how, inner, 1, item, catalog, members, depth + 1))
    kind = catalog.kind(oid)
    if kind.size and form == 1 and len(value) != kind.size:
        raise MaskFault(f"a binary value of type {oid} must have {kind.size} bytes")
    if kind.shape == "record":
        if form == 0:
            return record_text(value, lambda _: None)
        return record_binary(value, lambda inner, item: _masked(how, inner, 1, item, catalog, members, depth + 1))
    if kind.shape in ("json", "jsonb"):
        head, text = _json(kind, form, value)
        return head + json_text(
            text,
            how.replace,
            lambda token: _JSON_CONSTANTS.get(token, b"0"),
            member=lambda member: member if members(member) else how.replace(member),
        )
    if kind.shape == "text" and kind.text is None:
        shown = how.replace(value)
        return shown[:_NAME_LIMIT] if oid == _NAME else shown
    return kind.binary if form == 1 else kind.text


class Scrubber:
    """Looks for secrets inside values. Holds the session's detectors, what its principal may see, and the counts."""

    def __init__(
        self,
        detectors: Detectors,
        reveal: frozenset[str] = frozenset(),
        *,
        catalog: Catalog = BUILT_IN,
        tally: Tally | None = None,
    ) -> None:
        self._detectors = detectors
        self._reveal = reveal
        self._catalog = catalog
        self.tally: Final = tally or Tally()

    def scrub_value(self, oid: int, form: int, value: bytes | None) -> bytes | None:
        """Return ``value`` with what the detectors find in it replaced; the same object if they find nothing."""
        return self._scrubbed(oid, form, value, 0)

    def plain(self, value: bytes) -> bool:
        """Return True where the detectors find nothing at all in UTF-8 text, whatever is revealed."""
        return self._detectors.scrub(value, frozenset(), Tally()) == value

    def scrub_text(self, value: bytes) -> bytes:
        """Return UTF-8 text with what the detectors find in it replaced."""
        return self._detectors.scrub(value, self._reveal, self.tally)

    def _scrubbed(self, oid: int, form: int, value: bytes | None, depth: int) -> bytes | None:
        if value is None or oid in HARMLESS:
            return value
        _guard(form, depth)
        element = self._catalog.element(oid)
        if element is not None:
            if form == 0:
                # Without escapes, elements stand as they are between bytes that no value reaches across.
                if self._catalog.kind(element) is TEXT and b"\\" not in value and self._detectors.quiet(value):
                    return value
                return array_text(value, lambda item: self._scrubbed(element, 0, item, depth + 1))
            return array_binary(value, lambda inner, item: self._scrubbed(inner, 1, item, depth + 1))
        kind = self._catalog.kind(oid)
        if kind.size and form == 1 and len(value) != kind.size:
            raise MaskFault(f"a binary value of type {oid} must have {kind.size} bytes")
        if kind.shape == "record":
            if form == 0:
                return record_text(value, self._field)
            return record_binary(value, lambda inner, item: self._scrubbed(inner, 1, item, depth + 1))
        if kind.shape == "text":
            shown = self.scrub_text(value)
            return shown[:_NAME_LIMIT] if oid == _NAME else shown
        if kind.shape in ("json", "jsonb"):
            head, text = _json(kind, form, value)
            shown = json_text(text, self.scrub_text, self._number, member=self.scrub_text)
            return value if shown == text else head + shown
        if kind.shape == "bytea":
            return self._bytea(form, value)
        return self._constant(kind, form, value)

    def _constant(self, kind: Kind, form: int, value: bytes) -> bytes | None:
        """Return the type's constant if ``value``, written as text, is a secret."""
        text = _spelled(kind, value) if form == 1 else _whole(value) if kind.shape == "float" else value
        if self.scrub_text(text) == text:
            return value
        return kind.binary if form == 1 else kind.text

    def _field(self, field: bytes) -> bytes:
        """Scrub a field of a textual record, whose type is not on the wire."""
        return self._number(field) if field.isdigit() else self.scrub_text(field)

    def _number(self, token: bytes) -> bytes:
        return token if len(token) < 9 or self.scrub_text(token) == token else b"0"

    def _bytea(self, form: int, value: bytes) -> bytes:
        raw = value if form == 1 else _unescaped(value)
        shown = self.scrub_text(raw)
        if shown == raw:
            return value
        return shown if form == 1 else b"\\x" + shown.hex().encode()


def _guard(form: int, depth: int) -> None:
    if form not in (0, 1):
        raise MaskFault(f"there is no format {form}")
    if depth > _MOST_NESTED:
        raise MaskFault(f"a value is nested more than {_MOST_NESTED} times")


def _json(kind: Kind, form: int, value: bytes) -> tuple[bytes, bytes]:
    """Split binary jsonb into its version byte and the text behind it; all else is text."""
    if kind.shape == "json" or form == 0:
        return b"", value
    if value[:1] != b"\x01":
        raise MaskFault("binary jsonb has an unknown version")
    return value[:1], value[1:]


def _unescaped(value: bytes) -> bytes:
    """Return what bytea's text (``bytea_output`` hex or escape) stands for."""
    if not value.startswith(b"\\x"):
        return bytes(_OCTAL.sub(lambda match: _octet(match.group()), value))
    try:
        return bytes.fromhex(value[2:].decode("ascii"))
    except ValueError:
        raise MaskFault("bytea is not written in hex") from None


def _octet(escape: bytes) -> bytes:
    return b"\\" if escape == b"\\\\" else bytes((int(escape[1:], 8) & 0xFF,))


def _spelled(kind: Kind, value: bytes) -> bytes:
    """Return a binary number's digits as text, and the bytes of what is not a number as they are."""
    if kind.shape == "integer":
        return b"%d" % int.from_bytes(value, "big", signed=True)
    if kind.shape == "float":
        return _whole(repr(struct.unpack(">d", value)[0]).encode())
    if kind.shape == "numeric":
        return _numeric(value)
    return value


def _whole(value: bytes) -> bytes:
    """Return a whole floating-point number without its exponent, and anything else as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    return b"%d" % int(number) if abs(number) < 1e20 and number.is_integer() else value


def _numeric(value: bytes) -> bytes:
    """Return the integral digits of a binary numeric: digit count, weight, sign, scale, then base-10000 digits."""
    if len(value) < 8:
        raise MaskFault("a numeric is shorter than its head")
    count, weight, sign, _ = struct.unpack_from(">HhHH", value)
    if len(value) != 8 + 2 * count:
        raise MaskFault("a numeric has a wrong length")
    if sign & 0xC000 == 0xC000 or not 0 <= weight <= 8:
        return b""  # not a number, infinite, a fraction, or far longer than anything a detector knows
    digits = struct.unpack_from(f">{count}H", value, 8)
    whole = [*digits[: weight + 1], *([0] * (weight + 1 - count))]
    return b"".join(b"%04d" % digit for digit in whole).lstrip(b"0")
