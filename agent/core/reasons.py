"""Why the effects of an operation are not known, in words for whoever was refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set

from chalicelib.contracts.operation import UNKNOWN, Operation


def unknown(operation: Operation, flags: Mapping[str, str], hides: Set[str], otherwise: str = "") -> str:
    """Return a sentence, or nothing where the effects of ``operation`` are known.

    ``flags`` says what each flag means, and ``hides`` which of them make effects unknown. ``otherwise`` is for where none does.
    """
    if UNKNOWN not in operation.effects:
        return ""
    reasons = "; ".join(f"{flags[flag]} ({flag})" for flag in sorted(operation.flags & hides))
    return f"What it does cannot be known: {reasons or otherwise}." if reasons or otherwise else ""
