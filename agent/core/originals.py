"""The lines of what a transcript leaves out, before they are sealed (``chalicelib.contracts.originals``).

One line for each line of the transcript in which something was replaced: the *whole* statement, result or piece of output,
because what was replaced means little without what stood around it.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from agent.core.units import Stream


def line(channel: int, now_ms: int, entry: dict[str, Any]) -> bytes:
    """Return ``entry`` of ``channel`` as a line. ``now_ms`` is Unix milliseconds."""
    return msgspec.json.encode({"ch": channel, "time_ms": now_ms, **entry}) + b"\n"


def output_line(channel: int, now_ms: int, stream: Stream, data: bytes) -> bytes:
    """Return a piece of output as it came: ``text`` where it is text, ``base64`` where it is not."""
    entry: dict[str, Any] = {"event": "output", "stream": stream}
    try:
        entry["text"] = data.decode()
    except UnicodeDecodeError:
        entry["base64"] = base64.b64encode(data).decode()
    return line(channel, now_ms, entry)
