"""The detectors of one target: the built-in ones, and patterns of its own. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from agent.core.masking.detectors import Custom, Detectors
from chalicelib.contracts.faults import Fault

_PATTERN: Final = re.compile(r"(?s)(?P<data_class>[a-z][a-z0-9_-]{0,31})=(?P<pattern>.+)")
_FORM: Final = "A pattern of the target is not of the form class=pattern."


def read_patterns(options: Mapping[str, Any]) -> tuple[Detectors, frozenset[str]]:
    """Return what finds values, and the classes that patterns name. Raises Fault(config_invalid) for one that finds nothing."""
    lines = options.get("patterns") or []
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise Fault("config_invalid", _FORM)
    return _detectors(tuple(lines))


@lru_cache(64)
def _detectors(lines: tuple[str, ...]) -> tuple[Detectors, frozenset[str]]:
    custom = []
    for line in lines:
        match = _PATTERN.fullmatch(line.strip())
        if match is None:
            raise Fault("config_invalid", _FORM)
        custom.append(Custom(match["data_class"], match["pattern"]))
    try:
        return Detectors(custom), frozenset(each.data_class for each in custom)
    except ValueError as error:
        raise Fault("config_invalid", f"The patterns of the target cannot be used: {error}.") from None
