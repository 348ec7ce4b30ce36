"""The HTTP API of sealed originals: request and reply bodies, like ``api.py``, and under the same rules."""

from __future__ import annotations

import msgspec


class UnmaskAsk(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /sessions/{sid}/unmask``: ask others to agree that a session's originals are opened."""

    reason: str
    key: str = ""
    """The caller's own name for this ask, as in ``AccessAsk``."""


class UnmaskUse(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /requests/{rid}/unmask``: open them, once, under a yes."""

    use: str
    """The caller's own name for this use, for asking again while the log is behind. Once it was answered, it is spent."""
    content: str
    """Base64: the ``content`` of the heading of the session's sealed originals."""


class Unmasked(msgspec.Struct, kw_only=True, frozen=True):
    """What opens one session's originals. It is stored nowhere, and given once for each use."""

    sid: str
    target: str
    month: str
    key: str
    """The key that the session's originals are sealed to."""
    content_key: str
    """Base64 of the session's own key."""
    leaf: int
    """Where the log holds that this was done."""


class EraseAsk(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /originals/erasures``: ask others to agree that a target's originals of one month are erased."""

    target: str
    month: str
    reason: str
    key: str = ""


class Erased(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /requests/{rid}/erase``: done. Doing it again says the same."""

    target: str
    month: str
    key: str
    erased_ms: int
