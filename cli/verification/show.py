"""The report for a person: what was proved, what contradicts, what was not proved; and what that means."""

from __future__ import annotations

from typing import Final

from cli.moments import utc_day
from cli.plain import clean, counted
from cli.screen import paint
from cli.verification.findings import CHECKS, COUNTED, Finding, Report, Sealed

#: Findings of one kind that are listed; the rest is counted, and ``--json`` has all of them.
_LISTED: Final = 20
#: Objects that are named where one sentence is true of many.
_NAMED: Final = 3
_WHAT_IT_MEANS: Final = {
    "chunk_hash": "what is stored is not what was recorded",
    "chain": "a part of the recording was taken out, put in or moved",
    "manifest_signature": "the gateway did not write what stands there",
    "recorder": "the recording cannot be traced to an agent",
    "originals": "what was sealed belongs to another session, or its end is not what it seems",
    "clock": "times inside the recording cannot be relied on",
    "inclusion": "the recording was put there, or exchanged, after the fact",
    "log_root": "the log was changed, or the copy of it is not whole",
    "checkpoint_signature": "the log cannot be believed at all",
    "consistency": "somebody who holds the log's key rewrote, cut or exchanged it",
    "cosignature": "somebody who holds the log's key rewrote or cut it, and a witness remembers",
    "witness_bucket": "somebody who holds the log's key rewrote or cut it, and the second bucket kept what it said before",
    "orphans": "a recording was removed or added behind the log's back",
    "versions": "somebody overwrote or hid an object; the earlier version is still in the bucket",
}


def lines(report: Report) -> list[str]:
    """Return the report, line by line."""
    found = [*_head(report), ""]
    failed = report.failed_checks()
    for check, sentence in CHECKS.items():
        if count := report.proved.get(check, 0):
            mark = paint("✓", "green") if not failed[check] else paint("~", "yellow")
            found.append(f"  {mark} {sentence.format(n=_many(check, count))}")
    found += [f"  · {_originals(sealed, report)}" for sealed in report.originals]
    if report.failures:
        found += ["", paint("Contradicted", "red", "bold")]
        for check, count in failed.items():
            found.append(f"  {paint('✗', 'red')} {check}: {_WHAT_IT_MEANS[check]}")
            found += _listed([finding for finding in report.failures if finding.check == check], count)
    if report.not_proved:
        found += ["", "Not proved"]
        found += _not_proved(report.not_proved)
    return [*found, "", *_verdict(report)]


def _originals(sealed: Sealed, report: Report) -> str:
    what = f"sealed originals: {counted(sealed.objects, 'object')} of {clean(sealed.target)}, {clean(sealed.month)}"
    if not sealed.erased_ms:
        return f"{what}, key {sealed.key[:16]}…"
    proofs = "proofs valid" if report.ok else "see below"
    return f"{what}, key erased on {utc_day(sealed.erased_ms)} (log entry {sealed.leaf:,}), {proofs}"


def _head(report: Report) -> list[str]:
    size = f"{report.bytes / 1e6:,.1f} MB" if report.bytes >= 100_000 else f"{report.bytes:,} bytes"
    what = f"{counted(report.sessions, 'session')}, {counted(report.chunks, 'chunk')}, {size}"
    lines_of = [f"Verified {clean(report.scope)}: {what}"]
    if report.log:
        lines_of.append(paint(f"Log {clean(report.log)}, {report.size:,} entries, root {report.root[:16]}…", "dim"))
    return lines_of


def _verdict(report: Report) -> list[str]:
    if report.failures:
        text = (
            f"{counted(len(report.failures), 'contradiction')}: this evidence was altered. Leave it as it is, copy it, and tell"
        )
        return [paint(f"{text} whoever is responsible.", "red", "bold")]
    if not report.proved:
        return [paint("Nothing was proved.", "yellow", "bold")]
    text = "Nothing contradicts. That an agent told the truth when it recorded is not something that a copy can show."
    return [paint(text, "green")]


def _listed(findings: list[Finding], count: int) -> list[str]:
    shown = []
    for finding in findings[:_LISTED]:
        shown += [f"      {clean(finding.message)}", paint(f"        {clean(finding.subject)}", "dim")]
    return [*shown, *_rest(count)]


def _not_proved(findings: list[Finding]) -> list[str]:
    # Each sentence once: a log has as many cosignatures as checkpoints, and what nobody could prove of them is the same.
    subjects: dict[str, list[str]] = {}
    for finding in findings:
        subjects.setdefault(finding.message, []).append(finding.subject)
    shown = []
    for message, named in list(subjects.items())[:_LISTED]:
        shown += [f"  · {clean(message)}", *(paint(f"      {clean(subject)}", "dim") for subject in named[:_NAMED])]
        if len(named) > _NAMED:
            shown.append(paint(f"      and {len(named) - _NAMED:,} more; --json lists all", "dim"))
    return [*shown, *_rest(len(subjects))]


def _rest(count: int) -> list[str]:
    return [f"      and {count - _LISTED} more; --json lists all"] if count > _LISTED else []


def _many(check: str, count: int) -> str:
    one, many = COUNTED[check]
    return f"{count:,} {one if count == 1 else many}"
