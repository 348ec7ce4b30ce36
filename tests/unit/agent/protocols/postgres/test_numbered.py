"""Queries that differ in one number: the line of each is the one that is made of it alone, and none hides a secret."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.detectors import Detectors
from agent.core.policy import Decider
from agent.core.sql import Session, analyse
from agent.core.sql.shapes import number
from agent.protocols.postgres.classify import Classifier
from agent.protocols.postgres.forms import Form
from agent.protocols.postgres.masks import DIGITS
from agent.protocols.postgres.messages import query
from agent.protocols.postgres.numbered import Numbered, numbered
from tests.bypass.sql.database import CATALOGUE
from tests.fakes.agent_runtime import NOW_MS, make_claims, make_policy
from tests.unit.agent.protocols.postgres.conversation import ALLOW, FakeMasks

TEXTS = [
    "SELECT name FROM customers WHERE id = {}",
    "SELECT name FROM customers WHERE id={} ; ",
    "SELECT name FROM customers WHERE (id > {}) ORDER BY 1",
    "UPDATE customers SET name = 'x' || 'y' WHERE id = {};",
    "select 'x\ty', id from customers where id <= {}",
]


def form_of(text: str) -> Form:
    def read(text: str, catalogue: object, session: Session) -> object:
        return analyse(text, CATALOGUE, session=session)

    form = Form(Classifier(read, CATALOGUE).read(text.encode(), Session()), "query")  # type: ignore[arg-type]
    policy = make_policy(ALLOW)
    decider = Decider(make_claims(), lambda: policy)
    operations = form.like(form.meaning.text, ())
    form.decided([decider.decide(each, NOW_MS) for each in operations], FakeMasks())
    form.standing = decider.standing(operations)
    return form


def learned(text: str) -> Numbered:
    form = form_of(text)
    found = numbered(form, text, len(text) - len(form.meaning.text))
    assert found is not None
    return found


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("value", ["0", "7", "007", "12345678"])
def test_the_line_is_that_of_the_text_alone(text: str, value: str) -> None:
    found, said = learned(text.format(1)), text.format(value)
    data = query(said)
    assert data.startswith(found.lead, 5)
    assert data.endswith(found.tail)
    assert data[found.at : found.behind] == value.encode()
    own = found.text(data)
    assert said.startswith(own)
    assert not said[len(own) :].strip("; ")
    assert found.line(5, value.encode()) == found.form.worded(5, own)
    assert msgspec.json.decode(found.line(5, value.encode()))["text"] == own


@pytest.mark.parametrize(
    "text",
    [
        "SELECT name FROM customers WHERE id = 1 AND id < 2",
        "SELECT name FROM customers WHERE name = '1'",
        "SELECT name FROM customers LIMIT 1",
        "SELECT name FROM customers",
        "SELECT name FROM customers WHERE name = 'hunter2' AND id = 1",
    ],
)
def test_other_texts_are_looked_at_each_time(text: str) -> None:
    assert numbered(form_of(text), text, 0) is None


# fmt: off
_PIECES = st.sampled_from([
    "SELECT", " ", "=", ">", "<=", "(", ")", ",", ";", ".", "-", "+", "/", "@", "%", "and", " where ", "0", "49 ", "555", "001",
    "+1 ", "4111 1111 1111 ", "DE89 3704 ", "whsec_", "aws_secret_key", "AccountKey", "abcdefghijkl", "ab", "AKIA", "com",
    "a@example.", "returning", "\n", "078-05-", "x", "sk_live_", "'",
])
# fmt: on


_ENDS = st.sampled_from(["", ";", ")", " )", ",", " and ", " order by ", " where "])
_NUMBER = st.from_regex(rf"\A[0-9]{{1,{DIGITS}}}\Z")


@given(st.lists(_PIECES, max_size=6), st.sampled_from(["= ", "=", ">", " <="]), _ENDS, st.lists(_PIECES, max_size=6), _NUMBER)
def test_no_short_number_makes_a_secret_of_a_quiet_text(
    before: list[str], operator: str, end: str, behind: list[str], value: str
) -> None:
    lead, tail = "select a from b where c " + "".join(before) + operator, end + "".join(behind)
    zeros = lead + "0" * DIGITS + tail
    detectors = Detectors()
    if number(zeros) == (len(lead), len(lead) + DIGITS) and detectors.quiet(zeros.encode()):
        assert detectors.find(f"{lead}{value}{tail}".encode()) == []
