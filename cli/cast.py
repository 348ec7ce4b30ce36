"""Reading asciicast v3 (docs.asciinema.org/manual/asciicast/v3), as lines that were verified but are not trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, NamedTuple

import msgspec

#: The longest pause that is believed, in seconds: a day.
_LONGEST: Final = 86_400.0


class Term(msgspec.Struct, frozen=True):
    """The size of the terminal that was recorded."""

    cols: int = 80
    rows: int = 24


class CastHeading(msgspec.Struct, frozen=True):
    """The first line of a cast. ``timestamp`` is Unix seconds."""

    version: int = 0
    term: Term = Term()
    timestamp: int = 0
    command: str = ""
    title: str = ""


class Event(NamedTuple):
    """One event: seconds since the one before it, what it is (``o m r x``), and its data."""

    interval: float
    code: str
    data: str


_Row = tuple[Annotated[float, msgspec.Meta(ge=0)], str, str]
_heading: msgspec.json.Decoder[CastHeading] = msgspec.json.Decoder(CastHeading)
_event: msgspec.json.Decoder[_Row] = msgspec.json.Decoder(_Row)


class CastReader:
    """Reads one channel's lines. ``heading`` is known once the first event was yielded, or after the last line."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.heading = CastHeading()
        self.strange = 0
        """How many lines were not understood, and left out."""

    def events(self) -> Iterator[Event]:
        """Yield the events in order."""
        for line in self._lines:
            if line.startswith(b"#") or not line.strip():
                continue
            try:
                if line.startswith(b"{"):
                    self.heading = _heading.decode(line)
                    continue
                interval, code, data = _event.decode(line)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                self.strange += 1
                continue
            yield Event(min(interval, _LONGEST), code, data)


class TranscriptReader:
    """Reads one channel of JSON lines: a heading, then one object per event."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines = lines
        self.heading: dict[str, Any] = {}
        self.strange = 0

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries in order."""
        for line in self._lines:
            try:
                entry = msgspec.json.decode(line, type=dict[str, Any])
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                self.strange += 1
                continue
            if "format" in entry:
                self.heading = entry
            else:
                yield entry
