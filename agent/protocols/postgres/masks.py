"""What the answer side asks of masking, and no more: the narrow view that the engine has of ``agent.core.masking``."""

from __future__ import annotations

from typing import Final, Protocol

from agent.protocols.postgres.classify import Meaning, Reading
from agent.protocols.postgres.codec import Copied, Rows
from agent.protocols.postgres.messages import Field

#: Digits of a number that :meth:`Words.steady` is about. Nothing that a detector finds is so few of them and nothing else.
DIGITS: Final = 8


class ResultMask(Protocol):
    """Masks the rows of one result."""

    @property
    def looks(self) -> tuple[int, ...] | None:
        """The columns whose values decide alone, by :meth:`quiet`, whether a row is shown as it came, whatever policy reveals.

        None where rows have to be masked one by one: a column is tagged, or is something else than text.
        """
        ...

    def quiet(self, text: bytes) -> bool:
        """Return True where nothing is found in ``text``: values of :attr:`looks`, a line each."""
        ...

    def rows(self, rows: Rows) -> tuple[bytes, int]:
        """Return the rows as the client may see them, with their headers, and how many values were masked."""
        ...

    def few(self, raw: bytes, starts: tuple[int, ...]) -> tuple[bytes, int, list[list[bytes | None]]]:
        """Return the same of DataRow messages that begin at ``starts``, with the values of each row as they are shown.

        For a few rows. ``raw`` itself is returned where nothing changes.
        """
        ...


class CopyMask(Protocol):
    """Masks the data of one COPY TO STDOUT."""

    def data(self, body: bytes) -> tuple[bytes, int]:
        """Return what can be shown of the data so far, which may be nothing yet, and how many values were masked."""
        ...

    def messages(self, copied: Copied) -> tuple[bytes, int]:
        """Return messages as they can be shown, with their headers, and how many values were masked."""
        ...

    def end(self) -> tuple[bytes, int]:
        """Return the rest, when the data is over."""
        ...


class Words(Protocol):
    """What the transcript may hold of statements that are one but for constants and values, under the policy of a moment."""

    def text(self, text: str) -> str:
        """Return the text of one of them."""
        ...

    def steady(self, lead: str, tail: str) -> bool:
        """Return True where :meth:`text` changes nothing of ``lead``, a number of up to ``DIGITS`` digits, and ``tail``.

        The number is compared with something, and ends a condition (``shapes.number``).
        """
        ...

    @property
    def numbers(self) -> bool:
        """True where :meth:`values` changes nothing of values that are up to ``DIGITS`` digits, whichever place they have."""
        ...

    def values(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """Return bound values of theirs."""
        ...


class Masks(Protocol):
    """The masking rules of one session."""

    def result(self, fields: tuple[Field, ...], meaning: Meaning | None) -> ResultMask:
        """Return what masks a result with these columns. Without a ``meaning`` only the columns' origin is known."""
        ...

    def copy(self, meaning: Meaning, overall: int, columns: int, described: tuple[Field, ...] | None = None) -> CopyMask | None:
        """Return what masks a COPY of ``columns`` columns, or None where the format cannot be (``overall`` 1 is binary).

        ``described`` is what the server says of the columns, where it was asked.
        """
        ...

    def recorded(self, text: str, values: tuple[str, ...], meaning: Meaning | None) -> tuple[str, tuple[str, ...]]:
        """Return a statement and its bound values as the transcript may hold them. ``meaning`` is None where it was not read."""
        ...

    def words(self, meaning: Meaning) -> Words:
        """Return what says of ``meaning`` and its like what :meth:`recorded` does, until another policy is in force."""
        ...

    def copies(self, meaning: Meaning) -> bool:
        """Return False where the COPY out of ``meaning`` would have to be masked, and cannot be."""
        ...

    def asks(self, meaning: Meaning) -> str:
        """Return the query whose columns the server has to describe before this COPY can be masked, or nothing."""
        ...

    def hidden(self) -> frozenset[str]:
        """Return the classes of data that policy does not reveal now."""
        ...

    def text(self, words: str, about: Meaning | None = None) -> str:
        """Return a name or a setting as the client may see it: of the statement ``about``, or of who knows what."""
        ...

    def told(self, words: str, heard: str) -> str:
        """Return a part of a notification as the client may see it. ``heard`` is what it has itself written about such things."""
        ...

    def fields(self, fields: dict[str, str], about: Meaning | None, asked: str) -> dict[str, str]:
        """Return an error or a notice as the client may see it: of ``about``, or of who knows what. ``asked`` is what was run."""
        ...


def kept(masks: Masks, reading: Reading, values: tuple[str, ...] = ()) -> list[tuple[str, tuple[str, ...]]]:
    """Return what the transcript may hold of each operation of ``reading``."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for meaning in reading.statements:
        found += [masks.recorded(meaning.text, values, meaning)] * (2 if meaning.copy else 1)
    return found


def copies(masks: Masks, reading: Reading) -> bool:
    """Return False where one of the statements is a COPY out that would have to be masked, and cannot be."""
    return all(masks.copies(meaning) for meaning in reading.statements if meaning.copy == "out")


def asked(masks: Masks, reading: Reading) -> list[tuple[Meaning, str]]:
    """Return the statements whose columns the server has to describe before they can be masked, each with the query to ask of."""
    return [(meaning, query) for meaning in reading.statements if (query := masks.asks(meaning))]
