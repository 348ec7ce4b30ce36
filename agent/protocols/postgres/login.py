"""The two handshakes, sans-io: what a client may ask for when it connects, and how the gateway logs in to the server.

Towards the client there is no password: the ticket, or the certificate behind it, was the proof. Towards the server the
credential is injected here and nowhere else. Nothing is ever downgraded: a password in clear needs a verified certificate, a
server that offers channel binding gets it, and a server that skips the end of SCRAM was not the one that knows the password.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal

import msgspec
from scramp import ScramClient, ScramException  # type: ignore[import-untyped]

from agent.protocols.postgres import messages
from agent.protocols.postgres.codec import Message
from agent.protocols.postgres.messages import CANCEL_REQUEST, GSS_REQUEST, SSL_REQUEST, Malformed
from chalicelib.contracts.faults import Fault

#: Iterations of SCRAM that are worth the agent's time: PostgreSQL's default is 4096. More would let a server stall the agent.
ITERATIONS_LIMIT: Final = 100_000

#: Settings that a client may ask for as it connects. Any other could change who it is or how its texts are read.
_SETTINGS: Final = frozenset(
    "DateStyle TimeZone extra_float_digits IntervalStyle geqo jit statement_timeout lock_timeout "
    "idle_in_transaction_session_timeout default_transaction_read_only".split()
)
#: One option of a command line without quotes or escapes; anything else matches without a name.
_OPTION: Final = re.compile(r"\s*(?:-c\s*(?P<name>[A-Za-z_]+)=(?P<value>[A-Za-z0-9_.,+-]+)(?:\s+|\Z)|\S+)")
#: The schemas of a search path: plain names, or anything in quotes. What a server would fold or read otherwise does not match.
_SCHEMA: Final = r"\s*(?:[a-z_][a-z0-9_]*|\$user|\"[^\"\x00-\x1f]{1,63}\")\s*"
_PATH: Final = re.compile(f"{_SCHEMA}(?:,{_SCHEMA}){{0,31}}")
#: How a boolean may be written (``parse_bool``): beginnings that leave no doubt count.
_TRUE: Final = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})
_FALSE: Final = frozenset({"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"})
_ENCODINGS: Final = frozenset({"utf8", "unicode", "auto"})


class Hello(msgspec.Struct, frozen=True):
    """The first packet of a connection."""

    kind: Literal["ssl", "gss", "cancel", "startup"]
    parameters: dict[str, str] = {}
    minor: int = 0
    pid: int = 0
    secret: bytes = b""


class Wishes(msgspec.Struct, frozen=True):
    """What a client asked for as it connected, as far as it may."""

    database: str
    user: str
    application: str
    settings: dict[str, str]
    replication: Literal["", "true", "database"] = ""
    """The replication connection that it asked for, in the one spelling that the server is told."""
    path: tuple[str, ...] = ()
    """The schemas in which it looks for names, where it said so: RESET returns to them."""


def read_hello(packet: bytes) -> Hello:
    """Read the first packet. Raises Fault(protocol_error) for anything but protocol 3."""
    code = int.from_bytes(packet[:4])
    try:
        if code in (SSL_REQUEST, GSS_REQUEST):
            if len(packet) != 4:
                raise Malformed
            return Hello("ssl" if code == SSL_REQUEST else "gss")
        if code == CANCEL_REQUEST:
            pid, secret = messages.read_cancel(packet)
            return Hello("cancel", pid=pid, secret=secret)
        if code >> 16 != 3:
            raise Fault("protocol_error", "Only version 3 of PostgreSQL's protocol is spoken here.")
        return Hello("startup", messages.read_startup(packet), code & 0xFFFF)
    except Malformed:
        raise Fault("protocol_error", "The client's first packet cannot be read.") from None


def wishes(parameters: dict[str, str], database: str, target: str) -> Wishes:
    """Return what may be asked for. ``database`` is the one that the target is. Raises Fault(not_supported | not_found)."""
    replicates = _replication(parameters.get("replication", "off"))
    user = parameters.get("user", "")
    asked = parameters.get("database", "")
    # Drivers that were told no database ask for one with the user's name; people use the target's name.
    # Physical replication has no database. Its clients name this one, which stands in no catalogue.
    if asked not in ("", database, target, user) and not (replicates == "true" and asked == "replication"):
        raise Fault("not_found", f"This target is the database {database}, not {asked[:100]}.")
    encoding = parameters.get("client_encoding", "utf8").strip("'\" ").lower().replace("-", "")
    if encoding not in _ENCODINGS:
        raise Fault("not_supported", "Only UTF8 is spoken through the gateway: set the client encoding to UTF8.")
    known = {name.lower(): name for name in (*_SETTINGS, "search_path")}
    settings = _options(parameters.get("options", ""), known)
    for name, value in parameters.items():
        if name.lower() in known:
            settings[known[name.lower()]] = value
        elif not name.startswith("_pq_.") and name not in (
            "user",
            "database",
            "application_name",
            "client_encoding",
            "replication",
            "options",
        ):
            raise Fault("not_supported", f"The setting {name[:60]} cannot be made at connection time here. Use SET afterwards.")
    return Wishes(
        database, user, parameters.get("application_name", ""), settings, replicates, _path(settings.get("search_path"))
    )


def _path(value: str | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if _PATH.fullmatch(value) is None:
        raise Fault(
            "bad_request", f"The search_path {value[:100]} cannot be read here: name schemas in small letters, or in quotes."
        )
    quoted = re.findall(_SCHEMA, value)
    return tuple(name.strip().strip('"') for name in quoted)


def _options(text: str, known: dict[str, str]) -> dict[str, str]:
    """Read ``-c name=value`` of the settings that a client may ask for otherwise as well: a subscriber's server sends three."""
    settings: dict[str, str] = {}
    for each in _OPTION.finditer(text):
        name = known.get(each["name"].lower()) if each["name"] else None
        if name is None:
            words = "Options at connection time are not available through the gateway. Use SET afterwards."
            raise Fault("not_supported", words)
        settings[name] = each["value"]
    return settings


def _replication(value: str) -> Literal["", "true", "database"]:
    """Read what PostgreSQL reads: its word for logical replication, or a boolean in any of its spellings."""
    word = value.lower()
    if value == "database":
        return "database"
    if word in _TRUE:
        return "true"
    if word in _FALSE:
        return ""
    raise Fault("bad_request", f"replication={value[:40]} is nothing that PostgreSQL knows.")


def label(sid: str) -> str:
    """Return what ``application_name`` begins with in a session."""
    return f"sallyport {sid}"


def startup(login: str, asked: Wishes, sid: str) -> bytes:
    """Return the StartupMessage to the server. The session's identifier stands in ``application_name``, for its own logs."""
    # The server cuts the name at 63 bytes, so the identifier comes first.
    application = f"{label(sid)} {asked.application}".strip()[:63]
    return messages.startup(
        {
            "user": login,
            "database": asked.database,
            "client_encoding": "UTF8",
            "application_name": application,
            **({"replication": asked.replication} if asked.replication else {}),
            **asked.settings,
        }
    )


class ServerLogin:
    """The gateway's side of the server's authentication, from after the StartupMessage to the first ReadyForQuery."""

    def __init__(self, target: str, login: str, password: bytes, *, verified: bool, binding: bytes | None) -> None:
        """``verified``: TLS with a checked certificate. ``binding``: the tls-server-end-point data (RFC 5929), if any."""
        self._target = target
        self._login = login
        self._password = password
        self._verified = verified
        self._binding = binding
        self._scram: ScramClient | None = None
        self._proved = True
        """False between the first and the last message of SCRAM."""
        self.settings: list[tuple[str, str]] = []
        self.pid = 0
        self.secret = b""
        self._ready = False

    def ready(self) -> bool:
        """True once the server has said that it is ready."""
        return self._ready

    def receive(self, found: Message) -> bytes:
        """Return what to answer ``found`` with. Raises Fault(target_login | target_closed)."""
        try:
            if found.kind == "R":
                return self._authentication(found.body)
            if found.kind == "E":
                raise self._refused(messages.read_fields(found.body))
            if found.kind == "S":
                self.settings.append(messages.read_pair(found.body))
            elif found.kind == "K":
                self.pid, self.secret = int.from_bytes(found.body[:4], signed=True), found.body[4:]
            elif found.kind == "Z":
                if not self._proved or self._ready:
                    raise Malformed
                self._ready = True
            elif found.kind not in ("N", "v"):
                raise Malformed
        except (Malformed, ScramException, UnicodeDecodeError) as error:
            raise Fault("target_protocol", f"{self._target} does not log in as PostgreSQL does.", detail=str(error)) from None
        return b""

    def _authentication(self, body: bytes) -> bytes:
        code, rest = int.from_bytes(body[:4]), body[4:]
        if code == 0:
            if not self._proved:
                raise self._fault("did not prove that it knows the password")
            return b""
        if code == 3:
            if not self._verified:
                raise self._fault("asks for the password in clear, which it gets only over TLS with a verified certificate")
            return messages.message("p", self._password + b"\0")
        if code == 5 and len(rest) == 4:
            inner = hashlib.md5(self._password + self._login.encode(), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + rest, usedforsecurity=False).hexdigest()
            return messages.message("p", b"md5" + outer.encode() + b"\0")
        if code == 10 and self._scram is None:
            return self._scram_first(rest)
        if code == 11 and self._scram is not None:
            return self._scram_next(rest)
        if code == 12 and self._scram is not None:
            self._scram.set_server_final(rest.decode())
            self._proved = True
            return b""
        raise self._fault(f"asks for an authentication that is not supported ({code})")

    def _scram_first(self, offered: bytes) -> bytes:
        names = {name.decode() for name in offered.split(b"\0") if name}
        usable = ["SCRAM-SHA-256"] if "SCRAM-SHA-256" in names else []
        if self._binding is not None and "SCRAM-SHA-256-PLUS" in names:
            usable = ["SCRAM-SHA-256-PLUS"]
        if not usable:
            raise self._fault("offers no SCRAM that is supported")
        channel = ("tls-server-end-point", self._binding) if self._binding is not None else None
        self._scram = ScramClient(usable, self._login, self._password.decode(), channel_binding=channel)
        self._proved = False
        first = self._scram.get_client_first().encode()
        return messages.message("p", usable[0].encode() + b"\0" + len(first).to_bytes(4) + first)

    def _scram_next(self, challenge: bytes) -> bytes:
        assert self._scram is not None
        self._scram.set_server_first(challenge.decode())
        if int(self._scram.iterations) > ITERATIONS_LIMIT:
            raise self._fault("asks for more iterations of SCRAM than are supported")
        return messages.message("p", self._scram.get_client_final().encode())

    def _refused(self, fields: dict[str, str]) -> Fault:
        words = f"{fields.get('C', '')}: {fields.get('M', '')}"
        if fields.get("C", "").startswith("28"):
            return Fault("target_login", f"{self._target} refused the credential for {self._login}.", detail=words)
        return Fault("target_closed", f"{self._target} ended the connection before it was ready.", detail=words)

    def _fault(self, what: str) -> Fault:
        return Fault("target_login", f"{self._target} {what}.")
