"""The short road of repeated statements: the same as the long one, to the byte, whatever is said and however it arrives."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.protocols.postgres import messages
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    BOUND,
    FLUSH,
    IDLE,
    IN_BLOCK,
    NO_DATA,
    PARSED,
    SYNC,
    Conversation,
    bind,
    close,
    columns,
    complete,
    describe,
    execute,
    parse,
    query,
    row,
)
from tests.unit.agent.protocols.postgres.two_roads import HOW, NOTICE, read_twice, state

_TEXTS = [
    "SELECT 1",
    "SELECT 22",
    "SELECT forbidden",
    "SELECT open",
    "SELECT open 1",
    "SELECT openly",
    "SELECT seen",
    "SELECT seen 1",
    "SELECT seen 12",
    "INSERT hunter2",
    "BEGIN",
    "END",
    "SELECT fails",
    "SET search_path TO a",
    "",
]
_VALUES = st.sampled_from([b"1", b"hunter2", b"forbidden", None])
_NAMES = st.sampled_from(["", "s", "s"])
_ROUND = st.builds(
    lambda name, value, asks: bind("", name, value) + (describe("P") if asks else b"") + execute() + SYNC,
    _NAMES, _VALUES, st.booleans(),
)  # fmt: skip
_UNNAMED = st.builds(
    lambda text, value, asks: parse("", text) + bind("", "", value) + (describe("P") if asks else b"") + execute() + SYNC,
    st.sampled_from(_TEXTS), _VALUES, st.booleans(),
)  # fmt: skip
_SAID = st.one_of(
    _ROUND,
    _ROUND,
    _UNNAMED,
    st.sampled_from(_TEXTS).map(query),
    st.builds(lambda text: parse("s", text) + describe("S", "s") + SYNC, st.sampled_from(_TEXTS)),
    st.sampled_from(
        [
            SYNC,
            FLUSH,
            execute() + SYNC,
            describe("P") + execute() + SYNC,
            describe("S") + SYNC,
            close("S", "s") + SYNC,
            close("P", "") + SYNC,
            query("SELECT 1")[:4],
            bind("", "s", b"1"),
            SYNC * 2,
        ]
    ),
)
_STEPS = st.lists(st.tuples(_SAID, HOW, st.integers(0, 400)), max_size=14)


@settings(max_examples=400, deadline=None)
@given(_STEPS, st.sampled_from([(), (ALLOW,), ("forbid(principal, action, resource);",)]), st.booleans())
def test_both_roads_lead_to_the_same(steps: list[tuple[bytes, str, int]], later: tuple[str, ...], originals: bool) -> None:
    short, long, _ = read_twice(steps, later=later, talks=partial(Conversation, originals=originals))
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]


_AGAIN = st.one_of(_UNNAMED, _ROUND, st.just(query("SELECT 1")))


@settings(max_examples=150, deadline=None)
@given(_STEPS, _AGAIN, st.booleans(), st.booleans())
def test_repeats_between_other_things(steps: list[tuple[bytes, str, int]], again: bytes, block: bool, originals: bool) -> None:
    """The same as above, with one thing said so often that it is known."""
    begin = [(parse("s", "SELECT 22") + describe("S", "s") + SYNC, "whole", 0), (query("BEGIN"), "whole", 0)][: 1 + block]
    mixed = begin + [(again, "whole", 0)] * 3 + [each for step in steps for each in ((again, step[1], step[2]), step)]
    short, long, _ = read_twice(mixed, talks=partial(Conversation, originals=originals))
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "said",
    [
        bind("", "s", b"hunter2") + describe("P") + execute() + SYNC,
        bind("", "s", b"hunter2") + execute() + SYNC,
        parse("", "SELECT 22") + bind("", "", b"1") + describe("P") + execute() + SYNC,
        parse("", "INSERT x") + bind("", "", None) + describe("P") + execute() + SYNC,
        query("SELECT 22"),
        query("INSERT x"),
    ],
)
@pytest.mark.parametrize("block", [False, True])
def test_what_is_asked_for_the_third_time_goes_the_short_road(said: bytes, block: bool) -> None:
    begin = [(parse("s", "SELECT 22") + describe("S", "s") + SYNC, "whole", 0), (query("BEGIN"), "whole", 0)][: 1 + block]
    short, long, taken = read_twice(begin + [(said, "whole", 0)] * 4)
    assert taken >= 2
    assert state(short) == state(long)
    assert b"hunter2" not in short.client + short.lines
    assert sum(msgspec.json.decode(line).get("event") == "done" for line in short.lines.splitlines()) == 4 + block


@pytest.mark.parametrize("asks", [b"", describe("P")])
@pytest.mark.parametrize("prepares", [False, True])
def test_a_portal_of_an_open_block_can_be_asked_for_again(asks: bytes, prepares: bool) -> None:
    """It was left behind by a repeated statement, and only the long road can run it once more."""
    said = (parse("", "SELECT 22") + bind("", "", b"1") if prepares else bind("", "s", b"1")) + asks + execute() + SYNC
    begin = [parse("s", "SELECT 22") + describe("S", "s") + SYNC, parse("", "SELECT 22") + describe("S") + SYNC, query("BEGIN")]
    steps = [*begin, said, said, said, said, execute() + SYNC, describe("P") + execute() + SYNC, query("END"), execute() + SYNC]
    short, long, taken = read_twice([(each, "whole", 0) for each in steps])
    assert (taken >= 2) == bool(asks or not prepares)
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]
    assert sum(each["event"] == "continued" for each in short.record) == 2


def test_a_policy_that_forbids_is_heard_between_two_rounds() -> None:
    said = bind("", "s", b"1") + describe("P") + execute() + SYNC
    steps = [(parse("s", "SELECT 22") + SYNC, "whole", 0)] + [(said, "whole", 0)] * 7
    short, long, taken = read_twice(steps, later=("forbid(principal, action, resource);",))
    assert taken
    assert short.denied == 4
    assert state(short) == state(long)


@pytest.mark.parametrize("second", ["secret", "b", "seen"])
@pytest.mark.parametrize(
    "answer",
    [
        BOUND + columns("a", "secret") + row(b"1", b"hunter2") + messages.message("C", b"") + IDLE,
        BOUND + columns("a", "secret") + b"C\0\0\0\0" + IDLE,
        BOUND + columns("a", "secret") + row(b"1", IDLE),
        BOUND + NO_DATA + row(b"1", b"hunter2") + complete("SELECT 1") + IDLE,
        BOUND + b"T\0\0\0\0" + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + complete("SELECT 1") + IDLE + IDLE,
        BOUND + columns("a", "secret") + row(b"1") + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"2", b"3") + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"\xff") + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + row(b"1", None) + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"2") * 9 + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"x" * 5_000) + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + b"D\0\0\0\x0e\0\2\0\0\0\0\xff\xff\xff\xfe" + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + b"D\0\0\0\x0e\0\2\0\0\0\0\0\0\0\1" + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + b"D\0\0\0\x0f\0\2\0\0\0\0\0\0\0\0x" + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + b"D\0\0\0\x06\0\2" + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + b"D\0\0\0\5\0" + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"2") + complete("SELECT 1")[:-1] + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"2") + complete("SELECT 1") + NOTICE + IDLE,
        BOUND + columns("a", "secret") + row(b"1", b"2") + complete("SELECT 1") + IN_BLOCK,
        columns("a", "secret") + row(b"1", b"hunter2") + complete("SELECT 1") + IDLE,
        BOUND + columns("a", "secret") + complete("x" * 5_000) + IDLE,
        IDLE,
        b"Z",
    ],
)
def test_answers_out_of_order_end_as_they_always_did(answer: bytes, second: str) -> None:
    said = bind("", "s", b"1") + describe("P") + execute() + SYNC
    right = BOUND + columns("a", second) + row(b"0", b"0") + complete("SELECT 1") + IDLE
    answer = answer.replace(columns("a", "secret"), columns("a", second))
    found = []
    for takes_short in (True, False):
        talk = Conversation()
        if not takes_short:
            talk.engine.repeats.asked = lambda data, now_ms: None  # type: ignore[method-assign]
        talk.says(parse("s", "SELECT 22"), SYNC)
        talk.answers(PARSED, IDLE)
        for _ in range(3):
            talk.says(said)
            talk.answers(right)
        talk.says(said)
        assert talk.engine.repeats.under_way is takes_short
        ended: object = ""
        try:
            talk.answers(answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, it has to be the same
            ended = (type(error), getattr(error, "code", str(error)))
        found.append((state(talk), ended))
    assert found[0] == found[1]
