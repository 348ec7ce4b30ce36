"""Where a forwarded port goes, or is listened for: one spelling per place. Pure.

A resolver takes many spellings for one machine: ``DB.internal.``, ``127.1``, ``0x7f000001``, ``::ffff:127.0.0.1``. A list of
places that are allowed says one of them. So what is asked for is put into one form before anybody decides, the same form is what
the target is asked for, and what has no one form is refused. Names are compared as names: nothing is resolved here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from chalicelib.contracts.faults import Fault

#: Every interface, as a place to listen on. OpenSSH's clients send an empty name, sshd takes all four.
EVERYWHERE: Final = "*"
_EVERY: Final = frozenset({"", "*", "0.0.0.0", "::"})  # noqa: S104 - names to compare with

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A name that ends so is read as an address by some resolvers (inet_aton), in octal by some and in decimal by others.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST: Final = 253


class Place(msgspec.Struct, frozen=True):
    """A host and a port, in one spelling."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def destination(host: str, port: int) -> Place:
    """Return the place that a connection is asked for. Raises Fault(bad_request) where it has no one spelling."""
    if not 1 <= port <= 65_535:
        raise Fault("bad_request", "A port to connect to is between 1 and 65535.")
    name = _spelt(host)
    if name in _EVERY:
        raise Fault("bad_request", "0.0.0.0 and :: are no place to connect to. Name localhost or 127.0.0.1.")
    return Place(name, port)


def listener(host: str, port: int) -> Place:
    """Return the place that is asked to be listened on; port 0 is any. Raises Fault(bad_request)."""
    if not 0 <= port <= 65_535:
        raise Fault("bad_request", "A port to listen on is between 0 and 65535.")
    return Place(EVERYWHERE if host in _EVERY or _spelt(host) in _EVERY else _spelt(host), port)


def listed(place: Place, entries: Iterable[object]) -> bool:
    """Tell whether ``place`` is one of ``entries``: ``host:port``; the host may be ``*`` or ``*.suffix``, the port ``*``.

    An entry that cannot be read lists nothing.
    """
    return any(isinstance(entry, str) and _covers(entry, place) for entry in entries)


def _covers(entry: str, place: Place) -> bool:
    host, colon, port = entry.strip().rpartition(":")
    if not colon or (port != "*" and port != str(place.port)):
        return False
    if host == "*":
        return True
    if host.startswith("*."):
        suffix = _readable(host[2:])
        return suffix is not None and not _is_address(place.host) and place.host.endswith(f".{suffix}")
    return _readable(host) == place.host


def _readable(host: str) -> str | None:
    try:
        return _spelt(host)
    except Fault:
        return None


def _is_address(host: str) -> bool:
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _spelt(host: str) -> str:
    if not host.isascii() or len(host) > _LONGEST + 2:
        raise Fault("bad_request", "The host's name is not ASCII, or too long. Write xn--… for a name in other letters.")
    text = host.lower()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
        if ":" not in text:
            raise Fault("bad_request", "Only IPv6 addresses stand in brackets.")
    if ":" in text:
        return _version_6(text)
    labels = text.removesuffix(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise Fault("bad_request", "That is not the name of a host.")
    name = ".".join(labels)
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise Fault("bad_request", "Write an IPv4 address as four decimal numbers: 127.0.0.1.") from None
    return name


def _version_6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise Fault("bad_request", "That is not an IPv6 address.") from None
    if address.scope_id is not None:
        raise Fault("bad_request", "An address with a zone means another machine on every interface, so it cannot be decided.")
    return str(address.ipv4_mapped or address)
