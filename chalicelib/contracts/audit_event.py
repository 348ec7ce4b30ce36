"""What an audit event is: a record whose every field says who may see it.

A field is *public* (may appear in logs and metrics), *sensitive* (evidence for auditors: who, what, why) or *secret* (must never
be stored). The classification is part of the type; a field without one counts as secret, and ``tests`` refuse it. The events
themselves are in ``audit`` and ``audit_requests``.
"""

from __future__ import annotations

import enum
import typing
from typing import Annotated, Any

import msgspec


class Class(enum.Enum):
    """Who may see a field."""

    PUBLIC = "public"
    SENSITIVE = "sensitive"
    SECRET = "secret"  # noqa: S105 - the name of a class of fields


Public = Class.PUBLIC
Sensitive = Class.SENSITIVE

PublicText = Annotated[str, Public]
SensitiveText = Annotated[str, Sensitive]
PublicNumber = Annotated[int, Public]
SensitiveTexts = Annotated[list[str], Sensitive]
PublicTexts = Annotated[list[str], Public]


class Event(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="type"):
    """What every event carries: its identifier, and when it happened (Unix milliseconds, the control plane's clock)."""

    id: PublicText
    time_ms: PublicNumber
    actor: SensitiveText
    """The principal, ``agent:NAME`` or ``system``."""


def classification(event: type[Event]) -> dict[str, Class]:
    """Return the class of every field of ``event``; a field that carries none is secret."""
    found = {}
    for name, hint in typing.get_type_hints(event, include_extras=True).items():
        marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Class)]
        found[name] = marks[0] if marks else Class.SECRET
    return found


def public_view(event: Event) -> dict[str, Any]:
    """Return what a log may say of ``event``: its type and its public fields."""
    classes = classification(type(event))
    fields = {name: getattr(event, name) for name, mark in classes.items() if mark is Class.PUBLIC}
    return {"type": event.__struct_config__.tag, **fields}
