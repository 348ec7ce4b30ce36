"""Single commands through the plug-in, with real ssh and a real sshd."""

from __future__ import annotations

import hashlib
import os

import pytest

from tests.integration.ssh.conftest import Gateway, Sshd, run, serving_for

pytestmark = pytest.mark.servers


async def test_a_command_runs_and_is_recorded(gateway: Gateway) -> None:
    ran = await run(gateway.ssh("echo hello; echo oops >&2"))
    assert (ran.status, ran.out, ran.err) == (0, b"hello\n", b"oops\n")
    await gateway.idle()
    recorder = gateway.serving.recorder
    head = recorder.lines(1, "cast")[0]
    assert (head["version"], head["command"], head["sid"]) == (3, "echo hello; echo oops >&2", gateway.serving.claims.sid)
    assert recorder.markers(1) == ["allowed: echo hello; echo oops >&2 (rule-1)"]
    assert sorted(recorder.text(1).split()) == ["hello", "oops"]
    assert recorder.lines(1, "cast")[-1][1:] == ["x", "0"]
    assert gateway.serving.operations == 1
    assert [notice.code for notice in gateway.notices] == ["ok"]
