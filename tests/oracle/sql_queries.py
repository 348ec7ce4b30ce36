"""Random queries and changes, grown over a small schema whose tagged columns hold marker values."""

import random
from collections.abc import Iterator

SCHEMA = """
CREATE SCHEMA app; CREATE SCHEMA other; CREATE SEQUENCE app.numbers;
CREATE TABLE app.customers (id int PRIMARY KEY, name text, email text, ssn text, data jsonb, extra text[],
  digest text GENERATED ALWAYS AS (reverse(reverse(left(ssn, 30)))) STORED);
CREATE TABLE app.orders (id int PRIMARY KEY, customer_id int, note text, total int, secret text);
CREATE TABLE other.customers (id int PRIMARY KEY, name text, ssn text);
CREATE TABLE app.events (id int, kind text, body text, created date) PARTITION BY RANGE (id);
CREATE TABLE app.events_low PARTITION OF app.events FOR VALUES FROM (0) TO (3);
CREATE TABLE app.events_high PARTITION OF app.events FOR VALUES FROM (3) TO (100);
CREATE TABLE app.people (id int, name text, passport text);
CREATE TABLE app.staff (badge text) INHERITS (app.people);
INSERT INTO app.customers SELECT i, 'name' || i, 'xEMAILx' || i || '@example.org', 'xSSNx' || i,
  jsonb_build_object('id', i, 'phone', 'xPHONEx' || i, 'list', jsonb_build_array('xPHONEx' || i, i)), ARRAY['xEXTRAx' || i, 'b']
  FROM generate_series(1, 5) i;
INSERT INTO app.orders SELECT i, 1 + i % 5, 'note' || i, i * 10, 'xSECRETx' || i FROM generate_series(1, 8) i;
INSERT INTO other.customers SELECT i, 'other' || i, 'xOTHERx' || i FROM generate_series(1, 3) i;
INSERT INTO app.events SELECT i, 'kind', 'xBODYx' || i, DATE '2026-01-01' + i FROM generate_series(1, 6) i;
INSERT INTO app.people VALUES (1, 'ann', 'xPASSx1'); INSERT INTO app.staff VALUES (2, 'bob', 'xPASSx2', 'xBADGEx2');
CREATE VIEW app.contacts AS SELECT id, name, email AS address, left(ssn, 40) AS code FROM app.customers;
CREATE VIEW app.wide AS SELECT c.*, o.note, o.secret AS hidden FROM app.contacts c JOIN app.orders o ON o.customer_id = c.id;
CREATE MATERIALIZED VIEW app.summary AS SELECT customer_id AS id, string_agg(secret, ',') AS note FROM app.orders GROUP BY 1;
CREATE FUNCTION app.code_of(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT ssn FROM app.customers WHERE id = $1';
CREATE FUNCTION app.mail_of(customer int) RETURNS text LANGUAGE sql STABLE AS
  'SELECT c.email FROM app.customers c WHERE c.id = customer';
CREATE FUNCTION app.rows_of() RETURNS SETOF app.customers LANGUAGE sql STABLE AS 'SELECT * FROM app.customers';
CREATE FUNCTION app.hidden(which int) RETURNS text LANGUAGE plpgsql STABLE AS
  'DECLARE found_it text; BEGIN SELECT o.secret INTO found_it FROM app.orders o WHERE o.id = which; RETURN found_it; END';
CREATE FUNCTION app.plain(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE FUNCTION app.modern(x int) RETURNS text LANGUAGE sql STABLE BEGIN ATOMIC SELECT ssn FROM app.customers WHERE id = x; END;
CREATE FUNCTION app.shout(c app.customers) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(c.name)';
CREATE FUNCTION app.touch() RETURNS int LANGUAGE sql AS 'UPDATE app.orders SET total = total RETURNING 1';
"""


TAGS = {
    "app.customers.email": "EMAIL", "app.customers.ssn": "SSN", "app.customers.data": "PHONE", "app.customers.extra": "EXTRA",
    "app.orders.secret": "SECRET", "other.customers.ssn": "OTHER", "app.events.body": "BODY", "app.people.passport": "PASS",
    "app.staff.badge": "BADGE",
}  # fmt: skip


class Grower:
    """Grows one random query; every expression is text, so that most of them run."""

    TABLES = {
        "customers": ["name", "email", "digest", "ssn", "data::text", "array_to_string(extra, ',')", "data->>'phone'"],
        "orders": ["note", "secret", "total::text"],
        "other.customers": ["name", "ssn"],
        "events": ["kind", "body"],
        "events_high": ["kind", "body"],
        "people": ["name", "passport"],
        "staff": ["name", "passport", "badge"],
        "contacts": ["name", "address", "code"],
        "wide": ["name", "address", "code", "note", "hidden"],
        "summary": ["note"],
        "rows_of()": ["name", "email", "ssn"],
    }

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.names = 0
        self.budget = 60

    def fresh(self) -> str:
        self.names += 1
        return f"a{self.names}"

    def column(self, sources: list[tuple[str, list[str]]]) -> str:
        alias, columns = self.rng.choice(sources)
        column = self.rng.choice(columns)
        for bare in ("extra", "data"):
            if column.startswith((bare + "::", bare + "->", f"array_to_string({bare}")):
                return column.replace(bare, f"{alias}.{bare}", 1)
        return f"{alias}.{column}"

    def text(self, sources: list[tuple[str, list[str]]], depth: int = 0) -> str:
        self.budget -= 1
        rng, again = self.rng, lambda: self.text(sources, depth + 1)
        if depth > 2 or self.budget <= 0 or rng.random() < 0.4:
            return self.column(sources)
        alias = rng.choice(sources)[0]
        which = rng.randrange(24)
        made = [
            lambda: f"lower({again()}) || 'x'", lambda: f"coalesce({again()}, {again()})", lambda: f"left({again()}, 60)",
            lambda: f"CASE WHEN {self.predicate(sources)} THEN {again()} ELSE {again()} END", lambda: f"({alias}::text)",
            lambda: f"row_to_json({alias})::text", lambda: f"to_jsonb({alias})::text", lambda: f"({again()})::varchar(80)",
            lambda: f"(SELECT {self.aggregate(sources)})", lambda: f"({self.scalar(sources)})", lambda: f"nullif({again()}, 'q')",
            lambda: f"greatest({again()}, {again()})", lambda: f"(ARRAY[{again()}, {again()}])[1]",
            lambda: f"concat_ws('-', {again()}, {alias})",
            lambda: f"ROW({again()}, 1)::text", lambda: f"format('%s', {again()})", lambda: f"substring({again()} from 1 for 50)",
            lambda: f"split_part({again()}, '@', 1)", lambda: "code_of(1)", lambda: "hidden(2)", lambda: "mail_of(3)",
            lambda: f"regexp_replace({again()}, 'zz', '')", lambda: "modern(2)",
            lambda: f"json_build_object('k', {again()})::text",
        ]  # fmt: skip
        return made[which]()

    def aggregate(self, sources: list[tuple[str, list[str]]]) -> str:
        inner, item = self.source([])
        return f"{self.rng.choice(['min', 'max'])}({self.text([inner], 2)}) FROM {item}"

    def scalar(self, sources: list[tuple[str, list[str]]]) -> str:
        inner, item = self.source([])
        return f"SELECT {self.text([inner, *sources], 2)} FROM {item} LIMIT 1"

    def predicate(self, sources: list[tuple[str, list[str]]]) -> str:
        rng = self.rng
        inner, item = self.source([])
        return rng.choice(
            [
                f"{self.column(sources)} LIKE '%1%'", f"{self.column(sources)} IS NOT NULL", "true",
                f"EXISTS (SELECT 1 FROM {item} WHERE {self.column([inner])} > {self.column(sources)})",
                f"{self.column(sources)} NOT IN ('a', 'b')", f"length({self.column(sources)}) > 2",
            ]
        )  # fmt: skip

    def source(self, lateral: list[tuple[str, list[str]]]) -> tuple[tuple[str, list[str]], str]:
        """A FROM item: its alias and columns, and its text."""
        rng, alias = self.rng, self.fresh()
        self.budget -= 2
        if self.budget <= 0 or rng.random() < 0.6:
            name = rng.choice(list(self.TABLES))
            return (alias, self.TABLES[name]), f"{name} AS {alias}"
        which = rng.randrange(6)
        if which == 0 and lateral:
            return (alias, ["v"]), f"LATERAL (SELECT {self.text(lateral, 2)} AS v) AS {alias}"
        if which == 1:
            return (alias, ["p", "q"]), f"(VALUES ((SELECT ssn FROM customers LIMIT 1), 'q'), ('a', 'b')) AS {alias} (p, q)"
        if which == 2 and any(columns is self.TABLES["customers"] for _, columns in lateral):
            owner = next(name for name, columns in lateral if columns is self.TABLES["customers"])
            return (alias, ["value"]), f"jsonb_array_elements_text({owner}.data->'list') AS {alias} (value)"
        if which == 3 and any(columns is self.TABLES["customers"] for _, columns in lateral):
            owner = next(name for name, columns in lateral if columns is self.TABLES["customers"])
            return (alias, ["u"]), f"unnest({owner}.extra) AS {alias} (u)"
        if which == 4:
            inner, item = self.source([])
            return (alias, ["x", "y"]), f"(SELECT DISTINCT {self.text([inner])} AS x, 'k' AS y FROM {item}) AS {alias}"
        columns, query = self.query(nested=True)
        return (alias, columns), f"({query}) AS {alias}"

    def query(self, *, nested: bool = False) -> tuple[list[str], str]:
        rng = self.rng
        self.budget -= 3
        if rng.random() < 0.15 and self.budget > 0:
            operation = rng.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
            left, right = self.source([]), self.source([])
            body = [f"SELECT {self.text([part[0]])} AS s, {self.text([part[0]])} AS t FROM {part[1]}" for part in (left, right)]
            return ["s", "t"], f"{body[0]} {operation} {body[1]}"
        sources: list[tuple[str, list[str]]] = []
        first, text = self.source([])
        sources.append(first)
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            other, item = self.source(sources)
            sources.append(other)
            text += f"{rng.choice([', ', ' CROSS JOIN '])}{item}" if rng.random() < 0.6 else f" LEFT JOIN {item} ON true"
        names = [f"c{number}" for number in range(rng.choice([1, 2, 3]))]
        targets = [f"{self.text(sources)} AS {name}" for name in names]
        if not nested and rng.random() < 0.3:
            targets.append(rng.choice(["*", f"{sources[0][0]}.*", f"({sources[-1][0]}).*", sources[0][0]]))
        if rng.random() < 0.15:
            targets.append(f"first_value({self.column(sources)}) OVER (ORDER BY {self.column(sources)}) AS w")
        query = f"SELECT {', '.join(targets)} FROM {text}"
        if rng.random() < 0.4:
            query += f" WHERE {self.predicate(sources)}"
        if rng.random() < 0.2:
            query += " ORDER BY 1"
        return names, query

    def joined(self) -> str:
        """Joins that merge columns, and names given to joins and to columns."""
        rng = self.rng
        names = rng.sample(["customers", "orders", "other.customers", "contacts", "people", "staff", "summary", "wide"], 3)
        items = [f"{name} AS j{number}" for number, name in enumerate(names)]
        kind = rng.choice(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        text = rng.choice(
            [
                f"{items[0]} {kind} {items[1]} USING (id)",
                f"{items[0]} NATURAL {kind} {items[1]}",
                f"{items[0]} {kind} ({items[1]} JOIN {items[2]} USING (id)) USING (id)",
                f"({items[0]} {kind} {items[1]} USING (id)) NATURAL JOIN {items[2]}",
                f"{items[0]} {kind} {items[1]} ON j0.id = j1.id",
                f"({items[0]} CROSS JOIN {items[1]}) AS j (p, q, r)",
                f"{names[0]} AS j0 (id, q, r) JOIN {items[1]} USING (id)",
                f"(SELECT * FROM {items[0]} NATURAL JOIN {items[1]}) AS j",
                f"{items[0]} JOIN {items[1]} USING (id) AS j",
            ]
        )
        target = rng.choice(
            ["*", "j0.*", "j1.*, *", "j0", "j.*", "j", "j1.name, *", "id, *", "j0.id, j1", "p, q, r", "j.q || ''"]
        )
        return f"SELECT {target} FROM {text} LIMIT 30"

    def statement(self) -> str:
        roll = self.rng.random()
        if self.rng.random() < 0.25:
            return self.joined()
        _, query = self.query()
        if roll < 0.15:
            columns, inner = self.query(nested=True)
            return f"WITH q AS ({inner}) SELECT q.*, q.{columns[0]} || '' AS z, q FROM q LIMIT 20"
        if roll < 0.22:
            inner, item = self.source([])
            recursive = f"SELECT {self.text([inner])}, 1 FROM {item} UNION ALL SELECT r.v || '.', r.n + 1 FROM r WHERE r.n < 3"
            return f"WITH RECURSIVE r (v, n) AS ({recursive}) SELECT v, n FROM r LIMIT 30"
        if roll < 0.3:
            inner, item = self.source([])
            return (
                f"SELECT string_agg({self.text([inner])}, ',') AS s, array_agg({inner[0]}) AS a, count(*) AS n, "
                f"json_agg({inner[0]}) AS j FROM {item}"
            )
        return f"{query} LIMIT 40"


def changes(rng: random.Random) -> Iterator[str]:
    """Statements that write, with RETURNING where something can come back."""
    while True:
        grower = Grower(rng)
        source, item = grower.source([])
        text = grower.text([source])
        yield rng.choice(
            [
                f"UPDATE orders SET note = (SELECT {text} FROM {item} LIMIT 1) RETURNING note, id, orders",
                f"UPDATE orders o SET note = {text} FROM {item} RETURNING o.*, {text} AS t",
                f"INSERT INTO orders (id, note) SELECT 1000, {text} FROM {item} LIMIT 1 RETURNING *",
                f"INSERT INTO orders (id, note) SELECT 1, {text} FROM {item} LIMIT 1 ON CONFLICT (id) DO UPDATE"
                " SET secret = excluded.note, note = orders.secret RETURNING note, secret",
                f"DELETE FROM orders o USING {item} RETURNING o.note, {text} AS t",
                f"WITH d AS (DELETE FROM events RETURNING *), u AS (UPDATE customers SET name = ssn RETURNING name, id) "
                f"SELECT d.*, u.name, {text} AS t FROM d, u, {item} LIMIT 30",
                f"WITH i AS (INSERT INTO orders (id, note) SELECT 1001, {text} FROM {item} LIMIT 1 RETURNING note) TABLE i",
                f"SELECT o.note, {text} AS t FROM {item}, orders o FOR UPDATE OF o",
                "SELECT touch()",
                f"SELECT {text} AS t INTO made FROM {item}",
                f"CREATE TABLE made AS SELECT {text} AS t FROM {item}",
                "MERGE INTO orders o USING customers c ON c.id = o.customer_id WHEN MATCHED THEN UPDATE SET note = c.ssn",
                "TRUNCATE orders",
                "DROP TABLE orders",
                "CREATE INDEX ON orders (total)",
                "SELECT nextval('app.numbers')",
                "SELECT setval('app.numbers', 7)",
                f"EXPLAIN ANALYZE DELETE FROM orders USING {item}",
            ]
        )
