"""The unnamed portal of an open block, which repeated statements leave behind: made only when something may ask for it. Pure."""

from __future__ import annotations

from typing import NamedTuple

from agent.protocols.postgres import messages
from agent.protocols.postgres.expected import Portal, Prepared
from agent.protocols.postgres.forms import Form
from agent.protocols.postgres.messages import Field
from agent.protocols.postgres.values import arguments


class Left(NamedTuple):
    """A round of the extended protocol that is over: its form as it was then, the client's bytes, and the number of its line."""

    form: Form
    prepared: Prepared
    data: bytes
    number: int
    formats: tuple[int, ...]
    described: bool
    fields: tuple[Field, ...]

    def portal(self) -> Portal:
        """Return what the long road would have among its portals now."""
        form, data = self.form, self.data
        at = 1 + int.from_bytes(data[1:5]) if form.prepares else 0
        bind = messages.read_bind(data[at + 5 : at + 1 + int.from_bytes(data[at + 1 : at + 5])])
        portal = form.portal(self.prepared, arguments(bind, self.prepared.types), self.number)
        portal.formats = self.formats
        portal.started = True
        if self.described:
            portal.asked = portal.described = True
            portal.fields = self.fields
        return portal


def left(form: Form, prepared: Prepared, data: bytes, number: int) -> Left:
    """Return what a round of ``form`` leaves behind that is over now."""
    fields = form.fields if form.mask is not None else ()
    return Left(form, prepared, data, number, form.result_formats, form.described, fields)
