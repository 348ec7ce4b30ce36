"""The ways to say where a database is: what libpq finds in its environment, and what people paste into their programs."""

from __future__ import annotations

import shlex
from typing import Any, Final
from urllib.parse import quote

import msgspec

from cli.screen import facts

#: What libpq reads from the environment and would take it elsewhere, or make it ask for what a local door does not have.
LIBPQ: Final = frozenset(
    f"PG{name}"
    for name in """HOST HOSTADDR PORT DATABASE USER PASSWORD PASSFILE SERVICE SERVICEFILE OPTIONS REQUIREAUTH REQUIREPEER
    REQUIRESSL CHANNELBINDING SSLMODE SSLNEGOTIATION SSLCERT SSLKEY SSLCERTMODE SSLROOTCERT SSLCRL SSLCRLDIR SSLMINPROTOCOLVERSION
    SSLMAXPROTOCOLVERSION GSSENCMODE KRBSRVNAME GSSLIB GSSDELEGATION CLIENTENCODING TARGETSESSIONATTRS LOADBALANCEHOSTS""".split()
)


class Offer(msgspec.Struct, frozen=True):
    """How to reach a database, for people and programs. ``host`` may be a directory with a Unix socket."""

    target: str
    host: str
    port: int
    user: str
    password: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What libpq, and every driver that follows it, reads."""
        found = {"PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": self.user, "PGDATABASE": self.target}
        found |= {"PGSSLMODE": "disable", "PGGSSENCMODE": "disable"}
        return found | ({"PGPASSWORD": self.password} if self.password else {})

    @property
    def dsn(self) -> str:
        """A connection URI (PostgreSQL documentation, §34.1.1.2)."""
        return f"postgresql://{self._authority}?sslmode=disable"

    @property
    def psql(self) -> str:
        """A line for a shell. The password stands in the environment, where ``ps`` does not show it."""
        words = f"psql -h {self.host} -p {self.port} -U {shlex.quote(self.user)} {self.target}"
        return f"PGPASSWORD={self.password} PGSSLMODE=disable {words}"

    @property
    def sqlalchemy(self) -> str:
        """A URL for SQLAlchemy with psycopg 3."""
        return f"postgresql+psycopg://{self._authority}?sslmode=disable"

    @property
    def jdbc(self) -> str:
        """A URL for pgjdbc."""
        login = f"user={quote(self.user, '')}&password={self.password}"
        return f"jdbc:postgresql://{self.host}:{self.port}/{self.target}?{login}&sslmode=disable"

    def described(self) -> dict[str, Any]:
        """Everything, for a program to read."""
        forms = {"dsn": self.dsn, "psql": self.psql, "sqlalchemy": self.sqlalchemy, "jdbc": self.jdbc}
        return {**msgspec.structs.asdict(self), **forms, "environment": self.environment}

    def lines(self) -> list[str]:
        """Every form, for a person to copy."""
        return facts([("DSN", self.dsn), ("psql", self.psql), ("SQLAlchemy", self.sqlalchemy), ("JDBC", self.jdbc)])

    @property
    def _authority(self) -> str:
        return f"{quote(self.user, '')}:{self.password}@{self.host}:{self.port}/{self.target}"
