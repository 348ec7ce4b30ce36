"""Queries that are one but for a single number: everything beside it is encoded once. Pure.

Most programs that send whole texts put one key into them. Where that is compared with something, and nothing else differs, a
Query is two constant pieces around some digits, and so are its line in the transcript and what its digest is made of.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from agent.core.policy import Standing
from agent.core.recording.jsonl import encoded
from agent.core.sql.shapes import number
from agent.protocols.postgres.forms import Form
from chalicelib.contracts.operation import Alike


class Numbered:
    """The Queries of ``form`` that are ``lead``, digits and ``tail``, as long as policy is what it was when they were learned."""

    __slots__ = ("_after", "_before", "_between", "_exact", "at", "behind", "form", "lead", "own", "standing", "tail")

    def __init__(self, form: Form, standing: Standing, lead: str, own_tail: str, after: str) -> None:
        """``after`` is what a text has behind the statement, and ``own_tail`` what the statement has behind the number."""
        self.form: Final = form
        self.standing: Final = standing
        self.lead: Final = lead.encode()
        self.tail: Final = f"{own_tail}{after}\0".encode()
        self.own: Final = len(after.encode()) + 1
        """Bytes of a message behind its statement."""
        self.at: Final = 5 + len(self.lead)
        """Where the number begins in the message, and where it ends, from the message's end."""
        self.behind: Final = -len(self.tail)
        before, behind = encoded(lead)[:-1], encoded(own_tail)[1:]
        self._before: Final = form.line.about + before
        self._between: Final = behind + form.line.head
        alike = Alike(form.operation)
        self._exact: Final = alike.before + before
        self._after: Final = behind + b",[]" + alike.behind

    def line(self, t: int, digits: bytes) -> bytes:
        """Return the line at ``t`` of the one with this number."""
        digest = sha256(self._exact + digits + self._after).hexdigest().encode()
        return b'{"t":%d,%b%b%b%b"}\n' % (t, self._before, digits, self._between, digest)

    def text(self, data: bytes) -> str:
        """Return the statement in ``data``, which is one of them."""
        return data[5 : len(data) - self.own].decode()


def numbered(form: Form, text: str, behind: int) -> Numbered | None:
    """Return what ``text``, a Query of ``form``, is one of. It has ``behind`` characters behind its statement.

    None where it differs from its like in anything but a number, or where a line has to be made of each.
    """
    place, end = number(text), len(text) - behind
    if place is None or form.standing is None or not form.steady(text[: place[0]], text[place[1] :]):
        return None
    return Numbered(form, form.standing, text[: place[0]], text[place[1] : end], text[end:])
