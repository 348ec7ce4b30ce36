"""asciicast v3 (docs.asciinema.org/manual/asciicast/v3), with one marker per command and its verdict.

Keystrokes are never written (no ``i`` events): passwords are typed. Intervals are computed in whole milliseconds, so that they do
not drift and compress well. A character that is split between two reads is decoded when its last byte arrives; what is not UTF-8
becomes U+FFFD, because a cast is text. Of binary output of a program without a terminal (an archive, a dump) the texts in it are
written, with dots between them, after a marker that says so: all of it would be three times its size and tell nobody more. Bulk
is looked through several reads at a time, because to begin costs about as much as to go on.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from agent.core.masking import Clean
from agent.core.masking.binary import binary
from agent.core.policy import Decision
from agent.core.recording.readable import readable
from agent.core.recording.transcript import Heading, verdict_word
from agent.core.units import Stream
from chalicelib.contracts.operation import Operation

#: Printable ASCII and line ends as they are, every other byte a dot.
_DOTS: Final = bytes(byte if 32 <= byte < 127 or byte in b"\t\r\n" else ord(".") for byte in range(256))

#: Binary output is looked through when there is so much of it, when it waited for so long, or when anything else is written.
#: Reads of fewer bytes than ``_BULK`` wait for nothing.
TOGETHER: Final = 128 * 1024
TOGETHER_MS: Final = 10
_BULK: Final = 4 * 1024

#: Much text as JSON. The bytes are the same; where there is a wheel for the machine, in a quarter of the time.
_much: Callable[[str], bytes] = msgspec.json.encode
try:
    import orjson
except ImportError:
    pass
else:
    _much = orjson.dumps

#: Written where the client has no terminal: a size that players can show.
DEFAULT_SIZE: Final = (80, 24)


class CastWriter:
    """Writes one channel as an asciicast. The heading is part of whatever is written first."""

    kind: Final[Literal["cast"]] = "cast"

    def __init__(
        self, heading: Heading, *, term: str = "", columns: int = 0, rows: int = 0, environment: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """``environment`` is what was passed to the program: part of what was decided, so it is told in the heading."""
        self.channel: Final = heading.channel
        self.written = 0
        """Bytes written so far, so that a command's part of the recording can be named."""
        self._last_ms = heading.opened_ms
        self._terminal = bool(term)
        self._said_binary = False
        self._bytes: list[bytes] = []
        """Binary output that was shown and is not written yet, and its size and time."""
        self._bytes_size = self._bytes_ms = 0
        self._heading: bytes | None = _heading(heading, term, columns, rows, environment)
        self._cut = {"out": b"", "err": b""}
        """The beginning of a character, whose other bytes the stream's next read has."""

    @property
    def here(self) -> int:
        """Where the next event begins, in bytes from the beginning."""
        return self.written + len(self._heading or b"")

    def decided(self, operation: Operation, decision: Decision, now_ms: int, *, exact: Operation | None = None) -> bytes:
        """One marker: ``allowed: uname -a (rule)``. It has no digest, so ``exact`` says nothing more."""
        label = f"{verdict_word(decision)}: {operation.text}"
        if decision.verdict.rule:
            label += f" ({decision.verdict.rule})"
        if decision.yes is not None:
            label += f", approved by {', '.join(decision.yes.approvers)} ({decision.yes.claims.rid})"
        return self._event(b"m", label, now_ms)

    def shown(self, clean: Clean, stream: Stream, now_ms: int) -> bytes:
        """Output of either stream, in the order in which it was shown."""
        data = clean.data
        if not self._terminal and b"\0" in data:
            return self._binary(data, now_ms)
        if self._cut[stream]:
            data = self._cut[stream] + data
        text, used = utf_8_decode(data, "replace")
        self._cut[stream] = data[used:]
        return self._event(b"o", text, now_ms) if text else b""

    @property
    def due_ms(self) -> int | None:
        """When :meth:`rest` has to be written, or None where there is none."""
        return self._bytes_ms + TOGETHER_MS if self._bytes else None

    def rest(self) -> bytes:
        """What was shown and not written yet, with the time of the first of it."""
        if not self._bytes:
            return b""
        told, self._bytes, self._bytes_size = readable(b"".join(self._bytes)), [], 0
        return self._event(b"o", told.decode("ascii"), self._bytes_ms)

    def holds(self, data: bytes) -> bool:
        """False for what is written as dots."""
        return self._terminal or b"\0" not in data

    def remark(self, entry: dict[str, Any], now_ms: int) -> bytes:
        """A marker whose label is the entry's ``text``, or all of it as JSON."""
        text = entry.get("text")
        return self._event(b"m", text if isinstance(text, str) else msgspec.json.encode(entry).decode(), now_ms)

    def resized(self, columns: int, rows: int, now_ms: int) -> bytes:
        """An ``r`` event."""
        return self._event(b"r", f"{columns}x{rows}", now_ms)

    def exited(self, status: int | str, now_ms: int) -> bytes:
        """What is left of characters that were cut; an ``x`` event. A signal is a marker, and 128 as shells have it."""
        rest = "".join(cut.decode(errors="replace") for cut in self._cut.values())
        self._cut = dict.fromkeys(self._cut, b"")
        lines = self._event(b"o", rest, now_ms) if rest else b""
        if isinstance(status, str):
            return lines + self._event(b"m", f"ended by signal {status}", now_ms) + self._event(b"x", "128", now_ms)
        return lines + self._event(b"x", str(status), now_ms)

    def _binary(self, data: bytes, now_ms: int) -> bytes:
        lines = b"" if self._said_binary else self._event(b"m", "binary output, written as dots", now_ms)
        self._said_binary = True
        if not binary(data):
            # Names that end in NUL are read by people, however short they are.
            return lines + self._event(b"o", data.translate(_DOTS).decode("ascii"), now_ms)
        if not self._bytes:
            self._bytes_ms = now_ms
        self._bytes.append(data)
        self._bytes_size += len(data)
        if len(data) < _BULK or self._bytes_size >= TOGETHER or now_ms - self._bytes_ms >= TOGETHER_MS:
            lines += self.rest()
        return lines

    def _event(self, code: bytes, text: str, now_ms: int) -> bytes:
        before = self.rest() if self._bytes else b""
        interval = max(0, now_ms - self._last_ms)
        self._last_ms += interval
        told = _much(text) if code == b"o" and len(text) >= _BULK else msgspec.json.encode(text)
        line = b'[%d.%03d,"%b",%b]\n' % (interval // 1000, interval % 1000, code, told)
        if self._heading is not None:
            line, self._heading = self._heading + line, None
        self.written += len(line)
        return before + line if before else line


def _heading(heading: Heading, term: str, columns: int, rows: int, environment: tuple[tuple[str, str], ...]) -> bytes:
    size: dict[str, Any] = {"cols": columns or DEFAULT_SIZE[0], "rows": rows or DEFAULT_SIZE[1]}
    if term:
        size["type"] = term
    head: dict[str, Any] = {
        "version": 3,
        "term": size,
        "timestamp": heading.opened_ms // 1000,
        "command": heading.command,
        "title": heading.title,
        "env": ({"TERM": term} if term else {}) | dict(environment),
        "sid": heading.sid,
        "target": heading.target,
        "principal": heading.principal,
        "login": heading.login,
        "channel": heading.channel,
    }
    return msgspec.json.encode(head) + b"\n"
