"""One live session: what its plug-in sees (``serving.Serving``), and its life from the claim to the last stored chunk.

    admitted ─► live ─► over ─► drained ─► closed        the folder is removed
                  │       └──► refused / incomplete      the folder is kept, and recovered or examined later
                  └── ended: killed, deadline, recording failed, agent stopping

``live`` lasts as long as the plug-in serves. Everything behind ``over`` goes on while new sessions are served.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal

from agent.core.countdown import Countdown
from agent.runtime import approvals
from agent.runtime.backoff import Backoff, persist
from agent.runtime.clock import ServerClock
from agent.runtime.configuration import Configuration
from agent.runtime.control_client import ControlClient
from agent.runtime.credentials import CredentialFolder
from agent.runtime.host_keys import HostKeys, Learned
from agent.runtime.journal import Journal
from agent.runtime.recorder import SpoolRecorder
from agent.runtime.reports import TEXT_LIMIT, Reports
from agent.runtime.sealing import Sealer
from agent.runtime.serving import Approvals, Credential, Recorder
from agent.runtime.spool import Disk, End, Folder
from agent.runtime.uploader import Uploader
from agent.runtime.wal import Progress
from agent.runtime.watching import Audience, Tapped, Watch
from agent.telemetry import logger
from chalicelib.contracts.api import DeniedOperation, LearnedHostKey, SessionClose
from chalicelib.contracts.api_live import WatchNews
from chalicelib.contracts.capability import ApprovalClaims, TicketClaims
from chalicelib.contracts.faults import MESSAGE_LIMIT, Fault, Notice
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.originals import SealingKey
from chalicelib.contracts.policy import Policy, Verdict

#: Seconds that a plug-in has to say goodbye once its session must end.
GRACE_S: Final = 10.0
#: The clock may be corrected while a session waits for its deadline, so it is read again this often.
_WATCH_S: Final = 30.0

OK: Final = Notice("ok", "")


class Surroundings:
    """What every session needs of the agent."""

    def __init__(
        self,
        control: ControlClient,
        clock: ServerClock,
        disk: Disk,
        configuration: Configuration,
        credentials: CredentialFolder,
        journal: Journal,
        host_keys: HostKeys,
        *,
        backoff: Callable[[], Backoff] = Backoff,
        verify: Callable[[str], ApprovalClaims] | None = None,
    ) -> None:
        """``verify`` returns the claims of a signed approval; without it none is believed."""
        self.control = control
        self.verify = verify or _believe_none
        self.clock = clock
        self.disk = disk
        self.configuration = configuration
        self.credentials = credentials
        self.journal = journal
        self.host_keys = host_keys
        self.backoff = backoff


def _believe_none(text: str) -> ApprovalClaims:
    raise Fault("approval_mismatch", "This agent cannot tell who signed an approval.")


class Recording:
    """A session's recording together with everything that carries it away. Also what recovery makes of a leftover folder."""

    def __init__(self, around: Surroundings, folder: Folder, progress: Progress, on_fault: Callable[[Fault], None]) -> None:
        self.folder = folder
        self._around = around
        self._uploader = Uploader(
            around.control,
            around.disk,
            folder,
            counters=lambda: (self.recorder.operations, self.recorder.denied),
            on_refusal=on_fault,
            backoff=around.backoff,
        )
        self.recorder = SpoolRecorder(
            folder,
            around.disk,
            around.journal,
            self._uploader,
            progress=progress,
            now_ms=around.clock.now_ms,
            on_failure=on_fault,
        )

    @property
    def refusal(self) -> Fault | None:
        """Why the control plane will never take the rest of it."""
        return self._uploader.refusal

    @property
    def stored(self) -> bool:
        """True once ``run`` returned and nothing of the recording is only on this disk."""
        return self.recorder.complete and self._uploader.refusal is None and self._uploader.unread is None

    @property
    def unread(self) -> Fault | None:
        """Why a part of it cannot be read from this disk."""
        return self._uploader.unread

    async def deliver_end(self, end: End) -> Fault | None:
        """Tell the control plane that the session is over, until it knows. Returns its refusal, which is final.

        All is stored, so that is harmless, unless the control plane misses a chunk: ``chunk_conflict``.
        """
        progress = self.recorder.progress
        close = SessionClose(
            state=end.state,
            message=end.message[:MESSAGE_LIMIT],
            chunks=progress.n,
            chain=progress.chain,
            operations=self.recorder.operations,
            denied=self.recorder.denied,
        )
        sid = self.folder.sid
        try:
            await persist(
                lambda: self._around.control.close_session(sid, close),
                event="session.close_delayed",
                backoff=self._around.backoff(),
                sid=sid,
            )
        except Fault as fault:
            logger(sid=sid).warning("session.close_refused", code=fault.code, detail=fault.detail)
            return fault
        return None


class LiveSession:
    """One session. Implements ``serving.Serving``."""

    recorder: Recorder
    """Set by ``prepare``, before any plug-in sees the session."""

    def __init__(self, around: Surroundings, claims: TicketClaims, target: Target, path: Literal["relay", "direct"]) -> None:
        self.claims = claims
        self.target = target
        self.path: Literal["relay", "direct"] = path
        self.ended: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self.server: asyncio.Task[Any] | None = None
        """The task in which the plug-in serves; cancelled if it does not end when the session does."""
        self._around = around
        self.now_ms: Final = around.clock.now_ms
        """The control plane's time."""
        self._killed = False
        self._ending: Notice | None = None
        self.sealer: Sealer | None = None
        self._over = asyncio.Event()
        self._notice = OK
        surface = approvals.Surface(around.control, around.verify, around.clock.now_ms, around.backoff)
        self.waits: Final = approvals.Approvals(claims.sid, surface)
        self.approvals: Approvals = self.waits
        self._reports = Reports(claims.sid, around.control.report, around.backoff)
        self._tell: list[Callable[[str], None]] = []
        self._warning = ""
        self._recording: Recording | None = None
        self.audience: Final = Audience(self._say)

    @property
    def sid(self) -> str:
        """The session's identifier."""
        return self.claims.sid

    @property
    def prepared(self) -> bool:
        """True once the session has a place to record."""
        return self._recording is not None

    @property
    def is_over(self) -> bool:
        """True once the plug-in serves no more."""
        return self._over.is_set()

    @property
    def policy(self) -> Policy:
        """The policy in force now."""
        return self._around.configuration.policy

    async def credential(self, login: str) -> Credential:
        """Return the credential of an account on this session's target."""
        account = self.target.logins.get(login)
        if account is None:
            raise Fault("unknown_login", "The target has no such login.")
        return await self._around.disk.run(self._around.credentials.read, account.credential)

    def count(self, *, operations: int = 0, denied: int = 0) -> None:
        """Add to the session's counters."""
        assert self._recording is not None
        self._recording.recorder.count(operations, denied)

    def report_denied(self, operation: Operation, verdict: Verdict, shown: str | None = None) -> None:
        """Have the control plane remember a refused operation."""
        self._reports.denied(
            DeniedOperation(
                time_ms=self.now_ms(),
                kind=operation.kind,
                text=(operation.text if shown is None else shown)[:TEXT_LIMIT],
                digest=operation.digest(),
                rules=list(verdict.rules),
                message=verdict.message,
            )
        )

    async def learned_host_key(self) -> str | None:
        """Return the public key line that was learned of this session's target."""
        learned = await self._around.disk.run(self._around.host_keys.find, self.target.name, self.target.address)
        return learned.key if learned is not None else None

    async def learn_host_key(self, line: str) -> bool:
        """Keep the first host key of this session's target."""
        first = Learned(
            target=self.target.name,
            address=self.target.address,
            key=line,
            principal=self.claims.sub,
            sid=self.sid,
            time_ms=self.now_ms(),
        )
        kept, new = await self._around.disk.run(self._around.host_keys.learn, first)
        if new:
            logger(sid=self.sid).warning("host_key.trusted", target=kept.target, key=kept.kind, fingerprint=kept.fingerprint)
            self._reports.learned(
                LearnedHostKey(time_ms=kept.time_ms, address=kept.address, key_type=kept.kind, fingerprint=kept.fingerprint)
            )
        return new

    def report_target(self, notice: Notice) -> None:
        """Have the control plane remember why the target could not be used."""
        self._reports.target(notice)

    def warn(self, tell: Callable[[str], None]) -> None:
        """Have ``tell`` called with words for the person before the session's time is over."""
        self._tell.append(tell)
        if self._warning:
            tell(self._warning)

    def _say(self, words: str) -> None:
        for tell in self._tell:
            tell(words)

    def watchers(self) -> list[str]:
        """Return who looks on now."""
        return self.audience.names()

    def report_watch(self, watch: Watch, ended: Notice | None = None) -> None:
        """Have the control plane remember that a watch began, or why it ended."""
        if ended is None:
            self._reports.watch(WatchNews(ticket=watch.ticket))
        else:
            self._reports.watch(WatchNews(ticket=watch.ticket, code=ended.code, message=ended.message, shown=watch.shown))

    def end(self, notice: Notice, *, killed: bool = False) -> None:
        """Have the session end now. The first reason stands."""
        if self._ending is not None:
            return
        self._ending, self._killed = notice, killed
        if not self.ended.done():
            self.ended.set_result(notice)
        elif self.server is not None:
            # Somebody awaited the future itself and was cancelled, which cancels the future too. Nobody listens any more.
            self.server.cancel()

    @property
    def ending(self) -> Notice | None:
        """Why the session must end, once it must."""
        return self._ending

    def over(self, notice: Notice) -> None:
        """Say that the plug-in serves no more, and why."""
        self._notice = notice
        self._over.set()
        why = self._ending or notice
        self.audience.close(Notice(why.code, why.message or "The session has ended."))

    async def prepare(self, folder: Folder, seed: str) -> None:
        """Make the recording's place on disk. Raises Fault(recording_failed); ticket_used if the session was here before."""
        recording = Recording(self._around, folder, Progress(sid=self.sid, chain=seed), lambda fault: self.end(fault.notice))
        try:
            await self._around.disk.run(folder.create)
        except FileExistsError:
            raise Fault("ticket_used", "This session was served before.") from None
        except OSError as error:
            raise Fault("recording_failed", "The agent cannot record, so it serves nothing.", detail=str(error)) from None
        await recording.recorder.open()
        self._recording = recording
        self.recorder = Tapped(recording.recorder, self.audience.seen)

    def keep_originals(self, key: SealingKey | None) -> None:
        """Seal originals with ``key``, or keep none. Raises Fault(recording_failed) for a key that is none."""
        self.sealer = Sealer(self.sid, key) if key is not None else None

    async def abandon(self) -> None:
        """Undo ``prepare``, as far as it came: the session was never served, so there is nothing to keep."""
        if self._recording is not None:
            await self._around.disk.run(self._recording.folder.remove)
            await self._recording.recorder.forget()

    async def live(self) -> Recording:
        """Live until ``over``, then until everything recorded is stored or refused. Returns the recording."""
        recording = self._recording
        assert recording is not None
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(recording.recorder.run())
            reporting = tasks.create_task(self._reports.run())
            watches = [tasks.create_task(self._watch_deadline()), tasks.create_task(self._enforce_end())]
            await self._over.wait()
            for watch in watches:
                watch.cancel()
            await self.waits.finish()
            await recording.recorder.close(self.outcome())
            await writing
            await self.audience.emptied()
            self._reports.finish()
            await reporting
        return recording

    def outcome(self) -> End:
        """How the session ended, for its close."""
        notice = self._ending or self._notice
        message = "" if notice.code == OK.code else notice.message
        return End("killed" if self._killed else "ended", message)

    async def _watch_deadline(self) -> None:
        countdown = Countdown(self.claims.deadline_ms)
        while (wait_s := countdown.wait_s(self.now_ms())) > 0:
            if words := countdown.due(self.now_ms()):
                self._warning = words
                self._say(words)
            await asyncio.sleep(min(wait_s, _WATCH_S))
        self.end(Notice("session_ended", "The time that was granted for this session is over."))

    async def _enforce_end(self) -> None:
        await asyncio.wait({self.ended})  # not awaited itself: cancelling this watch would cancel it for everybody
        await asyncio.sleep(GRACE_S)
        if self.server is not None:
            logger(sid=self.sid).warning("session.cut_off", grace_s=GRACE_S)
            self.server.cancel()
