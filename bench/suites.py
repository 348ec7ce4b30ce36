"""The measurements themselves. Each takes the ways and returns tables."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import time
import tty
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import urllib3

from bench.measure import Table, interleave
from bench.ways import GATEWAY_DIRECT, GATEWAY_RELAY, Way
from infra.demo.stack import Stack

Ways = dict[str, Way]
KEYSTROKES = 100
#: Seconds between two keys: nobody types faster, and masking waits 10 ms for the rest of what comes faster.
KEYS_APART_S = 0.015
#: Large enough that connecting, which is measured by itself, does not count.
BULK_MB = 400
#: The relay carries a fraction of that in the same time.
RELAY_MB = 40
#: Seconds between two sessions of one person; without it, what follows one offer (the agent opens its tunnel) delays the next.
APART_S = 0.5
SESSIONS = 100


def connect(ways: Ways, stack: Stack, rounds: int) -> list[Table]:
    """``ssh host true`` from nothing to the prompt: process, key exchange, decision, session, exit."""

    def once(way: Way) -> Callable[[], Sequence[float]]:
        def measure() -> Sequence[float]:
            began = time.perf_counter()
            way.run("true")
            return [(time.perf_counter() - began) * 1000]

        return measure

    return [interleave(rounds * 5, {name: once(way) for name, way in ways.items()}, Table("ssh host true", "ms", "less"))]


def echo(ways: Ways, stack: Stack, rounds: int) -> list[Table]:
    """A keystroke until its echo, through a pseudo-terminal on the target, as people type. Masked: the demo reveals nothing."""
    table = Table(f"keystroke → echo, {KEYS_APART_S * 1000:.0f} ms apart", "ms", "less")
    typists: dict[str, Typist] = {}
    try:
        for name, way in ways.items():
            typists[name] = Typist(way)
        for typist in typists.values():
            typist.type(20)
        variants = {name: partial(typist.type, KEYSTROKES, apart_s=KEYS_APART_S) for name, typist in typists.items()}
        interleave(rounds, variants, table)
    finally:
        for typist in typists.values():
            typist.close()
    return [table]


class Typist:
    """An ssh session in a pseudo-terminal whose target echoes each key at once."""

    def __init__(self, way: Way) -> None:
        master, slave = pty.openpty()
        tty.setraw(slave)
        command = way.command("ssh", "-tt", "-e", "none", way.host, "cat")
        self._process = subprocess.Popen(command, env=way.environment, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL)
        os.close(slave)
        self._master = master
        try:
            os.write(master, b"~")
            self._read_until(b"~")
        except BaseException:
            self.close()
            raise

    def type(self, count: int, *, apart_s: float = 0.0) -> list[float]:
        """Type ``count`` keys; return the milliseconds of each. The next one is typed ``apart_s`` after the echo."""
        times = []
        for number in range(count):
            key = b"abcdefghijklmnop"[number % 16 : number % 16 + 1]
            began = time.perf_counter()
            os.write(self._master, key)
            self._read_until(key)
            times.append((time.perf_counter() - began) * 1000)
            if apart_s:
                time.sleep(apart_s)
        os.write(self._master, b"\n")
        self._drain()
        return times

    def close(self) -> None:
        """End the session."""
        os.write(self._master, b"\x04\x04")
        os.close(self._master)
        self._process.terminate()
        self._process.wait()

    def _read_until(self, wanted: bytes) -> None:
        seen = b""
        while wanted not in seen:
            if not select.select([self._master], [], [], 30)[0]:
                raise RuntimeError("no echo for 30 s")
            seen += os.read(self._master, 4096)

    def _drain(self) -> None:
        while select.select([self._master], [], [], 0.05)[0]:
            os.read(self._master, 4096)


def bulk(ways: Ways, stack: Stack, rounds: int) -> list[Table]:
    """Files up and down by sftp, and a program's output, in MB/s (10^6 bytes)."""
    line = b"2026-11-20T12:00:00Z lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod\n"
    sources = {}
    for megabytes in (BULK_MB, RELAY_MB):
        sources[megabytes] = stack.folder / f"bulk-{megabytes}", stack.folder / f"text-{megabytes}"
        sources[megabytes][0].write_bytes(os.urandom(1_000_000) * megabytes)
        sources[megabytes][1].write_bytes(line * (megabytes * 1_000_000 // len(line)))

    def up(way: Way, binary: Path, text: Path) -> float:
        return _sftp(way, f"put {binary} {stack.folder}/up", binary)

    def down(way: Way, binary: Path, text: Path) -> float:
        return _sftp(way, f"get {binary} {stack.folder}/down", binary)

    def output(way: Way, binary: Path, text: Path) -> float:
        return _output(way, text)

    directions = {"sftp up": up, "sftp down": down, "exec output, text": output}
    tables = []
    for title, measure in directions.items():
        table = Table(title, "MB/s", "more")
        for number in range(rounds):
            for name, way in ways.items():
                if name != GATEWAY_RELAY:
                    table.add(name, [measure(way, *sources[BULK_MB])])
                elif number == 0:
                    table.add(name, [measure(way, *sources[RELAY_MB])])
        tables.append(table)
    return tables


def _sftp(way: Way, line: str, path: Path) -> float:
    began = time.perf_counter()
    command = way.command("sftp", "-q", "-b", "-", way.host)
    subprocess.run(command, env=way.environment, input=line.encode() + b"\n", capture_output=True, check=True)
    return path.stat().st_size / 1e6 / (time.perf_counter() - began)


def _output(way: Way, path: Path) -> float:
    began = time.perf_counter()
    command = way.command("ssh", way.host, "cat", str(path))
    subprocess.run(command, env=way.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return path.stat().st_size / 1e6 / (time.perf_counter() - began)


def open_session(ways: Ways, stack: Stack, rounds: int) -> list[Table]:
    """``POST /sessions`` on a kept connection: verify, decide, write session and event, sign the ticket, tell the agent."""
    alice = stack.person("alice")
    saved = json.loads((Path(alice.environment["SALLYPORT_HOME"]) / "session.json").read_text())
    token = saved.get("access_token") or saved["token"]
    http = urllib3.PoolManager(1)
    table = Table("open_session", "ms", "less")
    body = json.dumps({"target": "prod-web", "login": "", "reason": "bench"}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def once() -> float:
        began = time.perf_counter()
        reply = http.request("POST", f"{stack.url}/sessions", body=body, headers=headers)
        if reply.status != 200:
            raise RuntimeError(reply.data.decode())
        return (time.perf_counter() - began) * 1000

    for _ in range(10 * rounds):
        time.sleep(APART_S)
        table.add("one at a time, as people connect", [once()])
    table.add("back to back", [once() for _ in range(10 * rounds)])
    return [table]


def memory(ways: Ways, stack: Stack, rounds: int) -> list[Table]:
    """Resident memory of the agent per idle session, at 100 sessions on the direct path, and its CPU while idle."""
    table = Table(f"agent memory per idle session, at {SESSIONS}", "KB", "less")
    pid = stack.pid("agent")
    before = _resident_kb(pid)
    way = ways[GATEWAY_DIRECT]
    processes = []
    try:
        for _ in range(SESSIONS):
            command = way.command("ssh", way.host, "cat")
            process = subprocess.Popen(command, env=way.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            processes.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"ready\n")
            process.stdin.flush()
            process.stdout.readline()
        table.add("agent", [(_resident_kb(pid) - before) / SESSIONS])
        began = _cpu_s(pid)
        time.sleep(10)
        table.notes.append(
            f"agent at rest {before / 1000:.0f} MB; CPU with {SESSIONS} idle sessions {(_cpu_s(pid) - began) * 10:.2f} %"
        )
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [table]


def _resident_kb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1])
    raise RuntimeError(f"process {pid} has no resident memory")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


SUITES = {"connect": connect, "echo": echo, "bulk": bulk, "open_session": open_session, "memory": memory}
