"""The same conversation over the short road of repeated statements and over the long one, with a server that answers either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from agent.protocols.postgres import messages
from chalicelib.contracts.faults import Fault
from tests.fakes.agent_runtime import make_policy
from tests.unit.agent.protocols.postgres.conversation import (
    BOUND,
    FAILED,
    IDLE,
    IN_BLOCK,
    NO_DATA,
    PARSED,
    Conversation,
    columns,
    complete,
    error,
    row,
)

NOTICE = messages.fields("N", {"S": "NOTICE", "M": "hunter2 was here"})
#: How an answer arrives.
HOW = st.sampled_from(["whole", "whole", "whole", "split", "notice", "late", "large"])


class Server:
    """Answers as PostgreSQL does. A statement with ``fails`` does, ``BEGIN`` and ``END`` open and close a block."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}
        self._portals: dict[str, str] = {}
        self._status = IDLE
        self._skipping = False
        self._data = b""

    def hears(self, data: bytes) -> bytes:
        """Return the answers to the messages in ``data``."""
        self._data += data
        answers = b""
        while len(self._data) >= 5 and len(self._data) > (size := int.from_bytes(self._data[1:5])):
            kind, body, self._data = chr(self._data[0]), self._data[5 : size + 1], self._data[size + 1 :]
            if kind == "S":
                self._skipping = False
                self._portals = self._portals if self._status == IN_BLOCK else {}
                answers += self._status
            elif not self._skipping:
                answers += self._answer(kind, body)
        return answers

    def _answer(self, kind: str, body: bytes) -> bytes:
        match kind:
            case "Q":
                text = body[:-1].decode()
                answer = self._run(text, described=True)
                return answer + self._status
            case "P":
                read = messages.read_parse(body)
                if read.text.startswith(b"denied"):
                    return self._fail()
                self._statements[read.name] = read.text.decode()
                return PARSED
            case "B":
                bound = messages.read_bind(body)
                if bound.statement not in self._statements:
                    return self._fail()
                self._portals[bound.portal] = self._statements[bound.statement]
                return BOUND
            case "D" if body[:1] == b"S":
                return messages.message("t", b"\0\0") + self._columns(self._statements.get(body[1:-1].decode()))
            case "D":
                return self._columns(self._portals.get(body[1:-1].decode()))
            case "E":
                text = self._portals.get(messages.read_execute(body)[0], "")
                return self._run(text, described=False) if text else self._fail()
            case "C":
                (self._statements if body[:1] == b"S" else self._portals).pop(body[1:-1].decode(), None)
                return messages.message("3")
        return b""

    def _columns(self, text: str | None) -> bytes:
        if text is None:
            return self._fail()
        return columns("a", _second(text)) if text.startswith("SELECT") else NO_DATA

    def _run(self, text: str, *, described: bool) -> bytes:
        if "fails" in text or text.startswith("denied"):
            return self._fail(skips=not described)
        if text == "BEGIN":
            self._status = IN_BLOCK
        elif text == "END":
            self._status = IDLE
        if not text.startswith("SELECT"):
            return complete("DONE")
        head = columns("a", _second(text)) if described else b""
        values = (
            [b"hunter2", None, b"\xff"] if "open" in text else [b"fine", None, b"hunter2"] if "seen" in text else [b"hunter2"] * 3
        )
        if "name" in text:
            values[len(text) % 3] = b"fine"
        return head + b"".join(row(b"%d" % each, values[each]) for each in range(len(text) % 4)) + complete("SELECT 9")

    def _fail(self, *, skips: bool = True) -> bytes:
        self._skipping = skips
        self._status = FAILED if self._status != IDLE else IDLE
        return error("22000", "hunter2 failed")


def _second(text: str) -> str:
    """What the second column is called: that of a text about names is looked through, and that of an open one is not masked."""
    return "b" if "open" in text else "seen" if "name" in text or "seen" in text else "secret"


def state(talk: Conversation) -> tuple[Any, ...]:
    return (talk.target, talk.client, talk.lines, talk.operations, talk.denied, talk.reports, talk.originals)


def read_twice(
    steps: list[tuple[bytes, str, int]], *, later: tuple[str, ...] = (), talks: Callable[[], Conversation] = Conversation
) -> tuple[Conversation, Conversation, int]:
    """Hold the same conversation over both roads. Returns both, and how often the short one was taken.

    A step is what the client says in one read, and how the answer arrives: ``whole``, ``split`` at a place, after a ``notice``,
    ``late``, with the next one, or in a ``large`` read.
    """
    short, long = talks(), talks()
    taken = 0
    real = short.engine.repeats.asked

    def counting(data: bytes, now_ms: int) -> Any:
        nonlocal taken
        effects = real(data, now_ms)
        taken += effects is not None
        return effects

    short.engine.repeats.asked = counting  # type: ignore[method-assign]
    long.engine.repeats.asked = lambda data, now_ms: None  # type: ignore[method-assign]
    for talk in (short, long):
        talk.fault = ""  # type: ignore[attr-defined]
        try:
            _held(talk, Server(), steps, later)
        except Fault as fault:
            talk.fault = fault.code  # type: ignore[attr-defined]
    return short, long, taken


def _held(talk: Conversation, server: Server, steps: list[tuple[bytes, str, int]], later: tuple[str, ...]) -> None:
    waiting, heard = b"", 0

    def hears() -> bytes:
        nonlocal heard
        new, heard = talk.target[heard:], len(talk.target)
        return server.hears(new)

    for number, (said, how, place) in enumerate(steps):
        if later and number == len(steps) // 2:
            talk.policy = make_policy(*later, version=2)
        talk.says(said)
        waiting += hears()
        if how == "late":
            continue
        while waiting:
            whole, waiting = (NOTICE if how == "notice" else b"") + waiting, b""
            pieces = [whole[: place % len(whole)], whole[place % len(whole) :]] if how == "split" else [whole]
            for piece in pieces:
                if piece:
                    (talk.answers_much if how == "large" else talk.answers)(piece)
            waiting = hears()
