"""The embedded cloud in a process of its own, and people who log in to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.control.parties import Api, Person
from tests.patience import HANG_S

ROOT = Path(__file__).parents[3]


class Cloud:
    """Where the embedded cloud listens."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.http_url: str = facts["http_url"]
        self.ws_url: str = facts["ws_url"]
        self.api = Api(self.http_url)
        self.admin = Person(self.api, "pat").login()
        self.engineer = Person(self.api, "alice").login()
        self.auditor = Person(self.api, "carol").login()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    state = tmp_path_factory.mktemp("cloud") / "cloud.json"
    log = (state.parent / "cloud.log").open("wb")
    command = [sys.executable, "-m", "infra.local", "--state", str(state)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        deadline = time.monotonic() + HANG_S
        while not state.exists():
            assert process.poll() is None, (state.parent / "cloud.log").read_text()
            assert time.monotonic() < deadline, "the embedded cloud did not start"
            time.sleep(0.05)
        yield Cloud(json.loads(state.read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
