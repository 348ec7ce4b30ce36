"""One small database as the analysis knows it, and what its columns hold."""

from agent.core.sql import Catalogue

_TABLES = {
    "public.customers": "id name email ssn phone data notes",
    "public.orders": "id customer_id total note",
    "public.accounts": "id owner balance",
    "public.events": "id kind body",
    "public.events_2026": "id kind body",
    "hr.salaries": "id employee amount",
    "hr.customers": "id name",
}
_VIEWS = {
    "public.contacts": ("id name address", "SELECT customers.id, customers.name, customers.email FROM public.customers"),
    "public.contact_list": (
        "id line",
        "SELECT c.id, ((c.name || ' '::text) || lower(c.address)) FROM public.contacts c WHERE (c.id > 0)",
    ),
    "public.totals": ("customer_id sum", "SELECT o.customer_id, sum(o.total) AS sum FROM public.orders o GROUP BY o.customer_id"),
}
_PLPGSQL = (
    "CREATE OR REPLACE FUNCTION public.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql AS $function${body}$function$"
)


def _plpgsql(name: str, arguments: str, returns: str, body: str, names: tuple[str, ...] = ()) -> tuple[object, ...]:
    definition = _PLPGSQL.format(name=name, arguments=arguments, returns=returns, body=body)
    return ("public", name, arguments, "plpgsql", "v", body, "f", names, definition, None, ())


def _sql(name: str, arguments: str, body: str, names: tuple[str, ...] = (), kind: str = "f") -> tuple[object, ...]:
    return ("public", name, arguments, "sql", "v", body, kind, names, "", None, ())


def _c(name: str, volatility: str, schema: str = "public") -> tuple[object, ...]:
    return (schema, name, "text", "c", volatility, "", "f", (), "", None, ())


_FUNCTIONS = [
    _sql("get_ssn", "integer", "SELECT ssn FROM public.customers WHERE id = $1"),
    _sql("named", "wanted integer", "SELECT c.ssn FROM public.customers c WHERE c.id = wanted", ("wanted",)),
    _sql("modern", "x integer", "BEGIN ATOMIC SELECT c.ssn FROM public.customers c WHERE (c.id = modern.x); END", ("x",)),
    _sql("returned", "x integer", "RETURN (SELECT customers.ssn FROM public.customers WHERE (customers.id = x))", ("x",)),
    _sql("purge", "", "DELETE FROM public.customers"),
    _sql("add_one", "integer", "SELECT $1 + 1"),
    _sql("all_customers", "", "SELECT * FROM public.customers"),
    _sql("outer_purge", "", "SELECT public.purge()"),
    _sql("forever", "", "SELECT public.forever()"),
    _sql("tidy", "", "DELETE FROM public.events WHERE id < 0", kind="p"),
    _plpgsql("run", "command text", "void", "BEGIN EXECUTE command; END", ("command",)),
    _plpgsql("wipe", "", "void", "BEGIN DELETE FROM public.customers; END"),
    _plpgsql("look", "which integer", "text", "DECLARE f text; BEGIN SELECT ssn INTO f FROM customers; RETURN f; END",
             ("which",)),
    _plpgsql("square", "x integer", "integer", "BEGIN RETURN x * x; END", ("x",)),
    _sql("keep", "text", "INSERT INTO public.orders (note) VALUES ($1)"),
    _plpgsql("keep_too", "what text", "void", "DECLARE v text; BEGIN v := what; INSERT INTO orders (note) VALUES (v); END",
             ("what",)),
    _plpgsql("keep_loud", "x integer", "void", "DECLARE v text; BEGIN v := get_ssn(x); INSERT INTO orders (note) VALUES (v); END",
             ("x",)),
    _plpgsql("tell", "what text", "integer", "BEGIN RAISE NOTICE 'it is %', what; RETURN 1; END", ("what",)),
    _plpgsql("opened", "q text", "text", "DECLARE c refcursor; r text; BEGIN OPEN c FOR EXECUTE q; FETCH c INTO r; RETURN r; END",
             ("q",)),
    _plpgsql("looped", "q text", "text", "DECLARE r record; BEGIN FOR r IN EXECUTE q LOOP RETURN r::text; END LOOP; END", ("q",)),
    _plpgsql("queried", "q text", "SETOF text", "BEGIN RETURN QUERY EXECUTE q; END", ("q",)),
    _plpgsql("by_cursor", "", "text",
             "DECLARE c CURSOR FOR SELECT ssn FROM customers; v text; BEGIN OPEN c; FETCH c INTO v; RETURN v; END"),
    _plpgsql("loud_line", "x integer", "SETOF text", "BEGIN RETURN QUERY SELECT get_ssn(x); END", ("x",)),
    _plpgsql("nested_purge", "", "void", "BEGIN IF true THEN PERFORM outer_purge(); END IF; END"),
    _plpgsql("nested_square", "", "integer", "BEGIN IF true THEN RETURN square(2); END IF; RETURN 0; END"),
    _plpgsql("walks", "", "refcursor", "DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, name FROM customers; RETURN c; END"),
    _plpgsql("walks_along", "x integer", "refcursor",
             "DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, name || x FROM customers WHERE id > x; RETURN c; END", ("x",)),
    _plpgsql("walks_loud", "", "refcursor",
             "DECLARE c refcursor; BEGIN OPEN c FOR SELECT id, ssn || '' FROM customers; RETURN c; END"),
    _plpgsql("walks_as", "c refcursor", "refcursor", "BEGIN OPEN c FOR SELECT ssn || '' FROM customers; RETURN c; END", ("c",)),
    _plpgsql("walks_bound", "", "refcursor",
             "DECLARE c CURSOR FOR SELECT id, reverse(ssn) FROM customers; BEGIN OPEN c; RETURN c; END"),
    _plpgsql("walks_variable", "", "refcursor", "DECLARE c refcursor; v text; BEGIN SELECT ssn INTO v FROM customers;"
             " OPEN c FOR SELECT id, v FROM orders; RETURN c; END"),
    _plpgsql("walks_text", "q text", "refcursor", "DECLARE c refcursor; BEGIN OPEN c FOR EXECUTE q; RETURN c; END", ("q",)),
    _plpgsql("walks_both", "loud boolean", "refcursor", "DECLARE c refcursor; BEGIN IF loud THEN OPEN c FOR SELECT id, ssn FROM"
             " customers; ELSE OPEN c FOR SELECT id, name FROM customers; END IF; RETURN c; END", ("loud",)),
    _plpgsql("reads_from", "c refcursor", "text", "DECLARE v text; BEGIN FETCH c INTO v; RETURN v; END", ("c",)),
    _plpgsql("reads_own", "", "text", "DECLARE c refcursor; v text; BEGIN c := walks_loud(); FETCH c INTO v; RETURN v; END"),
    _plpgsql("reads_own_name", "", "text", "DECLARE c refcursor; v text; BEGIN c := walks(); FETCH c INTO v; RETURN v; END"),
    _sql("declares", "", "DECLARE c CURSOR FOR SELECT ssn || '' FROM public.customers; SELECT 'c'::text"),
    _sql("prepares", "", "PREPARE p AS SELECT ssn || '' FROM public.customers; SELECT 'p'::text"),
    ("public", "gather", "integer", "internal", "i", "", "a", (), "", None, ("public.purge", "pg_catalog.int4pl")),
    ("public", "heap", "integer", "internal", "i", "", "a", (), "", None, ("pg_catalog.int4pl",)),
    _c("dblink", "v"), _c("dblink_exec", "v"), _c("uuid_generate_v4", "v"), _c("similarity", "i"), _c("mystery", "v"),
    _c("xpath_table", "s"), _c("crosstab", "s"), _c("pg_file_write", "v"), _c("get_raw_page", "v"), _c("unaccent", "s"),
    ("public", "interpreted", "", "plpython3u", "v", "import os", "f", (), "", None, ()),
    ("public", "lower", "integer", "sql", "v", "DELETE FROM public.accounts RETURNING owner", "f", (), "", None, ()),
]  # fmt: skip

CATALOGUE = Catalogue.build(
    relations=[
        *((*name.split("."), "r", name == "public.events_2026", None) for name in _TABLES),
        *((*name.split("."), "v", False, definition) for name, (_, definition) in _VIEWS.items()),
        ("public", "badges", "r", False, None),
        ("public", "abroad", "f", False, None),
        ("public", "numbers", "S", False, None),
        ("public", "broken", "v", False, None),
    ],
    columns=[
        *(
            (*table.split("."), column, number, 25)
            for table, columns in [*_TABLES.items(), *((view, columns) for view, (columns, _) in _VIEWS.items())]
            for number, column in enumerate(columns.split(), 1)
        ),
        ("public", "badges", "id", 1, 23, None),
        ("public", "badges", "number", 2, 25, None),
        ("public", "badges", "reversed", 3, 25, "reverse(number)"),
        ("public", "badges", "label", 4, 25, "(id)::text"),
        ("public", "abroad", "id", 1, 23),
        ("public", "abroad", "payload", 2, 25),
        ("public", "numbers", "last_value", 1, 20),
        ("public", "broken", "id", 1, 20),
    ],
    inherits=[("public", "events_2026", "public", "events")],
    functions=_FUNCTIONS,
    operators=[("public", "<%", "public", "similarity"), ("public", "<!>", "public", "purge")],
    search_path=("public",),
    user="ann",
)

TAGS = {
    "public.customers.email": "email",
    "public.customers.ssn": "ssn",
    "public.customers.phone": "phone",
    "public.customers.data": "profile",
    "public.badges.number": "ssn",
    "public.events.body": "body",
    "hr.salaries.amount": "salary",
}
