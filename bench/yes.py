"""How long a yes takes to become a running command: from the moment in which somebody presses the button until the first output.

Everything that lies between is in it: the vote (checked, stored with its event), the push to the agent, the counted use, the
durable record, the command itself, and its first output on the client's side. What the control plane takes alone (the vote until
the push has arrived) is shown beside it, measured on a socket that waits for requests of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncssh
import urllib3
from websockets.sync.client import connect

from bench.measure import Table
from infra.demo.stack import Person, Stack

#: Answers per round and way.
SAMPLES: Final = 6
#: Seconds between the question and the answer: people take longer, and what follows the question is over by then.
READING_S: Final = 0.4
_PATIENCE_S: Final = 30.0

POLICIES: Final = """
@id("ask-for-words") @message("A second pair of eyes.") @approval("group:auditors ttl:60s")
forbid (principal, action == Action::"run", resource == Target::"prod-web") when { context.verbs.contains("mkfifo") }
unless { context.approvals.contains("auditors") };

@id("ask-for-remarks") @message("A second pair of eyes.") @approval("group:auditors ttl:60s")
forbid (principal, action == Action::"run", resource == Target::"prod-db") when { context.verbs.contains("COMMENT") }
unless { context.approvals.contains("auditors") };

@id("ask-to-come-in") @message("Somebody has to let you in.") @approval("group:auditors ttl:60s")
forbid (principal, action == Action::"connect", resource) when { context.reason like "*let me in*" }
unless { context.approvals.contains("auditors") };

@id("auditors-answer") permit (principal in Group::"auditors", action == Action::"approve", resource);
"""


class Gateway(NamedTuple):
    """A whole gateway with somebody who asks, and somebody who answers."""

    stack: Stack
    alice: Person
    voter: Caller


class Caller:
    """The HTTP API in one person's name, on a connection that is kept."""

    def __init__(self, stack: Stack, person: Person) -> None:
        saved = json.loads((Path(person.environment["SALLYPORT_HOME"]) / "session.json").read_text())
        self.token = str(saved.get("access_token") or saved["token"])
        self._url = stack.url
        self._http = urllib3.PoolManager(1)

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the answer. Raises RuntimeError for every refusal."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        reply = self._http.request(method, self._url + path, body=sent, headers=headers)
        if reply.status != 200:
            raise RuntimeError(reply.data.decode())
        answer: dict[str, Any] = json.loads(reply.data)
        return answer

    def asked(self, since: set[str]) -> dict[str, Any]:
        """Return the request that is new in the inbox, once there is one."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            found = [each for each in self.call("GET", "/requests?view=inbox")["requests"] if each["rid"] not in since]
            if found:
                return dict(found[0])
            time.sleep(0.05)
        raise RuntimeError("nobody asked")

    def vote(self, request: dict[str, Any]) -> None:
        """Say yes."""
        self.call("POST", f"/requests/{request['rid']}/votes", {"approve": True, "digest": request["digest"]})


def run(rounds: int) -> list[Table]:
    """Bring a gateway up and measure. Every variant once per round, so that what else the machine does hits all alike."""
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder, Stack(Path(folder), direct=True) as stack:
        return measure(furnish(stack), rounds * SAMPLES)


def furnish(stack: Stack) -> Gateway:
    """Start everything on an empty stack, with rules that ask."""
    stack.database.prepare()
    stack.start_cloud()
    stack.target.start()
    (stack.folder / "gateway").mkdir(exist_ok=True)
    (stack.folder / "gateway" / "ask.cedar").write_text(POLICIES)
    stack.database.wait()
    alice = stack.furnish()
    for _ in range(100):
        if alice.run(["ssh", "prod-web", "true"]).returncode == 0:
            break
    carol = stack.person("carol")
    carol.login(stack.url)
    return Gateway(stack, alice, Caller(stack, carol))


def measure(gateway: Gateway, samples: int) -> list[Table]:
    """Return the table of an already furnished gateway."""
    table = Table("a yes until it runs", "ms", "less", reference="the control plane alone: a vote until its push")
    alone = Caller(gateway.stack, gateway.alice)
    variants: dict[str, Callable[[int], Sequence[float]]] = {
        table.reference: lambda _: [_pushed(gateway, alone)],
        "the target alone: a command on a connection that is open": lambda _: [asyncio.run(_alone(gateway.stack))],
    }
    for way in ("direct", "relay"):
        variants[f"ssh host command, {way}"] = partial(_ssh, gateway, way)
        variants[f"psql statement, {way}"] = partial(_psql, gateway, way)
    for number in range(samples):
        for name, once in variants.items():
            table.add(name, once(number))
    return [table]


def _ssh(gateway: Gateway, way: str, number: int) -> list[float]:
    return [_until_output(gateway, ["ssh", "prod-web", f"mkfifo {gateway.stack.folder}/{way}-{number}; echo made"], way)]


def _psql(gateway: Gateway, way: str, number: int) -> list[float]:
    statement = f"comment on table customers is '{number}'"
    return [_until_output(gateway, ["sallyport", "connect", "prod-db", "--", "psql", "-XAt", "-c", statement], way)]


async def _alone(stack: Stack) -> float:
    """Milliseconds that the target itself takes to start a command and say something, past the gateway."""
    target = stack.target
    there = {"port": target.port, "username": target.account, "client_keys": [str(target.credential)]}
    async with asyncssh.connect("127.0.0.1", known_hosts=None, config=None, **there) as connection:
        await asyncio.sleep(READING_S)
        began = time.perf_counter()
        process = await connection.create_process("echo made")
        await process.stdout.read(1)
        took = (time.perf_counter() - began) * 1000
        await process.wait()
    return took


def _until_output(gateway: Gateway, words: list[str], way: str) -> float:
    """Milliseconds from the vote until the command that waits has said something."""
    seen = {each["rid"] for each in gateway.voter.call("GET", "/requests?view=inbox")["requests"]}
    process = subprocess.Popen(
        gateway.alice.command(words),
        env=gateway.alice.environment | {"SALLYPORT_WAY": way},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    output = process.stdout
    assert output is not None
    ran: list[float] = []
    reading = threading.Thread(target=lambda: ran.append(time.perf_counter()) if output.read(1) else None)
    reading.start()
    request = gateway.voter.asked(seen)
    time.sleep(READING_S)
    began = time.perf_counter()
    gateway.voter.vote(request)
    reading.join(_PATIENCE_S)
    process.wait(_PATIENCE_S)
    if not ran:
        raise RuntimeError("it was agreed to and said nothing")
    return (ran[0] - began) * 1000


def _pushed(gateway: Gateway, asker: Caller) -> float:
    """Milliseconds from the vote until whoever asked hears of it on a socket."""
    asked = {"target": "prod-web", "reason": "let me in"}
    request = asker.call("POST", "/requests", asked)["request"]
    headers = {
        "Authorization": f"Bearer {asker.token}",
        "X-Sallyport-Socket": "request",
        "X-Sallyport-Request": request["rid"],
    }
    url = asker.call("GET", "/trust")["websocket_url"]
    heard: list[float] = []
    with connect(url, additional_headers=headers, compression=None) as socket:
        listening = threading.Thread(target=lambda: heard.append(time.perf_counter()) if socket.recv(_PATIENCE_S) else None)
        listening.start()
        time.sleep(READING_S)
        began = time.perf_counter()
        gateway.voter.vote(request)
        listening.join(_PATIENCE_S)
    if not heard:
        raise RuntimeError("the vote was pushed to nobody")
    asker.call("POST", f"/requests/{request['rid']}/revoke", {"comment": "measured"})
    return (heard[0] - began) * 1000
