"""A ticket as a person uses it: what is printed is pasted into a shell, and stock psql verifies whom it gave the ticket to."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.demo.stack import must
from tests.e2e.conftest import World
from tests.patience import HANG_S

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("e2e")]


def pasted(world: World, line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{line} -XAt -c 'select 6 * 7'"],
        env=world.alice.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )


def test_the_line_for_psql_is_pasted(world: World) -> None:
    said = must(world.alice.run(["sallyport", "ticket", "prod-db"]))
    (line,) = [line.removeprefix("psql").strip() for line in said.stdout.splitlines() if line.startswith("psql ")]
    assert "sslmode=verify-ca&sslrootcert=" in line
    ran = pasted(world, line)
    assert (ran.returncode, ran.stdout) == (0, "42\n"), ran.stderr
    again = pasted(world, line)
    assert again.returncode == 2
    assert "ticket_invalid" in again.stderr


def test_the_dsn_knows_nobody_else(world: World, tmp_path: Path) -> None:
    found = json.loads(must(world.alice.run(["sallyport", "ticket", "prod-db", "--json"])).stdout)
    (root,) = parse_qs(urlsplit(found["dsn"]).query)["sslrootcert"]
    assert root == found["sslrootcert"]
    other = tmp_path / "other.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*words, "-keyout", tmp_path / "key", "-out", other], check=True, capture_output=True)
    stranger = pasted(world, f"psql '{found['dsn'].replace(root, str(other))}'")
    assert stranger.returncode == 2
    assert "certificate verify failed" in stranger.stderr
    ran = pasted(world, f"psql '{found['dsn']}'")
    assert (ran.returncode, ran.stdout) == (0, "42\n"), ran.stderr
