"""One long conversation, cut at every place in both directions: the same is forwarded, shown and recorded."""

from __future__ import annotations

from agent.protocols.postgres import messages
from tests.unit.agent.protocols.postgres.conversation import (
    BOUND,
    CLOSED,
    COPIED,
    FLUSH,
    IDLE,
    IN_BLOCK,
    PARSED,
    SYNC,
    Conversation,
    bind,
    close,
    columns,
    complete,
    copied,
    describe,
    error,
    execute,
    parse,
    query,
    row,
)

NOTICE = messages.fields("N", {"S": "NOTICE", "M": "about hunter2"})
TOLD = messages.message("A", b"\0\0\0\1channel\0hunter2\0")
SETTING = messages.parameter_status("TimeZone", "hunter2")
TYPES = messages.message("t", b"\0\1\0\0\0\x19")
#: What the client says, and what the server answers.
TURNS: list[tuple[bytes, bytes]] = [
    (query("SELECT 1"), columns("a", "secret") + row(b"7", b"hunter2") + row(b"8", None) + complete("SELECT 2") + IDLE),
    (query("SELECT 1"), columns("a", "secret") + row(b"7", b"hunter2") + complete("SELECT 1") + IDLE),
    (query("SELECT forbidden"), error() + IDLE),
    (query("SELECT 1; INSERT 2"), columns("a") + row(b"1") + complete("SELECT 1") + NOTICE + complete("INSERT 0 1") + IDLE),
    (query(""), messages.message("I") + IDLE),
    (
        parse("s", "SELECT $1") + bind("", "s", b"hunter2") + describe("P") + execute() + SYNC,
        PARSED + BOUND + columns("seen") + row(b"hunter2") + complete("SELECT 1") + IDLE,
    ),
    (
        bind("", "s", b"x") + describe("P") + execute() + SYNC,
        BOUND + columns("secret") + row(b"hunter2") + complete("SELECT 1") + IDLE,
    ),
    (
        bind("", "s", b"x") + describe("P") + execute() + SYNC,
        BOUND + columns("secret") + row(b"hunter2") + complete("SELECT 1") + IDLE,
    ),
    (describe("S", "s") + FLUSH + SYNC, TYPES + columns("secret") + IDLE),
    (parse("", "DELETE forbidden") + bind("", "") + execute() + SYNC, error() + IDLE),
    (query("BEGIN"), complete("BEGIN") + IN_BLOCK),
    (
        bind("p", "s", b"y") + describe("P", "p") + execute("p", 1) + execute("p", 1) + close("P", "p") + SYNC,
        BOUND + columns("secret") + row(b"1") + messages.message("s") + row(b"2") + complete("SELECT 1") + CLOSED + IN_BLOCK,
    ),
    (query("SELECT 2"), error("22012", "division of hunter2 by zero") + messages.ready("E")),
    (query("END"), complete("ROLLBACK") + IDLE + TOLD + SETTING),
    (query("COPY t FROM STDIN"), messages.message("G", b"\0\0\1\0\0")),
    (copied(b"one\n") + copied(b"two\n") + COPIED, complete("COPY 2") + IDLE),
    (
        query("COPY t TO STDOUT"),
        messages.message("H", b"\0\0\1\0\0") + copied(b"hunter2\n") + copied(b"x\n") + COPIED + complete("COPY 2") + IDLE,
    ),
    (messages.message("F", b"SECRET\0\0\0\0"), error() + IDLE),
    (messages.message("X"), b""),
]


def held(cut_client: int, cut_server: int) -> Conversation:
    """The conversation, with what each side says in two pieces."""
    talk = Conversation()
    for said, answered in TURNS:
        for part in filter(None, (said[:cut_client], said[cut_client:])):
            talk.says(part)
        for part in filter(None, (answered[:cut_server], answered[cut_server:])):
            talk.answers(part)
    return talk


def outcome(talk: Conversation) -> tuple[object, ...]:
    return talk.target, talk.client, talk.record, talk.operations, talk.denied


def test_every_cut_is_the_same_as_none() -> None:
    whole = held(10_000, 10_000)
    assert whole.engine.over
    assert whole.denied == 3
    assert b"hunter2" not in whole.client
    expected = outcome(whole)
    for cut in range(1, max(max(map(len, turn)) for turn in TURNS)):
        assert outcome(held(cut, cut)) == expected, f"both sides' words, cut at {cut}"


def test_byte_by_byte_in_both_directions_is_the_same_as_whole() -> None:
    talk = Conversation()
    for said, answered in TURNS:
        for byte in said:
            talk.says(bytes([byte]))
        for byte in answered:
            talk.answers(bytes([byte]))
    assert outcome(talk) == outcome(held(10_000, 10_000))
