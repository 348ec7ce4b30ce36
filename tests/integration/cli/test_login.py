"""The real login: command line, control plane, development identity provider, and a browser that follows links."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.home import Home
from tests.patience import HANG_S

pytestmark = pytest.mark.servers
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The embedded cloud in a process of its own, because a process holds only one."""
    state = tmp_path_factory.mktemp("cloud") / "cloud.json"
    command = [sys.executable, "-m", "infra.local", "--state", str(state)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline(), "the embedded cloud did not start"
        yield json.loads(state.read_text())
    finally:
        process.terminate()
        process.wait(HANG_S)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(tmp_path),
        "SALLYPORT_HOME": str(tmp_path / "home"),
        "SALLYPORT_SSH_DIR": str(tmp_path / "ssh"),
    }


def sallyport(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cli", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False)


def log_in(environment: dict[str, str], url: str, hint: str) -> tuple[int, str, str, str]:
    """Return the exit status, the page that the browser ends on, standard error, and the rest of standard output."""
    command = [sys.executable, "-m", "cli", "login", "--url", url, "--no-browser"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}&{hint}", timeout=HANG_S) as response:
            page = response.read().decode()
        return process.wait(HANG_S), page, process.stderr.read(), process.stdout.read()


def test_a_person_logs_in_and_out(cloud: dict[str, Any], environment: dict[str, str]) -> None:
    status, page, said, more = log_in(environment, cloud["http_url"], "login_hint=alice&prompt=none")
    assert status == 0
    assert "You are logged in" in page
    assert said.startswith("Logged in as alice@example.com until ")
    assert more == ""

    who = sallyport(environment, "whoami", "--json")
    assert json.loads(who.stdout)["principal"] == "alice@example.com"
    assert "sre" in json.loads(who.stdout)["groups"]

    home = Home(Path(environment["SALLYPORT_HOME"]))
    certificate = subprocess.run(
        ["ssh-keygen", "-L", "-f", home.certificate_file], capture_output=True, text=True, check=True
    ).stdout
    assert "ssh-ed25519-cert-v01@openssh.com user certificate" in certificate
    assert home.known_hosts_file.read_text().startswith("@cert-authority *.sallyport ecdsa-sha2-nistp256 ")

    token = home.session_file.read_bytes()
    assert sallyport(environment, "status").returncode == 0
    assert sallyport(environment, "logout").stdout == "Logged out.\n"
    assert sallyport(environment, "whoami").returncode == 3

    # The gateway has forgotten the token, not only this machine.
    home.session_file.write_bytes(token)
    home.session_file.chmod(0o600)
    revoked = sallyport(environment, "whoami")
    assert revoked.returncode == 3
    assert "[token_revoked]" in revoked.stderr


def test_a_refusal_of_the_identity_provider_is_told(cloud: dict[str, Any], environment: dict[str, str]) -> None:
    status, page, said, _ = log_in(environment, cloud["http_url"], "login_hint=nobody-at-all&prompt=none")
    assert status == 3
    assert "Login failed" in page
    assert "[login_failed]" in said
    assert not Path(environment["SALLYPORT_HOME"]).exists()


def test_administration_is_for_administrators(cloud: dict[str, Any], environment: dict[str, str]) -> None:
    log_in(environment, cloud["http_url"], "login_hint=bob&prompt=none")
    assert sallyport(environment, "agents").returncode == 126
    log_in(environment, cloud["http_url"], "login_hint=pat&prompt=none")
    assert sallyport(environment, "agents").stderr.startswith("No agent has enrolled yet.")
    assert len(sallyport(environment, "agent-token", "edge-1").stdout.splitlines()) == 1


def test_a_configuration_with_mistakes_is_told_by_line(
    cloud: dict[str, Any], environment: dict[str, str], tmp_path: Path
) -> None:
    log_in(environment, cloud["http_url"], "login_hint=pat&prompt=none")
    folder = tmp_path / "gateway"
    folder.mkdir()
    target = "  web:\n    protocol: ssh\n    agent: nobody\n    address: 127.0.0.1:22\n    logins: {root: {credential: k}}\n"
    (folder / "gateway.yaml").write_text(f"version: 1\ntargets:\n{target}")
    (folder / "rules.cedar").write_text('@id("all")\npermit(principal, action, resource)\n')
    ran = sallyport(environment, "apply", str(folder), "--yes")
    assert ran.returncode == 6
    assert "gateway.yaml:5: " in ran.stderr
    assert "rules.cedar:" in ran.stderr
    assert ran.stderr.splitlines()[-1].endswith("[config_invalid]")


def test_no_session_is_kept_of_what_does_not_exist(cloud: dict[str, Any], environment: dict[str, str]) -> None:
    log_in(environment, cloud["http_url"], "login_hint=alice&prompt=none")
    assert sallyport(environment, "connect", "--stdio", "no-such").returncode == 4
    assert sallyport(environment, "sessions").stderr == "No session matches.\n"
    assert sallyport(environment, "replay", "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR").returncode == 4
