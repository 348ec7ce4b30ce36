"""What an auditor should know before a session ends: gathered, sent soon, and sent again until it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from agent.runtime.backoff import Backoff, persist
from agent.telemetry import logger
from chalicelib.contracts.api import DeniedOperation, LearnedHostKey, SessionReport
from chalicelib.contracts.api_live import WatchNews
from chalicelib.contracts.faults import Fault, Notice

#: Denied operations in one report, at most: a body stays far below ``api.BODY_LIMIT``.
BATCH: Final = 50
#: Denied operations that may wait, at most: the control plane may be away for hours, and a program may try in a loop.
WAITING: Final = 1_000
#: Characters of an operation's text in a report; the recording has all of it, and the digest says which it was.
TEXT_LIMIT: Final = 4_000


class Reports:
    """The reports of one session."""

    def __init__(
        self, sid: str, send: Callable[[str, SessionReport], Awaitable[Any]], backoff: Callable[[], Backoff] = Backoff
    ) -> None:
        self._sid = sid
        self._send = send
        self._backoff = backoff
        self._denied: list[DeniedOperation] = []
        self._target: Notice | None = None
        self._watches: list[WatchNews] = []
        self._learned: list[LearnedHostKey] = []
        self._dropped = 0
        self._news = asyncio.Event()
        self._finishing = False

    def denied(self, operation: DeniedOperation) -> None:
        """Report a refused operation."""
        if len(self._denied) >= WAITING:
            # The first ones tell what was tried; all of them are counted, and in the recording.
            if not self._dropped:
                logger(sid=self._sid).warning("report.full", waiting=WAITING)
            self._dropped += 1
            return
        self._denied.append(operation)
        self._news.set()

    def target(self, notice: Notice) -> None:
        """Report why the target could not be used. The last one stands."""
        self._target = notice
        self._news.set()

    def learned(self, key: LearnedHostKey) -> None:
        """Report a host key that was trusted because it came first."""
        self._learned.append(key)
        self._news.set()

    def watch(self, news: WatchNews) -> None:
        """Report that a watch began or ended."""
        self._watches.append(news)
        self._news.set()

    def finish(self) -> None:
        """Have ``run`` return once everything is sent."""
        self._finishing = True
        self._news.set()

    async def run(self) -> None:
        """Send until ``finish`` and nothing is left."""
        while True:
            while self._denied or self._target or self._watches or self._learned:
                await self._send_batch()
            if self._finishing:
                return
            self._news.clear()
            await self._news.wait()

    async def _send_batch(self) -> None:
        batch, target, watches = self._denied[:BATCH], self._target, self._watches[:BATCH]
        learned = self._learned[:BATCH]
        report = SessionReport(denied=batch, target_fault=target, watches=watches, learned=learned)
        try:
            await persist(lambda: self._send(self._sid, report), event="report.delayed", backoff=self._backoff(), sid=self._sid)
        except Fault as fault:
            # The recording says the same; an auditor who looks there misses nothing.
            logger(sid=self._sid).error("report.refused", code=fault.code, detail=fault.detail, denied=len(batch))
        del self._denied[: len(batch)]
        del self._watches[: len(watches)]
        del self._learned[: len(learned)]
        if self._target is target:
            self._target = None
