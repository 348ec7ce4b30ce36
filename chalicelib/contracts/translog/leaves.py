"""Leaves: what the log commits to of an audit event.

The *public* fields stand in the leaf in clear, so that an auditor reads the log without anything else. Sensitive ones (who, why)
do not, because nothing can ever be taken out of the log again: the leaf holds SHA-256 of the whole event instead, so that
whoever shows the event can prove that it is the one.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from chalicelib.contracts import audit, audit_event

LEAF_LIMIT: Final = 32_768


class Leaf(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One line of the log."""

    type: str
    id: str
    time_ms: int
    digest: str
    """Hex SHA-256 of the event's JSON as it is stored."""
    facts: dict[str, Any] = {}
    """The event's other public fields."""

    @property
    def sid(self) -> str:
        """The session that it is about, or an empty text."""
        found = self.facts.get("sid", "")
        return found if isinstance(found, str) else ""


class _Bare(msgspec.Struct):
    type: str
    id: str
    time_ms: int


def leaf_of(body: bytes) -> bytes:
    """Return the leaf of a stored event. The same event always gives the same leaf. Raises ValueError if it is no event at all.

    An event of a type that this version does not know is committed to by its digest alone.
    """
    digest = hashlib.sha256(body).hexdigest()
    try:
        view = audit_event.public_view(msgspec.json.decode(body, type=audit.AnyEvent))
    except msgspec.ValidationError:
        view = {}
    except msgspec.DecodeError:
        raise ValueError("the stored event is not JSON") from None
    try:
        bare = msgspec.json.decode(body, type=_Bare)
    except msgspec.ValidationError:
        raise ValueError("the stored event has no type, identifier and time") from None
    facts = {name: value for name, value in sorted(view.items()) if name not in ("type", "id", "time_ms")}
    leaf = Leaf(type=bare.type, id=bare.id, time_ms=bare.time_ms, digest=digest, facts=facts)
    made = msgspec.json.encode(leaf)
    if len(made) > LEAF_LIMIT:
        made = msgspec.json.encode(msgspec.structs.replace(leaf, facts={}))
    return made


def read(entry: bytes) -> Leaf:
    """Return a leaf of the log. Raises ValueError."""
    try:
        return msgspec.json.decode(entry, type=Leaf)
    except msgspec.DecodeError as error:
        raise ValueError(f"an entry of the log is not a leaf: {error}") from None
