"""PostgreSQL's containers on the wire: arrays, records and JSON, rewritten element by element.

Each function takes the value and a function over elements, and returns the value with the elements replaced; structure, NULLs and
everything that does not change stay byte for byte. Lengths and counts are checked against the bytes that are there before
anything is allocated. Sources: ``array_out``/``array_recv``, ``record_out``/``record_recv``, ``json`` lexer of PostgreSQL.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Final

from agent.core.masking.classes import MaskFault
from agent.core.masking.patterns import bytewise

MOST_DIMENSIONS: Final = 6
_INT: Final = struct.Struct(">i")
_PAIR: Final = struct.Struct(">Ii")
_HEAD: Final = struct.Struct(">iiI")
_NULL: Final = b"\xff\xff\xff\xff"

_ARRAY_TOKEN: Final = bytewise(rb"(?s)\"(?:[^\"\\]|\\.)*\"|[{},]|(?:[^{},\"\\]|\\.)+")
_ARRAY_BOUNDS: Final = bytewise(rb"(?:\[[+-]?\d{1,10}:[+-]?\d{1,10}\]){1,6}=")
_RECORD_FIELD: Final = bytewise(rb"(?s)(?:\"(?:[^\"\\]|\\.|\"\")*\"|[^,()\"\\]|\\.)*")
_ESCAPED: Final = bytewise(rb"(?s)\\.|\"\"")
_JSON_TOKEN: Final = bytewise(rb"(?s)\"(?:[^\"\\]|\\.)*\"(?:\s*:)?|-?\d[0-9.eE+-]*|true|false")

Element = Callable[[bytes], bytes | None]
TypedElement = Callable[[int, bytes], bytes | None]


def array_text(value: bytes, element: Element) -> bytes:
    """Rewrite the elements of ``{a,"b c",NULL,{…}}``. Raises MaskFault for anything that ``array_out`` does not write."""
    bounds = _ARRAY_BOUNDS.match(value)
    at = 0 if bounds is None else bounds.end()
    out = [value[:at]]
    depth = 0
    for match in _ARRAY_TOKEN.finditer(value, at):
        start, end = match.span()
        token = value[start:end]
        if start != at or (depth == 0 and token != b"{") or (depth == 0 and len(out) > 1):
            raise MaskFault("an array is not written as PostgreSQL writes arrays")
        at = end
        if token == b"{":
            depth += 1
            if depth > MOST_DIMENSIONS:
                raise MaskFault(f"an array has more than {MOST_DIMENSIONS} dimensions")
        elif token == b"}":
            depth -= 1
        elif token != b"," and token.upper() != b"NULL":
            token = _quoted_again(token, element, b"NULL")
        out.append(token)
    if at != len(value) or depth or len(out) < 2:
        raise MaskFault("an array ends early")
    return b"".join(out)


def record_text(value: bytes, element: Element) -> bytes:
    """Rewrite the fields of ``(a,"b c",,d)``, where quotes inside quotes are doubled; an empty field is NULL and stays."""
    if not (value.startswith(b"(") and value.endswith(b")")) or len(value) < 2:
        raise MaskFault("a record is not in parentheses")
    out: list[bytes] = []
    at, last = 1, len(value) - 1
    while True:
        end = _RECORD_FIELD.match(value, at, last).end()
        token = value[at:end]
        out.append(_quoted_again(token, element, b"") if token else b"")
        if end == last:
            return b"(" + b",".join(out) + b")"
        if value[end] != 0x2C:
            raise MaskFault("a record is not written as PostgreSQL writes records")
        at = end + 1


def _quoted_again(token: bytes, element: Element, null: bytes) -> bytes:
    inner = token
    if b'"' in token or b"\\" in token:
        inner = token[1:-1] if token[:1] == b'"' else token
        inner = _ESCAPED.sub(lambda match: match.group()[1:], inner)
    shown = element(inner)
    if shown is None:
        return null
    if shown == inner:
        return token
    return b'"' + shown.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def array_binary(value: bytes, element: TypedElement) -> bytes:
    """Rewrite the elements of a binary array: dimensions, flags, element type, bounds, elements with their lengths."""
    if len(value) < 12:
        raise MaskFault("an array is shorter than its head")
    dimensions, flags, oid = _HEAD.unpack_from(value)
    if not 0 <= dimensions <= MOST_DIMENSIONS or flags not in (0, 1) or len(value) < 12 + 8 * dimensions:
        raise MaskFault("an array has an impossible head")
    count = 1 if dimensions else 0
    for dimension in range(dimensions):
        size = _INT.unpack_from(value, 12 + 8 * dimension)[0]
        count *= size
        if size < 0 or count > (len(value) - 12) // 4:
            raise MaskFault("an array says that it has more elements than bytes")
    at = 12 + 8 * dimensions
    out = [value[12:at]]
    for _ in range(count):
        item, at = _item(value, at)
        shown = None if item is None else element(oid, item)
        flags |= shown is None
        out.append(_NULL if shown is None else _INT.pack(len(shown)) + shown)
    if at != len(value):
        raise MaskFault("bytes follow the last element of an array")
    return _HEAD.pack(dimensions, flags, oid) + b"".join(out)


def record_binary(value: bytes, element: TypedElement) -> bytes:
    """Rewrite the fields of a binary record: their number, then type, length and bytes of each."""
    if len(value) < 4:
        raise MaskFault("a record is shorter than its head")
    count = _INT.unpack_from(value)[0]
    if not 0 <= count <= (len(value) - 4) // 8:
        raise MaskFault("a record says that it has more fields than bytes")
    at = 4
    out = [value[:4]]
    for _ in range(count):
        if len(value) < at + 8:
            raise MaskFault("a record ends early")
        oid = _PAIR.unpack_from(value, at)[0]
        item, following = _item(value, at + 4)
        shown = None if item is None else element(oid, item)
        out += (value[at : at + 4], _NULL if shown is None else _INT.pack(len(shown)) + shown)
        at = following
    if at != len(value):
        raise MaskFault("bytes follow the last field of a record")
    return b"".join(out)


def _item(value: bytes, at: int) -> tuple[bytes | None, int]:
    if len(value) < at + 4:
        raise MaskFault("a value ends inside a length")
    size = _INT.unpack_from(value, at)[0]
    at += 4
    if size == -1:
        return None, at
    if not 0 <= size <= len(value) - at:
        raise MaskFault("a length reaches past the value")
    return value[at : at + size], at + size


def json_text(
    value: bytes, leaf: Callable[[bytes], bytes], scalar: Callable[[bytes], bytes], *, member: Callable[[bytes], bytes]
) -> bytes:
    """Rewrite the strings of JSON text with ``leaf`` (decoded UTF-8), its other scalars with ``scalar`` (as written), and
    members' names with ``member`` (decoded, too).

    Works on tokens and not on a tree, so that white space, order, duplicate keys and the spelling of numbers stay, and depth
    costs nothing.
    """

    def rewritten(token: bytes) -> bytes:
        if token[:1] != b'"':
            return scalar(token)
        written = token[: token.rindex(b'"') + 1]
        try:
            text = json.loads(written, strict=False).encode("utf-8", "surrogatepass")
        except ValueError:
            raise MaskFault("a JSON string is not valid") from None
        shown = leaf(text) if len(written) == len(token) else member(text)
        if shown == text:
            return token
        return json.dumps(shown.decode("utf-8", "surrogatepass")).encode() + token[len(written) :]

    out: list[bytes] = []
    at = 0
    for match in _JSON_TOKEN.finditer(value):
        start, end = match.span()
        out += (value[at:start], rewritten(value[start:end]))
        at = end
    out.append(value[at:])
    return b"".join(out)
