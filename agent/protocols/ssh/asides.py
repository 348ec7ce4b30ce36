"""Words of ours beside a program's output: that time runs out, that somebody looks on. Pure.

On a terminal they wait until the output stands between two characters and outside of every sequence, get a line of their own, and
the line that they cut in two (a prompt with what is typed so far) is drawn again below. A full-screen program keeps its screen:
the words stand on the last line until the program draws there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from agent.protocols.ssh.denial import plain
from agent.protocols.ssh.seam import FAR, ends_whole

_ALTERNATE: Final = re.compile(rb"\x1b\[\?(?:1049|1047|47)([hl])")
#: The longest sequence of those, without its last byte: it may be cut by a read.
_CUT: Final = len(b"\x1b[?1049")
#: A line that means the same drawn twice: text, colours, titles, editing within the line.
_REDRAWABLE: Final = re.compile(
    rb"(?:[^\x00-\x06\x0b\x0c\x0e-\x1f\x7f]|\x1b\[[0-9;]*[mKCDGP@]|\x1b\[\?(?:2004|25|1)[hl]|\x1b[=>]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))*"
)
_LONGEST: Final = 1024
LEAVE: Final = b"\x1b[?1049l\x1b[0m\r\n"


class Asides:
    """Says what is to be said on one channel, where it may stand."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self._words: list[str] = []
        self._tail = b""
        self._alternate = False

    def add(self, words: str) -> None:
        """Say ``words`` as soon as they may stand somewhere; once, however often they came until then."""
        words = plain(words)
        if words in self._words:
            self._words.remove(words)
        self._words.append(words)

    @property
    def waiting(self) -> bool:
        """There is something to say."""
        return bool(self._words)

    def shown(self, data: bytes) -> None:
        """The client was shown ``data``."""
        if not self._terminal:
            return
        for found in _ALTERNATE.finditer(self._tail[-_CUT:] + data):
            self._alternate = found[1] == b"h"
        self._tail = data[-FAR:] if len(data) >= FAR else (self._tail + data)[-FAR:]

    def due(self) -> bytes:
        """Return what may be said now, once; nothing where there is nothing, or no place for it."""
        if not self._words or not ends_whole(self._tail):
            return b""
        lines, self._words = [f"sallyport: {words}" for words in self._words], []
        if not self._terminal:
            return "".join(f"{line}\n" for line in lines).encode()
        if self._alternate:
            # Saved, last line, reverse, erased, restored: DECSC and DECRC keep colours and position.
            return b"\x1b7\x1b[999;1H\x1b[0;7m" + "  ".join(lines).encode() + b"\x1b[0m\x1b[K\x1b8"
        said = "".join(f"\r\n{line}" for line in lines).encode() + b"\r\n"
        return said + self._cut_line()

    def leave(self) -> bytes:
        """Return what puts words of ours in front of a full-screen program that will not clean up; mostly nothing."""
        return LEAVE if self._terminal and self._alternate else b""

    def _cut_line(self) -> bytes:
        line = self._tail[self._tail.rfind(b"\n") + 1 :]
        return line if len(line) <= _LONGEST and _REDRAWABLE.fullmatch(line) else b""


def banner(how: str, watchers: Sequence[str], sid: str) -> bytes:
    """Return the line with which a shell begins: what is recorded, and who looks on."""
    who = f"; {plain(', '.join(watchers))} {'is' if len(watchers) == 1 else 'are'} watching" if watchers else ""
    return f"sallyport: {how}{who} ({sid})\r\n".encode()
