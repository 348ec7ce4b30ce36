"""``make demo``. With ``DEMO_ONCE=1`` it exits after the tour: 0 if every step printed what it should, 1 otherwise.

Everything lies in one folder, ``.demo`` or ``DEMO_DIR``, which is emptied at the beginning and belongs to one demo at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.demo.database import psql_path
from infra.demo.screen import Screen
from infra.demo.stack import BIN, ROOT, Person, Stack
from infra.demo.tour import Tour

#: What a tour stores, and what an agent leaves free besides: below that it takes no sessions.
ROOM: Final = 600 * 1024 * 1024
#: Says that a folder is a demo's and may be emptied.
_MARK: Final = "demo-of-sallyport"


def main() -> int:
    """Start everything, play the tour, and stay up unless told otherwise."""
    folder = Path(os.environ.get("DEMO_DIR") or ROOT / ".demo").resolve()
    screen = Screen()
    stopping = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: _interrupt(stopping))
    try:
        with emptied(folder), Stack(folder) as stack:
            return play(stack, screen)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (RuntimeError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def play(stack: Stack, screen: Screen) -> int:
    """Play the tour, and wait for Ctrl-C unless told otherwise. Returns the exit status."""
    began = time.monotonic()
    stack.database.prepare()
    stack.start_cloud()
    stack.target.start()
    print(f"The embedded cloud and a real OpenSSH target are up after {time.monotonic() - began:.1f} s.", flush=True)
    screen.note(
        "\npat runs the gateway, alice is an engineer (sre), bob a database administrator (dba),"
        "\ncarol an auditor. All of it is on this machine; ssh, sshd, psql and PostgreSQL are real."
    )
    Tour(stack, screen).play()
    print(f"\nThe tour took {time.monotonic() - began:.0f} s.", flush=True)
    if screen.failures:
        print(f"{len(screen.failures)} promises did not hold:", *screen.failures, sep="\n  ", file=sys.stderr)
        print(f"The logs are in {stack.folder}", file=sys.stderr)
        return 1
    print(f"All {screen.held} promises held.", flush=True)
    if os.environ.get("DEMO_ONCE") != "1":
        print(by_hand(stack), flush=True)
        # Whoever reads this has seen everything: Ctrl-C is how it ends, and no failure.
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        print("\nStopped.", file=sys.stderr)
    return 0


@contextlib.contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Hold ``folder``, emptied, for this demo. Raises RuntimeError where it is another's, or not a demo's at all."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError(f"another demo runs in {folder}. End it, or: DEMO_DIR=/tmp/another make demo") from None
        if folder != ROOT / ".demo" and any(folder.iterdir()) and not (folder / _MARK).exists():
            raise RuntimeError(f"{folder} holds something that is no demo's, and would be emptied. Name another DEMO_DIR.")
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        free = shutil.disk_usage(folder).free
        if free < ROOM:
            need = f"{ROOM >> 20} MB are needed, {free >> 20} MB are free"
            raise RuntimeError(f"there is too little room in {folder}: {need}. Elsewhere: DEMO_DIR=/tmp/another make demo")
        (folder / _MARK).touch()
        yield
    finally:
        os.close(held)


def by_hand(stack: Stack) -> str:
    """Write everybody's environment to a file each, and say how to use them."""
    for name in ("alice", "bob", "carol", "pat"):
        script = write_script(stack.person(name), stack.folder)
    shown = script.parent.relative_to(ROOT) if script.is_relative_to(ROOT) else script.parent
    return f"""
The stack stays up. To be alice, in another terminal:

    source {shown}/alice.sh
    sallyport ls
    ssh prod-web
    sallyport connect prod-db

To answer what she asks, source {shown}/bob.sh in a second one (sallyport requests), or open {stack.url}/approvals
and log in as bob. carol.sh sees everybody's sessions; pat.sh may change the policies: sallyport apply {shown}/gateway

Logs: {shown}/*.log
Ctrl-C stops everything; nothing goes on to run."""


def write_script(person: Person, folder: Path) -> Path:
    """Write what makes a shell ``person``'s. Returns the file."""
    script = folder / f"{person.name}.sh"
    script.write_text(
        f"# source this to be {person.name}\n"
        f"export PATH={BIN}:$PATH{psql_path()} SALLYPORT_HOME={person.environment['SALLYPORT_HOME']}\n"
        f"export SALLYPORT_SSH_DIR={person.environment['SALLYPORT_SSH_DIR']}\n"
        + "".join(f'{tool}() {{ command {tool} -F "$SALLYPORT_SSH_DIR/config" "$@"; }}\n' for tool in ("ssh", "scp", "sftp"))
    )
    return script


def _interrupt(stopping: threading.Event) -> None:
    if stopping.is_set() or threading.current_thread() is not threading.main_thread():
        return
    stopping.set()
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
