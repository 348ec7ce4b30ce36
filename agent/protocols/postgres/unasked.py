"""What a server says unasked: notices, settings and notifications, and the words of its errors. Masked like any value. Pure."""

from __future__ import annotations

from typing import Final

from agent.protocols.postgres import messages
from agent.protocols.postgres.classify import Meaning
from agent.protocols.postgres.codec import Message
from agent.protocols.postgres.expected import Expected
from agent.protocols.postgres.masks import Masks
from agent.protocols.postgres.messages import Malformed
from agent.protocols.postgres.shared import Shared
from chalicelib.contracts.faults import Fault

#: Settings that the gateway relies on, and the only value that it accepts. The server reports every change at once.
_FIXED: Final = {"client_encoding": "UTF8", "standard_conforming_strings": "on"}


class Unasked:
    """Reads what a server says unasked. Each method returns what the client is shown."""

    def __init__(self, shared: Shared, masks: Masks) -> None:
        self._shared = shared
        self._masks = masks

    def scrubbed(self, fields: dict[str, str], head: Expected | None) -> dict[str, str]:
        """Return an error's or a notice's ``fields`` as the client may see them. ``head`` is what was under way."""
        said = None if head is None else head.run.meaning if head.run is not None else head.about
        return self._masks.fields(fields, _about(head, fields), said.text if said is not None else "")

    def notice(self, found: Message) -> bytes:
        """NoticeResponse. Raises Malformed."""
        return messages.fields("N", self.scrubbed(messages.read_fields(found.body), self._shared.queue.head()))

    def setting(self, found: Message) -> bytes:
        """ParameterStatus. Raises Malformed, and Fault(protocol_error) where both sides would read the same bytes differently."""
        name, value = messages.read_pair(found.body)
        wanted = _FIXED.get(name)
        if wanted is not None and value != wanted:
            raise Fault("protocol_error", f"{name} was changed behind the gateway, which can no longer read what it is sent.")
        if name == "application_name":
            self._shared.book.named(value)
        return messages.parameter_status(name, self._masks.text(value))

    def notification(self, found: Message) -> bytes:
        """NotificationResponse. Raises Malformed."""
        body = found.body
        end = body.find(b"\0", 4)
        if end < 0 or not body.endswith(b"\0") or body.count(b"\0", 4) != 2:
            raise Malformed
        channel, words = body[4:end].decode(errors="replace"), body[end + 1 : -1].decode(errors="replace")
        told, heard = self._masks.told, self._shared.heard
        return messages.message("A", body[:4] + messages.text(told(channel, heard)) + messages.text(told(words, heard)))


def _about(head: Expected | None, fields: dict[str, str]) -> Meaning | None:
    """Return the statement whose own words these are, or None where a function, a trigger or somebody else may have said them.

    Whatever a routine does stands in the context of its errors. COPY has a context too, which quotes the client's own line.
    """
    context = fields.get("W", "")
    if head is None or (context and (not context.startswith("COPY ") or "function" in context or "SQL statement" in context)):
        return None
    return head.run.meaning if head.run is not None else head.about
