"""What SSH clients notice of the gateway: direct, through a plain OpenSSH jump host, and through the plug-in, in turns.

``python -m bench ssh [--rounds N] [--quick] [--only echo …]``. Latencies are taken with everything on one core, because a wake-up
across virtual cores costs more than all that is measured; the rest uses all of them.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from bench.measure import DIRECT, Table, percentile
from bench.ssh_server import ended_if_interrupted
from bench.ssh_typing import Shell
from bench.ssh_ways import GUARDED, JUMP, MASKED, PASS, RECORDED, SshWay, Ways
from bench.suites import KEYS_APART_S, Typist

SHELLS = ("bash", "zsh", "fish")
#: Keys of one way before the next one has its turn: whatever else the machine does lasts longer than that.
TURN = 10
_CLEAN = b"2026-11-20T12:00:00Z lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod\n"
_DENSE = b"order %07d of person%d@mail.example.com, card 4111 1111 1111 1111, ssn %03d-12-%04d, shipped\n"


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    rounds: int = 3
    megabytes: int = 150
    keys: int = 100
    lines: int = 20
    sessions: int = 200
    idle_s: float = 5.0


QUICK = Sizes(rounds=1, megabytes=20, keys=50, lines=5, sessions=20, idle_s=1.0)


class Bench:
    """The ways, how much to measure, and what is carried."""

    def __init__(self, ways: Ways, sizes: Sizes, folder: Path) -> None:
        self.ways, self.sizes, self.folder = ways, sizes, folder
        self._files: dict[str, Path] = {}

    def megabytes(self, kind: str) -> int:
        """Return the size of a file to carry. What is full of secrets is less, for a hit costs more than a byte."""
        return self.sizes.megabytes // (5 if kind == "dense" else 1)

    def file(self, kind: str) -> Path:
        """Return a file to carry: ``random`` bytes, ``clean`` text, or text ``dense`` with what is masked."""
        if kind not in self._files:
            self._files[kind] = path = self.folder / kind
            wanted = self.megabytes(kind) * 1_000_000
            part = {"random": lambda: os.urandom(1_000_000), "clean": lambda: _CLEAN * 10_000, "dense": _dense}[kind]()
            path.write_bytes((part * (wanted // len(part) + 1))[:wanted])
        return self._files[kind]


def _dense() -> bytes:
    return b"".join(_DENSE % (n, n, n % 665 + 1, n % 9998 + 1) for n in range(10_000))


def run(sizes: Sizes, only: Sequence[str] = ()) -> Iterator[Table]:
    """Start everything, measure, end everything. Prints as it goes. Raises SystemExit in the end where a part did not work."""
    failed: list[str] = []
    # What is carried stays in memory, where there is room: the disk is not what is compared. The recordings go to the disk.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with ExitStack() as everything:
        name = everything.enter_context(tempfile.TemporaryDirectory(prefix="sallyport-bench-"))
        data = everything.enter_context(tempfile.TemporaryDirectory(prefix="sallyport-bench-", dir=memory))
        bench = Bench(everything.enter_context(Ways(Path(name))), sizes, Path(data))
        for part in only or PARTS:
            try:
                for table in PARTS[part](bench):
                    print(table.render(), end="\n\n", flush=True)
                    yield table
            except (RuntimeError, OSError) as error:
                print(f"{part} FAILED: {error}\n", flush=True)
                failed.append(part)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


# -- latency -----------------------------------------------------------------------------------------------------------------


def echo(bench: Bench) -> Iterator[Table]:
    """One key until its echo, everything on one core: each key as soon as the last one was seen, and as people type."""
    with bench.ways.one_core(), ExitStack() as typists:
        each = [(way, _typist(typists, way)) for way in bench.ways.all(DIRECT, JUMP, PASS, RECORDED, MASKED)]
        for _, typist in each:
            typist.type(20)
        row, row_cpu = _typed(bench, "in a row", [pair for pair in each if pair[0].name != MASKED], 0.0)
        _note(row, RECORDED, JUMP, "below ssh -J", lambda ours, jump: ours < jump)
        _note(row, RECORDED, DIRECT, "+0.12 ms at most", lambda ours, direct: ours - direct <= 0.12)
        yield row
        yield row_cpu
        yield from _typed(bench, f"{KEYS_APART_S * 1000:.0f} ms apart", each, KEYS_APART_S)


def _typed(bench: Bench, how: str, each: Sequence[tuple[SshWay, Typist]], apart_s: float) -> tuple[Table, Table]:
    table = Table(f"keystroke → echo, {how}, one core", "ms", "less")
    cpu = Table(f"keystroke → echo, {how}, one core: CPU of the gateway", "µs", "less", reference=PASS)
    for _ in range(bench.sizes.rounds * bench.sizes.keys // TURN):
        for way, typist in each:
            used = way.cpu_s()
            table.add(way.name, typist.type(TURN, apart_s=apart_s))
            if way.name not in (DIRECT, JUMP):
                cpu.add(way.name, [(way.cpu_s() - used) / TURN * 1e6])
    return table, cpu


def _typist(typists: ExitStack, way: SshWay) -> Typist:
    typist = Typist(way)
    typists.callback(typist.close)
    return typist


def enter(bench: Bench) -> Iterator[Table]:
    """Enter until the first output of a builtin, with everything on one core."""
    for shell in SHELLS:
        if shutil.which(shell) is None:
            print(f"{shell} is not installed, so it is not measured (apt-get install {shell})\n")
            continue
        table = Table(f"Enter → first output, {shell}, one core", "ms", "less")
        with bench.ways.one_core(), ExitStack() as open_shells:
            shells: dict[str, Shell] = {}
            for name in (DIRECT, JUMP, RECORDED, GUARDED):
                words = () if name == GUARDED else (f"exec {shell} -i",)
                shells[name] = Shell(bench.ways.way(name, shell if name == GUARDED else "bash"), *words)
                open_shells.callback(shells[name].close)
            for each in shells.values():
                each.enter(3)
            for _ in range(bench.sizes.rounds):
                for name, each in shells.items():
                    table.add(name, each.enter(bench.sizes.lines))
        yield table


# -- bulk --------------------------------------------------------------------------------------------------------------------


def output(bench: Bench) -> Iterator[Table]:
    """A program's output: bytes, text, and text that is full of what is masked."""
    for kind, what in (("random", "bytes"), ("clean", "clean text"), ("dense", "dense text")):
        # Bytes that are no text cannot be masked, and are not shown where they would have to be.
        ways = bench.ways.all(DIRECT, JUMP, PASS, RECORDED, *((MASKED,) if kind != "random" else ()))
        yield from _speed(bench, f"exec down, {what}", ways, partial(_down, bench.file(kind)), kind)


def given(bench: Bench) -> Iterator[Table]:
    """A program's input, which is never recorded."""
    yield from _speed(bench, "exec up", bench.ways.all(DIRECT, JUMP, RECORDED), partial(_up, bench.file("random")))


def files(bench: Bench) -> Iterator[Table]:
    """Files down and up, by sftp and by scp."""
    ways = bench.ways.all(DIRECT, JUMP, RECORDED)
    source = bench.file("random")
    there, here = bench.folder / "there", bench.folder / "here"
    yield from _speed(bench, "sftp down", ways, partial(_sftp, f"get {source} {here}"))
    yield from _speed(bench, "sftp up", ways, partial(_sftp, f"put {source} {there}"))
    yield from _speed(bench, "scp down", ways, lambda way: way.command("scp", "-q", f"{way.host}:{source}", str(here)))
    yield from _speed(bench, "scp up", ways, lambda way: way.command("scp", "-q", str(source), f"{way.host}:{there}"))


def _down(path: Path, way: SshWay) -> list[str]:
    return way.command("ssh", way.host, f"cat {path}")


def _up(path: Path, way: SshWay) -> list[str]:
    return ["sh", "-c", 'exec "$@" < "$0"', str(path), *way.command("ssh", way.host, "cat > /dev/null")]


def _sftp(line: str, way: SshWay) -> list[str]:
    return ["sh", "-c", 'echo "$0" | "$@"', line, *way.command("sftp", "-q", "-b", "-", way.host)]


def _speed(
    bench: Bench, title: str, ways: Sequence[SshWay], command: Callable[[SshWay], list[str]], kind: str = "random"
) -> Iterator[Table]:
    """Carry the whole file once per round and way. The CPU is that of the hop alone, so it is the same beside neighbours."""
    megabytes = bench.megabytes(kind)
    speed = Table(f"{title}, {megabytes} MB", "MB/s", "more")
    cpu = Table(f"{title}: CPU of the hop", "ms/MB", "less", reference=JUMP)
    for _ in range(bench.sizes.rounds):
        for way in ways:
            used, began = way.cpu_s(), time.perf_counter()
            done = subprocess.run(
                command(way), env=way.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, check=False,
            )  # fmt: skip
            took = time.perf_counter() - began
            if done.returncode:
                raise RuntimeError(f"{title}, {way.name}: {done.stderr.decode(errors='replace')}")
            speed.add(way.name, [megabytes / took])
            if way.road is not None:
                # What was recorded is still being compressed, and a jump host's processes are counted when they are over.
                cpu.add(way.name, [(_settled(way) - used) * 1000 / megabytes])
    for name, least in ((PASS, 0.85), (RECORDED, 0.7)):
        for reference in (JUMP, DIRECT):
            _note(speed, name, reference, f"{least} of {reference} at least", partial(_share, least))
    if MASKED in speed.rows and "clean" in title:
        _note(speed, MASKED, DIRECT, "0.7 of direct at least", partial(_share, 0.7))
    yield speed
    yield cpu


def _share(least: float, ours: float, reference: float) -> bool:
    return ours >= least * reference


def _settled(way: SshWay) -> float:
    """The CPU that ``way`` has used, once it uses no more."""
    last = -1.0
    while (now := way.cpu_s()) != last:
        last = now
        time.sleep(0.1)
    return now


# -- beside others -----------------------------------------------------------------------------------------------------------


def fairness(bench: Bench) -> Iterator[Table]:
    """One person's echo while another one's program says as much as it can through the same process."""
    table = Table("keystroke → echo beside a bulk output", "ms", "less")
    for _ in range(bench.sizes.rounds):
        for way in bench.ways.all(DIRECT, JUMP, PASS, RECORDED, MASKED):
            table.add(way.name, _beside_bulk(bench, way))
    if RECORDED in table.rows:
        table.notes.append(f"p99 of {RECORDED}: {percentile(table.rows[RECORDED], 99):.1f} ms")
    yield table


def _beside_bulk(bench: Bench, way: SshWay) -> list[float]:
    typist = Typist(way)
    talking = subprocess.Popen(
        way.command("ssh", way.host, f"yes '{_CLEAN.decode().strip()}'"),
        env=way.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)
        return typist.type(bench.sizes.keys, apart_s=KEYS_APART_S)
    finally:
        talking.kill()
        talking.wait()
        typist.close()


def memory(bench: Bench) -> Iterator[Table]:
    """What one more idle session with a terminal costs the process, and what all of them take of a core."""
    sizes = bench.sizes
    table = Table(f"resident memory per idle session, at {sizes.sessions}", "KB", "less", reference="")
    way = bench.ways.fresh(RECORDED)
    assert way.road is not None
    with _crowd(way, 1):
        pass  # what the first one of all loads is not the price of one more
    before = way.road.resident_kb()
    with _crowd(way, sizes.sessions):
        table.add(way.name, [(way.road.resident_kb() - before) / sizes.sessions])
        began = way.cpu_s()
        time.sleep(sizes.idle_s)
        busy = (way.cpu_s() - began) / sizes.idle_s * 100
    table.notes.append(f"{before / 1000:.0f} MB at rest; CPU with {sizes.sessions} idle sessions: {busy:.2f} % of a core")
    table.notes.append(f"aim: 100 KB at most: {'reached' if statistics.median(table.rows[way.name]) <= 100 else 'MISSED'}")
    yield table


class _crowd:  # noqa: N801 - used as a statement
    """Idle sessions through ``way``, as long as the block lasts."""

    def __init__(self, way: SshWay, count: int) -> None:
        assert way.road is not None
        known = Path(way.options[1]).parent / "known_hosts"
        command = [sys.executable, "-m", "bench.ssh_crowd", str(way.road.port), str(known), str(count)]
        self._command = command

    def __enter__(self) -> None:
        here = Path(__file__).parent.parent
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=here)
        assert self._process.stdout is not None
        with ended_if_interrupted(self._process):
            said = self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"the crowd did not come: exit status {self._process.wait()}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def _note(table: Table, name: str, reference: str, words: str, reached: Callable[[float, float], bool]) -> None:
    if name not in table.rows or reference not in table.rows:
        return
    ours, theirs = statistics.median(table.rows[name]), statistics.median(table.rows[reference])
    said = "reached" if reached(ours, theirs) else "MISSED"
    figure = f"{ours - theirs:+.2f} ms" if table.unit == "ms" else f"{ours / theirs:.2f}"
    table.notes.append(f"aim for {name}: {words}: {said} ({figure})")


PARTS: dict[str, Callable[[Bench], Iterator[Table]]] = {
    # First, while no process has room to spare from anything else.
    "memory": memory,
    "echo": echo,
    "enter": enter,
    "exec": output,
    "input": given,
    "files": files,
    "fairness": fairness,
}
