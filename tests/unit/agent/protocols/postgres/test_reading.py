"""What a transcript may hold of statements that are one but for constants: the same whether all are looked through or one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.sql import Session, literals
from agent.core.sql.shapes import shape
from agent.protocols.postgres.classify import Meaning
from agent.protocols.postgres.reading import SessionMasks, make_classifier, make_masks
from agent.protocols.postgres.snapshot import Snapshot
from chalicelib.contracts.gateway import Login, Target
from tests.bypass.sql.database import CATALOGUE
from tests.fakes.agent_runtime import FakeServing, make_claims, make_policy

TARGET = Target(
    name="prod-db",
    protocol="postgres",
    agent="vpc-a",
    address="127.0.0.1:5432",
    logins={"app": Login(credential="app")},
    default_login="app",
    options={"columns": ["public.customers.email=email", "public.customers.ssn=ssn"]},
)
KNOWN = Snapshot(CATALOGUE, {}, 0)
#: Beside a column of a hidden class, beside others, in what is changed, and in what is asked below.
TEXTS = [
    "SELECT * FROM customers",
    "SELECT email FROM customers WHERE id = {}",
    "SELECT email FROM customers WHERE id > {} AND id < {};",
    "SELECT email FROM customers WHERE ssn = {}",
    "SELECT id FROM customers WHERE email = {} AND id = {}",
    "UPDATE customers SET email = {} WHERE id = {}",
    "UPDATE customers SET name = {} WHERE id = {} RETURNING email",
    "DELETE FROM customers WHERE id = {} AND ssn <> {}",
    "SELECT email FROM customers WHERE id = (SELECT id FROM customers WHERE ssn = {} )",
    "SELECT count(*) FROM customers WHERE id = {} GROUP BY email",
]
CONSTANTS = st.one_of(
    st.integers(0, 10**17).map(str),
    st.sampled_from(["4111111111111111", "'123-45-6789'", "'alice@example.com'", "'x'", "''", "1e5"]),
)


def masks_and_reading() -> tuple[SessionMasks, Callable[[str], Meaning]]:
    async def serving() -> FakeServing:
        policy = make_policy('permit(principal, action == Action::"run", resource);', target=TARGET)
        return FakeServing(policy=policy, target=TARGET, claims=make_claims(target=TARGET.name))

    session = asyncio.run(serving())
    classifier = make_classifier(session, KNOWN)
    return make_masks(session, lambda: KNOWN), lambda text: classifier.read(text.encode(), Session()).statements[0]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(TEXTS), st.lists(st.tuples(CONSTANTS, CONSTANTS), min_size=2, max_size=4))
def test_what_is_known_of_one_holds_for_its_like(text: str, constants: list[tuple[str, str]]) -> None:
    masks, read = masks_and_reading()
    texts = [text.format(*each) for each in constants]
    alike = [each for each in texts if each == texts[0] or (shape(each) is not None and shape(each) == shape(texts[0]))]
    words = masks.words(read(texts[0]))
    for each in (*alike, *alike):
        meaning = read(each)
        assert words.text(meaning.text) == masks.recorded(meaning.text, (), meaning)[0]


@pytest.mark.parametrize(("text", "looks"), [(TEXTS[0], 1), (TEXTS[1], 1), (TEXTS[3], 3)])
def test_only_constants_beside_hidden_columns_are_looked_for_again(
    text: str, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, read = masks_and_reading()
    seen: list[str] = []
    find = literals.find
    monkeypatch.setattr(literals, "find", lambda text, *rest: seen.append(text) or find(text, *rest))
    words = masks.words(read(text.format(1)))
    for number in (1, 1, 2, 2, 3, 3):
        words.text(text.format(number))
    assert len(seen) == looks


def test_where_nothing_hidden_is_compared_a_number_is_no_part_of_a_secret() -> None:
    masks, read = masks_and_reading()
    assert masks.words(read(TEXTS[1].format(7))).steady("SELECT email FROM customers WHERE id = ", "")
    assert not masks.words(read(TEXTS[3].format(7))).steady("SELECT email FROM customers WHERE ssn = ", "")
