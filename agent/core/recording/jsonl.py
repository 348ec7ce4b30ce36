"""A transcript as JSON lines: one object per decision and per remark. ``t`` counts milliseconds from ``opened_ms``."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from agent.core.masking import Clean
from agent.core.policy import Decision
from agent.core.recording.transcript import Heading, verdict_word
from agent.core.units import Stream
from chalicelib.contracts.operation import Operation


class JsonlWriter:
    """Writes one channel as JSON lines. The heading is part of whatever is written first."""

    kind: Final[Literal["jsonl"]] = "jsonl"

    def __init__(self, heading: Heading, *, protocol: str, shows: bool = False) -> None:
        """With ``shows``, what the client is shown becomes part of the transcript as text."""
        self.channel: Final = heading.channel
        self._opened_ms = heading.opened_ms
        self._shows = shows
        self._heading: bytes | None = _line(
            {"format": "sallyport-transcript", "version": 1, "protocol": protocol, **msgspec.to_builtins(heading)}
        )

    def decided(self, operation: Operation, decision: Decision, now_ms: int) -> bytes:
        """The operation as policy saw it, the verdict, the rules behind it, and the digest that an approval would name."""
        entry: dict[str, Any] = {
            "event": "operation",
            "kind": operation.kind,
            "text": operation.text,
            "effects": sorted(operation.effects),
            "objects": sorted(operation.objects),
            "flags": sorted(operation.flags),
            "verdict": verdict_word(decision),
            "rules": decision.verdict.rules,
            "policy": decision.version,
            "digest": operation.digest(),
        }
        if operation.arguments:
            entry["arguments"] = operation.arguments
        if decision.permit is None:
            entry |= {"code": decision.code, "message": decision.message}
        return self._entry(entry, now_ms)

    def shown(self, clean: Clean, stream: Stream, now_ms: int) -> bytes:
        """Text that was shown, where this protocol's transcript holds it."""
        if not self._shows or not clean.data:
            return b""
        return self._entry({"event": "shown", "stream": stream, "text": clean.data.decode(errors="replace")}, now_ms)

    def remark(self, entry: dict[str, Any], now_ms: int) -> bytes:
        """The entry itself."""
        return self._entry(entry, now_ms)

    def resized(self, columns: int, rows: int, now_ms: int) -> bytes:
        """A transcript has no size."""
        return b""

    def exited(self, status: int | str, now_ms: int) -> bytes:
        """The end of the channel."""
        return self._entry({"event": "exit", "status": status}, now_ms)

    def _entry(self, entry: dict[str, Any], now_ms: int) -> bytes:
        line = _line({"t": max(0, now_ms - self._opened_ms), **entry})
        if self._heading is None:
            return line
        line, self._heading = self._heading + line, None
        return line


def _line(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry) + b"\n"
