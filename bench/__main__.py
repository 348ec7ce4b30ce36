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
from pathlib import Path

from bench import approvals, evidence, spool, yes
from bench.postgres import PARTS, Sizes, run
from bench.suites import SUITES
from bench.ways import prepare, results_folder
from infra.demo.stack import Stack


def main() -> int:
    """Run the suites that were asked for, all of them by default."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="*",
        choices=[[], *SUITES, "postgres", "evidence", "approvals"],
        help="what to measure (default: everything)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds per variant, side by side (default 5)")
    parser.add_argument("--pin", action="store_true", help="everything on one core: the honest way to compare latencies here")
    parser.add_argument("--quick", action="store_true", help="postgres: small tables and short runs, to see that it works")
    parser.add_argument("--seconds", type=int, default=3, help="postgres: seconds per run of pgbench (default 3)")
    parser.add_argument("--megabytes", type=int, default=100, help="postgres: size of each bulk table (default 100)")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=[], help="postgres: these parts alone")
    asked = parser.parse_args()
    # Like Ctrl-C: what was started is ended on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if asked.pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    ready, tables = 0.0, []
    names = asked.suites or [*SUITES, "postgres", "evidence", "approvals"]
    if "postgres" in names:
        small = Sizes(rounds=1, seconds=1, megabytes=10, scale=1, connections=20)
        sizes = small if asked.quick else Sizes(rounds=asked.rounds, seconds=asked.seconds, megabytes=asked.megabytes)
        tables += [table.summary() for table in run(sizes, asked.only)]
    for name, measure in (
        ("evidence", evidence.run),
        ("evidence", spool.run),
        ("approvals", approvals.run),
        ("approvals", yes.run),
    ):
        for table in measure(asked.rounds) if name in names else ():
            print(table.render(), end="\n\n", flush=True)
            tables.append(table.summary())
    suites = [name for name in names if name in SUITES]
    if suites:
        ready, more = _ssh(suites, asked.rounds, pinned=asked.pin)
        tables += more
    when = dt.datetime.now(dt.UTC)
    kept = results_folder() / f"{when:%Y%m%dT%H%M%SZ}.json"
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "pinned": asked.pin, "ready_s": ready}
    kept.write_text(json.dumps({"when": when.isoformat(), "machine": machine, "tables": tables}, indent=2) + "\n")
    print(f"kept in {kept}")
    return 0


def _ssh(suites: list[str], rounds: int, *, pinned: bool) -> tuple[float, list[dict[str, object]]]:
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
