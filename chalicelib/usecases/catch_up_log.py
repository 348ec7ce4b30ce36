"""Every hour: append what the stream did not deliver. A stream keeps a record for a day; the outbox keeps it for ever."""

from __future__ import annotations

import datetime as dt

from chalicelib.ports import Ports
from chalicelib.usecases.append_events import BATCH, append_events, settle

#: Days that are looked through. An event is written in the second it speaks of, so more would find nothing.
_DAYS = 2


def catch_up_log(ports: Ports) -> int:
    """Finish what was left unfinished, append what the log lacks of the last days, oldest first; return how many."""
    settle(ports)
    today = dt.datetime.fromtimestamp(ports.clock.now_ms() / 1000, dt.UTC).date()
    appended = 0
    for back in reversed(range(_DAYS)):
        waiting: list[tuple[str, bytes]] = []
        for event in ports.log.outbox((today - dt.timedelta(days=back)).isoformat()):
            waiting.append(event)
            if len(waiting) == BATCH:
                appended += append_events(ports, waiting)
                waiting.clear()
        appended += append_events(ports, waiting)
    return appended
