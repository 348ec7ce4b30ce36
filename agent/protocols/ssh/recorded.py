"""What one program says and what is said to it, on its way through the gate into the recording.

Whoever has one of these has a gate: nothing is decided, recorded or shown before. Of a shell that is only recorded, the screen is
read as well: the lines that seem to have been typed there stand in the recording like any remark.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agent.core.gate import Gate
from agent.core.shell.seen import Seen
from agent.core.units import Answered, Asked, Event, Exited, Refused, Remark, Stream, Tick
from agent.protocols.ssh.held import settled
from agent.protocols.ssh.masked import Pace
from agent.protocols.ssh.single import Single
from agent.runtime.relay import Performer, Stage
from agent.runtime.serving import Serving
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation


class Recorded:
    """The gate of one program, and who performs what it orders. ``fail`` is told of what cannot be masked.

    ``single`` tells what is known of it in the end, where it is one command.
    """

    def __init__(
        self, serving: Serving, gate: Gate, stage: Stage, fail: Callable[[Fault], None], single: Single | None = None
    ) -> None:
        self.gate = gate
        self._single = single
        self._performer = Performer(serving, stage)
        self._now_ms = serving.now_ms
        self._fail = fail
        self._pace: Pace | None = None
        self._seen: Seen | None = None

    def paced(self, pace: Pace) -> None:
        """What masking holds back is shown in time, as ``pace`` has it."""
        self._pace = pace

    def read(self, columns: int, rows: int) -> None:
        """Nobody reads between the streams of this shell: its lines are read from its screen."""
        self._seen = Seen(columns, rows)

    def keep_pace(self) -> None:
        """Something was said: what masking holds back of it is shown in time."""
        if self._pace is not None:
            self._pace.keep()

    # -- the terminal --------------------------------------------------------------------------------------------------------

    def resized(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        if self._seen is not None:
            self._seen.resized(columns, rows)

    def typed(self, data: bytes) -> None:
        """``data`` goes to the program. Never recorded: passwords are typed."""
        if self._seen is not None:
            self._seen.typed(data)

    def shown(self, data: bytes) -> None:
        """The terminal is shown ``data``."""
        if self._seen is not None:
            self._seen.shown(data)

    def note_lines(self) -> None:
        """Record the lines that have ended on the screen."""
        if self._seen is not None:
            for line in self._seen.take():
                self.tell(Remark({"event": "seen", "text": f"seen: {self.gate.kept(line)}"}))

    # -- the gate ------------------------------------------------------------------------------------------------------------

    async def settle(self, unit: Asked | Refused, answered: Callable[[Asked], Awaitable[Answered | Refused]]) -> None:
        """Have ``unit`` decided, and what follows performed; ``answered`` waits for others. Raises Fault."""
        if self._single is None:
            await settled(self.gate, self._performer, self._now_ms, unit, answered)
            return
        self._single.asked(unit.operation)
        await settled(self.gate, self._performer, self._now_ms, unit, answered)
        self._single.decided(unit.operation)

    def tell(self, event: Event) -> None:
        """``event`` has happened. What cannot be masked is not shown, nor is anything behind it but our own words."""
        self.gate.handle(Tick(self._now_ms()))
        try:
            effects = self.gate.handle(event)
        except Fault as fault:
            self._fail(fault)
            return
        left = self._performer.perform_now(effects)
        assert not left, "only decisions wait for the disk"
        if isinstance(event, Exited):
            self.over(event.status)

    def withdrawn(self, operation: Operation) -> None:
        """The client left while others were asked about ``operation``."""
        self.tell(Remark({"event": "withdrawn", "text": f"withdrawn: {self.gate.kept(operation.text)} (the client left)"}))
        if self._single is not None:
            self._single.withdrawn(operation)

    def over(self, status: int | str | None = None) -> None:
        """Nothing more comes of the program. Told once, however often it is said."""
        if self._single is not None:
            self._single.over(status)

    def hear(self, data: bytes, stream: Stream) -> None:
        """The program said ``data``. What masking holds back of it is shown in time."""
        try:
            effects = self.gate.said(data, stream, self._now_ms())
        except Fault as fault:
            self._fail(fault)
            return
        left = self._performer.perform_now(effects)
        assert not left, "only decisions wait for the disk"
        if self._seen is not None:
            self.note_lines()
        if self._pace is not None:
            self._pace.keep()
