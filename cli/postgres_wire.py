"""The few messages of PostgreSQL's protocol that the command line itself speaks (PostgreSQL documentation, §55.7). Sans-io.

It greets a local client, answers for the agent where that cannot, and looks on until the login is over. From then on it copies
bytes and reads none of them.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from chalicelib.contracts.faults import Fault, Notice

SSL_REQUEST: Final = (8).to_bytes(4) + (80877103).to_bytes(4)
_SSL: Final = 80877103
_GSS: Final = 80877104
_CANCEL: Final = 80877102
#: A server takes no longer startup packet than this (MAX_STARTUP_PACKET_LENGTH).
STARTUP_LIMIT: Final = 10_000
#: The longest message that is read whole: those before the first ReadyForQuery are short.
MESSAGE_LIMIT: Final = 64 * 1024
#: A password is no longer than this; ours has 32 characters.
PASSWORD_LIMIT: Final = 1_000

#: The first bytes of an error that ends a connection: who is at fault decides the SQLSTATE (Appendix A).
_STATES: Final = {"denied": "28000", "hold_unavailable": "28000", "unknown_login": "28000", "protocol_error": "08P01"}
#: The code of AuthenticationCleartextPassword.
CLEARTEXT: Final = (3).to_bytes(4)
INVALID_PASSWORD: Final = "28P01"  # noqa: S105 - the name of a state
_CONNECTION_FAILURE: Final = "08006"
ADMIN_SHUTDOWN: Final = "57P01"
#: ReadyForQuery of an idle server; its last letter is the state of the transaction.
READY: Final = b"Z\0\0\0\5I"
_READY: Final = (READY, READY[:-1] + b"T", READY[:-1] + b"E")


class Hello(msgspec.Struct, frozen=True):
    """The first packet of a connection, and what it says. ``raw`` is the packet as it came."""

    kind: Literal["encrypt", "cancel", "startup"]
    raw: bytes
    version: int = 0
    parameters: dict[str, str] = {}
    key: tuple[int, bytes] = (0, b"")


def read_hello(raw: bytes) -> Hello:
    """Read a first packet, its length included. Raises Fault(protocol_error)."""
    code, rest = int.from_bytes(raw[4:8]), raw[8:]
    if code in (_SSL, _GSS) and not rest:
        return Hello("encrypt", raw)
    if code == _CANCEL and 8 <= len(rest) <= 260:
        return Hello("cancel", raw, key=(int.from_bytes(rest[:4]), rest[4:]))
    if code >> 16 == 3 and rest.endswith(b"\0\0"):
        words = rest[:-2].decode(errors="surrogateescape").split("\0")
        if len(words) % 2 == 0:
            return Hello("startup", raw, code, dict(zip(words[::2], words[1::2], strict=True)))
    raise Fault("protocol_error", "That is not a client of PostgreSQL.")


def startup(hello: Hello, target: str) -> bytes:
    """Return a client's StartupMessage for the agent; ``target`` is what one means that names no database, or only its user."""
    asked = hello.parameters.get("database", "")
    database = target if asked in ("", hello.parameters.get("user", "")) else asked
    parameters = hello.parameters | {"database": database}
    words = b"".join(word.encode(errors="surrogateescape") + b"\0" for pair in parameters.items() for word in pair)
    return (len(words) + 9).to_bytes(4) + hello.version.to_bytes(4) + words + b"\0"


def message(kind: str, body: bytes) -> bytes:
    """Return one message."""
    return kind.encode("ascii") + (len(body) + 4).to_bytes(4) + body


def ask_password() -> bytes:
    """Return AuthenticationCleartextPassword. It is only said on this machine's loopback."""
    return message("R", CLEARTEXT)


def password(text: str) -> bytes:
    """Return a PasswordMessage."""
    return message("p", text.encode() + b"\0")


def read_password(body: bytes) -> bytes:
    """Return what a PasswordMessage holds."""
    return body.removesuffix(b"\0")


def farewell(notice: Notice, state: str = "") -> bytes:
    """Return the error that ends a connection, in words that every client shows."""
    state = state or _STATES.get(notice.code, _CONNECTION_FAILURE)
    fields = {"S": "FATAL", "V": "FATAL", "C": state, "M": f"sallyport: {notice.message} [{notice.code}]", "H": notice.hint}
    text = "".join(f"{name}{value.replace(chr(0), '')}\0" for name, value in fields.items() if value)
    return message("E", text.encode(errors="replace") + b"\0")


def is_ready(last: bytes) -> bool:
    """Tell whether a stream that ended in ``last`` stands between two messages, where an error may be put in."""
    return last.endswith(_READY)
