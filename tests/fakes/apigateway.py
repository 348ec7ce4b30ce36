"""WebSockets that remember what they were sent, and are gone when a test says so."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec


class FakeDownlink:
    """Implements ``chalicelib.ports.Downlink``. Every connection exists until it is in ``gone``."""

    def __init__(self) -> None:
        self.sent: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.gone: set[str] = set()
        self.closed: list[str] = []

    def post(self, connection: str, message: bytes) -> bool:
        if connection in self.gone:
            return False
        self.sent[connection].append(msgspec.json.decode(message))
        return True

    def close(self, connection: str) -> None:
        self.closed.append(connection)
        self.gone.add(connection)

    def last(self, connection: str) -> dict[str, Any]:
        return self.sent[connection][-1]
