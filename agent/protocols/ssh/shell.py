"""A guarded shell in motion: the pure dialogue, performed between two asyncssh channels."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from agent.core.effects import Ask, Effect, ToTarget
from agent.core.gate import Gate
from agent.core.policy import Decision
from agent.core.recording.cast import CastWriter
from agent.core.recording.commands import command, withdrawn
from agent.core.recording.jsonl import JsonlWriter
from agent.core.shell.guard.broken import Broken, Unguardable
from agent.core.shell.guard.dialogue import Dialogue, forged
from agent.core.shell.guard.layer import Ran
from agent.core.units import Answered, Asked, Housekeeping, Lull, Output, Refused, Side, Stream, Tick, Unit
from agent.runtime.relay import Performer
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation

#: Seconds in which a shell's time to report is counted: an agent that was held up (a stopped machine, a busy one) has not waited.
_SLICE_S: Final = 0.25
#: Seconds after which what was held back is let go: a prompt that sends no mark, or the beginning of an escape sequence.
PAUSE_S: Final = 0.15

UNGUARDED: Final = "The shell did not start its guard within {:.0f} s, so it was ended."
UNGUARDED_HINT: Final = (
    "A start-up file may replace the shell, or take longer (shell_start_s in gateway.yaml). "
    "Run one command at a time: ssh <target> <command>."
)


def nonce() -> str:
    """Return the nonce of one more shell."""
    return secrets.token_hex(16)


class Owner(Protocol):
    """What the channel does for its shell."""

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Future[Any]:
        """Run something that has to wait, and fail the channel if it fails."""
        ...

    def hold_client(self, held: bool) -> None:
        """Stop or go on reading from the client."""
        ...

    def send_target(self, data: bytes) -> None:
        """Type."""
        ...

    def hang_up(self) -> None:
        """End the shell where its client has left."""
        ...

    def to_client(self, data: bytes, stream: Stream) -> None:
        """Show."""
        ...

    async def answered(self, asked: Asked) -> Answered | Refused:
        """Wait for others."""
        ...

    def fail(self, fault: Fault) -> None:
        """End the shell, and say why."""
        ...

    def keep_pace(self) -> None:
        """Have what masking holds back shown in time."""
        ...

    def guardable(self) -> None:
        """The account's shell has a guard, which is started."""
        ...

    def unguardable(self, other: Unguardable) -> None:
        """Open another kind of shell instead, or end it."""
        ...


class Talk(Protocol):
    """What every pure half of a shell has, whoever edits its lines."""

    ran: list[Ran]

    @property
    def state(self) -> str:
        """Who is to say something."""
        ...

    @property
    def lead(self) -> bytes:
        """What moves to a row of its own."""
        ...

    @property
    def patience(self) -> tuple[object, float] | None:
        """How long it may take for what it does now, and what that is."""
        ...

    @property
    def forged(self) -> int:
        """Marks of others."""
        ...

    @property
    def full(self) -> bool:
        """No more keys can wait."""
        ...

    @property
    def waits(self) -> bool:
        """There is something to flush."""
        ...

    def receive(self, data: bytes, now_ms: int) -> list[Unit]:
        """Take output. Raises Broken."""
        ...

    def flush(self) -> list[Unit]:
        """Release what was held back."""
        ...

    def over(self, status: int | None, now_ms: int) -> None:
        """What runs has ended."""
        ...


class ShellRelay:
    """Types, shows, and has every line decided. Who edits the lines says what keys and verdicts come to."""

    def __init__(
        self,
        serving: Serving,
        dialogue: Talk,
        gate: Gate,
        recordings: tuple[CastWriter, JsonlWriter],
        owner: Owner,
    ) -> None:
        self._serving = serving
        self._dialogue = dialogue
        self._gate = gate
        self._cast, self._commands = recordings
        self._owner = owner
        self._performer: Final = Performer(serving, self)
        self._timer: asyncio.TimerHandle | None = None
        self._patience: tuple[object, float] | None = None
        self._finished = False
        self._late: asyncio.TimerHandle | None = None
        self._forged = 0
        self._masked: Counter[str] = Counter()
        self._decisions: dict[int, Decision | None] = {}
        """What was decided about lines that have not ended, by where their parts of the cast begin."""
        self._watch()

    # -- both ends -----------------------------------------------------------------------------------------------------------

    def from_client(self, data: bytes) -> None:
        """Keys."""
        self._perform(self._typed(data))
        if self._dialogue.full:
            self._owner.hold_client(True)
        self._watch()
        self._owner.keep_pace()
        self._wait_for_more()

    def from_target(self, data: bytes) -> None:
        """Output. Raises Fault where the shell cannot be guarded, or its output not masked any longer."""
        before = self._dialogue.state
        try:
            units = self._dialogue.receive(data, self._serving.now_ms())
            ended = bool(self._dialogue.ran)
            self._perform(units)
        except Unguardable as other:
            self._finished = True
            self._watch()
            self._owner.unguardable(other)
            return
        except Broken as broken:
            raise Fault("shell_unguarded", broken.message, hint=broken.hint) from None
        if ended or (self._dialogue.state == "prompt") > (before == "prompt"):
            self._settle()  # nothing comes behind a prompt, and a line that has ended has its part of the cast
        self._after()

    def interrupted(self) -> None:
        """Words of ours were shown in the middle of it."""

    def resized(self, columns: int, rows: int) -> None:
        """The person's terminal has another size."""

    def client_eof(self) -> None:
        """The client types no more. The target is not told: verdicts are still to be typed, and sshd has no use for it."""
        self._owner.hang_up()

    def target_eof(self) -> None:
        """The shell says no more: show what was held back."""
        self._perform(self._dialogue.flush())

    def finish(self, status: int | None) -> None:
        """The shell is over, with ``status`` where it has one: record its last line."""
        self._finished = True
        self._perform(self._dialogue.flush())
        self._settle()
        self._dialogue.over(status, self._serving.now_ms())
        self._after()

    def to_target(self, data: bytes) -> None:
        """What the gate lets pass: a verdict, or keys."""
        self._owner.send_target(data)

    def to_client(self, data: bytes, stream: Stream) -> None:
        """What the shell shows, and what we say in it."""
        self._owner.to_client(data, stream)

    # -- what depends on who edits the lines ---------------------------------------------------------------------------------

    def _typed(self, data: bytes) -> list[Unit]:
        """Take keys."""
        raise NotImplementedError

    def _allowed(self, shown_from: int) -> list[Unit]:
        """The line went to the target; what it shows is in the cast from ``shown_from``."""
        raise NotImplementedError

    def _denied(self) -> list[Unit]:
        """The line goes nowhere."""
        raise NotImplementedError

    # -- in between ----------------------------------------------------------------------------------------------------------

    def _perform(self, units: list[Unit]) -> None:
        self._gate.handle(Tick(self._serving.now_ms()))
        for unit in units:
            if isinstance(unit, Asked | Refused):
                self._owner.spawn(self._decide(unit))
                continue
            left: list[Effect] = self._performer.perform_now(self._gate.handle(unit))
            assert not left, "only decisions wait for the disk"
            if isinstance(unit, Lull):
                self._record_ended()

    async def _decide(self, unit: Asked | Refused) -> None:
        self._settle()
        begins = self._cast.written
        effects = self._gate.handle(unit)
        if effects and isinstance(effects[-1], Ask):
            self._lead()
            await self._performer.perform(effects[:-1])
            answer = await self._answer(effects[-1].asked, begins)
            self._gate.handle(Tick(self._serving.now_ms()))
            effects = self._gate.handle(answer)
        permitted = any(isinstance(effect, ToTarget) for effect in effects)
        decision = self._gate.decision
        if not permitted:
            self._lead()
        await self._performer.perform(effects)
        if not permitted:
            self._note(unit.operation, command(unit.operation, decision, (begins, self._cast.written)))
        elif unit.operation.kind == "line":
            self._decisions[begins] = decision
        if permitted:
            more = self._allowed(begins)
            # The line before it, where both were of one paste, ends here and has its own part of the cast.
            self._record_ended()
        else:
            more = self._denied()
        self._perform(more)
        self._owner.keep_pace()
        self._after()

    async def _answer(self, asked: Asked, begins: int) -> Answered | Refused:
        try:
            return await self._owner.answered(asked)
        except asyncio.CancelledError:
            self._note(asked.operation, withdrawn(asked.operation, (begins, self._cast.written)))
            raise

    def _lead(self) -> None:
        """Begin a line of our own, where the shell has not."""
        if self._dialogue.lead:
            self._performer.perform_now(self._gate.handle(Output(self._dialogue.lead, own=True)))

    def _settle(self) -> None:
        """Show what masking holds back."""
        self._performer.perform_now(self._gate.handle(Lull()))

    def _after(self) -> None:
        dialogue = self._dialogue
        self._watch()
        if not dialogue.full:
            self._owner.hold_client(False)
        if dialogue.forged > self._forged:
            self._perform([forged(dialogue.forged - self._forged)])
            self._forged = dialogue.forged
        self._record_ended()
        self._wait_for_more()

    def _record_ended(self) -> None:
        ran, self._dialogue.ran = self._dialogue.ran, []
        for each in ran:
            self._record(each)

    def _record(self, ran: Ran) -> None:
        entry = command(ran.operation, self._decisions.pop(ran.shown_from, None), (ran.shown_from, self._cast.written))
        entry |= {"exit": ran.status, "duration_ms": max(0, ran.ended_ms - ran.began_ms)}
        masked, before = Counter(self._gate.masked), self._masked
        if found := masked - before:
            entry["masked"] = dict(found)
        self._masked = masked
        if ran.depth:
            entry |= {"depth": ran.depth, "account": ran.account}
        self._note(ran.operation, entry, ran.began_ms)

    def _note(self, operation: Operation, entry: dict[str, Any], at_ms: int | None = None) -> None:
        # A directory's name is the target's text like any other, and so is what a shell says of its account.
        entry |= {name: self._gate.kept(entry[name]) for name in ("cwd", "account") if name in entry}
        entry["text"] = self._gate.kept(operation.text)
        lines = self._commands.remark(entry, self._serving.now_ms() if at_ms is None else at_ms)
        self._serving.recorder.write_soon(self._commands.channel, "jsonl", lines)

    def _wait_for_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dialogue.waits:
            self._timer = asyncio.get_running_loop().call_later(PAUSE_S, self._pause)

    def _pause(self) -> None:
        self._timer = None
        try:
            self._perform(self._dialogue.flush())
        except Fault as fault:
            self._owner.fail(fault)
            return
        self._owner.keep_pace()
        self._wait_for_more()

    def _watch(self) -> None:
        """A shell that is being started has so long to report."""
        patience = None if self._finished else self._dialogue.patience
        if patience == self._patience and self._late is not None:
            return
        self._patience = patience
        if self._late is not None:
            self._late.cancel()
            self._late = None
        if patience is not None:
            self._count(patience[1], patience[1])

    def _count(self, seconds: float, left: float) -> None:
        if left <= 0:
            self._unguarded(seconds)
            return
        slice_s = min(left, _SLICE_S)
        self._late = asyncio.get_running_loop().call_later(slice_s, self._count, seconds, left - slice_s)

    def _unguarded(self, seconds: float) -> None:
        self._owner.fail(Fault("shell_unguarded", UNGUARDED.format(seconds), hint=UNGUARDED_HINT))


class GuardedRelay(ShellRelay):
    """A shell whose own prompt edits the lines, and asks."""

    def __init__(
        self,
        serving: Serving,
        dialogue: Dialogue,
        gate: Gate,
        recordings: tuple[CastWriter, JsonlWriter],
        owner: Owner,
    ) -> None:
        super().__init__(serving, dialogue, gate, recordings, owner)
        self._guard: Final = dialogue
        self._known = False
        """Which shell the account has."""

    def to_target(self, data: bytes) -> None:
        """What the gate lets pass, but for a verdict that its shell no longer waits for: that would be text at a prompt."""
        if not self._guard.given_up:
            super().to_target(self._guard.types(data))

    def from_target(self, data: bytes) -> None:
        """Output. Raises Fault as above."""
        super().from_target(data)
        if not (self._known or self._finished) and self._guard.state != "starting":
            self._known = True
            self._owner.guardable()

    def _typed(self, data: bytes) -> list[Unit]:
        return self._towards(self._guard.typed(data))

    def _allowed(self, shown_from: int) -> list[Unit]:
        self._guard.allowed(self._serving.now_ms(), shown_from)
        return self._guard.proceed()

    def _denied(self) -> list[Unit]:
        return [*self._towards(self._guard.denied()), *self._guard.proceed()]

    def _towards(self, keys: bytes) -> list[Unit]:
        return [Housekeeping(Side.TARGET, keys)] if keys else []
