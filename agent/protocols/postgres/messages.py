"""The messages that the gateway reads, as types, and those that it writes, as bytes (PostgreSQL documentation, §55.7).

Readers raise ``Malformed``; whoever calls them knows whose fault that is. Nothing here trusts a count: it is checked against the
bytes that are there.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

_INT16: Final = struct.Struct(">h")
_UINT16: Final = struct.Struct(">H")
_INT32: Final = struct.Struct(">i")
_UINT32: Final = struct.Struct(">I")
_FIELD: Final = struct.Struct(">IhIhih")

_FORMATS: Final = frozenset({0, 1})

SSL_REQUEST: Final = 80877103
GSS_REQUEST: Final = 80877104
CANCEL_REQUEST: Final = 80877102
PROTOCOL_3_0: Final = 196608
PROTOCOL_3_2: Final = 196610


class Malformed(Exception):  # noqa: N818 - what it is, not that it was raised
    """A body does not read as its type says."""


class Field(msgspec.Struct, frozen=True):
    """One column of a result: where it comes from (0 and 0 for an expression), its type, and text (0) or binary (1)."""

    name: str
    table: int
    column: int
    type: int
    format: int


class Parse(msgspec.Struct, frozen=True):
    """Prepare ``text`` under ``name``. ``types`` are the OIDs that the client chose, 0 where it left that to the server."""

    name: str
    text: bytes
    types: tuple[int, ...]


class Bind(msgspec.Struct, frozen=True):
    """Make a portal of a prepared statement. Formats are as they were sent: none, one for all, or one for each."""

    portal: str
    statement: str
    formats: tuple[int, ...]
    values: tuple[bytes | None, ...]
    result_formats: tuple[int, ...]


class Named(msgspec.Struct, frozen=True):
    """Describe or Close: ``kind`` is ``S`` for a statement or ``P`` for a portal."""

    kind: str
    name: str


class _Reader:
    """Reads a body from its start; every step is checked against its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, count: int) -> bytes:
        end = self._at + count
        if count < 0 or end > len(self._body):
            raise Malformed
        data, self._at = self._body[self._at : end], end
        return data

    def raw(self) -> bytes:
        end = self._body.find(b"\0", self._at)
        if end < 0:
            raise Malformed
        data, self._at = self._body[self._at : end], end + 1
        return data

    def name(self) -> str:
        return decoded(self.raw())

    def int16(self) -> int:
        return int(_INT16.unpack(self.take(2))[0])

    def count(self) -> int:
        """A number of things: PostgreSQL allows 65535, and reads them as unsigned."""
        return int(_UINT16.unpack(self.take(2))[0])

    def int32(self) -> int:
        return int(_INT32.unpack(self.take(4))[0])

    def oid(self) -> int:
        return int(_UINT32.unpack(self.take(4))[0])

    def end(self) -> None:
        if self._at != len(self._body):
            raise Malformed

    def finished(self) -> bool:
        return self._at == len(self._body)


def decoded(data: bytes) -> str:
    """Return ``data`` as text. Raises Malformed where it is not UTF-8, the only encoding that the gateway lets clients speak."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed from None


def read_query(body: bytes) -> bytes:
    """Return the text of a Query."""
    if body.find(b"\0") != len(body) - 1:
        raise Malformed
    return body[:-1]


def read_parse(body: bytes) -> Parse:
    """Read a Parse."""
    reader = _Reader(body)
    name, text = reader.name(), reader.raw()
    types = tuple(reader.oid() for _ in range(reader.count()))
    reader.end()
    return Parse(name, text, types)


def read_bind(body: bytes) -> Bind:
    """Read a Bind. Most clients send one with every statement, so it is read without a helper's calls."""
    try:
        portal_end = body.index(0)
        at = body.index(0, portal_end + 1) + 1
        portal, statement = decoded(body[:portal_end]), decoded(body[portal_end + 1 : at - 1])
        formats, at = _numbers(body, at)
        (count,) = _UINT16.unpack_from(body, at)
        at += 2
        values: list[bytes | None] = []
        for _ in range(count):
            (size,) = _INT32.unpack_from(body, at)
            at += 4
            if size == -1:
                values.append(None)
                continue
            if not 0 <= size <= len(body) - at:
                raise Malformed
            values.append(body[at : at + size])
            at += size
        results, at = _numbers(body, at)
    except (ValueError, struct.error):
        raise Malformed from None
    if at != len(body) or len(formats) not in (0, 1, len(values)) or not _FORMATS.issuperset(formats + results):
        raise Malformed
    return Bind(portal, statement, formats, tuple(values), results)


def _numbers(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """Return the Int16s whose number stands at ``at``, and where they end."""
    (count,) = _UINT16.unpack_from(body, at)
    return struct.unpack_from(f">{count}h", body, at + 2) if count else (), at + 2 + 2 * count


def read_named(body: bytes) -> Named:
    """Read a Describe or a Close."""
    kind = body[:1]
    if kind not in (b"S", b"P") or body.find(b"\0", 1) != len(body) - 1:
        raise Malformed
    return Named(kind.decode(), decoded(body[1:-1]))


def read_execute(body: bytes) -> tuple[str, int]:
    """Return the portal's name and the most rows that it may return (0 for all)."""
    end = len(body) - 5
    if end < 0 or body.find(b"\0") != end:
        raise Malformed
    return decoded(body[:end]), _INT32.unpack_from(body, end + 1)[0]


def read_row_description(body: bytes) -> tuple[Field, ...]:
    """Read a RowDescription."""
    reader = _Reader(body)
    fields = []
    for _ in range(reader.count()):
        name = reader.raw().decode(errors="replace")
        table, column, kind, _, _, form = _FIELD.unpack(reader.take(_FIELD.size))
        fields.append(Field(name, table, column, kind, form))
    reader.end()
    return tuple(fields)


def read_parameter_types(body: bytes) -> tuple[int, ...]:
    """Read a ParameterDescription."""
    reader = _Reader(body)
    types = tuple(reader.oid() for _ in range(reader.count()))
    reader.end()
    return types


def read_tag(body: bytes) -> str:
    """Return the tag of a CommandComplete, such as ``INSERT 0 5``."""
    return decoded(read_query(body))


def read_pair(body: bytes) -> tuple[str, str]:
    """Read a ParameterStatus."""
    reader = _Reader(body)
    name, value = reader.raw().decode(errors="replace"), reader.raw().decode(errors="replace")
    reader.end()
    return name, value


def read_fields(body: bytes) -> dict[str, str]:
    """Read an ErrorResponse or a NoticeResponse: field codes and their texts (§55.8)."""
    reader = _Reader(body)
    fields: dict[str, str] = {}
    while (code := reader.take(1)) != b"\0":
        fields[code.decode("latin-1")] = reader.raw().decode(errors="replace")
    reader.end()
    return fields


def read_copy(body: bytes) -> tuple[int, tuple[int, ...]]:
    """Read a CopyInResponse or CopyOutResponse: overall format, and the format of each column."""
    reader = _Reader(body)
    overall = reader.take(1)[0]
    formats = tuple(reader.int16() for _ in range(reader.count()))
    reader.end()
    return overall, formats


def read_startup(packet: bytes) -> dict[str, str]:
    """Read the parameters of a StartupMessage, given from its protocol version on."""
    reader = _Reader(packet)
    reader.take(4)
    found: dict[str, str] = {}
    while name := reader.name():
        if name in found:
            raise Malformed
        found[name] = reader.name()
    reader.end()
    return found


def read_cancel(packet: bytes) -> tuple[int, bytes]:
    """Return process id and secret of a CancelRequest, given from its request code on."""
    reader = _Reader(packet)
    reader.take(4)
    pid = reader.int32()
    secret = packet[8:]
    if not 4 <= len(secret) <= 256:
        raise Malformed
    return pid, secret


def message(kind: str, body: bytes = b"") -> bytes:
    """Return one message with its header."""
    return kind.encode() + _INT32.pack(len(body) + 4) + body


def text(value: str) -> bytes:
    """Return ``value`` as the protocol writes strings. A NUL inside would end it early, so it is dropped."""
    return value.replace("\0", "").encode() + b"\0"


def query(sql: str) -> bytes:
    """A Query."""
    return message("Q", text(sql))


def parse(name: str, sql: str) -> bytes:
    """A Parse whose parameter types the server chooses."""
    return message("P", text(name) + text(sql) + _INT16.pack(0))


def bind(portal: str, statement: str, values: tuple[str, ...]) -> bytes:
    """A Bind of values as text, for results as text."""
    sent = [value.encode() for value in values]
    body = _INT16.pack(0) + _INT16.pack(len(sent)) + b"".join(_INT32.pack(len(each)) + each for each in sent) + _INT16.pack(0)
    return message("B", text(portal) + text(statement) + body)


def describe(kind: str, name: str) -> bytes:
    """A Describe of a statement (``S``) or a portal (``P``)."""
    return message("D", kind.encode() + text(name))


def close(kind: str, name: str) -> bytes:
    """A Close of a statement (``S``) or a portal (``P``)."""
    return message("C", kind.encode() + text(name))


def fields(kind: str, found: dict[str, str]) -> bytes:
    """An ErrorResponse (``E``) or a NoticeResponse (``N``)."""
    return message(kind, b"".join(code.encode("latin-1") + text(value) for code, value in found.items()) + b"\0")


def error(severity: str, state: str, words: str, *, hint: str = "", detail: str = "") -> bytes:
    """An ErrorResponse in the gateway's words. ``state`` is an SQLSTATE (PostgreSQL documentation, Appendix A)."""
    found = {"S": severity, "V": severity, "C": state, "M": words}
    if detail:
        found["D"] = detail
    if hint:
        found["H"] = hint
    return fields("E", found)


def startup(parameters: dict[str, str]) -> bytes:
    """A StartupMessage of protocol 3.0."""
    body = _INT32.pack(PROTOCOL_3_0) + b"".join(text(key) + text(value) for key, value in parameters.items()) + b"\0"
    return _INT32.pack(len(body) + 4) + body


def request(code: int, rest: bytes = b"") -> bytes:
    """An SSLRequest, or with ``rest`` a CancelRequest."""
    return _INT32.pack(8 + len(rest)) + _INT32.pack(code) + rest


def cancel(pid: int, secret: bytes) -> bytes:
    """A CancelRequest."""
    return request(CANCEL_REQUEST, _INT32.pack(pid) + secret)


def negotiate(unknown: list[str]) -> bytes:
    """A NegotiateProtocolVersion: the version that is spoken here, and options that are not.

    The documentation calls it the minor version; servers send all of it, and libpq 18 refuses anything else.
    """
    body = _INT32.pack(PROTOCOL_3_0) + _INT32.pack(len(unknown)) + b"".join(text(name) for name in unknown)
    return message("v", body)


def authentication(code: int, rest: bytes = b"") -> bytes:
    """An Authentication message; code 0 is AuthenticationOk."""
    return message("R", _INT32.pack(code) + rest)


def parameter_status(name: str, value: str) -> bytes:
    """A ParameterStatus."""
    return message("S", text(name) + text(value))


def key_data(pid: int, secret: bytes) -> bytes:
    """A BackendKeyData."""
    return message("K", _INT32.pack(pid) + secret)


def ready(status: str) -> bytes:
    """A ReadyForQuery: ``I`` idle, ``T`` in a transaction, ``E`` in a failed one."""
    return message("Z", status.encode())
