"""What the PostgreSQL suite needs beside a gateway: a server with data, a pgbouncer, processes to pin and to measure."""

from __future__ import annotations

import datetime as dt
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.postgres_gateway import DATABASE, LAYERS, LOGIN, PASSWORD, Layers

PGBOUNCER = "/usr/sbin/pgbouncer"
#: Bytes of one row of the bulk tables, about: they are filled to the megabytes that were asked for.
ROW = 250

_PEOPLE = """
CREATE TABLE people (id int PRIMARY KEY, name text, mail text, city text, since date);
INSERT INTO people SELECT n, 'Person ' || n, 'person' || n || '@mail.example.com', 'Town ' || n % 97, date '2020-01-01' + n % 900
FROM generate_series(1, 1000) n;
"""
_COLUMNS = "id int, name text, mail text, ssn text, card text, at timestamp, note text, price numeric"
_CLEAN = """
SELECT n, 'Warehouse ' || n, 'Main Street ' || n, 'crate-' || n, md5(n::text), timestamp '2024-05-01' + n * interval '1 second',
'some ordinary words in a comment that is not short at all, order ' || n || ', and nothing else', (n % 1000 / 7.0)::numeric(8, 2)
FROM generate_series(1, {rows}) n
"""
_DENSE = """
SELECT n, 'Alice Jones ' || n, 'user' || n || '@mail.example.com', lpad((n % 665 + 1)::text, 3, '0') || '-12-' ||
lpad((n % 9998 + 1)::text, 4, '0'), '4111 1111 1111 1111', timestamp '2024-05-01' + n * interval '1 second',
'some ordinary words in a comment that is not short at all, order ' || n || ', and nothing else', (n % 1000 / 7.0)::numeric(8, 2)
FROM generate_series(1, {rows}) n
"""


def owner() -> str:
    """The account that PostgreSQL runs as: it refuses to run as root."""
    return "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


def as_owner(*command: str) -> list[str]:
    """The command, run as :func:`owner`."""
    return ["runuser", "-u", owner(), "--", *command] if os.getuid() == 0 else list(command)


def program(name: str) -> str:
    """Return where PostgreSQL's ``name`` is. Raises RuntimeError."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        raise RuntimeError(f"{name} is missing: apt-get install postgresql")
    return str(found[-1])


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Postgres:
    """A server on loopback with pgbench's tables, a table of people, and bulk tables of ``megabytes`` each."""

    def __init__(self, folder: Path, *, scale: int, megabytes: int) -> None:
        self.folder, self.data, self.port = folder, folder / "data", free_port()
        folder.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(folder, owner())
        password = folder / "password"
        password.write_text(PASSWORD)
        self._run(
            program("initdb"), "-D", str(self.data), "-U", LOGIN, "--auth=scram-sha-256", f"--pwfile={password}",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        settings = (
            f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\nfsync = off\n"
            "ssl = on\n"
            "max_connections = 300\nshared_buffers = 1GB\nautovacuum = off\nmax_wal_size = 8GB\nlog_min_messages = fatal\n"
        )
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(settings)
        self._certificate()
        command = as_owner(program("postgres"), "-D", str(self.data))
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()
        self.psql("postgres", f"CREATE DATABASE {DATABASE}")
        subprocess.run(
            [program("pgbench"), *self.address(self.port), "-i", "-q", "-s", str(scale)],
            env=environment(), check=True, capture_output=True,
        )  # fmt: skip
        rows = megabytes * 1_000_000 // ROW
        self.psql(DATABASE, _PEOPLE)
        for table, select in (("bulk_clean", _CLEAN), ("bulk_dense", _DENSE), ("bulk_tagged", _DENSE)):
            self.psql(DATABASE, f"CREATE TABLE {table} ({_COLUMNS}); INSERT INTO {table} {select.format(rows=rows)};")
        self.psql(DATABASE, "VACUUM FREEZE ANALYZE")
        self.psql(DATABASE, "CHECKPOINT")
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])

    def address(self, port: int) -> list[str]:
        """Where pgbench finds ``port``."""
        # By its place: -d is the database's name from PostgreSQL 17 on, and before that it says every step of every transaction.
        return ["-h", "127.0.0.1", "-p", str(port), "-U", LOGIN, DATABASE]

    def psql(self, database: str, text: str) -> None:
        """Run ``text``."""
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", LOGIN, "-d", database, "-v", "ON_ERROR_STOP=1", "-qX"]
        subprocess.run(command, input=text, env=environment(), text=True, check=True, capture_output=True)

    def _run(self, *command: str) -> None:
        subprocess.run(as_owner(*command), capture_output=True, cwd=self.folder, check=True)

    def _certificate(self) -> None:
        """Write a certificate for the server, which signs itself: sslmode=require checks nothing."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        for file, content in (
            ("server.crt", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)),
            ("server.key", private),
        ):
            path = self.data / file
            path.write_bytes(content)
            path.chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(path, owner())

    def _wait(self) -> None:
        for _ in range(400):
            ready = subprocess.run([program("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"], check=False)
            if ready.returncode == 0:
                return
            time.sleep(0.02)
        raise RuntimeError("PostgreSQL did not start")

    def stop(self) -> None:
        """End it and every backend of it."""
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
        self._process.wait(30)


class Road:
    """One way to the same server: a port, and the process to blame (none for the direct way)."""

    def __init__(self, name: str, port: int, process: subprocess.Popen[bytes] | None = None, pid: int = 0) -> None:
        self.name, self.port, self._process = name, port, process
        self.pid = pid or (process.pid if process is not None else 0)

    def cpu_s(self) -> float:
        """Seconds of CPU that the process has used."""
        if not self.pid:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_kb(self) -> float:
        """Resident memory of the process, in KB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return float(line.split()[1])
        raise RuntimeError(f"process {self.pid} has no resident memory")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            os.kill(self.pid, signal.SIGTERM)
            self._process.wait(30)


def gateway(layers: Layers, port: int, folder: Path) -> Road:
    """Start the gateway's plug-in with ``layers`` in front of ``port``."""
    command = [sys.executable, "-m", "bench.postgres_gateway", layers, str(port), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    return Road(f"gateway, {layers}", int(process.stdout.readline()), process)


def pgbouncer(port: int, folder: Path) -> Road | None:
    """Start pgbouncer in front of ``port``; None where it is not installed."""
    if not Path(PGBOUNCER).exists():
        return None
    own = free_port()
    folder.chmod(0o755)
    (folder / "users.txt").write_text(f'"{LOGIN}" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{DATABASE} = host=127.0.0.1 port={port} dbname={DATABASE}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {folder}/users.txt\npool_mode = session\nmax_client_conn = 400\ndefault_pool_size = 200\n"
        f"pidfile = {folder}/pgbouncer.pid\nlogfile = {folder}/pgbouncer.log\nlog_connections = 0\nlog_disconnections = 0\n"
        "ignore_startup_parameters = extra_float_digits\n"
    )
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, owner())
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(as_owner(PGBOUNCER, f"{folder}/pgbouncer.ini"), **quiet)  # type: ignore[call-overload]
    for _ in range(400):
        if (folder / "pgbouncer.pid").exists():
            time.sleep(0.1)
            return Road("pgbouncer", own, process, int((folder / "pgbouncer.pid").read_text()))
        time.sleep(0.02)
    raise RuntimeError("pgbouncer did not start")


def pump(port: int) -> Road:
    """Start a hop that only passes bytes on to ``port``."""
    command = [sys.executable, "-m", "bench.pump", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent)
    assert process.stdout is not None
    return Road("pump", int(process.stdout.readline()), process)


def roads(server: Postgres, folder: Path, layers: Iterable[Layers] = LAYERS) -> Iterator[Road]:
    """Start everything that is compared, one by one: whoever is interrupted has what was started, to end it."""
    yield Road("direct", server.port)
    (folder / "bouncer").mkdir()
    bouncer = pgbouncer(server.port, folder / "bouncer")
    if bouncer is not None:
        yield bouncer
    yield pump(server.port)
    for each in layers:
        (folder / each).mkdir()
        yield gateway(each, server.port, folder / each)


def environment() -> dict[str, str]:
    """The environment of a client."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "PGPASSWORD": PASSWORD, "PGSSLMODE": "disable"}
