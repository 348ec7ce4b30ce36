"""A transcript as JSON lines: one object per decision and per remark. ``t`` counts milliseconds from ``opened_ms``."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal

import msgspec

from agent.core.masking import Clean
from agent.core.policy import Decision
from agent.core.recording.transcript import Heading, verdict_word
from agent.core.units import Stream
from chalicelib.contracts.operation import Operation

#: Characters of a text that one line holds: a line has at most 1 MiB, whatever has to be escaped.
TEXT_PART: Final = 128 * 1024

Shown = tuple[str, tuple[str, ...]]


class Form:
    """A line about an allowed operation whose text fits into it, but for the time, the text and what depends on the values.

    Of operations that are one but for their text and arguments; the line says ``text`` of them where they have one text.
    """

    __slots__ = ("about", "head", "rest")

    def __init__(self, operation: Operation, decision: Decision, text: str | None = None) -> None:
        """``text`` is what may be kept of the operation's. None where each has a text of its own."""
        assert text is None or len(text) <= TEXT_PART
        about = _about(operation, decision, "")
        behind = list(about).index("text") + 1
        words = list(about.items())
        self.about: Final = _members(dict(words[: behind - 1])) + b',"text":'
        """What the line has between its time and its text."""
        head = b"," + _members(dict(words[behind:])) + b',"digest":"'
        self.head: Final = head if text is None else self.about + encoded(text) + head
        """What it has from there up to its digest: from its time on, where the text is everybody's."""
        self.rest: Final = b"" if text is None else _exact(text, operation.text)
        """What follows the arguments."""

    def line(self, t: int, digest: str, arguments: bytes = b"") -> bytes:
        """Return the line at ``t`` of the operation with this digest. ``arguments`` is what may be kept of them, as JSON."""
        if not arguments:
            return b'{"t":%d,%b%b"%b}\n' % (t, self.head, digest.encode(), self.rest)
        return b'{"t":%d,%b%b","arguments":%b%b}\n' % (t, self.head, digest.encode(), arguments, self.rest)

    def worded(self, t: int, digest: str, text: str, exact: str) -> bytes:
        """Return the line at ``t`` of an operation without arguments whose text is ``exact``, and may be kept as ``text``."""
        rest = b"" if text is exact else _exact(text, exact)
        return b'{"t":%d,%b%b%b%b"%b}\n' % (t, self.about, encoded(text), self.head, digest.encode(), rest)


def _exact(text: str, exact: str) -> bytes:
    """What a line says of the exact text where it holds another."""
    return b"" if text == exact else b',"sha256":"%b"' % hashlib.sha256(exact.encode()).hexdigest().encode()


class JsonlWriter:
    """Writes one channel as JSON lines. The heading is part of whatever is written first."""

    kind: Final[Literal["jsonl"]] = "jsonl"

    def __init__(self, heading: Heading, *, protocol: str, shows: bool = False) -> None:
        """With ``shows``, what the client is shown becomes part of the transcript as text."""
        self.channel: Final = heading.channel
        self.opened_ms: Final = heading.opened_ms
        self._shows = shows
        self._heading: bytes | None = _line(
            {"format": "sallyport-transcript", "version": 1, "protocol": protocol, **msgspec.to_builtins(heading)}
        )

    def decided(
        self,
        operation: Operation,
        decision: Decision,
        now_ms: int,
        shown: Shown | None = None,
        *,
        exact: Operation | None = None,
    ) -> bytes:
        """The operation as policy saw it, the verdict, the rules behind it, and the digest that an approval would name.

        ``shown`` are its text and arguments where they hold what must not be kept. The SHA-256 of the exact text is kept with
        them, and the digest is of the operation itself. A text too long for one line goes on in lines of its own. ``exact`` is
        the operation itself where ``operation`` leaves out what must not be kept.
        """
        exact = exact or operation
        text, arguments = (operation.text, operation.arguments) if shown is None else shown
        parts = [text[at : at + TEXT_PART] for at in range(0, len(text), TEXT_PART)] or [""]
        digest = exact.digest()
        entry = _about(operation, decision, parts[0]) | {"digest": digest}
        if decision.yes is not None:
            entry |= {"request": decision.yes.claims.rid, "approvers": decision.yes.approvers}
        if arguments:
            entry["arguments"] = arguments
        if text != exact.text or len(parts) > 1:
            entry["sha256"] = hashlib.sha256(exact.text.encode()).hexdigest()
        if len(parts) > 1:
            entry["parts"] = len(parts)
        if decision.permit is None:
            entry |= {"code": decision.code, "message": decision.message}
        lines = [self._entry(entry, now_ms)]
        lines += [
            self._entry({"event": "text", "digest": digest, "part": number, "text": part}, now_ms)
            for number, part in enumerate(parts[1:], 2)
        ]
        return b"".join(lines)

    @property
    def begun(self) -> bool:
        """True where the heading was written."""
        return self._heading is None

    def since(self, now_ms: int) -> int:
        """Return the ``t`` of a line that is written at ``now_ms``."""
        return max(0, now_ms - self.opened_ms)

    def shown(self, clean: Clean, stream: Stream, now_ms: int) -> bytes:
        """Text that was shown, where this protocol's transcript holds it."""
        if not self._shows or not clean.data:
            return b""
        return self._entry({"event": "shown", "stream": stream, "text": clean.data.decode(errors="replace")}, now_ms)

    due_ms: Final[None] = None
    """Nothing waits."""

    def rest(self) -> bytes:
        """Nothing waits."""
        return b""

    def holds(self, data: bytes) -> bool:
        """A transcript holds what happened and not every byte; what it leaves out by design is no original."""
        return True

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
        line = _line({"t": self.since(now_ms), **entry})
        if self._heading is None:
            return line
        line, self._heading = self._heading + line, None
        return line


def _about(operation: Operation, decision: Decision, text: str) -> dict[str, Any]:
    return {
        "event": "operation",
        "kind": operation.kind,
        "text": text,
        "effects": sorted(operation.effects),
        "objects": sorted(operation.objects),
        "flags": sorted(operation.flags),
        "verdict": verdict_word(decision),
        "rules": decision.verdict.rules,
        "policy": decision.version,
    }


def _members(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry)[1:-1]


#: A value as compact JSON, as it stands in a line.
encoded: Final = msgspec.json.encode


def _line(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry) + b"\n"
