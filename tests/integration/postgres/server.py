"""A real PostgreSQL on loopback, with SCRAM and TLS, in a folder of its own; ended by its pid."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.runtime.serving import Credential
from chalicelib.contracts.gateway import Login, Target
from infra.demo.ports import free_port
from tests.fakes.agent_runtime import make_target
from tests.patience import HANG_S

PASSWORD = "correct horse battery staple"
DATABASE = "shop"
LOGIN = "app"

SCHEMA = """
CREATE TABLE customers (id int PRIMARY KEY, name text, mail text, ssn text, balance numeric);
INSERT INTO customers SELECT n, 'Name ' || n, 'person' || n || '@example.com', '078-05-' || (1000 + n), n * 1.5
FROM generate_series(1, 50) n;
CREATE VIEW contacts AS SELECT id, mail AS reach FROM customers;
CREATE TABLE notes (id serial PRIMARY KEY, body text);
INSERT INTO notes (body) VALUES ('nothing to see'), ('write to bob@example.com');
"""


def binary(name: str) -> str:
    """Return the path of one of the newest PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not found:
        pytest.fail("PostgreSQL is missing: apt-get install postgresql")
    return str(found[-1])


class Postgres:
    """One server with one database, a login whose password only the agent has, and tables that are worth masking."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.owner = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        for parent in (folder, *folder.parents):
            if os.getuid() == 0 and parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o755)
        if os.getuid() == 0:
            shutil.chown(folder, self.owner)
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        self._run(
            binary("initdb"), "-D", str(self.data), "-U", "admin", "--auth=scram-sha-256", f"--pwfile={password_file}",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        self.port = free_port()
        self.ca_file = self._certificates()
        settings = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            "unix_socket_directories = ''",
            "ssl = on",
            "fsync = off",
            "max_connections = 60",
            "log_statement = all",
            "wal_level = logical",
            "log_min_messages = log",
            "password_encryption = 'scram-sha-256'",
        ]
        self._write("postgresql.conf", "\n".join(settings) + "\n")
        self._write(
            "pg_hba.conf", "host all md5user all md5\nhost all clear all password\nhost all,replication all all scram-sha-256\n"
        )
        self.log = folder / "server.log"
        self.process = subprocess.Popen(
            self._as_owner(binary("postgres"), "-D", str(self.data)), stdout=self.log.open("wb"), stderr=subprocess.STDOUT
        )
        self._wait()
        self.admin("postgres", f"CREATE DATABASE {DATABASE}")
        self.admin("postgres", f"CREATE ROLE {LOGIN} LOGIN PASSWORD '{PASSWORD}'")
        self.admin("postgres", f"SET password_encryption = 'md5'; CREATE ROLE md5user LOGIN PASSWORD '{PASSWORD}'")
        self.admin("postgres", f"CREATE ROLE clear LOGIN PASSWORD '{PASSWORD}'")
        self.admin("postgres", f"ALTER DATABASE {DATABASE} OWNER TO {LOGIN}")
        self.direct(SCHEMA)

    def _as_owner(self, *command: str) -> list[str]:
        return ["runuser", "-u", self.owner, "--", *command] if os.getuid() == 0 else list(command)

    def _run(self, *command: str) -> None:
        done = subprocess.run(self._as_owner(*command), capture_output=True, text=True, cwd=self.folder, check=False)
        if done.returncode:
            pytest.fail(f"{command[0]}: {done.stderr}")

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        path.chmod(0o600)
        if os.getuid() == 0:
            shutil.chown(path, self.owner)

    def _certificates(self) -> str:
        now = dt.datetime.now(dt.UTC)
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])

        def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(ca_name)
                .public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - dt.timedelta(hours=1))
                .not_valid_after(now + dt.timedelta(days=1))
            )

        ca = builder(ca_name, ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
        ca = ca.add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), True)
        ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        leaf = builder(name, key.public_key()).add_extension(address, False)
        leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
        pem = serialization.Encoding.PEM
        ca_path = self.folder / "ca.pem"
        ca_path.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
        self._write("server.crt", leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem).decode())
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self._write("server.key", private.decode())
        return str(ca_path)

    def _wait(self) -> None:
        deadline = time.monotonic() + HANG_S
        while time.monotonic() < deadline:
            done = subprocess.run(
                [binary("pg_isready"), "-h", "127.0.0.1", "-p", str(self.port), "-q"], capture_output=True, check=False
            )
            if done.returncode == 0:
                return
            if self.process.poll() is not None:
                break
        pytest.fail("PostgreSQL did not start: " + self.log.read_text())

    def psql(self, user: str, database: str, text: str) -> str:
        """Run ``text`` directly, past the gateway. Returns what psql prints, unaligned."""
        done = subprocess.run(
            ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", user, "-d", database, "-v", "ON_ERROR_STOP=1", "-qAtX"],
            input=text, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"psql: {done.stderr}")
        return done.stdout.strip()

    def admin(self, database: str, text: str) -> str:
        """Run ``text`` as the superuser."""
        return self.psql("admin", database, text)

    def direct(self, text: str) -> str:
        """Run ``text`` as the account that the agent uses."""
        return self.psql(LOGIN, DATABASE, text)

    def target(self, **options: object) -> Target:
        """The gateway's idea of this database."""
        return make_target(
            name="shop",
            protocol="postgres",
            address=f"127.0.0.1:{self.port}",
            logins={LOGIN: Login(credential="shop"), "admin": Login(credential="shop")},
            default_login=LOGIN,
            options={"database": DATABASE, "sslmode": "verify-full", "ca_file": self.ca_file, **options},
        )

    def credential(self) -> Credential:
        """What the agent logs in with."""
        return Credential("password", PASSWORD.encode())

    def stop(self) -> None:
        """End it and every backend of it."""
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
        self.process.wait(HANG_S)
