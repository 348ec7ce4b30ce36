"""Ways around policy and masking that others have found, each through real PostgreSQL, beside an innocent twin."""

from __future__ import annotations

import pytest

from tests.integration.postgres.conftest import FORBID_DROP, RUN, Gateway

pytestmark = pytest.mark.servers

NO_UNKNOWN = 'forbid(principal, action == Action::"run", resource) when { context.effects.contains("unknown") };'
NO_WRITES = (
    '@message("Read only.") forbid(principal, action == Action::"run", resource) when { context.effects.contains("write") };'
)


@pytest.mark.parametrize("text", [
    "PREPARE p AS DELETE FROM notes; EXECUTE p;",
    "PREPARE p AS DELETE FROM notes;\nEXECUTE p;",
    "WITH gone AS (DELETE FROM notes RETURNING *) SELECT count(*) FROM gone;",
    "EXPLAIN ANALYZE DELETE FROM notes;",
    "DO $$ BEGIN EXECUTE 'DEL' || 'ETE FROM notes'; END $$;",
    "SELECT 1; DELETE FROM notes;",
    "SELECT query_to_xml('DELETE FROM notes RETURNING 1', true, true, '');",
    "BEGIN; DECLARE c CURSOR FOR SELECT id FROM notes FOR UPDATE; FETCH c; DELETE FROM notes WHERE CURRENT OF c; COMMIT;",
    "COPY notes (body) FROM STDIN;\nevil\n\\.\n",
    "/* SELECT */ DELETE FROM notes -- SELECT",
    "SELECT U&'\\0027; DELETE FROM notes; --';DELETE FROM notes;",
])  # fmt: skip
async def test_nothing_is_written_where_writing_is_forbidden(gateway: Gateway, text: str) -> None:
    gateway.rules = (RUN, NO_UNKNOWN, NO_WRITES)
    before = gateway.postgres.direct("SELECT count(*) FROM notes")
    await gateway.psql(text)
    assert gateway.postgres.direct("SELECT count(*) FROM notes") == before
    assert gateway.servings[-1].denied > 0


@pytest.mark.parametrize(("text", "out"), [
    ("PREPARE p AS SELECT 1;\nEXECUTE p;", "1\n"),
    ("WITH few AS (SELECT id FROM notes WHERE id < 2) SELECT count(*) FROM few;", "1\n"),
    ("BEGIN;\nDECLARE c CURSOR FOR SELECT id FROM notes ORDER BY id;\nFETCH c;\nCOMMIT;", "1\n"),
    ("SELECT 'DELETE FROM notes';", "DELETE FROM notes\n"),
    ("SHOW search_path;", '"$user", public\n'),
])  # fmt: skip
async def test_their_innocent_twins_work(gateway: Gateway, text: str, out: str) -> None:
    gateway.rules = (RUN, NO_UNKNOWN, NO_WRITES)
    ran = await gateway.psql(text)
    assert ran.out == out, ran


@pytest.mark.parametrize("text", [
    "SELECT * FROM customers WHERE id = 1;",
    "SELECT c.* FROM customers c JOIN notes n ON n.id = c.id WHERE c.id = 1;",
    "SELECT 'x' || ssn FROM customers WHERE id = 1;",
    "SELECT reverse(ssn) FROM customers WHERE id = 1;",
    "SELECT row_to_json(c) FROM customers c WHERE id = 1;",
    "SELECT c FROM customers c WHERE id = 1;",
    "SELECT array_agg(ssn) FROM customers WHERE id = 1;",
    "SELECT string_agg(ssn, ',') FROM customers WHERE id = 1;",
    "SELECT (SELECT ssn FROM customers WHERE id = 1);",
    "WITH a AS (SELECT ssn AS harmless FROM customers WHERE id = 1) SELECT harmless FROM a;",
    "SELECT jsonb_array_elements(jsonb_build_array(ssn)) FROM customers WHERE id = 1;",
    "SELECT jsonb_object_agg(ssn, 1) FROM customers WHERE id = 1;",
    "SELECT json_build_object(ssn, id) FROM customers WHERE id = 1;",
    "SELECT json_object(ARRAY[ssn], ARRAY['x']) FROM customers WHERE id = 1;",
    "SELECT ARRAY[jsonb_build_object('a', jsonb_build_object(ssn, 1))] FROM customers WHERE id = 1;",
    "SELECT x FROM (SELECT json_object_agg(ssn, name) AS x FROM customers WHERE id = 1) q;",
    "SELECT ('{\"' || ssn || '\": 1}')::jsonb FROM customers WHERE id = 1;",
    "SELECT jsonb_object_keys(jsonb_build_object(ssn, 1)) FROM customers WHERE id = 1;",
    "SELECT encode(convert_to(ssn, 'UTF8'), 'hex') FROM customers WHERE id = 1;",
    "SELECT ssn::int FROM customers WHERE id = 1;",
    "UPDATE customers SET name = name WHERE id = 1 RETURNING ssn;",
    "PREPARE p AS SELECT ssn FROM customers WHERE id = 1;\nEXECUTE p;",
    "BEGIN;\nDECLARE c CURSOR FOR SELECT ssn FROM customers WHERE id = 1;\nFETCH c;\nCOMMIT;",
    "COPY (SELECT ssn FROM customers WHERE id = 1) TO STDOUT;",
    "DO $$ BEGIN RAISE NOTICE '%', (SELECT ssn FROM customers WHERE id = 1); END $$;",
    "SELECT set_config('application_name', (SELECT ssn FROM customers WHERE id = 1), false);",
    "SELECT query_to_xml('SELECT ssn FROM customers WHERE id = 1', true, true, '');",
])  # fmt: skip
async def test_a_tagged_value_is_shown_on_no_road(gateway: Gateway, text: str) -> None:
    gateway.rules = (RUN, FORBID_DROP)
    ran = await gateway.psql(text)
    shown = ran.out + ran.err
    for form in ("078-05-1001", "1001-50-870", "3037382d30352d31303031"):
        assert form not in shown, ran
    assert "078-05-1001" not in str(gateway.record)


@pytest.mark.parametrize("text", [
    "CREATE TEMP TABLE harmless AS SELECT ssn AS s FROM customers;\nSELECT s FROM harmless;",
    "CREATE TEMP TABLE harmless (s text);\nINSERT INTO harmless SELECT ssn FROM customers;\nSELECT s FROM harmless;",
    "SELECT ssn AS s INTO TEMP harmless FROM customers;\nSELECT s FROM harmless;",
    "SELECT set_config('my.x', ssn, false) FROM customers WHERE id = 1;\nSELECT current_setting('my.x');",
    "SELECT set_config('application_name', ssn, false) FROM customers WHERE id = 1;\nSHOW application_name;",
    "BEGIN;\nUPDATE customers SET name = ssn;\nSELECT name FROM customers WHERE id = 1;\nROLLBACK;",
    "BEGIN;\nALTER TABLE customers RENAME ssn TO s;\nSELECT s FROM customers WHERE id = 1;\nROLLBACK;",
    "SELECT lo_from_bytea(0, convert_to(ssn, 'UTF8')) FROM customers WHERE id = 1;",
    "LISTEN c;\nSELECT pg_notify('c', ssn) FROM customers WHERE id = 1;\nSELECT 1;",
])  # fmt: skip
async def test_a_copy_without_its_tag_is_not_made_where_the_unknown_is_not_permitted(gateway: Gateway, text: str) -> None:
    gateway.rules = (RUN, NO_UNKNOWN)
    ran = await gateway.psql(text)
    assert "078-05-1001" not in ran.out + ran.err, ran
    assert "stores_tagged" in ran.err, ran
    assert gateway.servings[-1].denied > 0


@pytest.mark.parametrize(("text", "out"), [
    ("SELECT jsonb_build_object('label', ssn, 'id', id) FROM customers WHERE id = 1;", '{"id": 0, "label": "***-**-****"}\n'),
    ("SELECT to_jsonb(c)->'id', jsonb_object_keys(to_jsonb(c)) FROM customers c WHERE id = 1 LIMIT 1;", None),
    ("CREATE TEMP VIEW harmless AS SELECT ssn AS s FROM customers;\nSELECT s FROM harmless LIMIT 1;", "***-**-****\n"),
    ("CREATE TEMP TABLE harmless AS SELECT id, name FROM customers;\nSELECT name FROM harmless WHERE id = 1;", "Name 1\n"),
    ("UPDATE customers SET ssn = ssn WHERE id = 1 RETURNING id;", "1\n"),
    ("SELECT set_config('my.x', name, false) FROM customers WHERE id = 1;", "Name 1\n"),
])  # fmt: skip
async def test_the_twins_of_copies_and_of_names_in_json(gateway: Gateway, text: str, out: str | None) -> None:
    gateway.rules = (RUN, NO_UNKNOWN)
    ran = await gateway.psql(text)
    assert not ran.err, ran
    assert out is None or ran.out == out, ran


async def test_who_may_see_a_class_sees_it(gateway: Gateway) -> None:
    gateway.rules = (RUN, 'permit(principal, action == Action::"reveal", resource) when { context.data_class == "ssn" };')
    ran = await gateway.psql("SELECT ssn, mail FROM customers WHERE id = 1;")
    assert ran.out == "078-05-1001|p***@***.com\n"
