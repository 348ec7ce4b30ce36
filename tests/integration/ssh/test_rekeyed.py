"""Keys change in the middle of everything, and nothing is lost. Whoever begins: client, target, or the gateway on both legs."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from asyncssh.connection import SSHConnection

from agent.protocols.ssh import target as target_leg
from agent.protocols.ssh import transport
from tests.fakes.agent_runtime import FakeIdentity
from tests.integration.plugin_listener import eventually, run
from tests.integration.ssh.conftest import Gateway, Sshd, serving_for
from tests.integration.ssh.forwarded_ports import Echo, echo, events
from tests.integration.ssh.test_guarded import PERMIT, READY, prompt
from tests.integration.ssh.test_shell import at_terminal

pytestmark = pytest.mark.servers
__all__ = ["echo"]

#: Keys last for so many bytes.
LIMIT = 100_000
BULK = os.urandom(1_000_000)
NUMBERS = 30_000
#: What is typed while numbers come is not to stand among them.
LINE = f'stty -echo; seq 1 {NUMBERS}; read -r x; stty echo; echo got "$x"'
#: The leg on which each of them begins.
LEGS = {"client": ["client"], "gateway": ["client", "target"], "target": ["target"]}


@pytest.fixture(scope="module")
def restless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd that changes keys as often as it can."""
    server = Sshd(tmp_path_factory.mktemp("restless"), config=[f"RekeyLimit {LIMIT}"])
    yield server
    server.stop()


class Rekeyed:
    """A gateway, and how often keys were changed on each of its legs."""

    def __init__(self, gateway: Gateway, who: str, changes: Counter[str]) -> None:
        self.gateway = gateway
        self.who = who
        self.changes = changes
        self.options = ["-o", f"RekeyLimit={LIMIT}"] if who == "client" else []

    def often(self, times: int) -> bool:
        """Tell whether keys were changed so often on the leg of whoever begins, beside the first ones."""
        return all(self.changes[leg] > times for leg in LEGS[self.who])


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()
    begin = SSHConnection._send_kexinit

    def count(conn: Any) -> None:
        counted["client" if conn.is_server() else "target"] += 1
        begin(conn)

    monkeypatch.setattr(SSHConnection, "_send_kexinit", count)
    return counted


@pytest.fixture(params=LEGS)
async def rekeyed(
    request: pytest.FixtureRequest, sshd: Sshd, restless: Sshd, identity: FakeIdentity, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, changes: Counter[str],
) -> AsyncIterator[Rekeyed]:  # fmt: skip
    if request.param == "gateway":
        monkeypatch.setattr(transport, "REKEY_BYTES", LIMIT)
        monkeypatch.setattr(target_leg, "REKEY_BYTES", LIMIT)
    gate = Gateway(identity, tmp_path)
    target = restless if request.param == "target" else sshd
    gate.serving = serving_for(target, PERMIT, shell="guarded", forward=["127.0.0.1:*"])
    await gate.listen()
    yield Rekeyed(gate, request.param, changes)
    await gate.close()


async def test_in_the_middle_of_bulk(rekeyed: Rekeyed) -> None:
    ran = await run(rekeyed.gateway.ssh("cat", options=rekeyed.options), BULK)
    assert (ran.status, ran.err, ran.out == BULK) == (0, b"", True)
    assert rekeyed.often(5)


async def test_in_the_middle_of_files(rekeyed: Rekeyed, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(BULK)
    remote = tmp_path / "remote"
    lines = f"put {tmp_path}/up {remote}\nget {remote} {tmp_path}/down\n"
    ran = await run(rekeyed.gateway.batch("sftp", *rekeyed.options, "-b", "-", "web@127.0.0.1"), lines.encode())
    assert ran.status == 0, ran
    assert remote.read_bytes() == BULK
    assert (tmp_path / "down").read_bytes() == BULK
    assert rekeyed.often(5)
    await rekeyed.gateway.idle()
    recorded = rekeyed.gateway.serving.recorder.lines(1, "jsonl")
    files = [(each["bytes"], each["sha256"]) for each in recorded if each.get("event") == "file"]
    assert files == [(len(BULK), hashlib.sha256(BULK).hexdigest())] * 2


async def test_in_the_middle_of_a_forwarded_connection(rekeyed: Rekeyed, echo: Echo) -> None:
    ran = await run(rekeyed.gateway.ssh(options=[*rekeyed.options, "-W", f"127.0.0.1:{echo.port}"]), BULK)
    assert (ran.status, ran.out == BULK + b"bye") == (0, True)
    assert rekeyed.often(5)
    await eventually(lambda: events(rekeyed.gateway)[-1]["event"] == "forward.closed")
    assert events(rekeyed.gateway)[-1]["received_sha256"] == hashlib.sha256(BULK + b"bye").hexdigest()


async def test_in_the_middle_of_a_shell(rekeyed: Rekeyed) -> None:
    said: list[bytes] = []

    def person(child: pexpect.spawn) -> None:
        prompt(child)
        child.sendline(LINE)
        child.sendline("typed ahead")  # while keys change
        child.expect_exact("got typed ahead")
        said.append(child.before)
        child.expect(READY)
        child.sendline("exit 5")

    numbers = b"".join(b"%d\r\n" % number for number in range(1, NUMBERS + 1))
    assert await at_terminal(rekeyed.gateway.ssh(options=rekeyed.options), person) == 5
    assert numbers in said[0]
    assert rekeyed.often(1)
    await rekeyed.gateway.idle()
    recorder = rekeyed.gateway.serving.recorder
    assert numbers.decode() in recorder.text(1)
    asked = [entry["text"] for entry in recorder.lines(1, "jsonl") if entry.get("event") == "command"]
    assert asked[-2:] == [LINE, "exit 5"]


async def test_a_client_that_only_sends_has_its_keys_changed_too(
    gateway: Gateway, changes: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte is a gigabyte, whoever sent it; OpenSSH by itself goes on for sixty-four of them."""
    monkeypatch.setattr(transport, "REKEY_BYTES", LIMIT)
    ran = await run(gateway.ssh("wc -c"), BULK * 6)
    assert (ran.status, ran.out) == (0, b"%d\n" % len(BULK * 6))
    assert changes["client"] > 2
    assert changes["target"] == 1
