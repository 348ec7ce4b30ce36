"""What a client sends before there is a program to read it: kept behind the window; kept whole where it is the program itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Final

from agent.core.recording.jsonl import TEXT_PART, JsonlWriter
from agent.core.units import Asked, Refused
from agent.protocols.ssh import engine
from agent.protocols.ssh.engine import Wish
from agent.protocols.ssh.valve import Valve
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault

#: Seconds until somebody who types a script is told how it works, and until they are refused.
ADVICE_S: Final = 3.0
PATIENCE_S: Final = 60.0

ADVICE: Final = (
    b"sallyport: The script is decided when it is whole: it runs after its end (Ctrl-D). For a shell to type in, use ssh -t.\n"
)
ENDLESS: Final = f"The script had no end within {PATIENCE_S:.0f} s. Feed it from a file, or use ssh -t for a shell to type in."


class Feed:
    """The client's input, until somebody takes it."""

    def __init__(self, valve: Valve) -> None:
        self._valve = valve
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = False
        self._whole = asyncio.Event()
        self.eof = False

    def add(self, data: bytes, *, more: bool) -> None:
        """Keep ``data``. Unless somebody wants ``more``, one read is kept and the window keeps the rest."""
        self._pieces.append(data)
        self._size += len(data)
        if self._wanted and self._size > engine.SCRIPT_LIMIT:
            self._whole.set()
        elif not more and not self._wanted:
            self._valve.hold("not started")

    def end(self) -> None:
        """There is no more."""
        self.eof = True
        self._whole.set()

    @property
    def kept(self) -> bytes:
        """What is kept, as one."""
        return b"".join(self._pieces)

    def take(self) -> list[bytes]:
        """Take it out."""
        pieces, self._pieces = self._pieces, []
        return pieces

    def replace(self, data: bytes) -> None:
        """Have ``data`` taken instead."""
        self._pieces = [data]

    async def whole(self, advise: Callable[[], None]) -> bytes:
        """Wait for the end, and return everything. Raises Fault(too_large | bad_request)."""
        self._wanted = True
        self._valve.release("not started")
        try:
            try:
                async with asyncio.timeout(ADVICE_S):
                    await self._whole.wait()
            except TimeoutError:
                advise()
                async with asyncio.timeout(PATIENCE_S):
                    await self._whole.wait()
        except TimeoutError:
            raise Fault("bad_request", ENDLESS) from None
        finally:
            self._wanted = False
            self._valve.hold("not started")
        if self._size > engine.SCRIPT_LIMIT:
            limit = f"{engine.SCRIPT_LIMIT // 1024} KiB"
            raise Fault("too_large", f"The script is longer than {limit}. Copy it to the target with sftp, and run it there.")
        return self.kept


class Tape:
    """Where a script is recorded. ``kept`` returns a text as it may be kept."""

    def __init__(self, serving: Serving, writer: JsonlWriter, kept: Callable[[str], str]) -> None:
        self._serving = serving
        self._writer = writer
        self._kept = kept

    async def record(self, whole: bytes) -> None:
        """Have all that was fed on disk, in lines that are short enough, with its hash. Raises Fault(recording_failed)."""
        writer, now_ms = self._writer, self._serving.now_ms()
        text = self._kept(whole.decode(errors="replace"))
        parts = [text[at : at + TEXT_PART] for at in range(0, len(text), TEXT_PART)] or [""]
        about = {"bytes": len(whole), "sha256": hashlib.sha256(whole).hexdigest()}
        lines = [writer.remark({"event": "script", "text": parts[0]} | about, now_ms)]
        lines += [writer.remark({"event": "text", "part": at, "text": part}, now_ms) for at, part in enumerate(parts[1:], 2)]
        await self._serving.recorder.write(writer.channel, writer.kind, b"".join(lines), durable=True)


async def script(feed: Feed, wish: Wish, command: str, tape: Tape, advise: Callable[[], None]) -> Asked | Refused:
    """Wait for the script that ``command`` runs, record it, and return what is asked for. Raises Fault(recording_failed)."""
    try:
        whole = await feed.whole(advise)
    except Fault as fault:
        return engine.refused_script(command, fault)
    await tape.record(whole)
    unit, fed = engine.read_script(wish, command, whole)
    feed.replace(fed)
    return unit
