"""The stream of an rsync or a git, passed on as it is: counted and hashed each way, and not written down.

What such a stream holds are files in a form of its own, compressed or as differences; as with sftp, its recording has the size
and the hash of what passed, and not the content. Which paths may be copied is the policy's to say, and so is who may be shown
what is no text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from agent.core.units import Event, Output, Remark


class Wire:
    """Both directions of one stream. ``tell`` has the gate told, ``send`` and ``end`` reach the program."""

    def __init__(self, tell: Callable[[Event], None], send: Callable[[bytes], None], end: Callable[[], None]) -> None:
        self._tell = tell
        self._send = send
        self._end = end
        self._sent = hashlib.sha256()
        self._received = hashlib.sha256()
        self._bytes = [0, 0]

    def from_client(self, data: bytes) -> None:
        """Pass on, and count."""
        self._sent.update(data)
        self._bytes[0] += len(data)
        self._send(data)

    def from_target(self, data: bytes) -> None:
        """Show, and count."""
        self._received.update(data)
        self._bytes[1] += len(data)
        self._tell(Output(data, recorded=False))

    def client_eof(self) -> None:
        """The client sends no more."""
        self._end()

    def finish(self, status: int | None) -> None:
        """It is over: record what passed."""
        sent, received = self._bytes
        text = f"sent {sent} bytes (sha256 {self._sent.hexdigest()}), received {received} (sha256 {self._received.hexdigest()})"
        self._tell(Remark({"event": "stream", "text": text}))
