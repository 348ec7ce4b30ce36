"""Numbers: medians, percentiles, ratios, and the table that shows them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

#: A way of reaching the target, by name; "direct" is what the others are compared with.
DIRECT = "direct ssh"


@dataclass
class Table:
    """One measurement: rows are variants, columns are figures. ``better`` says which way is good, for the ratio."""

    title: str
    unit: str
    better: str
    rows: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    reference: str = DIRECT
    """The variant that the others are compared with."""

    def add(self, variant: str, values: Sequence[float]) -> None:
        """Add samples of one variant; call it once per round."""
        self.rows.setdefault(variant, []).extend(values)

    def render(self) -> str:
        """Return the table as text: p50, p95, p99, the ratio to direct and what was added to it."""
        lines = [f"{self.title} ({self.unit}, {self.better} is better)"]
        reference = statistics.median(self.rows[self.reference]) if self.reference in self.rows else None
        head = f"  {'':34} {'n':>5} {'p50':>10} {'p95':>10} {'p99':>10} {'ratio':>7} {'added':>10}"
        lines.append(head)
        for variant, values in self.rows.items():
            middle = statistics.median(values)
            ratio = f"{middle / reference:.2f}" if reference else "-"
            added = f"{middle - reference:+.3f}" if reference and variant != self.reference else "-"
            figures = " ".join(f"{percentile(values, p):>10.3f}" for p in (50, 95, 99))
            lines.append(f"  {variant:34} {len(values):>5} {figures} {ratio:>7} {added:>10}")
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)

    def summary(self) -> dict[str, object]:
        """Return what is stored as JSON."""
        return {
            "title": self.title,
            "unit": self.unit,
            "better": self.better,
            "notes": self.notes,
            "rows": {
                name: {"n": len(values), **{f"p{p}": percentile(values, p) for p in (50, 95, 99)}}
                for name, values in self.rows.items()
            },
        }


def percentile(values: Sequence[float], p: int) -> float:
    """The nearest-rank percentile: an observed value, never an interpolated one (p50 of an even count is the median)."""
    if p == 50:
        return statistics.median(values)
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * p / 100) - 1)]


def interleave(rounds: int, variants: Mapping[str, Callable[[], Sequence[float]]], table: Table) -> Table:
    """Measure every variant once per round, side by side, so that what else the machine does hits all of them alike."""
    for _ in range(rounds):
        for name, measure in variants.items():
            table.add(name, measure())
    return table
