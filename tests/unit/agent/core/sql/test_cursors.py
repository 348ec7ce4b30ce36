"""What a FETCH may read from: cursors by name, those that routines left open, and those of triggers."""

import msgspec

from agent.core.sql import Catalogue, analyse, tagged
from agent.core.sql.catalogue import Function
from agent.core.sql.model import Opened, Session
from tests.bypass.sql.database import CATALOGUE, TAGS

FETCH = 'FETCH ALL FROM "<unnamed portal 1>"'


def plpgsql(name: str, returns: str, body: str, search_path: tuple[str, ...] | None = None) -> Function:
    definition = (
        f"CREATE OR REPLACE FUNCTION public.{name}()\n RETURNS {returns}\n LANGUAGE plpgsql\nAS $function${body}$function$"
    )
    return Function("public", name, language="plpgsql", definition=definition, search_path=search_path)


def having(*functions: Function) -> Catalogue:
    return msgspec.structs.replace(CATALOGUE, functions=CATALOGUE.functions | {each.name: (each,) for each in functions})


def fetched(before: str, catalogue: Catalogue = CATALOGUE) -> tuple[list[set[str]], bool]:
    """The classes of each column that is fetched after ``before``, and whether it is unknown."""
    found = analyse(f"{before}; {FETCH}", catalogue)
    fetch = found.statements[-1]
    return [set(each) for each in tagged(found, TAGS)[-1].outputs], "unknown" in fetch.effects


def test_columns_stay_apart_where_queries_have_the_same_number() -> None:
    assert fetched("SELECT walks_both(true)") == ([set(), {"ssn"}], False)
    assert fetched("SELECT walks(), walks_as('c')") == ([{"ssn"}], False)


def test_what_the_query_reads_is_what_the_fetch_reads() -> None:
    found = analyse(f"SELECT walks(); {FETCH}", CATALOGUE).statements[-1]
    assert (found.kind, found.tables, found.effects) == ("fetch", {"public.customers"}, {"read"})
    moved = analyse('SELECT walks_loud(); MOVE 3 IN "c"', CATALOGUE).statements[-1]
    assert (moved.kind, moved.tables, moved.outputs) == ("move", {"public.customers"}, ())


def test_a_trigger_may_have_opened_the_cursor() -> None:
    opens = "DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, NEW.ssn FROM orders; RETURN NEW; END"
    for kind in ("trigger", "event_trigger"):
        classes, unknown = fetched("SELECT walks()", having(plpgsql("fires", kind, opens)))
        assert unknown
        assert all(each == set(TAGS.values()) for each in classes)
    assert fetched("SELECT walks()", having(plpgsql("fires", "integer", opens))) == ([set(), set()], False)
    quiet = "BEGIN IF NEW.state = 'open' THEN DELETE FROM orders; END IF; RETURN NEW; END"
    assert fetched("SELECT walks()", having(plpgsql("fires", "trigger", quiet))) == ([set(), set()], False)


def test_the_query_is_read_by_the_path_that_it_was_opened_with() -> None:
    opens = "DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, name FROM customers; RETURN c; END"
    other = having(plpgsql("elsewhere", "refcursor", opens, ("hr",)))
    found = analyse(f"SELECT elsewhere(); {FETCH}", other).statements[-1]
    assert found.tables == {"hr.customers"}
    found = analyse(f"SELECT walks(); SET search_path = hr; {FETCH}", CATALOGUE).statements[-1]
    assert found.tables == {"public.customers"}


def test_cursors_by_the_dozen_are_none_that_is_known() -> None:
    session = Session()
    for number in range(40):
        session = session.with_opened((Opened(f"SELECT {number}"),))
        assert session.with_opened((Opened(f"SELECT {number}"),)) is session
    assert "unknown" in analyse(FETCH, CATALOGUE, session=session).effects
    assert len(session.opened) < 40


def test_the_name_of_a_cursor_is_none_of_what_is_in_it() -> None:
    def shown(text: str, *functions: Function) -> set[str]:
        found = tagged(analyse(text, having(*functions)), TAGS)[-1]
        return set().union(*found.outputs)

    assert shown("SELECT walks_loud()") == shown("SELECT walks_bound()") == set()
    assert shown("SELECT walks_variable()") == {"ssn"}
    assert shown("SELECT reads_own()") == shown("SELECT by_cursor()") == {"ssn"}
    twice = "DECLARE c refcursor; BEGIN OPEN c FOR SELECT ssn FROM customers; RETURN QUERY SELECT ssn FROM customers; END"
    assert shown("SELECT twice()", plpgsql("twice", "SETOF text", twice)) == {"ssn"}
    loops = "DECLARE c CURSOR FOR SELECT ssn FROM customers; BEGIN FOR r IN c LOOP RETURN NEXT r.ssn; END LOOP; END"
    assert shown("SELECT loops()", plpgsql("loops", "SETOF text", loops)) == {"ssn"}
