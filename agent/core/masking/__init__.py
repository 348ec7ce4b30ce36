"""Masking: the only mint of :class:`Clean` bytes, which are the only bytes that can be shown to a client.

A :class:`Masker` holds what one session may see: the detectors of the configuration and the classes that policy reveals. From it
come the ways out, one for each shape that bytes have on their way to the client, and each mints what it has masked:

    mask     one whole piece of text (a denial, a banner)
    stream   bytes that are cut anywhere (a terminal, a response body)
    rows     DataRow messages of PostgreSQL
    copy     COPY TO STDOUT
    notices  the fields of errors and notices
    outputs  what one program says on its streams, a terminal or pipes

Without detectors and tags everything passes unchanged and undelayed. The gate runs everything through here in either case, so
that rules cannot be walked around.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from agent.core.masking.classes import Report, Tally
from agent.core.masking.copies import CopyForm, CopyMasker
from agent.core.masking.detectors import Detectors
from agent.core.masking.outputs import Outputs, Part
from agent.core.masking.pgtypes import BUILT_IN, Catalog
from agent.core.masking.rows import Column, RowMasker
from agent.core.masking.stream import StreamMasker
from agent.core.masking.text import TextScrubber

_SEAL: Final = object()


class Clean:
    """Bytes that masking has seen. Cannot be constructed, copied, subclassed or changed elsewhere."""

    __slots__ = ("_seal", "data")
    data: bytes
    """The bytes to show."""
    _seal: object

    def __new__(cls, *_: object, **__: object) -> Clean:
        raise TypeError("Clean bytes are minted by masking alone")

    def __init_subclass__(cls, **_: object) -> NoReturn:
        raise TypeError("Clean cannot be subclassed")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("Clean bytes do not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("Clean bytes cannot be copied or pickled")

    @property
    def genuine(self) -> bool:
        """True if masking minted this object."""
        return getattr(self, "_seal", None) is _SEAL


class Masker:
    """Applies the masking rules of one session. With no rules it passes bytes through, unchanged and undelayed."""

    def __init__(self, detectors: Detectors | None = None, reveal: frozenset[str] = frozenset()) -> None:
        """``reveal`` are the data classes that policy lets this principal see."""
        self._detectors = detectors
        self._reveal = reveal
        self._tally = Tally()

    def mask(self, data: bytes) -> Clean:
        """Return ``data``, a whole piece of text, as the client may see it."""
        if self._detectors is not None:
            data = self._detectors.scrub(data, self._reveal, self._tally)
        # What ``_mint`` does, without a call: this is done for every answer.
        clean: Clean = _new(Clean)
        _put_data(clean, data)
        _put_seal(clean, _SEAL)
        return clean

    def report(self) -> Report:
        """Return how many values of each class :meth:`mask` has replaced since the last report."""
        return self._tally.take()

    def stream(self) -> CleanStream:
        """Return the way out for one direction of one byte stream."""
        return CleanStream(None if self._detectors is None else StreamMasker(self._detectors, self._reveal))

    def outputs(
        self, reveals: Callable[[], frozenset[str]], *, terminal: tuple[int, int] | None = None, opaque: bool = False
    ) -> CleanOutputs | None:
        """Return the way out for one program's streams, or None without rules. ``reveals`` says what may be seen now.

        ``terminal`` is the columns and rows of its terminal, where it has one.
        """
        if self._detectors is None:
            return None
        return CleanOutputs(Outputs(self._detectors, reveals, terminal=terminal, opaque=opaque))

    def rows(self, columns: Sequence[Column], catalog: Catalog = BUILT_IN) -> CleanRows:
        """Return the way out for the rows of one result."""
        return CleanRows(RowMasker(columns, self._detectors or Detectors(built_in=False), self._reveal, catalog=catalog))

    def copy(
        self, columns: Sequence[Column], *, form: CopyForm, delimiter: bytes = b"", catalog: Catalog = BUILT_IN
    ) -> CleanCopy:
        """Return the way out for one COPY TO STDOUT."""
        found = self._detectors or Detectors(built_in=False)
        return CleanCopy(CopyMasker(columns, found, self._reveal, form=form, delimiter=delimiter, catalog=catalog))

    def notices(self, tags: Mapping[str, str]) -> CleanNotices:
        """Return the way out for errors and notices; ``tags`` are the classes of the target's columns, by name."""
        return CleanNotices(TextScrubber(self._detectors or Detectors(built_in=False), self._reveal, tags=tags))


class CleanStream:
    """Mints what a :class:`~agent.core.masking.stream.StreamMasker` lets through."""

    def __init__(self, masker: StreamMasker | None) -> None:
        if masker is not None and type(masker) is not StreamMasker:
            raise TypeError("only masking itself can vouch for bytes")
        self._masker = masker

    @property
    def due_ms(self) -> int | None:
        """When :meth:`tick` has something to show, or None."""
        return None if self._masker is None else self._masker.due_ms

    def feed(self, data: bytes, now_ms: int) -> Clean:
        """Take ``data`` and return what may be shown by now."""
        return _mint(data if self._masker is None else self._masker.feed(data, now_ms))

    def tick(self, now_ms: int) -> Clean:
        """Return what was held back, if its time has come."""
        return _mint(b"" if self._masker is None else self._masker.tick(now_ms))

    def flush(self) -> Clean:
        """Return everything that was held back."""
        return _mint(b"" if self._masker is None else self._masker.flush())

    def report(self) -> Report:
        """Return the counts since the last report."""
        return Report({}) if self._masker is None else self._masker.report()


class CleanRows:
    """Mints what a :class:`~agent.core.masking.rows.RowMasker` makes of rows."""

    def __init__(self, masker: RowMasker) -> None:
        if type(masker) is not RowMasker:
            raise TypeError("only masking itself can vouch for bytes")
        self._masker = masker
        self.report: Final = masker.report

    def mask(self, bodies: Sequence[bytes | memoryview]) -> Clean:
        """Return the framed DataRow messages of ``bodies``. Raises MaskFault for a malformed row."""
        return _mint(self._masker.mask(bodies))


class CleanCopy:
    """Mints what a :class:`~agent.core.masking.copies.CopyMasker` makes of COPY data."""

    def __init__(self, masker: CopyMasker) -> None:
        if type(masker) is not CopyMasker:
            raise TypeError("only masking itself can vouch for bytes")
        self._masker = masker
        self.report: Final = masker.report

    def feed(self, data: bytes) -> Clean:
        """Take the content of a CopyData message and return the rows that are whole by now."""
        return _mint(self._masker.feed(data))

    def end(self) -> Clean:
        """Return the last row."""
        return _mint(self._masker.end())


class CleanNotices:
    """Mints what a :class:`~agent.core.masking.text.TextScrubber` leaves of a message."""

    def __init__(self, scrubber: TextScrubber) -> None:
        if type(scrubber) is not TextScrubber:
            raise TypeError("only masking itself can vouch for bytes")
        self._scrubber = scrubber
        self.report: Final = scrubber.report

    def scrub(self, text: bytes) -> Clean:
        """Return one text field of an error or notice."""
        return _mint(self._scrubber.scrub(text))


class CleanOutputs:
    """Mints what :class:`~agent.core.masking.outputs.Outputs` lets through, part by part."""

    def __init__(self, outputs: Outputs) -> None:
        if type(outputs) is not Outputs:
            raise TypeError("only masking itself can vouch for bytes")
        self._outputs = outputs
        self.report: Final = outputs.report
        self.resize: Final = outputs.resize
        self.tell: Final = outputs.tell
        self.text: Final = outputs.text

    @property
    def due_ms(self) -> int | None:
        """When :meth:`tick` has something to show, or None."""
        return self._outputs.due_ms

    def feed(self, data: bytes, stream: str, now_ms: int) -> list[tuple[Clean, Part]]:
        """Take what the program said on ``stream`` and return what may be shown by now."""
        return [(_mint(part.data), part) for part in self._outputs.feed(data, stream, now_ms)]

    def tick(self, now_ms: int) -> list[tuple[Clean, Part]]:
        """Return what was held back, if its time has come."""
        return _minted(self._outputs.tick(now_ms))

    def flush(self) -> list[tuple[Clean, Part]]:
        """Return everything that was held back."""
        return _minted(self._outputs.flush())

    def end(self, now_ms: int) -> list[tuple[Clean, Part]]:
        """Return everything that was held back, where nothing comes any more."""
        return _minted(self._outputs.end(now_ms))


def _minted(parts: list[Part]) -> list[tuple[Clean, Part]]:
    return [(_mint(part.data), part) for part in parts]


def shown(clean: Clean) -> bytes:
    """Return the bytes to show. Raises PermissionError for anything that masking did not mint."""
    if type(clean) is Clean and getattr(clean, "_seal", None) is _SEAL:
        return clean.data
    raise PermissionError("bytes are shown only after masking")


def _mint(data: bytes) -> Clean:
    clean: Clean = _new(Clean)
    _put_data(clean, data)
    _put_seal(clean, _SEAL)
    return clean


_new: Final = object.__new__
#: The slots themselves: past the ``__setattr__`` that says no.
_put_data, _put_seal = (Clean.__dict__[name].__set__ for name in ("data", "_seal"))
