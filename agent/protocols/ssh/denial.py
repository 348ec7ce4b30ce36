"""The words in which SSH says no. Every line starts with ``sallyport:`` and ends with the code and the session."""

from __future__ import annotations

import re
from typing import Final

from agent.core.policy import Decision
from agent.core.reasons import unknown
from agent.core.shell.model import FLAGS, UNKNOWN_FLAGS
from agent.core.units import Asked, Refused
from chalicelib.contracts.faults import CODES, EXIT_DENIED, Notice

#: Exit status for everything that is not a denial: what ssh itself returns when a connection fails.
EXIT_FAILED: Final = 255

#: Control characters could move the cursor or rewrite what was said before (C0, DEL, C1); line separators and bidirectional marks
#: could make it read as something else (Unicode TR36 §2.10).
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")


def exit_status(code: str) -> int:
    """Return 126 for a denial, 255 for a failure."""
    kind = CODES.get(code)
    return EXIT_DENIED if kind is not None and kind.exit == EXIT_DENIED else EXIT_FAILED


def say(notice: Notice, sid: str, *, terminal: bool = False) -> bytes:
    """Return ``notice`` as lines for standard error. A raw terminal needs its carriage returns."""
    place = f"{notice.code}, {sid}" if sid else notice.code
    lines = [f"sallyport: {plain(notice.message)} ({place})"]
    if notice.hint:
        lines.append(f"sallyport: {plain(notice.hint)}")
    end = "\r\n" if terminal else "\n"
    return "".join(line + end for line in lines).encode()


def plain(text: str) -> str:
    """Return ``text`` on one line, without control characters."""
    return _CONTROL.sub(" ", text).strip()


_NOT_KNOWN: Final = "the gateway does not know every program in it, or what it does with these arguments"


class Words:
    """Denials of exec and shell requests, for the gate."""

    def __init__(self, sid: str, *, terminal: bool) -> None:
        self._sid = sid
        self._terminal = terminal

    def deny(self, asked: Asked | Refused, decision: Decision) -> bytes:
        """Return the policy's own words as lines for standard error, and why something is unknown where it is."""
        about = asked.operation
        commands = about.action == "run" and decision.code == "denied" and type(asked) is Asked
        hint = unknown(about, FLAGS, UNKNOWN_FLAGS, _NOT_KNOWN) if commands else ""
        return say(Notice(decision.code, decision.message, hint), self._sid, terminal=self._terminal)
