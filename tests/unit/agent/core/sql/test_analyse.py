"""What `analyse` says of whole texts, and that nothing makes it raise."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.sql import EFFECTS, FLAGS, UNKNOWN_FLAGS, Catalogue, Limits, Session, analyse, tagged
from tests.bypass.sql import test_evasions, test_ordinary
from tests.bypass.sql.database import CATALOGUE, TAGS

SEEDS = [row["evasion"] for row in test_evasions.ROWS] + [row["statement"] for row in test_ordinary.ROWS]
PIECES = sorted({piece for seed in SEEDS for piece in seed.replace("(", " ( ").replace(")", " ) ").split()})


def check(text: str) -> None:
    found = analyse(text, CATALOGUE)
    assert found.effects
    assert found.effects <= EFFECTS
    assert found.flags <= set(FLAGS)
    for statement in found.statements:
        assert statement.effects
        assert not statement.flags & UNKNOWN_FLAGS or "unknown" in statement.effects
        assert text[statement.position :].startswith(statement.text) or "parse_error" in statement.flags
    tagged(found, TAGS)
    assert analyse(text, CATALOGUE) == found


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    check(text)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_words_of_sql(words: list[str]) -> None:
    check(" ".join(words))


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(SEEDS), st.sampled_from(SEEDS), st.integers(0, 80), st.integers(0, 80), st.sampled_from(PIECES))
def test_spliced_statements(left: str, right: str, cut: int, start: int, piece: str) -> None:
    check(f"{left[:cut]} {piece} {right[start:]}")


@pytest.mark.parametrize("text", SEEDS)
def test_the_corpora(text: str) -> None:
    check(text)


def test_without_a_catalogue_everything_named_is_unknown() -> None:
    for text in ("SELECT * FROM customers", "SELECT f()", "CALL p()", "DELETE FROM t", "COPY t TO STDOUT"):
        found = analyse(text, Catalogue())
        assert "unknown" in found.effects
        assert all(column.tainted for column in found.outputs)


def test_texts_and_positions_are_exact_beyond_ascii() -> None:
    text = "/* é */ SELECT 'ü' ; \n SELECT '日本' -- x\n;;"
    found = analyse(text, CATALOGUE)
    assert [statement.text for statement in found.statements] == ["SELECT 'ü'", "SELECT '日本' -- x"]
    assert [text[one.position : one.position + len(one.text)] for one in found.statements] == [
        one.text for one in found.statements
    ]
    assert found.flags == {"multi"}


def test_nothing_is_empty() -> None:
    for text in ("", " ", ";;", "-- x", "/* x */"):
        found = analyse(text, CATALOGUE)
        assert (found.statements, found.effects, found.flags) == ((), {"read"}, {"empty"})


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("SELECT 1\x00; DROP TABLE orders", "parse_error"),
        ("SELECT '\ud800'", "parse_error"),
        ("SELEC 1", "parse_error"),
        ("SELECT '" + "x" * 4_200_000 + "'", "too_long"),
        ("SELECT " + "1," * 450_000 + "1", "too_long"),
        (";".join(["SELECT 1"] * 1_001), "too_long"),
        ("SELECT " + "1+" * 60_000 + "1", "too_deep"),
        ("SELECT 1" + " UNION SELECT 1, 1" * 40_000, "too_deep"),
        ("SELECT /* ' , */ 1" + "::int" * 60_000, "too_deep"),
        ("SELECT " + "NOT " * 5_000 + "true", "too_deep"),
        ("SELECT " + "(SELECT " * 90 + "1" + ")" * 90, "too_deep"),
        ("SELECT " + "(" * 9_000 + "1" + ")" * 9_000, "too_deep"),
    ],
)
def test_what_is_too_much_is_unknown(text: str, flag: str) -> None:
    found = analyse(text, CATALOGUE)
    assert found.effects >= {"unknown"}
    assert flag in found.flags
    assert all(column.tainted for column in found.outputs)
    assert tagged(found, TAGS)[0].probed == set(TAGS.values())


def test_a_large_insert_is_understood() -> None:
    rows = ", ".join(f"({number}, '2026-01-01 a-b-c', {number} + 1)" for number in range(5_000))
    found = analyse(f"INSERT INTO orders (id, note, total) VALUES {rows}", CATALOGUE)
    assert found.effects == {"write"}


def test_work_is_bounded_through_views_and_stars() -> None:
    crossed = "SELECT * FROM " + ", ".join(f"customers c{number}" for number in range(60))
    found = analyse(f"SELECT * FROM ({crossed}) x", CATALOGUE, limits=Limits(max_columns=300))
    assert "too_deep" in found.flags


def test_depth_and_work_are_bounded() -> None:
    assert "too_deep" in analyse("SELECT ((1 + 2) + 3) + 4", CATALOGUE, limits=Limits(max_depth=3)).flags
    assert "too_deep" in analyse("SELECT 1 + 2, 3 + 4, 5 + 6", CATALOGUE, limits=Limits(max_work=3)).flags
    assert "too_deep" in analyse("SELECT line FROM contact_list", CATALOGUE, limits=Limits(max_expansions=1)).flags
    assert "too_deep" not in analyse("SELECT line FROM contact_list", CATALOGUE, limits=Limits(max_expansions=2)).flags


def test_work_is_bounded_in_wide_scopes() -> None:
    sources = ", ".join(f"(SELECT 1 AS x{number}) c{number}" for number in range(2_000))
    found = analyse(f"SELECT {', '.join(['id'] * 2_000)} FROM {sources}, orders", CATALOGUE)
    assert "too_deep" in found.flags


def test_a_session_remembers_across_texts() -> None:
    first = analyse("PREPARE p AS SELECT ssn FROM customers", CATALOGUE)
    second = analyse("EXECUTE p", CATALOGUE, session=first.session)
    assert second.outputs[0].columns == {"public.customers.ssn"}
    third = analyse("DECLARE c CURSOR FOR SELECT name, ssn FROM customers", CATALOGUE, session=second.session)
    assert [column.name for column in analyse("FETCH 1 FROM c", CATALOGUE, session=third.session).outputs] == ["name", "ssn"]


def test_names_of_the_protocol_can_be_noted() -> None:
    session = Session().with_prepared("p", "SELECT ssn FROM customers").with_cursor("c", "SELECT name FROM customers")
    assert analyse("EXECUTE p", CATALOGUE, session=session).outputs[0].columns == {"public.customers.ssn"}
    assert analyse("FETCH c", CATALOGUE, session=session).outputs[0].columns == {"public.customers.name"}


def test_a_name_with_too_many_texts_is_opaque() -> None:
    session = Session()
    for number in range(20):
        session = session.with_prepared("p", f"SELECT {number}")
    assert "opaque" in analyse("EXECUTE p", CATALOGUE, session=session).flags


def test_the_servers_word_on_the_search_path_wins() -> None:
    after = analyse("SET search_path = hr", CATALOGUE).session
    assert "unknown" in analyse("SELECT name FROM customers", CATALOGUE, session=after).effects
    told = analyse("SELECT name FROM customers", CATALOGUE, ("hr",), session=after)
    assert told.tables == {"hr.customers"}
    assert "unknown" not in told.effects


def test_after_something_unknown_only_qualified_names_are_known() -> None:
    after = analyse("DO $$ BEGIN NULL; END $$", CATALOGUE).session
    assert after.uncertain
    assert "unknown" in analyse("SELECT note FROM orders", CATALOGUE, session=after).effects
    assert analyse("SELECT note FROM public.orders", CATALOGUE, session=after).effects == {"read"}


def test_user_in_the_search_path() -> None:
    catalogue = Catalogue.build(
        relations=[("ann", "orders", "r", False, None)], columns=[("ann", "orders", "id", 1, 23)],
        search_path=("$user", "public"), user="ann",
    )  # fmt: skip
    assert analyse("SELECT id FROM orders", catalogue).tables == {"ann.orders"}
    after = analyse("SET ROLE bob", catalogue).session
    assert "unknown" in analyse("SELECT id FROM orders", catalogue, session=after).effects
