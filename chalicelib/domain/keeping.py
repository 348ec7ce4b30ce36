"""Retention in a plan: whether a target's wish is within the deployment's bounds, and what a change of it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chalicelib.contracts.api import Problem
from chalicelib.contracts.gateway import Document, Target
from chalicelib.contracts.retention import COMPLIANCE, Keeping
from chalicelib.domain.gateway_file import FILE, Placed

_WEAKER: Final = "what was recorded before is kept as it was told"


def out_of_bounds(targets: Sequence[Placed], keeping: Keeping) -> list[Problem]:
    """Return a problem for every target whose days are not among those that this deployment takes."""
    found = []
    for placed in targets:
        wish = placed.target.retention
        if wish and wish.days and not keeping.least_days <= wish.days <= keeping.most_days:
            text = f"retention of target {placed.target.name}: this deployment keeps recordings for {keeping.least_days} to"
            found.append(Problem(FILE, placed.line("retention", "days"), f"{text} {keeping.most_days} days, not {wish.days}"))
    return found


def said(target: Target, keeping: Keeping) -> str:
    """Return how long recordings of ``target`` are kept, and whether it says so itself."""
    return f"{keeping.of(target.retention)}{'' if target.retention else ' (default)'}"


def weaker(before: Document, after: Document, keeping: Keeping) -> list[Problem]:
    """Return a warning for every target whose recordings would be kept less firmly than until now."""
    found = []
    for target in after.targets:
        earlier = before.target(target.name)
        old, new = keeping.of(earlier.retention if earlier else None), keeping.of(target.retention)
        less = new.days < old.days or (old.mode, new.mode) == (COMPLIANCE, "GOVERNANCE") or old.legal_hold > new.legal_hold
        if less:
            than = "until now" if earlier else "by default"
            found.append(Problem(FILE, 0, f"target {target.name}: kept {new}, where it is {old} {than}; {_WEAKER}"))
    return found
