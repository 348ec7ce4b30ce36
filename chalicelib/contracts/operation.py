"""An operation: the smallest thing that policy decides. One exec request, one SQL statement, one file transfer.

Effects are what policy is asked about, because verbs differ per protocol and effects do not. An operation whose effect cannot
be known carries ``unknown``, which no rule should permit by accident: the default is deny.
"""

from __future__ import annotations

import hashlib
from typing import Final, Literal

import msgspec

READ: Final = "read"
WRITE: Final = "write"
ADMIN: Final = "admin"
EXECUTE: Final = "execute"
UNKNOWN: Final = "unknown"
EFFECTS: Final = frozenset({READ, WRITE, ADMIN, EXECUTE, UNKNOWN})

#: Actions of the policy language that decide operations on the data path (design §5).
ACTIONS: Final = frozenset({"run", "transfer", "forward", "replicate", "trust_host_key"})


class Operation(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What is about to happen on a target, in the terms that policy, recording and approval share."""

    action: str = "run"
    """``run``, ``transfer``, ``forward``, ``replicate`` or ``trust_host_key``."""
    kind: str
    """The protocol's own word: ``exec``, ``shell``, ``sftp.open``, ``query``."""
    text: str
    """Canonical text, exactly what would run."""
    effects: frozenset[str]
    verbs: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()
    """Bound values, where the protocol has them."""
    environment: tuple[tuple[str, str], ...] = ()
    size: int = 0
    """Bytes, for transfers where it is known beforehand."""
    host: str = ""
    """Of a forward: where it goes, or is listened for, in the one spelling that the text has too."""
    port: int = 0
    """Of a forward; 0 where the target is to choose one to listen on."""
    direction: Literal["", "local", "remote"] = ""
    """Of a forward: ``local`` where the target connects on, ``remote`` where it listens and the client's side connects on."""

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ValueError(f"unknown action: {self.action!r}")
        if not self.effects:
            raise ValueError("an operation has at least one effect; use 'unknown' where none is known")
        if not self.effects <= EFFECTS:
            raise ValueError(f"unknown effects: {sorted(self.effects - EFFECTS)}")

    def canonical(self) -> bytes:
        """The bytes that an approval is bound to: a JSON array, so that no two operations share them."""
        return msgspec.json.encode(
            [
                "sallyport-operation-v1",
                self.action,
                self.kind,
                self.text,
                list(self.arguments),
                [list(pair) for pair in sorted(self.environment)],
            ]
        )

    def digest(self) -> str:
        """Hex SHA-256 of :meth:`canonical`: what an approval is an approval *of*."""
        return hashlib.sha256(self.canonical()).hexdigest()


class Alike:
    """Operations that are one but for their text and arguments: their digests, without making them."""

    __slots__ = ("before", "behind")

    def __init__(self, one: Operation) -> None:
        """``one`` is any of them."""
        head = msgspec.json.encode(["sallyport-operation-v1", one.action, one.kind])
        self.before: Final = head[:-1] + b","
        """What :meth:`Operation.canonical` has before the text, and behind the arguments."""
        self.behind: Final = b"," + msgspec.json.encode([list(pair) for pair in sorted(one.environment)]) + b"]"

    def digest(self, text: bytes, arguments: bytes) -> str:
        """What :meth:`Operation.digest` says of the one with this ``text`` and these ``arguments``, both as compact JSON."""
        return hashlib.sha256(b"%b%b,%b%b" % (self.before, text, arguments, self.behind)).hexdigest()
