"""Reports: in batches, in order, until they arrive."""

from __future__ import annotations

import asyncio

from agent.runtime.reports import BATCH, WAITING, Reports
from chalicelib.contracts.api import DeniedOperation, Done, LearnedHostKey, SessionReport
from chalicelib.contracts.api_live import WatchNews
from chalicelib.contracts.faults import Fault, Notice
from tests.patience import HANG_S
from tests.unit.agent.runtime.conftest import quick

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"


class Office:
    """Takes reports, unless it is told not to."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.taken: list[SessionReport] = []

    async def send(self, sid: str, report: SessionReport) -> Done:
        assert sid == SID
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(report)
        return Done()


def denied(number: int) -> DeniedOperation:
    return DeniedOperation(time_ms=number, kind="exec", text=f"rm {number}", digest="", rules=["r"], message="No.")


async def run(reports: Reports) -> None:
    reports.finish()
    async with asyncio.timeout(HANG_S):
        await reports.run()


async def test_everything_is_sent_in_batches_and_in_order() -> None:
    office = Office()
    reports = Reports(SID, office.send, quick)
    for number in range(BATCH * 2 + 1):
        reports.denied(denied(number))
    office.faults = [Fault("control_plane_unreachable", "Away."), Fault("internal", "Broken.")]
    await run(reports)
    assert [len(report.denied) for report in office.taken] == [BATCH, BATCH, 1]
    assert [each.time_ms for report in office.taken for each in report.denied] == list(range(BATCH * 2 + 1))


async def test_a_refused_report_does_not_hold_up_the_next() -> None:
    office = Office()
    reports = Reports(SID, office.send, quick)
    office.faults = [Fault("session_ended", "It is over.")]
    for number in range(BATCH + 1):
        reports.denied(denied(number))
    reports.target(Notice("target_timeout", "It did not answer."))
    await run(reports)
    assert [len(report.denied) for report in office.taken] == [1]


async def test_nothing_is_sent_where_nothing_happened() -> None:
    office = Office()
    await run(Reports(SID, office.send, quick))
    assert office.taken == []


async def test_the_targets_fault_is_told_once() -> None:
    office = Office()
    reports = Reports(SID, office.send, quick)
    reports.target(Notice("target_timeout", "It did not answer."))
    reports.target(Notice("target_unreachable", "It is not there."))
    await run(reports)
    assert [report.target_fault for report in office.taken] == [Notice("target_unreachable", "It is not there.")]


async def test_a_learned_host_key_is_told_once_and_until_it_arrives() -> None:
    office = Office()
    reports = Reports(SID, office.send, quick)
    learned = LearnedHostKey(time_ms=1, address="h:22", key_type="ssh-ed25519", fingerprint="SHA256:AAAA")
    reports.learned(learned)
    office.faults = [Fault("control_plane_unreachable", "Away.")]
    await run(reports)
    assert [report.learned for report in office.taken] == [[learned]]


async def test_what_waits_is_bounded() -> None:
    office = Office()
    reports = Reports(SID, office.send, quick)
    for number in range(WAITING + 7):
        reports.denied(denied(number))
    await run(reports)
    assert [each.time_ms for report in office.taken for each in report.denied] == list(range(WAITING))


async def test_watches_are_reported_in_order_until_they_arrive() -> None:
    office = Office()
    reports = Reports(SID, office.send, quick)
    reports.watch(WatchNews(ticket="a"))
    reports.watch(WatchNews(ticket="a", code="ok", shown=7))
    office.faults = [Fault("control_plane_unreachable", "Away.")]
    await run(reports)
    assert [(each.ticket, each.code, each.shown) for report in office.taken for each in report.watches] == [
        ("a", "", 0),
        ("a", "ok", 7),
    ]
