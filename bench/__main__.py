"""``python -m bench [suite …] [--rounds N] [--pin]``: measure, print tables, keep JSON."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from bench.suites import SUITES
from bench.ways import prepare, results_folder
from infra.demo.stack import Stack


def main() -> int:
    """Run the suites that were asked for, all of them by default."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[[], *SUITES], help="what to measure (default: everything)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds per variant, side by side (default 5)")
    parser.add_argument("--pin", action="store_true", help="everything on one core: the honest way to compare latencies here")
    asked = parser.parse_args()
    if asked.pin:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="sallyport-bench-") as folder, Stack(Path(folder), direct=True) as stack:
        began = time.perf_counter()
        ways = prepare(stack)
        ready = time.perf_counter() - began
        print(f"cloud, agent, target, policies, logins and a first command: {ready:.1f} s{' (pinned)' if asked.pin else ''}\n")
        tables = []
        for name in asked.suites or SUITES:
            for table in SUITES[name](ways, stack, asked.rounds):
                print(table.render(), end="\n\n", flush=True)
                tables.append(table.summary())
    when = dt.datetime.now(dt.UTC)
    kept = results_folder() / f"{when:%Y%m%dT%H%M%SZ}.json"
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "pinned": asked.pin, "ready_s": ready}
    kept.write_text(json.dumps({"when": when.isoformat(), "machine": machine, "tables": tables}, indent=2) + "\n")
    print(f"kept in {kept}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
