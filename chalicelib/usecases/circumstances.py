"""What is said beside a question: sizes that are refused before anything is done, and the moment that policy looks at."""

from __future__ import annotations

import ipaddress
from typing import Final

from chalicelib.contracts.api import REASON_LIMIT
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Moment
from chalicelib.ports import Clock

_NAME_LIMIT: Final = 128


def check_sizes(target: str, login: str, reason: str) -> None:
    """Refuse what is too long before anything is done with it."""
    if len(reason) > REASON_LIMIT:
        raise Fault("too_large", f"A reason is at most {REASON_LIMIT} characters long.")
    if len(target) > _NAME_LIMIT or len(login) > _NAME_LIMIT:
        raise Fault("too_large", f"Names are at most {_NAME_LIMIT} characters long.")


def moment(clock: Clock, *, reason: str = "", login: str = "", source_ip: str = "") -> Moment:
    """Return the moment of a question that is asked now."""
    return Moment(now_ms=clock.now_ms(), reason=reason, login=login, source_ip=address(source_ip))


def address(text: str) -> str:
    """An address that policy can look at, or nothing: a text that is none would break the evaluation of every rule."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
