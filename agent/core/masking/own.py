"""The detectors of one target: the built-in ones, and patterns of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from agent.core.masking.detectors import Detectors
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.patterns import FORM, read_line

_FORM: Final = f"A pattern of the target is not of the form {FORM}."


def read_detectors(options: Mapping[str, Any], longest: int = 0) -> Detectors:
    """Return what finds values on a target with these ``options``; one object for the same patterns.

    A match of its ``patterns`` has ``longest`` bytes at most, or any number where that is 0. Raises Fault(config_invalid) for one
    that would find nothing, or too much.
    """
    lines = options.get("patterns") or []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Fault("config_invalid", _FORM)
    return _detectors(tuple(lines), longest)


@lru_cache(64)
def _detectors(lines: tuple[str, ...], longest: int) -> Detectors:
    try:
        return Detectors([read_line(line, longest) for line in lines])
    except ValueError as error:
        raise Fault("config_invalid", f"The patterns of the target cannot be used: {error}.") from None
