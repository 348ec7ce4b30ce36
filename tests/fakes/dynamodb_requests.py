"""Approval requests and notices in memory; a room of ``FakeStore``."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Sequence

from chalicelib.contracts.approval import Precedent
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.session import Session
from chalicelib.domain import precedents
from chalicelib.domain.approvals import Case
from chalicelib.ports import AskName, CaseQuery, Conflict, Custody, Notice


def day_of(time_ms: int) -> str:
    return dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC).date().isoformat()


class FakeRequests:
    """What ``chalicelib.ports.Store`` says of approval requests and notices."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.recorded: list[AnyEvent] = []
        self.kept: dict[str, tuple[Session, Custody]] = {}
        self.kept_cases: dict[str, Case] = {}
        self.seen: set[tuple[str, str]] = set()
        self.precedents: dict[str, Precedent] = {}
        self.used: dict[str, set[str]] = {}
        self.spent: set[str] = set()
        self.ask_names: dict[str, AskName] = {}
        self.notices: dict[str, Notice] = {}

    def add_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], name: AskName | None = None) -> None:
        with self.lock:
            if case.request.rid in self.kept_cases:
                raise Conflict
            if name:
                self.remember_ask(name, case.request.asked_ms)
            self._keep_case(case, events, notices)

    def spend(self, digest: str, until_ms: int) -> bool:
        with self.lock:
            if digest in self.spent:
                return False
            self.spent.add(digest)
            return True

    def ask_name(self, digest: str, now_ms: int) -> AskName | None:
        found = self.ask_names.get(digest)
        return found if found and now_ms < found.until_ms else None

    def remember_ask(self, name: AskName, now_ms: int) -> None:
        with self.lock:
            if self.ask_name(name.digest, now_ms):
                raise Conflict
            self.ask_names[name.digest] = name

    def case(self, rid: str) -> Case | None:
        return self.kept_cases.get(rid)

    def step_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], *, done_ms: int = 0) -> None:
        with self.lock:
            self._must_be_before(case)
            if done_ms:
                self._count(case, done_ms)
                self.used.setdefault(case.request.sid, set()).add(case.request.rid)
            self._keep_case(case, events, notices)

    def used_in(self, sid: str) -> list[str]:
        return sorted(self.used.get(sid, ()))

    def precedent(self, shape: str) -> Precedent | None:
        return self.precedents.get(shape)

    def _count(self, case: Case, now_ms: int) -> None:
        shape = precedents.shape_of(case.request)
        before = self.precedents.get(shape, Precedent(times=0, first_ms=now_ms, last_ms=now_ms))
        self.precedents[shape] = Precedent(times=before.times + 1, first_ms=before.first_ms, last_ms=now_ms)

    def _must_be_before(self, case: Case) -> None:
        now = self.kept_cases.get(case.request.rid)
        if now is None or now.request.version != case.request.version - 1:
            raise Conflict

    def _keep_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice]) -> None:
        self.kept_cases[case.request.rid] = case
        self.recorded.extend(events)
        self.notices |= {notice.nid: notice for notice in notices}

    def see_case(self, rid: str, viewer: str, event: AnyEvent) -> bool:
        with self.lock:
            if (rid, viewer) in self.seen:
                return False
            self.seen.add((rid, viewer))
            self.recorded.append(event)
            return True

    def open_cases(self) -> Iterator[Case]:
        yield from [self.kept_cases[rid] for rid in sorted(self.kept_cases) if self.kept_cases[rid].request.open]

    def cases(self, query: CaseQuery, limit: int, cursor: str) -> tuple[list[Case], str]:
        found = [
            case
            for case in sorted(self.kept_cases.values(), key=lambda each: each.request.rid, reverse=True)
            if day_of(case.request.asked_ms) == query.day
            and (not cursor or case.request.rid < cursor)
            and query.principal in ("", case.request.principal)
            and query.target in ("", case.request.target)
            and query.state in ("", str(case.request.state))
        ]
        return (found[:limit], found[limit - 1].request.rid) if len(found) >= limit else (found, "")

    def open_approved_session(self, session: Session, custody: Custody, case: Case, events: Sequence[AnyEvent]) -> None:
        with self.lock:
            if session.sid in self.kept:
                raise Conflict
            self._must_be_before(case)
            self.kept[session.sid] = (session, custody)
            self._count(case, session.opened_ms)
            self._keep_case(case, events, [])

    def due_notices(self, now_ms: int, limit: int) -> list[Notice]:
        waiting = [each for each in self.notices.values() if each.channels and not each.dead and each.due_ms <= now_ms]
        return sorted(waiting, key=lambda each: (each.due_ms, each.nid))[:limit]

    def dead_notices(self, limit: int) -> list[Notice]:
        return sorted((each for each in self.notices.values() if each.dead), key=lambda each: each.nid)[:limit]

    def settle_notice(self, notice: Notice, attempts: int, events: Sequence[AnyEvent]) -> None:
        with self.lock:
            now = self.notices.get(notice.nid)
            if now is None or now.attempts != attempts:
                raise Conflict
            self.notices[notice.nid] = notice
            self.recorded.extend(events)
