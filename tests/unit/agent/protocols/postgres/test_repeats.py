"""The short road of repeated statements: the same as the long one, to the byte, whatever is said and however it arrives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.sql import Session, analyse
from agent.core.sql.catalogue import Catalogue
from agent.core.sql.model import Analysis
from agent.protocols.postgres import messages
from chalicelib.contracts.faults import Fault
from tests.bypass.sql.database import CATALOGUE
from tests.fakes.agent_runtime import make_policy
from tests.unit.agent.protocols.postgres.conversation import (
    ALLOW,
    BOUND,
    FAILED,
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
    error,
    execute,
    parse,
    query,
    row,
)

NOTICE = messages.fields("N", {"S": "NOTICE", "M": "hunter2 was here"})


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
_HOW = st.sampled_from(["whole", "whole", "whole", "split", "notice", "late", "large"])
_STEPS = st.lists(st.tuples(_SAID, _HOW, st.integers(0, 400)), max_size=14)


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


# -- texts that differ in their constants, as the real analysis reads them ---------------------------------------------------


def _read(text: str, catalogue: Catalogue, session: Session) -> Analysis:
    return analyse(text, catalogue, session=session)


def with_sql(*rules: str, originals: bool = False) -> Conversation:
    return Conversation(*rules, read=_read, catalogue=CATALOGUE, originals=originals)


def sealed() -> Conversation:
    return with_sql(originals=True)


def seen_by_text() -> Conversation:
    return with_sql(ALLOW, 'forbid(principal, action, resource) when { context.text like "*= 7*" };')


def seen_by_clock() -> Conversation:
    return with_sql(ALLOW, "forbid(principal, action, resource) when { context.hour == 25 };")


_SHAPED = [
    "SELECT name FROM customers WHERE id = {}",
    "SELECT name FROM customers WHERE id = {};",
    "SELECT name FROM customers WHERE id = {} AND id > {} ;",
    "SELECT name FROM customers WHERE name = 'hunter2' AND id = {}",
    "SELECT name FROM customers WHERE name = '{}'",
    "SELECT id + {} FROM customers",
    "UPDATE customers SET name = 'x' WHERE id = {}",
    "DELETE FROM customers WHERE id = {}",
    "SELECT name FROM nowhere WHERE id = {}",
    "SELECT name FROM customers WHERE id = {}; SELECT 1",
    "SELECT name FROM customers WHERE id = {} AND name = 'names'",
    "SELECT name FROM customers WHERE id = {} AND name = 'client_encoding'",
    "SELECT name FROM customers WHERE id = {} and",
]
_NUMBERS = st.sampled_from([0, 7, 12, 123456, 4111111111111111, 10**30])
_ASKED = st.builds(lambda text, one, two: query(text.format(one, two)), st.sampled_from(_SHAPED), _NUMBERS, _NUMBERS)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(_ASKED, _HOW, st.integers(0, 400)), max_size=16),
    st.sampled_from([with_sql, sealed, seen_by_text, seen_by_clock]),
    st.sampled_from([(), (ALLOW,), ("forbid(principal, action, resource);",)]),
)
def test_both_roads_lead_to_the_same_with_texts_of_one_shape(
    steps: list[tuple[bytes, str, int]], talks: Callable[[], Conversation], later: tuple[str, ...]
) -> None:
    short, long, _ = read_twice(steps, later=later, talks=talks)
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]


_PREPARED = st.builds(
    lambda number, asks: bind("", "s", b"%d" % number) + (describe("P") if asks else b"") + execute() + SYNC,
    _NUMBERS,
    st.booleans(),
)


@st.composite
def _cut(draw: st.DrawFn) -> list[tuple[bytes, str, int]]:
    """One statement said often enough to be known, then a pipeline of it and others, cut at any places."""
    again = draw(st.one_of(_ASKED, _PREPARED))
    others = st.sampled_from([query("BEGIN"), query("END"), execute() + SYNC])
    said = b"".join(draw(st.lists(st.one_of(st.just(again), _ASKED, _PREPARED, others), min_size=1, max_size=6)))
    cuts = sorted(draw(st.sets(st.integers(1, len(said)), max_size=4)))
    reads = [said[start:end] for start, end in zip([0, *cuts], [*cuts, len(said)], strict=True) if start < end]
    known = [parse("s", "SELECT name FROM customers WHERE id = $1") + describe("S", "s") + SYNC, again, again, again]
    known += [query("BEGIN"), again] if draw(st.booleans()) else []
    return [(each, "whole", 0) for each in known] + [(each, draw(_HOW), draw(st.integers(0, 400))) for each in [*reads, again]]


@settings(max_examples=150, deadline=None)
@given(_cut(), st.sampled_from([with_sql, sealed, seen_by_text, seen_by_clock]))
def test_both_roads_lead_to_the_same_for_pipelines_cut_anywhere(
    steps: list[tuple[bytes, str, int]], talks: Callable[[], Conversation]
) -> None:
    short, long, _ = read_twice(steps, talks=talks)
    assert state(short) == state(long)
    assert short.fault == long.fault  # type: ignore[attr-defined]


def test_numbers_too_long_to_be_of_no_kind_are_looked_at() -> None:
    """A number of nine digits and more goes by the text's own way: as a card would, it may have to be left out."""
    steps = [
        (query(f"SELECT name FROM customers WHERE id = {number}"), "whole", 0) for number in (1, 2, 3, 12345678, 123456789, 4)
    ]
    short, long, taken = read_twice(steps, talks=with_sql)
    assert taken == 4
    known = [each for each in short.engine.repeats._numbered.values() if each is not None]
    assert [each.lead for each in known] == [b"SELECT name FROM customers WHERE id = "]
    assert state(short) == state(long)


@pytest.mark.parametrize("talks", [with_sql, seen_by_text, seen_by_clock])
@pytest.mark.parametrize("text", [_SHAPED[0], _SHAPED[2], _SHAPED[3], _SHAPED[4], _SHAPED[6]])
def test_texts_that_differ_in_numbers_go_the_short_road(text: str, talks: Callable[[], Conversation]) -> None:
    steps = [(query(text.format(number, number)), "whole", 0) for number in (1, 22, 333, 4, 5)]
    short, long, taken = read_twice(steps, talks=talks)
    assert taken == 3
    assert state(short) == state(long)
    kept = [each["text"] for each in short.record if each["event"] == "operation"]
    assert [each.count("333") for each in kept] == [0, 0, text.count("{}"), 0, 0]


def test_a_number_that_policy_looks_for_is_found_on_the_short_road() -> None:
    steps = [(query(f"SELECT name FROM customers WHERE id = {number}"), "whole", 0) for number in (1, 2, 3, 7, 4)]
    short, long, taken = read_twice(steps, talks=seen_by_text)
    assert taken == 2
    assert short.denied == 1
    assert state(short) == state(long)


def test_a_newer_catalogue_is_read_before_anything_is_repeated() -> None:
    talk = with_sql()
    said = query("SELECT name FROM customers WHERE id = 1")
    answer = columns("a", "secret") + complete("SELECT 0") + IDLE
    for _ in range(3):
        talk.says(said)
        talk.answers(answer)
    talk.classifier.adopt(CATALOGUE)
    talk.says(said)
    assert not talk.engine.repeats.under_way
