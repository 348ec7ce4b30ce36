"""PostgreSQL's own regression files, run by psql directly and through the gateway, and what differs.

The files are those of the server's own version, from the source of Debian's package (``make regress`` fetches it). Some answers
differ between any two runs (OIDs, file names, costs of plans), so each file is run directly twice, and only what is equal there
is compared.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.integration.postgres.server import PASSWORD, Postgres

#: Settings that ``pg_regress`` makes for the files, except those that psql sends when it connects.
_SETTINGS = {
    "lc_messages": "'C'", "lc_monetary": "'C'", "lc_numeric": "'C'", "lc_time": "'C'", "bytea_output": "'hex'",
    "timezone_abbreviations": "'Default'", "intervalstyle": "'postgres_verbose'",
}  # fmt: skip
_ENVIRONMENT = {"PGTZ": "PST8PDT", "PGDATESTYLE": "Postgres, MDY", "LC_ALL": "C", "PGCLIENTENCODING": "UTF8"}
_BASIS = "regression_basis"
DATABASE = "regression"


class Regression:
    """The files' own database on a test server, made anew for every run."""

    def __init__(self, postgres: Postgres, files: Path) -> None:
        self._postgres = postgres
        self._files = files
        self._copied = self._data(files.parent / "data")
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PG", "LC_"))},
            **_ENVIRONMENT,
            "PG_ABS_SRCDIR": str(self._copied),
            "PG_ABS_BUILDDIR": str(self._copied),
            "PG_LIBDIR": "/nowhere",
            "PG_DLSUFFIX": ".so",
            "PGPASSWORD": PASSWORD,
        }
        self._create(_BASIS, "template0")
        setup = (files / "test_setup.sql").read_bytes()
        self._psql(f"host=127.0.0.1 port={postgres.port} user=admin dbname={_BASIS}", setup)

    def _data(self, data: Path) -> Path:
        """Copy what the server itself reads and writes to where it can."""
        copied = self._postgres.folder / "regress"
        shutil.copytree(data, copied / "data")
        (copied / "results").mkdir()
        if os.getuid() == 0:
            for each in (copied, *copied.rglob("*")):
                shutil.chown(each, self._postgres.owner)
        return copied

    def _create(self, name: str, template: str) -> None:
        self._postgres.admin("postgres", f"DROP DATABASE IF EXISTS {name} (FORCE)")
        self._postgres.admin("postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
        for setting, value in _SETTINGS.items():
            self._postgres.admin("postgres", f"ALTER DATABASE {name} SET {setting} TO {value}")

    def _forget(self) -> None:
        """Drop what the last file left behind outside of its database."""
        self._postgres.admin("postgres", f"DROP DATABASE IF EXISTS {DATABASE} (FORCE)")
        found = self._postgres.admin("postgres", "SELECT quote_ident(rolname) FROM pg_roles WHERE rolname LIKE 'regress%'")
        for role in found.splitlines():
            self._postgres.admin("postgres", f"DROP OWNED BY {role}; DROP ROLE {role}")

    def _psql(self, dsn: str, text: bytes) -> str:
        command = ["psql", "-X", "-a", "-q", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on", "-d", dsn]
        done = subprocess.run(
            command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self._environment,
            cwd=self._files, timeout=800, check=False,
        )  # fmt: skip
        return done.stdout.decode(errors="replace")

    def direct(self, text: bytes) -> str:
        """What psql prints where nothing stands between."""
        return self.through(text, f"host=127.0.0.1 port={self._postgres.port} user=admin dbname={DATABASE}")

    def through(self, text: bytes, dsn: str) -> str:
        """What psql prints at ``dsn``."""
        self._forget()
        self._create(DATABASE, _BASIS)
        return self._psql(dsn, text)


def differences(one: str, other: str, gated: str) -> list[str]:
    """Lines in which ``gated`` differs from ``one``, where ``one`` and ``other`` do not differ themselves."""
    noise: set[int] = set()
    first, second, third = one.splitlines(), other.splitlines(), gated.splitlines()
    for tag, start, end, _, _ in difflib.SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if tag != "equal":
            noise.update(range(start, max(end, start + 1)))
    shapes = {_shape(first[at]) for at in noise if at < len(first)}
    found = []
    for tag, start, end, begin, stop in difflib.SequenceMatcher(None, first, third, autojunk=False).get_opcodes():
        if tag == "equal" or (tag != "insert" and noise.issuperset(range(start, end))):
            continue
        found += [f"-{line}" for line in first[start:end] if _shape(line) not in shapes]
        found += [f"+{line}" for line in third[begin:stop] if _shape(line) not in shapes]
    return found


def _shape(line: str) -> str:
    return re.sub(r"[0-9]+(?:\.[0-9]+)?|[- ]{2,}|\+", "#", line)
