from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chalicelib.contracts.faults import Fault
from cli import postgres_client
from cli.home import Home, write_atomically
from cli.postgres_agent import Errand
from cli.postgres_client import run_program
from tests.fakes.http_control_plane import FakeControlPlane
from tests.patience import HANG_S
from tests.unit.cli.conftest import Run, target


@pytest.fixture
def errand(home: Home) -> Errand:
    return Errand(home, "prod-db", "prod-db.sallyport", ["app"], "", "")


def test_the_environment_leads_nowhere_else(errand: Errand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGHOSTADDR", "PGSERVICE", "PGOPTIONS", "PGPASSWORD", "PGREQUIREAUTH", "PGSSLNEGOTIATION", "PGCHANNELBINDING"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("PGAPPNAME", "kept")
    out = tmp_path / "out.json"
    code = (
        "import json, os, sys; place = os.environ['PGHOST'];"
        "json.dump([dict(os.environ), os.stat(place).st_mode, os.listdir(place)], open(sys.argv[1], 'w'))"
    )
    assert run_program(errand, [sys.executable, "-c", code, str(out)], None) == 0
    environment, mode, files = json.loads(out.read_text())
    found = {name: value for name, value in environment.items() if name.startswith("PG")}
    folder = found.pop("PGHOST")
    assert found == {
        "PGPORT": "5432",
        "PGUSER": "app",
        "PGDATABASE": "prod-db",
        "PGSSLMODE": "disable",
        "PGGSSENCMODE": "disable",
        "PGAPPNAME": "kept",
    }
    assert stat.S_IMODE(mode) == 0o700
    assert files == [".s.PGSQL.5432"]
    assert not Path(folder).exists()


def test_a_deep_temporary_folder(errand: Errand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The path of a Unix socket has a limit that folders do not have."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(postgres_client.tempfile, "tempdir", str(deep))
    assert run_program(errand, ["true"], None) == 0
    assert list(deep.iterdir()) == []


def test_the_programs_status_is_ours(errand: Errand) -> None:
    assert run_program(errand, ["sh", "-c", "exit 7"], None) == 7
    assert run_program(errand, ["sh", "-c", "kill -KILL $$"], None) == 137


def test_a_program_for_tcp_gets_a_password(errand: Errand) -> None:
    assert run_program(errand, ["sh", "-c", 'test "$PGHOST" = 127.0.0.1 && test ${#PGPASSWORD} -ge 32'], 0) == 0


@pytest.mark.parametrize(("word", "hint"), [("no-such-program", ""), ("psql", "--port 0")])
def test_a_program_that_is_not_there(errand: Errand, monkeypatch: pytest.MonkeyPatch, word: str, hint: str) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Fault, match=f"There is no program {word}") as raised:
        run_program(errand, [word], None)
    assert hint in raised.value.hint


def test_a_program_that_is_none(errand: Errand, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="is not a program"):
        run_program(errand, [str(tmp_path)], None)


def test_a_port_that_is_taken(errand: Errand) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Fault, match="Address already in use") as raised:
        postgres_client.listen(errand, taken.getsockname()[1], as_json=False)
    assert raised.value.code == "conflict"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_people_are_told_and_how_it_ends(logged_in: FakeControlPlane, home: Home, number: signal.Signals) -> None:
    login = msgspec.structs.replace(home.login(), expires_ms=4_000_000_000_000)  # the process has the real clock
    write_atomically(home.session_file, msgspec.json.encode(login))
    logged_in.targets = [target("prod-db", protocol="postgres", logins=["app"])]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "connect", "prod-db", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(6)]
    process.send_signal(number)
    _, err = process.communicate(timeout=HANG_S)
    assert lines[0].startswith("prod-db is at 127.0.0.1:")
    assert [line.split()[0] for line in lines[2:]] == ["DSN", "psql", "SQLAlchemy", "JDBC"]
    assert err == ""
    assert process.returncode == 128 + number


def test_a_dash_means_psql(logged_in: FakeControlPlane, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged_in.targets = [target("prod-db", protocol="postgres", logins=["app"])]
    (tmp_path / "psql").write_text('#!/bin/sh\necho "$@" "$PGUSER" > "$HOME/ran"\n')
    (tmp_path / "psql").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run("connect", "prod-db", "--", "-c", "select 1").status == 0
    assert (tmp_path / "ran").read_text() == "-c select 1 app\n"


def test_json_without_a_port(logged_in: FakeControlPlane, run: Run) -> None:
    assert "--json goes with --port" in run("connect", "prod-db", "--json").err
