"""The agent as a witness of the transparency log: it remembers, checks, cosigns, and refuses where something contradicts.

    witness.key      Ed25519, OpenSSH format: signs checkpoints that were verified, and nothing else
    witness.json     the last verified checkpoint, sessions whose opening the log still owes, and an alarm if there is one
    witness-alarms/  what contradicted, kept for whoever investigates

The memory is on disk before a cosignature leaves: a witness that forgot could be made to sign two histories. Every ticket
promises the leaf of its session's opening; the log has ``merge_delay_s`` to show it, by this machine's own clock, or no session
begins here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.core import witness as core
from agent.core.witness import ContradictionError, Kind, Seen
from agent.runtime.clock import ServerClock
from agent.runtime.identity import Identity
from agent.runtime.spool import Disk, write_whole
from agent.telemetry import logger
from chalicelib.contracts.api import Cosign, Done, LogAsk, LogNews, WitnessAlarm
from chalicelib.contracts.capability import TicketClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog import checkpoints, notes

MERGE_DELAY_S: Final = 60
_KEY: Final = "witness.key"
_STATE: Final = "witness.json"
_ALARMS: Final = "witness-alarms"
#: How often the log is asked for: while it owes something, and otherwise.
_SOON_SHARE: Final = 6
_OFTEN_S: Final = 60.0
#: Promises that one question names.
_ASKED: Final = 100


class LogRoad(Protocol):
    """The part of the control client that a witness needs."""

    async def log(self, asked: LogAsk) -> LogNews:
        """Ask for the newest checkpoint. Raises Fault."""
        ...

    async def cosign(self, made: Cosign) -> Done:
        """Hand in a cosignature. Raises Fault."""
        ...

    async def alarm(self, alarm: WitnessAlarm) -> Done:
        """Tell what contradicts. Raises Fault."""
        ...


class Owed(msgspec.Struct, frozen=True):
    """A leaf that the gateway promised."""

    sid: str
    leaf: str
    by_ms: int
    """When it must be in the log, by this machine's clock."""


class Memory(msgspec.Struct, kw_only=True, frozen=True):
    """``witness.json``."""

    log_key: str = ""
    """The key of the log, from the first time on."""
    checkpoint: str = ""
    """The last one that was verified, as it was signed."""
    cosigned: int = 0
    """Size of the last one that was cosigned and handed in."""
    promised: bool = False
    """A ticket of this gateway once carried a promise, so every one must."""
    owed: dict[str, Owed] = {}
    """By event."""
    alarm: WitnessAlarm | None = None
    told: bool = False
    """The control plane took the alarm."""


def witness_key(state: Path) -> Ed25519PrivateKey:
    """Return the key in ``state``, made now where there is none. Raises Fault(config_invalid)."""
    path = state / _KEY
    if not path.exists():
        form = serialization.PrivateFormat.OpenSSH
        made = Ed25519PrivateKey.generate()
        write_whole(path, made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    try:
        if path.stat().st_mode & 0o077:
            raise Fault("config_invalid", f"{path}: may be read by others, so it is no longer a secret.")
        found = serialization.load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError) as error:
        raise Fault("config_invalid", f"{path}: cannot be used as a private key.", detail=str(error)) from None
    if not isinstance(found, Ed25519PrivateKey):
        raise Fault("config_invalid", f"{path}: is not an Ed25519 key.")
    return found


def remembered(state: Path) -> Memory:
    """Return what is on disk. Raises Fault(config_invalid): a memory that cannot be read must not pass for none."""
    try:
        return msgspec.json.decode((state / _STATE).read_bytes(), type=Memory)
    except FileNotFoundError:
        return Memory()
    except (OSError, msgspec.DecodeError) as error:
        hint = "Move it aside to begin anew, after somebody compared its checkpoint with the log."
        raise Fault("config_invalid", f"{state / _STATE}: cannot be read.", hint=hint, detail=str(error)) from None


def start_again(state: Path) -> Path | None:
    """Forget what was seen, and the alarm; what was remembered is kept beside the alarms. Return where, or None."""
    path = state / _STATE
    if not path.exists():
        return None
    kept = state / _ALARMS / f"{_stamp()}-forgotten.json"
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    path.rename(kept)
    return kept


class Witness:
    """One agent's memory of the log. ``state`` is the agent's state directory."""

    def __init__(
        self,
        road: LogRoad,
        identity: Identity,
        clock: ServerClock,
        disk: Disk,
        state: Path,
        *,
        merge_delay_s: int = MERGE_DELAY_S,
    ) -> None:
        self._road, self._identity, self._clock, self._disk, self._state = road, identity, clock, disk, state
        self._merge_delay_s = merge_delay_s
        self._private = witness_key(state)
        self._memory = remembered(state)
        self._late = False
        self._news = asyncio.Event()
        self._writing = asyncio.Lock()
        self.key = notes.Key(identity.name, notes.COSIGNATURE, self._private.public_key().public_bytes_raw())

    @property
    def memory(self) -> Memory:
        """What is remembered now."""
        return self._memory

    @property
    def refusal(self) -> Fault | None:
        """Why no session may begin (``log_inconsistent``, ``log_overdue``); None while they may."""
        if self._memory.alarm is not None:
            return Fault(
                "log_inconsistent", "This agent saw the audit log contradict itself, so it begins no session.", hint=_ASK
            )
        if self._overdue():
            text = "The audit log does not show the sessions that it promised to show."
            return Fault("log_overdue", text, hint="Try again later.")
        return None

    async def promise(self, claims: TicketClaims) -> None:
        """Remember what the log owes for a session that is about to begin. Raises Fault(log_inconsistent | recording_failed)."""
        if not claims.leaf:
            if self._memory.promised:
                raise Fault(
                    "log_inconsistent", "The ticket does not promise that its session stands in the audit log.", hint=_ASK
                )
            return  # a control plane that does not know promises yet
        owed = Owed(claims.sid, claims.leaf, self._clock.local_ms() + self._merge_delay_s * 1000)
        await self._remember(lambda now: msgspec.structs.replace(now, promised=True, owed=now.owed | {claims.event: owed}))
        self._news.set()

    async def run(self) -> None:
        """Witness for as long as the agent runs."""
        while True:
            try:
                await self.look()
            except Fault as fault:
                # The gateway is away, or does not know this yet; what it owes is counted all the same.
                logger().info("witness.delayed", code=fault.code, detail=fault.detail)
            await self._tell_late()
            self._news.clear()
            soon = max(1.0, self._merge_delay_s / _SOON_SHARE)
            if self._memory.owed:
                await asyncio.sleep(soon)
                continue
            try:
                async with asyncio.timeout(_OFTEN_S):
                    await self._news.wait()
                await asyncio.sleep(min(soon, 2.0))  # the log takes a moment to append
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Ask for the newest checkpoint once, verify it, remember it, cosign it. Raises Fault."""
        if self._memory.alarm is not None:
            await self._tell()
            return
        kept = self._kept()
        asked = LogAsk(size=kept.stated.size if kept else 0, events=list(self._memory.owed)[:_ASKED])
        news = await self._road.log(asked)
        try:
            seen = self._judge(kept, news)
        except ContradictionError as found:
            await self._raise(found.kind, str(found), kept.note if kept else None, news)
            return
        if seen is not None:
            await self._accept(seen, news)
            await self._cosign(seen)

    def _judge(self, kept: Seen | None, news: LogNews) -> Seen | None:
        trusted = self._identity.trust.log_key
        if self._memory.log_key and trusted != self._memory.log_key:
            raise ContradictionError("forged", "The gateway names another key of the log than when this agent first saw it.")
        key = core.read_key(trusted)
        return core.advance(kept.stated if kept else None, news, key) if key else None

    async def _accept(self, seen: Seen, news: LogNews) -> None:
        shown = {
            event
            for event, place in news.places.items()
            if event in self._memory.owed and core.is_in(self._memory.owed[event].leaf, place, seen.stated)
        }

        def later(now: Memory) -> Memory:
            owed = {event: each for event, each in now.owed.items() if event not in shown}
            return msgspec.structs.replace(now, log_key=self._identity.trust.log_key, checkpoint=str(seen.note), owed=owed)

        await self._remember(later)
        if self._late and not self._overdue():
            self._late = False
            logger().info("witness.caught_up")

    async def _cosign(self, seen: Seen) -> None:
        if seen.stated.size <= self._memory.cosigned:
            return
        time_s = self._clock.local_ms() // 1000
        made = self._private.sign(checkpoints.cosigned_text(seen.note.text, time_s))
        line = str(checkpoints.cosignature(self.key, time_s, made))
        await self._road.cosign(Cosign(size=seen.stated.size, line=line))
        await self._remember(lambda now: msgspec.structs.replace(now, cosigned=seen.stated.size))

    # --- what contradicts

    async def _raise(self, kind: Kind, message: str, kept: notes.Note | None, news: LogNews) -> None:
        alarm = WitnessAlarm(kind=kind, message=message, kept=str(kept) if kept else "", shown=news.checkpoint)
        logger().error("witness.alarm", kind=kind, reason=message)
        await self._disk.run(self._keep_evidence, alarm, news)
        await self._remember(lambda now: msgspec.structs.replace(now, alarm=alarm, told=False))
        await self._tell()

    def _keep_evidence(self, alarm: WitnessAlarm, news: LogNews) -> None:
        folder = self._state / _ALARMS
        folder.mkdir(mode=0o700, exist_ok=True)
        stem = f"{_stamp()}-{alarm.kind}"
        write_whole(folder / f"{stem}.kept.checkpoint", alarm.kept.encode())
        write_whole(folder / f"{stem}.shown.checkpoint", alarm.shown.encode())
        write_whole(folder / f"{stem}.answer.json", msgspec.json.format(msgspec.json.encode(news)))

    async def _tell(self) -> None:
        if self._memory.alarm is not None and not self._memory.told:
            await self._road.alarm(self._memory.alarm)
            await self._remember(lambda now: msgspec.structs.replace(now, told=True))

    async def _tell_late(self) -> None:
        """Tell once that the log is late. It is no alarm: it ends when the log shows what it owes."""
        late = self._overdue()
        if not late or self._late or self._memory.alarm is not None:
            return
        text = f"The log did not show the opening of {', '.join(each.sid for each in late[:5])} within {self._merge_delay_s} s."
        logger().error("witness.overdue", sessions=[each.sid for each in late[:20]])
        try:
            await self._road.alarm(WitnessAlarm(kind="overdue", message=text, kept=self._memory.checkpoint, shown=""))
        except Fault as fault:
            logger().warning("witness.untold", code=fault.code, detail=fault.detail)
        else:
            self._late = True

    def _overdue(self) -> list[Owed]:
        now_ms = self._clock.local_ms()
        return [each for each in self._memory.owed.values() if now_ms > each.by_ms]

    # --- memory

    def _kept(self) -> Seen | None:
        if not self._memory.checkpoint:
            return None
        return Seen(*checkpoints.parse(self._memory.checkpoint.encode()))

    async def _remember(self, change: Any) -> None:
        async with self._writing:
            later = change(self._memory)
            try:
                await self._disk.run(write_whole, self._state / _STATE, msgspec.json.format(msgspec.json.encode(later)))
            except OSError as error:
                text = "What was seen of the audit log cannot be remembered."
                raise Fault("recording_failed", text, detail=str(error)) from None
            self._memory = later


_ASK: Final = "An administrator has to look: sallyport agents."


def _stamp() -> str:
    return f"{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%fZ}"
