"""``make demo``. With ``DEMO_ONCE=1`` it exits after the tour: 0 if every step printed what it should, 1 otherwise."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from infra.demo.database import psql_path
from infra.demo.screen import Screen
from infra.demo.stack import BIN, ROOT, Stack
from infra.demo.tour import Tour


def main() -> int:
    """Start everything, play the tour, and stay up unless told otherwise."""
    folder = Path(os.environ.get("DEMO_DIR", ROOT / ".demo"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    screen = Screen()
    stopping = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: _interrupt(stopping))
    try:
        with Stack(folder) as stack:
            began = time.monotonic()
            stack.database.prepare()
            stack.start_cloud()
            stack.target.start()
            print(f"The embedded cloud and a real OpenSSH target are up after {time.monotonic() - began:.1f} s.", flush=True)
            Tour(stack, screen).play()
            print(f"\nThe tour took {time.monotonic() - began:.0f} s.", flush=True)
            if screen.failures:
                print(f"{len(screen.failures)} promises did not hold:", *screen.failures, sep="\n  ", file=sys.stderr)
                print(f"The logs are in {folder}", file=sys.stderr)
                return 1
            if os.environ.get("DEMO_ONCE") == "1":
                return 0
            print(by_hand(stack, folder), flush=True)
            stopping.wait()
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except RuntimeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


def by_hand(stack: Stack, folder: Path) -> str:
    """Write alice's environment to a file and say how to use it."""
    alice = stack.person("alice")
    script = folder / "alice.sh"
    script.write_text(
        f"# source this to be alice\n"
        f"export PATH={BIN}:$PATH{psql_path()} SALLYPORT_HOME={alice.environment['SALLYPORT_HOME']}\n"
        f"export SALLYPORT_SSH_DIR={alice.environment['SALLYPORT_SSH_DIR']}\n"
        + "".join(f'{tool}() {{ command {tool} -F "$SALLYPORT_SSH_DIR/config" "$@"; }}\n' for tool in ("ssh", "scp", "sftp"))
    )
    return f"""
The stack stays up. To be alice, in another terminal:

    source {script.relative_to(ROOT) if script.is_relative_to(ROOT) else script}
    sallyport ls
    ssh prod-web
    sallyport connect prod-db
    sallyport sessions

To log in by hand, open the link that this prints:   sallyport login --url {stack.url}
Policies: {folder / "gateway"} · logs: {folder}/*.log
Ctrl-C stops everything; nothing is kept."""


def _interrupt(stopping: threading.Event) -> None:
    if stopping.is_set() or threading.current_thread() is not threading.main_thread():
        return
    stopping.set()
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
