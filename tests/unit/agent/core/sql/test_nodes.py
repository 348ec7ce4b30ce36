"""Every kind of node that the parser knows is handled, or deliberately opaque; what is opaque ends in `unknown`."""

from typing import Any

import pytest

from agent.core.sql import nodes
from agent.core.sql.findings import Findings
from agent.core.sql.grammar import postgast
from agent.core.sql.model import ANYTHING, Limits, Session
from agent.core.sql.scope import Scope
from agent.core.sql.utilities import UNDERSTOOD, Utilities
from tests.bypass.sql.database import CATALOGUE

NODE = postgast.pg_query_pb2.Node
FIELDS = {field.name: field.message_type.name for field in NODE.DESCRIPTOR.fields}
SETS = [nodes.TRANSPARENT, nodes.TESTS, nodes.EXPRESSIONS, nodes.ITEMS, nodes.QUERIES, nodes.PARTS, nodes.OPAQUE]


def walk() -> Utilities:
    return Utilities(Findings(CATALOGUE, Session(), CATALOGUE.path(("public",)), Limits()))


def made(field: str) -> Any:
    node = NODE()
    getattr(node, field).SetInParent()
    return node


def test_every_kind_is_in_exactly_one_place() -> None:
    statements = {FIELDS[field] for field in UNDERSTOOD} - nodes.QUERIES
    places = [*SETS, statements]
    for kind in FIELDS.values():
        assert sum(kind in place for place in places) == 1, kind


def test_no_set_names_a_kind_that_does_not_exist() -> None:
    messages = {message.name for message in postgast.pg_query_pb2.DESCRIPTOR.message_types_by_name.values()}
    assert set().union(*SETS) <= messages
    assert set(FIELDS) >= UNDERSTOOD


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_an_expression_of_a_kind_that_is_no_expression_is_unknown(field: str) -> None:
    if FIELDS[field] in nodes.TRANSPARENT | nodes.TESTS | nodes.EXPRESSIONS:
        return
    unit = walk()
    assert unit.expression(made(field), Scope()) == ANYTHING
    assert "opaque" in unit.findings.flags


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_a_statement_of_a_kind_that_is_no_statement_is_unknown(field: str) -> None:
    if field in UNDERSTOOD:
        return
    unit = walk()
    rows = unit.statement(made(field), Scope())
    assert rows.everything() == ANYTHING
    assert "unknown" in unit.findings.finished_effects()


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_a_from_item_of_a_kind_that_is_none_is_unknown(field: str) -> None:
    if FIELDS[field] in nodes.ITEMS:
        return
    unit = walk()
    assert unit.item(made(field), Scope()).star.everything() == ANYTHING
    assert "opaque" in unit.findings.flags
