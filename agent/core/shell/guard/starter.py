"""What starts a shell in another one (sudo, ssh): it may ask for a password first, and gets answers and nothing else. Pure."""

from __future__ import annotations

import re
from typing import Final

#: Lines that may be typed to it: passwords, codes, a yes to a host key.
ANSWERS: Final = 12
#: What asks for a password, or a yes to a host key, in whatever language: the line is not over, and ends so.
_QUESTION: Final = re.compile(rb"[^\r\n]{1,300}[:?] ?\Z")
_CONTROL: Final = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_TAIL: Final = 512


class Starter:
    """What it has said last, and how often it was answered."""

    def __init__(self) -> None:
        self._tail = b""
        self.answers = 0

    def said(self, data: bytes) -> None:
        """It said ``data``."""
        self._tail = _CONTROL.sub(b"", self._tail + data)[-_TAIL:]

    def answered(self) -> None:
        """It got a line: what it had asked is answered."""
        self._tail = b""
        self.answers += 1

    @property
    def asks(self) -> bool:
        """True where its last words ask for something."""
        return _QUESTION.search(self._tail) is not None

    @property
    def patient(self) -> bool:
        """True where it asks, and may be answered once more."""
        return self.asks and self.answers < ANSWERS
