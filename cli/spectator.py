"""What a watcher sees: a terminal as it is now, other channels as lines.

Everything comes from a recording that a target's output is in, so all of it goes through the same filter as in ``replay``:
colours and cursor movement pass, what would act on the watcher's own terminal does not.
"""

from __future__ import annotations

import shutil
from typing import Final, Protocol, TextIO

from chalicelib.contracts.watching import Begun, Behind, Fresh, Over, Seen, Sight
from cli.cast import CastReader, Event, TranscriptReader
from cli.plain import clean
from cli.screen import note
from cli.terminal_filter import TerminalFilter
from cli.terminal_text import TerminalText
from cli.transcript_lines import TranscriptLines

_CLEAR: Final = "\x1b[2J\x1b[H"
#: A guarded shell's transcript says what the markers of its terminal say.
_SAID_ALREADY: Final = "shell"

Channel = tuple[int, str]


class Spectator:
    """Shows one watch on ``out``: on a terminal as it is, else as plain text. ``channel`` is the only one to show, or None."""

    def __init__(self, out: TextIO, *, terminal: bool, channel: int | None = None) -> None:
        self._out = out
        self._terminal = terminal
        self._only = channel
        self._stages: dict[Channel, _Stage] = {}
        self._last: Channel | None = None
        self._behind = False

    def show(self, sight: Sight) -> None:
        """Show one message."""
        match sight:
            case Begun():
                where = f"{sight.login}@{sight.target}" if sight.login else sight.target
                note(f"Watching {clean(sight.owner)} on {clean(where)} ({clean(sight.sid)}); they are told. Ctrl-C leaves.")
            case Behind():
                self._leave()
                self._behind = True
                note("sallyport: you fell behind, and something was left out. This is how it looks now:")
            case Fresh() if self._wanted(sight.channel):
                if self._terminal and sight.kind == "cast" and not self._behind:
                    _fits(sight.lines)
                self._stages[sight.channel, sight.kind] = stage = self._stage(sight)
                self._turn_to((sight.channel, sight.kind), fresh=True)
                self._play(stage, sight.lines)
                self._behind = False
            case Seen() if self._wanted(sight.channel):
                key = (sight.channel, sight.kind)
                if key not in self._stages:
                    # A channel that began after the watch did brings its heading along.
                    first = Fresh(channel=sight.channel, kind=sight.kind, lines=sight.lines)
                    self._stages[key] = self._stage(first)
                self._turn_to(key)
                self._play(self._stages[key], sight.lines)
            case Over() | Fresh() | Seen():
                return

    def close(self) -> None:
        """Put the terminal back as it was."""
        self._leave()

    def _wanted(self, channel: int) -> bool:
        return self._only is None or channel == self._only

    def _stage(self, sight: Fresh) -> _Stage:
        if sight.kind == "cast":
            return _Screen() if self._terminal else _Text()
        return _Transcript(sight)

    def _turn_to(self, key: Channel, *, fresh: bool = False) -> None:
        if not self._stages[key].speaks:
            return  # whatever is shown stays as it is
        if key != self._last and self._last is not None:
            self._leave()
            self._write(f"── channel {key[0]} ──\r\n" if self._terminal else f"── channel {key[0]} ──\n")
        if fresh and self._behind and self._terminal and key[1] == "cast":
            # The first picture begins below what was said of it; a later one replaces one that nobody knows any more.
            self._write(_CLEAR)
        self._last = key

    def _play(self, stage: _Stage, lines: str) -> None:
        self._write(stage.feed(lines))
        self._out.flush()

    def _leave(self) -> None:
        if self._last is not None:
            self._write(self._stages[self._last].leave())
            self._out.flush()

    def _write(self, text: str) -> None:
        self._out.write(text)


class _Stage(Protocol):
    """How one channel is shown."""

    @property
    def speaks(self) -> bool:
        """False while nothing of it is shown."""
        ...

    def feed(self, lines: str) -> str:
        """Return what to write for ``lines``."""
        ...

    def leave(self) -> str:
        """Return what to write before something else is shown."""
        ...


class _Screen:
    """A terminal on a terminal."""

    speaks = True

    def __init__(self) -> None:
        self._filter = TerminalFilter()

    def feed(self, lines: str) -> str:
        return "".join(self._filter.feed(event.data) for event in _events(lines) if event.code == "o")

    def leave(self) -> str:
        return self._filter.reset() + "\r\n"


class _Text:
    """A terminal as lines."""

    speaks = True

    def __init__(self) -> None:
        self._text = TerminalText()

    def feed(self, lines: str) -> str:
        found: list[str] = []
        for event in _events(lines):
            if event.code == "o":
                found += self._text.feed(event.data)
            elif event.code == "m":
                found += [*self._text.flush(), f"▸ {clean(event.data)}"]
            elif event.code == "x":
                found += [*self._text.flush(), f"▸ exit status {clean(event.data)}"]
        return "".join(f"{line}\n" for line in found)

    def leave(self) -> str:
        return "".join(f"{line}\n" for line in self._text.flush())


class _Transcript:
    """Statements, transfers, refusals."""

    def __init__(self, first: Fresh) -> None:
        """``first`` begins with the heading."""
        self._lines = TranscriptLines(first.left_out)
        reader = TranscriptReader([first.lines.partition("\n")[0].encode()])
        next(reader.entries(), None)
        self._heading: dict[str, object] = reader.heading

    @property
    def speaks(self) -> bool:
        """False for what a terminal says already."""
        return self._heading.get("protocol") != _SAID_ALREADY

    def feed(self, lines: str) -> str:
        reader = TranscriptReader(line.encode() for line in lines.split("\n") if line)
        found: list[str] = []
        for entry in reader.entries():
            self._heading = reader.heading or self._heading
            if self.speaks:
                found += self._lines.lines(self._heading, entry)
        self._heading = reader.heading or self._heading
        return "".join(f"{line}\n" for line in found)

    def leave(self) -> str:
        return ""


def _events(lines: str) -> list[Event]:
    return list(CastReader(line.encode() for line in lines.split("\n")).events())


def _fits(lines: str) -> None:
    cast = CastReader([lines.partition("\n")[0].encode()])
    next(iter(cast.events()), None)
    term, (columns, rows) = cast.heading.term, shutil.get_terminal_size()
    if term.cols > columns or term.rows > rows:
        note(f"Theirs is {term.cols}x{term.rows} and yours {columns}x{rows}, so full-screen programs may look torn.")
