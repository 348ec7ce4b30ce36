from __future__ import annotations

from cli.verification import show
from cli.verification.findings import Report


def test_what_is_true_of_many_objects_is_said_once() -> None:
    report = Report(scope="everything")
    for n in range(1, 6):
        report.leave("cosignature", f"log/cosignatures/{n}", "Cosigned by a stranger.")
    report.leave("consistency", "log/checkpoint", "Nobody outside vouches for this history.")
    told = show.lines(report)
    assert told[told.index("Not proved") :][1:-2] == [
        "  · Cosigned by a stranger.",
        "      log/cosignatures/1",
        "      log/cosignatures/2",
        "      log/cosignatures/3",
        "      and 2 more; --json lists all",
        "  · Nobody outside vouches for this history.",
        "      log/checkpoint",
    ]


def test_kinds_without_end_are_counted() -> None:
    report = Report(scope="everything")
    for n in range(25):
        report.leave("clock", f"s{n}", f"Sentence {n}.")
    assert show.lines(report)[-3] == "      and 5 more; --json lists all"
