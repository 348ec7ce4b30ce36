"""The server's side of a replication connection: answers of several results, and streams that nothing masks. Pure.

    command                                     answer
    reads a fact, changes a slot                (T D*)? C … Z
    START_REPLICATION                           W, then d* both ways until both have said c, then (T D*)? C … Z
    BASE_BACKUP                                 (T D* C | H d* c)* C … Z
    UPLOAD_MANIFEST                             G, then d* c of the client's, C … Z
    SQL                                         as on any connection (``answers``)

How many results there are differs between versions, so a command is over at its ReadyForQuery. A stream carries rows as they are
stored. It is shown to whom nothing is hidden, and whether that is so still is asked for each read of it. The record counts and
hashes it, keeps none of it, and says how far it has come while it goes on: a stream may last for months.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent.core.policy import Yes
from agent.protocols.postgres import messages
from agent.protocols.postgres.answers import Answers, unexpected
from agent.protocols.postgres.codec import Copied, Message
from agent.protocols.postgres.expected import Expected, Kind, Run
from agent.protocols.postgres.replication import Command
from chalicelib.contracts.operation import Operation

#: A line of the transcript says how far a stream has come, whenever so many bytes or milliseconds have passed since the last.
TOLD_BYTES: Final = 256 * 1024 * 1024
TOLD_MS: Final = 60_000


class Asked:
    """A command under way: what was decided about it, and what its stream has come to."""

    __slots__ = (
        "client_done",
        "command",
        "messages",
        "opened",
        "operation",
        "sent",
        "server_done",
        "told_bytes",
        "told_ms",
        "yes",
    )

    def __init__(self, command: Command, operation: Operation, yes: Yes | None, now_ms: int) -> None:
        self.command = command
        self.operation = operation
        self.yes = yes
        self.opened = False
        """The server has begun to stream."""
        self.client_done = False
        self.server_done = False
        self.messages = 0
        """Messages of the stream that the client was shown."""
        self.sent = 0
        """Bytes of the client's part."""
        self.told_bytes = 0
        self.told_ms = now_ms

    @property
    def both(self) -> bool:
        """True while the client may send its part of a stream."""
        return self.opened and self.command.streams == "both" and not self.client_done


class Streams(Answers):
    """Reads what the server answers to replication commands, and leaves SQL to :class:`Answers`."""

    still: Callable[[Asked], None]
    """Raises Fault where the command may not go on under the policy in force."""
    asked: Asked | None = None
    """The command under way."""

    def _read_also(self) -> dict[str, Callable[[Message], bytes]]:
        return {"W": self._copy_both}

    def _commanded(self, answer: str) -> tuple[Asked, Run] | None:
        """Return the command whose answer this is, or None where it is SQL's."""
        head = self._shared.queue.head()
        if head is None or self.asked is None or head is not self._of:
            return None
        return self.asked, self._running(head, answer)

    _of: Expected | None = None

    def await_answer(self, expected: Expected, asked: Asked) -> None:
        """``expected`` is the answer to ``asked``. There is one at a time."""
        self._of, self.asked = expected, asked

    def _command(self, found: Message) -> bytes:
        commanded = self._commanded(found.kind)
        if commanded is None:
            return super()._command(found)
        if found.kind != "C":
            raise unexpected(found.kind)
        commanded[1].tag = messages.read_tag(found.body)
        self._mask = None
        return found.raw

    def _ready(self, found: Message) -> bytes:
        head = self._shared.queue.head()
        if head is not None and head is self._of and self.asked is not None:
            run = head.run
            if run is not None:
                head.at += 1
                self._over(run, "ok", **self._streamed())
            self._of = self.asked = None
        return super()._ready(found)

    def _streamed(self) -> dict[str, Any]:
        asked = self.asked
        return {"messages": asked.messages, "sent": asked.sent} if asked is not None and (asked.opened or asked.sent) else {}

    def _copy_both(self, found: Message) -> bytes:
        return self._open(found, "both")

    def _copy_out(self, found: Message) -> bytes:
        return super()._copy_out(found) if self._commanded(found.kind) is None else self._open(found, "out")

    def _open(self, found: Message, way: str) -> bytes:
        commanded = self._commanded(found.kind)
        if commanded is None or commanded[0].command.streams != way or (commanded[0].opened and not commanded[0].server_done):
            raise unexpected(found.kind)
        asked = commanded[0]
        if way == "both" and asked.opened:
            raise unexpected(found.kind)
        messages.read_copy(found.body)
        self.still(asked)
        asked.opened, asked.server_done = True, False
        return found.raw

    def _streaming(self, answer: str) -> tuple[Asked, Run] | None:
        commanded = self._commanded(answer)
        if commanded is not None and (not commanded[0].opened or commanded[0].server_done):
            raise unexpected(answer)
        return commanded

    def _copied_rows(self, copied: Copied) -> bytes:
        streaming = self._streaming("d")
        if streaming is None:
            return super()._copied_rows(copied)
        asked, run = streaming
        self.still(asked)
        run.saw(copied.raw, 0, 0)
        asked.messages += copied.count
        if run.bytes - asked.told_bytes >= TOLD_BYTES or self._now_ms - asked.told_ms >= TOLD_MS:
            asked.told_bytes, asked.told_ms = run.bytes, self._now_ms
            self.done.append(self._so_far(run))
        return copied.raw

    def _so_far(self, run: Run) -> dict[str, Any]:
        entry = run.done("", self._now_ms, **self._streamed())
        return {name: value for name, value in entry.items() if name not in ("outcome", "masked", "rows")} | {"event": "streamed"}

    def _copy_done(self, found: Message) -> bytes:
        streaming = self._streaming("c")
        if streaming is None:
            return super()._copy_done(found)
        streaming[0].server_done = True
        return found.raw

    def _error(self, found: Message) -> bytes:
        head = self._shared.queue.head()
        shown = super()._error(found)
        if head is not None and head is self._of:
            self._of = self.asked = None
        return shown

    def broken_off(self, now_ms: int) -> list[dict[str, Any]]:
        """Return the line about a command that is under way as the connection ends."""
        head, self._now_ms = self._shared.queue.head(), now_ms
        run = head.run if head is not None and head is self._of and head.kind is Kind.QUERY else None
        return [run.done("broken off", now_ms, **self._streamed())] if run is not None else []
