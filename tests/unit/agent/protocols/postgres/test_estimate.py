"""Which statements the planner is asked about, and what its answer says."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent.core.sql.model import Session
from agent.protocols.postgres import estimate
from agent.protocols.postgres.backend import Backend
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import READ, UNKNOWN, WRITE, Operation

DELETE = Operation(
    kind="query",
    text="DELETE FROM orders WHERE lower(x) = 'y'",
    effects=frozenset({READ, WRITE}),
    verbs=frozenset({"DELETE"}),
    objects=frozenset({"public.orders", "pg_catalog.lower()"}),
)
NOTHING: frozenset[str] = frozenset()


async def away(_: dict[str, str]) -> Backend:
    raise Fault("target_unreachable", "Away.")


def changed(**fields: Any) -> Operation:
    return msgspec.structs.replace(DELETE, **fields)


def test_an_ordinary_statement_is_planned() -> None:
    assert estimate.plannable(DELETE, Session(), NOTHING)
    assert estimate.plannable(changed(arguments=("NULL", "'NULL'", "4711", "a (b)")), Session(search_path=("a",)), NOTHING)


@pytest.mark.parametrize(
    "one",
    [
        changed(effects=frozenset({WRITE, UNKNOWN})),
        changed(effects=frozenset({WRITE, "execute"})),
        changed(objects=frozenset({"public.lower()"})),
        changed(objects=frozenset({"orders", "lower()"})),
        changed(action="transfer"),
        *(
            changed(flags=frozenset({flag}))
            for flag in ("dynamic", "opaque", "network", "select_into", "unknown_function", "temp")
        ),
        changed(arguments=("\\xdead (2 bytes, type 17)",)),
        changed(arguments=("aaaa… (2000 bytes, sha256 00)",)),
        changed(arguments=("a\0b",)),
    ],
)
def test_what_may_do_something_or_is_not_exactly_known_is_not_planned(one: Operation) -> None:
    assert not estimate.plannable(one, Session(), NOTHING)


@pytest.mark.parametrize(
    "session",
    [Session(uncertain=True), Session(changed=frozenset({"orders"})), Session(earlier=frozenset({("a",)}))],
)
def test_what_only_the_session_sees_is_not_planned_elsewhere(session: Session) -> None:
    assert not estimate.plannable(DELETE, session, NOTHING)
    assert not estimate.plannable(DELETE, Session(), frozenset({"orders"}))


@pytest.mark.parametrize("verbs", [set(), {"DROP"}, {"DELETE", "CREATE TABLE"}, {"EXPLAIN"}, {"EXECUTE"}, {"CALL"}])
async def test_what_is_not_about_rows_has_no_estimate(verbs: set[str]) -> None:
    assert await estimate.facts(changed(verbs=frozenset(verbs)), Session(), NOTHING, away) == []


async def test_a_server_that_cannot_be_asked_is_no_error() -> None:
    assert await estimate.facts(DELETE, Session(), NOTHING, away) == [estimate.NOT_KNOWN]


def modify(*feeds: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Node Type": "ModifyTable", "Operation": "Update", "Plan Rows": 0, "Plans": list(feeds), **more}


def feed(rows: int, kind: str = "Outer", **more: Any) -> dict[str, Any]:
    return {"Node Type": "Seq Scan", "Plan Rows": rows, "Parent Relationship": kind, **more}


@pytest.mark.parametrize(
    ("plan", "rows"),
    [
        ({"Node Type": "Seq Scan", "Plan Rows": 7}, 7),
        (modify(feed(120_000)), 120_000),
        (modify(feed(3, "Member"), feed(4, "Member")), 7),
        (modify(feed(5), feed(999, "InitPlan"), feed(999, "SubPlan")), 5),
        ({"Node Type": "CTE Scan", "Plan Rows": 1, "Plans": [modify(feed(9), **{"Parent Relationship": "InitPlan"})]}, 9),
    ],
)
def test_the_rows_of_a_plan(plan: dict[str, Any], rows: int) -> None:
    assert estimate.rows([{"Plan": plan}]) == rows


@pytest.mark.parametrize(
    "plan", [None, [], {}, [{}], [{"Plan": {}}], [{"Plan": 3}], "x", [{"Plan": {"Node Type": "ModifyTable"}}]]
)
def test_what_is_no_plan_is_refused(plan: Any) -> None:
    with pytest.raises(ValueError):
        estimate.rows(plan)


def test_the_sentence() -> None:
    assert estimate.said(1) == "EXPLAIN estimates 1 row."
    assert estimate.said(120_000) == "EXPLAIN estimates 120,000 rows."
