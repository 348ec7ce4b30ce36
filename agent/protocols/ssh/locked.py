"""A locked shell in motion: the gateway's line editor before the runner at the target."""

from __future__ import annotations

from typing import Final

from agent.core.gate import Gate
from agent.core.recording.cast import CastWriter
from agent.core.recording.jsonl import JsonlWriter
from agent.core.shell.locked.conversation import Locked
from agent.core.units import Housekeeping, Output, Side, Unit
from agent.protocols.ssh.shell import Owner, ShellRelay
from agent.runtime.serving import Serving


class LockedRelay(ShellRelay):
    """Edits, shows, and has every line decided before anything of it leaves the gateway."""

    def __init__(
        self,
        serving: Serving,
        locked: Locked,
        gate: Gate,
        recordings: tuple[CastWriter, JsonlWriter],
        owner: Owner,
    ) -> None:
        super().__init__(serving, locked, gate, recordings, owner)
        self._locked: Final = locked

    def begin(self, words: bytes, shell: str) -> None:
        """Show ``words`` and begin: the boot line waits already, and the account's shell is ``shell``."""
        self._perform([Output(words), Housekeeping(Side.TARGET, self._locked.boot(shell))])

    def resized(self, columns: int, rows: int) -> None:
        """Draw the line that is edited anew."""
        self._perform(self._locked.resized(columns, rows))

    def _typed(self, data: bytes) -> list[Unit]:
        return self._locked.typed(data) + self._uncompleted()

    def _allowed(self, shown_from: int) -> list[Unit]:
        return self._locked.allowed(self._serving.now_ms(), shown_from)

    def _denied(self) -> list[Unit]:
        return self._locked.denied() + self._uncompleted()

    def _uncompleted(self) -> list[Unit]:
        units: list[Unit] = []
        while self._locked.wanted is not None:
            units += self._locked.completed([])
        return units
