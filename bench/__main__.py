"""``python -m bench [suite …] [--rounds N] [--pin]``: measure, print tables, keep JSON."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import msgspec

from bench import approvals, evidence, postgres, spool, ssh, yes
from bench.cores import all_on_one
from bench.suites import SUITES
from bench.ways import prepare, results_folder
from infra.demo.stack import Stack

#: Suites that bring what they need.
OTHERS = ("postgres", "ssh", "evidence", "approvals")


def main() -> int:
    """Run the suites that were asked for, all of them by default."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="*",
        choices=[[], *SUITES, *OTHERS],
        help="what to measure (default: everything)",
    )
    parser.add_argument("--rounds", type=int, default=0, help="rounds per variant, side by side (default 5; ssh 3)")
    parser.add_argument("--pin", action="store_true", help="everything on one core: the honest way to compare latencies here")
    parser.add_argument("--quick", action="store_true", help="postgres, ssh: little of everything, to see that it works")
    parser.add_argument("--seconds", type=int, default=3, help="postgres: seconds per run of pgbench (default 3)")
    parser.add_argument("--megabytes", type=int, default=0, help="size of each bulk table or file (default 100; ssh 150)")
    parser.add_argument(
        "--only", nargs="+", choices=list(postgres.PARTS | ssh.PARTS), default=[], help="postgres, ssh: these parts alone"
    )
    asked = parser.parse_args()
    # Like Ctrl-C: what was started is ended on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = asked.suites or [*SUITES, *OTHERS]
    for suite, parts in (("postgres", postgres.PARTS), ("ssh", ssh.PARTS)):
        if suite in names and not set(asked.only) <= set(parts):
            parser.error(f"--only: parts of {suite} are {', '.join(parts)}")
    tables: list[dict[str, object]] = []
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "pinned": asked.pin, "ready_s": 0.0}
    try:
        with all_on_one() if asked.pin else nullcontext():
            _measure(asked, names, tables, machine)
    finally:
        # Whoever interrupts a long run keeps what it has measured.
        if tables:
            _keep(tables, machine)
    return 0


def _measure(asked: argparse.Namespace, names: list[str], tables: list[dict[str, object]], machine: dict[str, object]) -> None:
    if "postgres" in names:
        tables += [table.summary() for table in postgres.run(_postgres_sizes(asked), asked.only)]
    if "ssh" in names:
        for table in ssh.run(_ssh_sizes(asked), asked.only):
            tables.append(table.summary())
    rounds = asked.rounds or 5
    for name, measure in (
        ("evidence", evidence.run),
        ("evidence", spool.run),
        ("approvals", approvals.run),
        ("approvals", yes.run),
    ):
        for table in measure(rounds) if name in names else ():
            print(table.render(), end="\n\n", flush=True)
            tables.append(table.summary())
    suites = [name for name in names if name in SUITES]
    if suites:
        machine["ready_s"], more = _whole_gateway(suites, rounds, pinned=asked.pin)
        tables += more


def _keep(tables: list[dict[str, object]], machine: dict[str, object]) -> None:
    when = dt.datetime.now(dt.UTC)
    kept = results_folder() / f"{when:%Y%m%dT%H%M%SZ}.json"
    kept.write_text(json.dumps({"when": when.isoformat(), "machine": machine, "tables": tables}, indent=2) + "\n")
    print(f"kept in {kept}")


def _postgres_sizes(asked: argparse.Namespace) -> postgres.Sizes:
    if asked.quick:
        return postgres.Sizes(rounds=1, seconds=1, megabytes=10, scale=1, connections=20)
    return postgres.Sizes(rounds=asked.rounds or 5, seconds=asked.seconds, megabytes=asked.megabytes or 100)


def _ssh_sizes(asked: argparse.Namespace) -> ssh.Sizes:
    sizes = ssh.QUICK if asked.quick else ssh.Sizes()
    wanted = {"rounds": asked.rounds, "megabytes": asked.megabytes}
    return msgspec.structs.replace(sizes, **{name: value for name, value in wanted.items() if value})


def _whole_gateway(suites: list[str], rounds: int, *, pinned: bool) -> tuple[float, list[dict[str, object]]]:
    """Measure SSH through a whole gateway. Returns the seconds that it took to be ready, and the tables."""
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder, Stack(Path(folder), direct=True) as stack:
        began = time.perf_counter()
        ways = prepare(stack)
        ready = time.perf_counter() - began
        print(f"cloud, agent, target, policies, logins and a first command: {ready:.1f} s{' (pinned)' if pinned else ''}\n")
        tables = []
        for name in suites:
            for table in SUITES[name](ways, stack, rounds):
                print(table.render(), end="\n\n", flush=True)
                tables.append(table.summary())
    return ready, tables


if __name__ == "__main__":
    sys.exit(main())
