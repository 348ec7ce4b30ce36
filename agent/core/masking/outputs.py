"""What one channel's program says, masked: each of its streams for itself, and a terminal as a terminal.

    a terminal       replacements are as wide as what they replace, escape sequences stay where they are
    text in a pipe   replacements as everywhere else
    no text          passes byte for byte where policy reveals the class ``binary``; elsewhere it ends the channel

A stream that once was no text stays so: an archive holds texts, and none of its bytes may change. Anything that goes wrong here
ends the channel too. What is shown is masked or is not shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from agent.core.masking.binary import binary
from agent.core.masking.classes import Report, Tally
from agent.core.masking.detectors import Detectors
from agent.core.masking.stream import Piece, StreamMasker, shown
from agent.core.masking.terminal import TerminalMasker
from chalicelib.contracts.faults import Fault

#: What detectors find. Who may see all of it is shown bytes as they come.
FOUND: Final = frozenset({"card", "email", "iban", "phone", "secret", "ssn"})
#: The class of everything that cannot be masked because it is no text.
BINARY: Final = "binary"

NOT_TEXT: Final = "The program's output is not text, so it cannot be masked, and it is not shown."
NOT_TEXT_HINT: Final = 'A policy can reveal it: permit(…, action == Action::"reveal", …) when { context.data_class == "binary" }.'
BROKEN: Final = "The output could not be masked, so nothing more of it is shown."
SWITCHED: Final = "binary output, shown as it came"


class Part(msgspec.Struct, frozen=True):
    """A part of one stream, as it is shown and as it came. ``note`` is what the recording says before it."""

    stream: str
    data: bytes
    raw: bytes
    note: str = ""


class _Way:
    """One stream."""

    def __init__(self, masker: StreamMasker | TerminalMasker, *, opaque: bool) -> None:
        self.masker = masker
        self.opaque = opaque
        self.terminal = masker if isinstance(masker, TerminalMasker) else None
        self.said = False


class Outputs:
    """The streams of one channel. Raises Fault(target_unmaskable | masking_failed), after which nothing more is shown."""

    def __init__(
        self,
        detectors: Detectors,
        reveals: Callable[[], frozenset[str]],
        *,
        terminal: tuple[int, int] | None = None,
        opaque: bool = False,
    ) -> None:
        """``reveals`` says what may be seen now. ``terminal`` has so many columns and rows, where there is one.

        With ``opaque`` the program speaks a protocol of its own on its output.
        """
        self._detectors = detectors
        self._hidden = FOUND | detectors.named
        self._reveals = reveals
        self._terminal = terminal
        self._opaque = opaque
        self._ways: dict[str, _Way] = {}
        self._over = False
        """Nothing more is shown."""
        self._broken = False
        """Nor can it be told what is secret."""
        self._idle = True
        """Nothing is held back."""

    @property
    def due_ms(self) -> int | None:
        """When :meth:`tick` has something to show, or None."""
        if self._idle:
            return None
        due = [at for way in self._ways.values() if (at := way.masker.due_ms) is not None]
        return min(due) if due and not self._over else None

    def feed(self, data: bytes, stream: str, now_ms: int) -> list[Part]:
        """Take what the program said on ``stream``."""
        if self._over:
            return []
        self._idle = False
        try:
            return self._feed(data, stream, now_ms)
        except Fault:
            self._over = True
            raise
        except Exception as error:
            raise self._failed(error) from error

    def tick(self, now_ms: int) -> list[Part]:
        """Return what was held back and has waited long enough."""
        return self._safely(lambda: self._each(lambda masker: masker.overdue(now_ms)))

    def flush(self) -> list[Part]:
        """Return everything that was held back."""
        return self._safely(lambda: self._each(lambda masker: masker.rest()))

    def end(self, now_ms: int) -> list[Part]:
        """Return everything that was held back, where nothing comes any more."""
        return self._safely(lambda: self._each(lambda masker: masker.end(now_ms)))

    def tell(self, words: bytes) -> None:
        """The terminal, where there is one, was shown words of somebody else."""
        self._safely(lambda: self._told(words))

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size."""
        self._terminal = (columns, rows)
        self._safely(lambda: self._resized(columns, rows))

    def text(self, text: str) -> str:
        """Return a command as the recording may hold it."""
        if self._broken:
            return ""
        data = text.encode(errors="replace")
        masked = self._detectors.scrub(data, self._reveals(), Tally())
        return text if masked == data else masked.decode(errors="replace")

    def report(self) -> Report:
        """Return how many values of each class were replaced since the last report."""
        tally = Tally()
        for way in self._ways.values():
            for name, count in way.masker.report().hits.items():
                tally.add(name, count)
        return tally.take()

    def _safely(self, act: Callable[[], list[Part]]) -> list[Part]:
        if self._over:
            return []
        self._idle = False
        try:
            return act()
        except Fault:
            self._over = True
            raise
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> Fault:
        self._over = self._broken = True
        return Fault("masking_failed", BROKEN, detail=type(error).__name__)

    def _feed(self, data: bytes, stream: str, now_ms: int) -> list[Part]:
        way = self._ways.get(stream)
        if way is None:
            way = self._ways[stream] = self._opened(stream)
        revealed = self._reveals()
        if revealed >= self._hidden:
            # Where nothing is hidden, nothing is looked for either.
            before = _parts(stream, way.masker.rest()) if way.masker.holds else []
            if way.terminal is not None:
                data = way.terminal.passed(data)
            self._idle = len(self._ways) == 1
            return [*before, Part(stream, data, b"")]
        way.masker.reveal = revealed
        if way.terminal is None and (way.opaque or binary(data)):
            return self._passed(way, data, stream, revealed)
        return _parts(stream, way.masker.take(data, now_ms))

    def _opened(self, stream: str) -> _Way:
        if stream != "out":
            return _Way(StreamMasker(self._detectors), opaque=False)
        masker = StreamMasker(self._detectors) if self._terminal is None else TerminalMasker(self._detectors, *self._terminal)
        return _Way(masker, opaque=self._opaque)

    def _told(self, words: bytes) -> list[Part]:
        if self._terminal is not None:
            way = self._ways.get("out")
            if way is None:
                way = self._ways["out"] = self._opened("out")
            if way.terminal is not None:
                way.terminal.tell(words)
        return []

    def _resized(self, columns: int, rows: int) -> list[Part]:
        for way in self._ways.values():
            if way.terminal is not None:
                way.terminal.resize(columns, rows)
        return []

    def _passed(self, way: _Way, data: bytes, stream: str, revealed: frozenset[str]) -> list[Part]:
        if BINARY not in revealed:
            raise Fault("target_unmaskable", NOT_TEXT, hint=NOT_TEXT_HINT)
        way.opaque = True
        note, way.said = "" if way.said else SWITCHED, True
        return [*_parts(stream, way.masker.rest()), Part(stream, data, b"", note)]

    def _each(self, take: Callable[[StreamMasker | TerminalMasker], list[Piece]]) -> list[Part]:
        return [part for stream, way in self._ways.items() for part in _parts(stream, take(way.masker))]


def _parts(stream: str, pieces: Iterable[Piece]) -> list[Part]:
    pieces = list(pieces)
    if not pieces:
        return []
    if len(pieces) == 1 and pieces[0][1] is None:  # most bulk is that, and this is asked about each read of it
        return [Part(stream, pieces[0][0], b"")]
    data = shown(pieces)
    masked = any(instead is not None for _, instead in pieces)
    return [Part(stream, data, b"".join([raw for raw, _ in pieces]) if masked else b"")]
