"""What a recording says of a single command (``ssh host command``, a script that is fed): one JSON line, as of a shell's lines.

The cast has the marker of its verdict and its end; the line beside it has both, what policy said, and the bytes of the cast.
"""

from __future__ import annotations

from typing import Any, Final

from agent.core.gate import Gate
from agent.core.recording.cast import CastWriter
from agent.core.recording.commands import command, withdrawn
from agent.core.recording.jsonl import JsonlWriter
from agent.runtime.serving import Serving
from chalicelib.contracts.operation import Operation

#: What a program's status is where a signal ended it, as in the cast.
_BY_SIGNAL: Final = 128


class Single:
    """One command, from the question to its end. Of a shell, whose lines are told one by one, nothing is told here."""

    def __init__(self, serving: Serving, gate: Gate, cast: CastWriter, lines: JsonlWriter) -> None:
        self._serving = serving
        self._gate = gate
        self._cast = cast
        self._lines = lines
        self._operation: Operation | None = None
        """What runs: allowed, and not told yet."""
        self._began = self._began_ms = 0

    def asked(self, operation: Operation) -> None:
        """``operation`` is about to be decided: its part of the cast begins here."""
        self._began, self._began_ms = self._cast.here, self._serving.now_ms()

    def decided(self, operation: Operation) -> None:
        """There is a verdict on ``operation``. What was denied has no end that is waited for."""
        decision = self._gate.decision
        if operation.kind == "shell" or decision is None:
            return
        if decision.permit is not None:
            self._operation, self._began_ms = operation, self._serving.now_ms()
        else:
            self._tell(operation, command(operation, decision, (self._began, self._cast.written)))

    def withdrawn(self, operation: Operation) -> None:
        """Its client left while others were asked about ``operation``."""
        if operation.kind != "shell":
            self._tell(operation, withdrawn(operation, (self._began, self._cast.written)))

    def over(self, status: int | str | None) -> None:
        """It has ended: with a status, by a signal, or nobody knows how. Nothing where that was told."""
        operation, self._operation = self._operation, None
        if operation is None:
            return
        entry = command(operation, self._gate.decision, (self._began, self._cast.written))
        entry |= {"exit": _BY_SIGNAL if isinstance(status, str) else status}
        entry |= {"duration_ms": max(0, self._serving.now_ms() - self._began_ms)}
        if isinstance(status, str):
            entry["signal"] = status
        if masked := self._gate.masked:
            entry["masked"] = masked
        self._tell(operation, entry)

    def _tell(self, operation: Operation, entry: dict[str, Any]) -> None:
        # A script stands before this line, whole. Where a single command runs is the account's own business.
        text = operation.text.partition("\n")[0] if operation.kind == "script" else operation.text
        entry["text"] = self._gate.kept(text)
        del entry["cwd"]
        lines = self._lines.remark(entry, self._began_ms)
        self._serving.recorder.write_soon(self._lines.channel, self._lines.kind, lines)
