"""What both sides of one connection know: what is under way, which names mean what, where the server stands. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

from agent.protocols.postgres.classify import Reading
from agent.protocols.postgres.expected import Expected, Portal, Prepared, Queue
from agent.protocols.postgres.names import Names
from agent.protocols.postgres.session import SessionBook
from agent.protocols.postgres.snapshot import Known

#: The statements about channels whose words are remembered, and the most that is of each.
_HEARD: Final = 32
_HEARD_TEXT: Final = 256
_NOTIFY: Final = "pg_catalog.pg_notify"


class Shared:
    """What both sides of one connection know."""

    def __init__(self, known: Known, label: str, *, asks: bool = True) -> None:
        """``asks``: the gateway may ask questions of its own."""
        self.queue = Queue()
        self.statements: Names[Prepared] = Names()
        self.portals: Names[Portal] = Names()
        self.book = SessionBook(known, label, asks=asks)
        self.status = "I"
        self.copy_in: Expected | None = None
        """A COPY FROM STDIN that was forwarded and is not over."""
        self.copying = False
        """The server reads COPY data."""
        self.copy_ended = False
        """The client has sent the end of its COPY data."""
        self._heard: deque[str] = deque(maxlen=_HEARD)

    def hears(self, reading: Reading) -> None:
        """Statements were sent that may name a channel, or what is told there."""
        for meaning in reading.statements:
            if meaning.kind in ("listen", "notify") or (_NOTIFY in meaning.functions and not meaning.tagged.stored):
                self._heard.append(meaning.text[:_HEARD_TEXT])

    @property
    def heard(self) -> str:
        """What the client itself has lately written about channels and what is told there."""
        return "\n".join(self._heard)

    def end_copy(self) -> None:
        """The COPY FROM STDIN is over, well or not."""
        self.copy_in, self.copying, self.copy_ended = None, False, False
