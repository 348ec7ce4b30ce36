"""How long is waited for what must come: longer than any machine stalls, so that only a hang is longer."""

from __future__ import annotations

from typing import Final

#: Seconds until something that must come is given up. Nobody waits that long but for a fault.
HANG_S: Final = 240.0
