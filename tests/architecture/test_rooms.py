"""The rules of the house that import-linter does not know."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [path for top in ("chalicelib", "agent", "cli", "infra") for path in (ROOT / top).rglob("*.py")]
#: Words that say nothing about what a file is for (design, words).
NOT_USED = {"utils", "common", "helpers", "manager", "base", "handler", "processor", "misc"}


def test_no_room_is_called_nothing_in_particular() -> None:
    assert SOURCES
    for path in SOURCES:
        assert not NOT_USED & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}, path


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or text.lstrip().startswith(('"""', 'r"""', "#!")), f"{path} has no docstring at its head"


def test_blueprints_carry_http_only() -> None:
    # A websocket, schedule or stream function in a blueprint packages without a word and fails when it is first invoked.
    for path in (ROOT / "chalicelib").rglob("*.py"):
        for decorator in (".on_ws_", ".schedule(", ".on_dynamodb_record(", ".on_cw_event(", ".lambda_function("):
            assert decorator not in path.read_text(), f"{path}: only app.py may use {decorator}"


def test_lambda_requirements_are_pinned_and_free_of_gpl() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    names = [line for line in lines if line]
    assert names
    assert all("==" in name for name in names)
    assert not any(name.split("==")[0].lower() in {"pglast", "bashlex"} for name in names)


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] in (ROOT / "CHANGELOG.md").read_text()


def test_the_command_line_starts_without_the_heavy_rooms() -> None:
    # It is an ssh ProxyCommand: every import is paid on every connection.
    probe = (
        "import sys, cli.__main__\n"
        "heavy = {'boto3', 'botocore', 'cedarpy', 'chalice', 'moto', 'asyncssh', 'aiohttp', 'rich', 're2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    run = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
