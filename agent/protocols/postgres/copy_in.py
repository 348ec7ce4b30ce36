"""The client's side of COPY FROM STDIN: data follows a statement that was decided, for as long as the server reads it. Pure."""

from __future__ import annotations

from agent.core.effects import Effect, Housekeep
from agent.core.units import Side
from agent.protocols.postgres.codec import Message
from agent.protocols.postgres.expected import Expected, Kind
from agent.protocols.postgres.shared import Shared


class CopyIn:
    """What becomes of CopyData, CopyDone and CopyFail."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def watch(self, expected: Expected) -> None:
        """A question was forwarded, which may have the server read data."""
        if any(run.meaning.copy == "in" for run in expected.runs):
            self._shared.copy_in = expected

    def ended(self) -> bool:
        """Return True where nothing that is sent now is data."""
        return self._shared.copy_in is None or self._shared.copy_ended

    def data(self, found: Message) -> list[Effect]:
        """Forward CopyData."""
        expected = self._shared.copy_in
        if expected is None or self._shared.copy_ended:
            # A COPY that failed: the server ignores the rest of its data (§55.2.6), so it need not see it.
            return []
        for run in expected.runs:
            if run.meaning.copy == "in":
                run.saw(found.body, 1, 0)
        return [Housekeep(Side.TARGET, found.raw)]

    def end(self, found: Message) -> list[Effect]:
        """Forward CopyDone or CopyFail."""
        if self.ended():
            return []
        self._shared.copy_ended = True
        self._shared.queue.push(Expected(Kind.COPY_END))
        return [Housekeep(Side.TARGET, found.raw)]
