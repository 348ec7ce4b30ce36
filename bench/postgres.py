"""What PostgreSQL clients notice of the gateway: direct, pgbouncer, and the plug-in layer by layer, in turns.

``python -m bench postgres [--rounds N] [--quick] [--pin] [--only latency …]``. One-client latencies are always taken with
everything on one core, because a wake-up across virtual cores costs more than all that is measured; the rest uses all of them.
"""

from __future__ import annotations

import itertools
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from bench.cores import pin
from bench.measure import Table, percentile
from bench.postgres_gateway import DATABASE, LOGIN, PASSWORD
from bench.postgres_server import Postgres, Road, environment, program, roads

DIRECT, BOUNCER, POLICY, MASKING, EVERYTHING = "direct", "pgbouncer", "gateway, policy", "gateway, masking", "gateway, everything"
MODES = ("simple", "extended", "prepared")
CLIENTS = 8


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int = 5
    seconds: int = 3
    megabytes: int = 100
    scale: int = 10
    connections: int = 100
    pinned: bool = False


class Bench:
    """Everything that was started, and how much to measure."""

    def __init__(self, server: Postgres, ways: list[Road], folder: Path, sizes: Sizes) -> None:
        self.server, self.ways, self.folder, self.sizes = server, ways, folder, sizes

    def way(self, name: str) -> Road:
        """Return the way called ``name``."""
        return next(way for way in self.ways if way.name == name)

    @contextmanager
    def one_core(self) -> Iterator[None]:
        """Everything on one core for a while."""
        before = os.sched_getaffinity(0)
        pids = [os.getpid(), self.server.pid, *(way.pid for way in self.ways if way.pid)]
        pin(pids, {min(before)})
        try:
            yield
        finally:
            pin(pids, before)

    def pgbench(self, way: Road, *options: str, seconds: int = 0, sslmode: str = "disable") -> tuple[list[float], float]:
        """Run pgbench. Returns the latency of every transaction in µs, and the CPU of ``way`` in µs for each."""
        with tempfile.TemporaryDirectory(dir=self.folder) as where:
            began = way.cpu_s()
            command = [program("pgbench"), *self.server.address(way.port), "-n", "-l", "-T", str(seconds or self.sizes.seconds)]
            around = environment() | {"PGSSLMODE": sslmode}
            done = subprocess.run([*command, *options], env=around, cwd=where, capture_output=True, text=True, check=False)
            used = way.cpu_s() - began
            if done.returncode:
                raise RuntimeError(f"{way.name}: {done.stderr}")
            times = [float(line.split()[2]) for file in Path(where).iterdir() for line in file.read_text().splitlines()]
        return times, used * 1e6 / max(1, len(times))


def run(sizes: Sizes, only: Sequence[str] = ()) -> list[Table]:
    """Start everything, measure, end everything. Prints as it goes."""
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "server").mkdir()
        server = Postgres(folder / "server", scale=sizes.scale, megabytes=sizes.megabytes)
        ways: list[Road] = []
        tables: list[Table] = []
        try:
            # One at a time, so that an interrupt in between leaves none of them running.
            for way in roads(server, folder):
                ways.append(way)  # noqa: PERF402 - not all of them at once
            if all(way.name != BOUNCER for way in ways):
                print("pgbouncer is not installed, so it is not measured (apt-get install pgbouncer)\n")
            bench = Bench(server, ways, folder, sizes)
            for part in only or PARTS:
                for table in PARTS[part](bench):
                    print(table.render(), end="\n\n", flush=True)
                    tables.append(table)
        finally:
            for way in ways:
                way.stop()
            server.stop()
    return tables


def _table(title: str, unit: str, better: str, reference: str = DIRECT) -> Table:
    return Table(title, unit, better, reference=reference)


def latency(bench: Bench) -> Iterator[Table]:
    """One client and everything on one core: the median latency of each round, and the CPU that each way spends on a query."""
    for mode in MODES:
        times = _table(f"pgbench -S {mode}, 1 client, one core: p50", "µs", "less")
        cpu = _table(f"pgbench -S {mode}, 1 client, one core: CPU of the way", "µs/query", "less", BOUNCER)
        with bench.one_core():
            for _ in range(bench.sizes.rounds):
                for way in bench.ways:
                    found, used = bench.pgbench(way, "-S", "-M", mode, "-c", "1")
                    times.add(way.name, [percentile(found, 50)])
                    if way.pid:
                        cpu.add(way.name, [used])
        _aim(times, MASKING, "+25 µs at most", lambda middle, direct: middle - direct <= 25)
        _aim(times, EVERYTHING, "300 µs at most", lambda middle, direct: middle <= 300)
        _beside_bouncer(times)
        yield times
        yield cpu


def throughput(bench: Bench) -> Iterator[Table]:
    """Eight clients, saturated: transactions per second, and the CPU that each way spends on a query."""
    for mode in MODES:
        rate = _table(f"pgbench -S {mode}, {CLIENTS} clients", "tps", "more", BOUNCER)
        cpu = _table(f"pgbench -S {mode}, {CLIENTS} clients: CPU of the way", "µs/query", "less", BOUNCER)
        for _ in range(bench.sizes.rounds):
            for way in bench.ways:
                found, used = bench.pgbench(way, "-S", "-M", mode, "-c", str(CLIENTS), "-j", "2")
                rate.add(way.name, [len(found) / bench.sizes.seconds])
                if way.pid:
                    cpu.add(way.name, [used])
        _aim(rate, EVERYTHING, "0.70 of pgbouncer at least", partial(_share, 0.7))
        _aim(rate, POLICY, "0.85 of pgbouncer at least", partial(_share, 0.85))
        yield rate
        yield cpu


def rows(bench: Bench) -> Iterator[Table]:
    """1,000 rows of five columns, one of them masked: one client, one core."""
    script = bench.folder / "people.sql"
    script.write_text("SELECT * FROM people;\n")
    table = _table("1,000 rows x 5 columns, one masked, 1 client, one core: p50", "µs", "less")
    with bench.one_core():
        for _ in range(bench.sizes.rounds):
            for way in bench.ways:
                found, _used = bench.pgbench(way, "-f", str(script), "-c", "1")
                table.add(way.name, [percentile(found, 50)])
    _aim(table, MASKING, "1 µs per row at most", lambda middle, direct: middle - direct <= 1000)
    yield table


def bulk(bench: Bench) -> Iterator[Table]:
    """Whole tables by SELECT and by COPY, as fast as a client can throw them away."""
    aims = {"SELECT bulk_clean": (MASKING, 0.7), "COPY bulk_clean": (MASKING, 0.7), "SELECT bulk_tagged": (MASKING, 0.8)}
    for word, name in itertools.product(("SELECT", "COPY"), ("bulk_clean", "bulk_tagged", "bulk_dense")):
        what = f"{word} {name}"
        text = f"COPY {name} TO STDOUT" if word == "COPY" else f"SELECT * FROM {name}"
        speed = _table(f"{what}, {bench.sizes.megabytes} MB", "MB/s", "more")
        cpu = _table(f"{what}: CPU of the way", "ms/MB", "less", BOUNCER)
        for _ in range(bench.sizes.rounds):
            for way in bench.ways:
                began = way.cpu_s()
                megabytes, seconds = read_all(way.port, text)
                speed.add(way.name, [megabytes / seconds])
                if way.pid:
                    cpu.add(way.name, [(way.cpu_s() - began) * 1000 / megabytes])
        if what in aims:
            who, least = aims[what]
            _aim(speed, who, f"{least} of direct at least", partial(_share, least))
        yield speed
        yield cpu


def _share(least: float, middle: float, reference: float) -> bool:
    return middle >= least * reference


def read_all(port: int, text: str) -> tuple[float, float]:
    """Send ``text`` and throw the answer away. Returns its megabytes (10^6 bytes) and seconds."""
    with psycopg.connect(_dsn(port), autocommit=True) as connection, socket.socket(fileno=os.dup(connection.fileno())) as sock:
        sock.setblocking(True)
        buffer, total, tail = bytearray(1 << 18), 0, b""
        body = text.encode() + b"\0"
        began = time.perf_counter()
        sock.sendall(b"Q" + (len(body) + 4).to_bytes(4) + body)
        while tail != b"Z\0\0\0\5I":
            count = sock.recv_into(buffer)
            if not count:
                raise RuntimeError(f"{text}: the connection ended after {total} bytes")
            total += count
            tail = (tail + bytes(buffer[max(0, count - 6) : count]))[-6:]
        return total / 1e6, time.perf_counter() - began


def fairness(bench: Bench) -> Iterator[Table]:
    """The latency of one pgbench client while another session reads a masked bulk table through the same process."""
    table = _table("pgbench -S prepared, 1 client, beside a bulk SELECT: p99", "µs", "less")
    for _ in range(bench.sizes.rounds):
        for way in bench.ways:
            table.add(way.name, [_beside_bulk(bench, way)])
    _aim(table, MASKING, "10 ms at most", lambda middle, direct: middle <= 10_000)
    _aim(table, EVERYTHING, "10 ms at most", lambda middle, direct: middle <= 10_000)
    yield table


def _beside_bulk(bench: Bench, way: Road) -> float:
    again = f"from bench.postgres import read_all\nwhile True: read_all({way.port}, 'SELECT * FROM bulk_tagged')"
    here = Path(__file__).parent.parent
    reading = subprocess.Popen([sys.executable, "-c", again], cwd=here, env=environment(), stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        found, _used = bench.pgbench(way, "-S", "-M", "prepared", "-c", "1", seconds=max(3, bench.sizes.seconds))
    finally:
        reading.kill()
        reading.wait()
    return percentile(found, 99)


def memory(bench: Bench) -> Iterator[Table]:
    """What one more idle connection that has asked something costs the process."""
    table = _table(f"resident memory per connection, at {bench.sizes.connections}", "KB", "less", BOUNCER)
    for way in bench.ways:
        if not way.pid:
            continue
        psycopg.connect(_dsn(way.port)).close()
        before = way.resident_kb()
        held: list[psycopg.Connection[Any]] = []
        try:
            for number in range(bench.sizes.connections):
                held.append(psycopg.connect(_dsn(way.port), autocommit=True))
                held[-1].execute(f"SELECT * FROM people WHERE id = {number}").fetchall()
            table.add(way.name, [(way.resident_kb() - before) / bench.sizes.connections])
        finally:
            for each in held:
                each.close()
    _aim(table, EVERYTHING, "100 KB at most", lambda middle, bouncer: middle <= 100)
    yield table


def tls(bench: Bench) -> Iterator[Table]:
    """Eight clients and COPY with TLS between client and gateway; direct speaks TLS with the server."""
    rate = _table(f"pgbench -S prepared over TLS, {CLIENTS} clients", "tps", "more")
    copy = _table(f"COPY bulk_clean over TLS, {bench.sizes.megabytes} MB", "MB/s", "more")
    ways = [way for way in bench.ways if way.name != BOUNCER]
    for _ in range(bench.sizes.rounds):
        for way in ways:
            found, _used = bench.pgbench(way, "-S", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", sslmode="require")
            rate.add(way.name, [len(found) / bench.sizes.seconds])
            copy.add(way.name, [_copy(way.port, "COPY bulk_clean TO STDOUT")])
    yield rate
    yield copy


def _copy(port: int, text: str) -> float:
    with psycopg.connect(_dsn(port, "require"), autocommit=True) as connection, connection.cursor() as cursor:
        began, total = time.perf_counter(), 0
        with cursor.copy(text) as data:
            for piece in data:
                total += len(piece)
        return total / 1e6 / (time.perf_counter() - began)


def _dsn(port: int, sslmode: str = "disable") -> str:
    return f"host=127.0.0.1 port={port} user={LOGIN} dbname={DATABASE} password={PASSWORD} sslmode={sslmode} gssencmode=disable"


def _beside_bouncer(table: Table) -> None:
    """Say how the absolute aim looks beside pgbouncer, which added 10 µs where the +25 were set. Takes nothing back of it."""
    if BOUNCER not in table.rows or MASKING not in table.rows:
        return
    direct, bouncer, ours = (statistics.median(table.rows[name]) for name in (DIRECT, BOUNCER, MASKING))
    said = "reached" if ours - bouncer <= 15 else "MISSED"
    table.notes.append(
        f"pgbouncer adds {bouncer - direct:.0f} µs here, where +25 was 15 more than what it adds: "
        f"{MASKING} adds {ours - bouncer:.0f} more, {said}"
    )


def _aim(table: Table, name: str, words: str, reached: Callable[[float, float], bool]) -> None:
    if name not in table.rows or table.reference not in table.rows:
        return
    said = "reached" if reached(statistics.median(table.rows[name]), statistics.median(table.rows[table.reference])) else "MISSED"
    table.notes.append(f"aim for {name}: {words}: {said}")


PARTS: dict[str, Callable[[Bench], Iterator[Table]]] = {
    # First, while no process has room to spare from anything else.
    "memory": memory,
    "latency": latency,
    "throughput": throughput,
    "rows": rows,
    "bulk": bulk,
    "tls": tls,
    "fairness": fairness,
}
