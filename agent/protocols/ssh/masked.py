"""What a program says over SSH, masked: which of its streams are texts, and when what is held back is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from agent.core.gate import Gate
from agent.core.masking import CleanOutputs, Masker
from agent.core.masking.detectors import Detectors
from agent.core.masking.outputs import BINARY, FOUND, Outputs
from agent.core.masking.own import read_detectors
from agent.core.masking.patterns import LONGEST
from agent.core.masking.stream import DEADLINE_MS
from agent.core.recording.transcript import Heading
from agent.core.units import Lull
from agent.protocols.ssh.engine import Terminal
from agent.runtime.reveals import Reveals
from agent.runtime.serving import Serving


def detectors(serving: Serving) -> Detectors:
    """Return what finds values on a session's target. Raises Fault(config_invalid) for patterns that a stream cannot hold."""
    return read_detectors(serving.target.options, LONGEST)


def outputs(serving: Serving, terminal: Terminal | None, *, opaque: bool) -> CleanOutputs | None:
    """Return what masks a program's output, on ``terminal`` where it has one, under the policy in force.

    With ``opaque``, it speaks a protocol of its own.
    """
    found = detectors(serving)
    return Masker(found).outputs(
        Reveals(serving, FOUND | {BINARY} | found.named),
        terminal=(terminal.columns, terminal.rows) if terminal is not None else None,
        opaque=opaque,
    )


def heading(serving: Serving, channel: int, command: str) -> Heading:
    """Return what the head of a recording says about ``command``, as far as that may be kept."""
    claims, found = serving.claims, detectors(serving)
    return Heading(
        sid=claims.sid,
        target=claims.target,
        principal=claims.sub,
        login=claims.login,
        channel=channel,
        opened_ms=serving.now_ms(),
        command=Outputs(found, Reveals(serving, FOUND | found.named)).text(command),
        title=f"{claims.sub} on {claims.login}@{claims.target}",
    )


class Pace:
    """Tells the gate when what it holds back has waited long enough. One timer, which is never moved back."""

    def __init__(self, gate: Gate, tell: Callable[[Lull], None]) -> None:
        self._gate = gate
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._due_ms = 0

    def keep(self) -> None:
        """Something was said: see to it that all of it is shown in time."""
        if self._timer is None and (due_ms := self._gate.due_ms) is not None:
            self._wait(due_ms, DEADLINE_MS)

    def stop(self) -> None:
        """Nothing more will be shown."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, due_ms: int, wait_ms: int) -> None:
        self._due_ms = due_ms
        self._timer = asyncio.get_running_loop().call_later(wait_ms / 1000, self._over)

    def _over(self) -> None:
        self._timer = None
        due_ms = self._gate.due_ms
        if due_ms is None:
            return
        if due_ms <= self._due_ms:
            self._tell(Lull(due_ms))
            self.keep()
        else:
            # More came meanwhile. Its time is told by differences: the clock of the gateway may be set, the loop's runs on.
            self._wait(due_ms, min(due_ms - self._due_ms, DEADLINE_MS))
