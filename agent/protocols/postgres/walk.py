"""Where consecutive messages of one type begin. Pure.

A message says where the next one begins, so a plain walk reads one header after the other. In a long run nearly every place that
looks like a header is one: all of them are looked for at once, and the chain of lengths from the first to the last is what proves
each. A place inside of a value that only looks like a header is not on the chain. Where the chain does not hold, the plain walk
goes on from the last message that was proved.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent.core.masking.batch import words_of

Starts = tuple[int, ...] | NDArray[np.int64]

_HEADER: Final = struct.Struct(">BI")
#: Bytes from which on it pays to look for all headers at once.
_MANY: Final = 16 * 1024
#: Places that looked like a header and are none, after which a run is walked.
_DOUBTS: Final = 16
#: The largest length that is looked for: places that read like a longer one are nearly never one.
_SHORT: Final = 0xFFFF


def run(data: bytes, at: int, kind: int, limit: int) -> tuple[int, Starts]:
    """Find the whole messages of ``kind`` from ``at`` on. Returns where they end, and where each begins after ``at``.

    Stops in front of a message that is not whole, or whose body is longer than ``limit``: the caller says what is wrong with it.
    """
    if not _MANY <= len(data) - at <= limit:
        end, starts = _walk(data, at, kind, limit)
        return end, tuple([start - at for start in starts])
    end, proved = _chain(data, at, kind)
    more_end, more = _walk(data, end, kind, limit)
    if more:
        proved = np.append(proved, np.array(more, np.int64))
    return more_end, proved - at


def _walk(data: bytes, at: int, kind: int, limit: int) -> tuple[int, list[int]]:
    starts: list[int] = []
    size = len(data)
    unpack, add = _HEADER.unpack_from, starts.append
    while size - at >= 5:
        found, length = unpack(data, at)
        end = at + 1 + length
        if found != kind or end > size or length < 4 or length - 4 > limit:
            break
        add(at)
        at = end
    return at, starts


def _chain(data: bytes, at: int, kind: int) -> tuple[int, NDArray[np.int64]]:
    """Return where the messages end of which all headers were found at once, and where each begins."""
    octets = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(octets[at : len(data) - 4] == kind)
    places += at
    sizes = words_of(data)[places + 1].astype(np.int64)
    short = (sizes >= 4) & (sizes <= _SHORT)
    if np.count_nonzero(short) != len(short):
        places, sizes = places[short], sizes[short]
    following = places + 1
    following += sizes
    if len(places) > 1 and places[0] == at and np.count_nonzero(following[:-1] == places[1:]) == len(places) - 1:
        # Every place is proved by the one before it; the last one may not be whole.
        return (int(following[-1]), places) if following[-1] <= len(data) else (int(places[-1]), places[:-1])
    good = following <= len(data)
    for _ in range(_DOUBTS):
        if not len(places) or places[0] != at:
            return at, places[:0]
        # What ends where the next one begins is proved by it, up to the last.
        broken = np.flatnonzero(following[:-1] != places[1:])
        last = int(broken[0]) if len(broken) else len(places) - 1
        bad = np.flatnonzero(~good[: last + 1])
        if len(bad):
            last = int(bad[0]) - 1
            return (int(following[last]), places[: last + 1]) if last >= 0 else (at, places[:0])
        after = int(np.searchsorted(places, following[last]))
        if after == len(places) or places[after] != following[last]:
            return int(following[last]), places[: last + 1]
        # What stands inside of the last one is not on the chain.
        kept = np.ones(len(places), np.bool_)
        kept[last + 1 : after] = False
        places, following, good = places[kept], following[kept], good[kept]
    return at, places[:0]
