from __future__ import annotations

import shlex
from urllib.parse import parse_qs, urlsplit

import msgspec
import psycopg.conninfo
import sqlalchemy

from cli.postgres_offer import Offer

OFFER = Offer("prod-db", "127.0.0.1", 5433, "shop@app+x", "p-w_1")


def test_every_form_means_the_same() -> None:
    offer, tls = OFFER, {"sslmode": "disable"}
    dsn = psycopg.conninfo.conninfo_to_dict(offer.dsn)
    assert dsn == {"user": "shop@app+x", "password": "p-w_1", "host": "127.0.0.1", "port": "5433", "dbname": "prod-db", **tls}
    url = sqlalchemy.make_url(offer.sqlalchemy)
    assert (url.username, url.password, url.host, url.port, url.database) == ("shop@app+x", "p-w_1", "127.0.0.1", 5433, "prod-db")
    assert url.query == tls
    jdbc = urlsplit(offer.jdbc.removeprefix("jdbc:"))
    assert (jdbc.netloc, jdbc.path) == ("127.0.0.1:5433", "/prod-db")
    asked = {name: value for name, (value,) in parse_qs(jdbc.query).items()}
    assert asked == {"user": "shop@app+x", "password": "p-w_1"} | tls
    environment, command = _read(offer.psql)
    assert environment == {"PGPASSWORD": "p-w_1", "PGSSLMODE": "disable"}
    assert command == ["psql", "-h", "127.0.0.1", "-p", "5433", "-U", "shop@app+x", "prod-db"]
    assert offer.environment.items() >= environment.items()


def _read(line: str) -> tuple[dict[str, str], list[str]]:
    """What a shell makes of a line: assignments, then the command."""
    words = shlex.split(line)
    command = words.index("psql")
    return dict(word.split("=", 1) for word in words[:command]), words[command:]


def test_a_socket_needs_no_password() -> None:
    assert "PGPASSWORD" not in msgspec.structs.replace(OFFER, password="").environment
