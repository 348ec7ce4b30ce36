"""Masking: the only mint of :class:`Clean` bytes, which are the only bytes that can be shown to a client.

The rule set is empty for now, so every plug-in announces that masking is *not* enforced, and ``apply`` refuses targets that
require it. The gate already runs everything through here, so that rules, when they come, cannot be walked around.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

_SEAL: Final = object()


class Clean:
    """Bytes that masking has seen. Cannot be constructed, copied, subclassed or changed elsewhere."""

    __slots__ = ("_data", "_seal")
    _data: bytes
    _seal: object

    def __new__(cls, *_: object, **__: object) -> Clean:
        raise TypeError("Clean bytes are minted by masking alone")

    def __init_subclass__(cls, **_: object) -> NoReturn:
        raise TypeError("Clean cannot be subclassed")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("Clean bytes do not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("Clean bytes cannot be copied or pickled")

    @property
    def genuine(self) -> bool:
        """True if masking minted this object."""
        return getattr(self, "_seal", None) is _SEAL

    @property
    def data(self) -> bytes:
        """The bytes to show."""
        return self._data


class Masker:
    """Applies the masking rules of one session. With no rules it passes bytes through, unchanged and undelayed."""

    def mask(self, data: bytes) -> Clean:
        """Return ``data`` as the client may see it."""
        return _mint(data)


def _mint(data: bytes) -> Clean:
    clean = object.__new__(Clean)
    object.__setattr__(clean, "_data", data)
    object.__setattr__(clean, "_seal", _SEAL)
    return clean
