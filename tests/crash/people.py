"""People who work while the agent dies under them: real ssh and real psql, connecting again and again.

Every command carries a number of its own, tells the target to write it down, and says it back. What came back was
*acknowledged*; what the target wrote down *ran*. Both are ledgers that no agent can touch.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import Counter
from itertools import count
from pathlib import Path

from infra.demo.database import binary
from infra.demo.stack import Person
from tests.patience import HANG_S

#: Every so many commands, one that says a lot: chunks are then cut in the middle of things.
LOUD = 9
LOUD_BYTES = 100_000


class Numbers:
    """The ledger of what people saw done."""

    def __init__(self) -> None:
        self._next = count(1)
        self._guard = threading.Condition()
        self.acknowledged: dict[int, str] = {}
        self.counts: Counter[str] = Counter()
        self.given = 0

    def take(self) -> int:
        """Return a number that nobody had."""
        with self._guard:
            self.given = next(self._next)
            return self.given

    def done(self, number: int, how: str) -> None:
        """Remember that somebody saw the answer of ``number``."""
        with self._guard:
            self.acknowledged[number] = how
            self.counts[how] += 1
            self._guard.notify_all()

    def wait_for(self, how: str, more: int, seconds: float) -> bool:
        """Return once ``more`` answers were seen by one kind of client, or after ``seconds``; tell whether they were."""
        with self._guard:
            enough = self.counts[how] + more
            return self._guard.wait_for(lambda: self.counts[how] >= enough, seconds)


class Worker(threading.Thread):
    """Somebody with one kind of client. ``stopping`` has the client end as people end it. ``errors`` is the folder that keeps
    what clients say on standard error."""

    def __init__(self, alice: Person, numbers: Numbers, name: str, errors: Path) -> None:
        super().__init__(name=name, daemon=True)
        self.alice = alice
        self.numbers = numbers
        self.errors = (errors / f"{name}.err").open("ab", buffering=0)
        self.stopping = threading.Event()
        self.sessions = 0
        self.trouble: BaseException | None = None

    def run(self) -> None:
        """Connect, work until the connection ends, and connect again."""
        try:
            while not self.stopping.is_set():
                if not self.once():
                    self.stopping.wait(0.03)
        except BaseException as error:
            self.trouble = error
            raise

    def once(self) -> bool:
        """Serve one connection; tell whether there was one."""
        raise NotImplementedError


class Shell(Worker):
    """One ssh connection at a time, and commands one after the other through it (ControlMaster)."""

    def __init__(self, alice: Person, numbers: Numbers, place: tuple[str, int], ledger: Path, folder: Path, errors: Path) -> None:
        super().__init__(alice, numbers, f"shell-{folder.name}", errors)
        folder.mkdir()
        self.ledger = ledger
        self._socket = folder / "mux"
        self._options = [
            *("-F", str(alice.folder / "ssh" / "config"), "-S", str(self._socket), "-p", str(place[1])),
            *("-o", f"HostName={place[0]}", "-o", "ProxyCommand=none", "-o", "ProxyUseFdpass=no", "-o", "User=prod-web"),
            *("-o", "BatchMode=yes", "-o", "LogLevel=ERROR"),
        ]

    def once(self) -> bool:
        self._socket.unlink(missing_ok=True)
        words = ["ssh", *self._options, "-o", "ControlMaster=yes", "-N", "prod-web"]
        master = subprocess.Popen(
            words, env=self.alice.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors
        )
        try:
            while not self._socket.exists():
                if master.poll() is not None or self.stopping.wait(0.01):
                    return False
            self.sessions += 1
            while not self.stopping.is_set() and master.poll() is None:
                self._command(self.numbers.take(), master)
            return True
        finally:
            master.terminate()
            master.wait()

    def _command(self, number: int, master: subprocess.Popen[bytes]) -> None:
        loud = "; seq 10000 40000" if number % LOUD == 0 else ""
        text = f"echo mark-{number}- >> {self.ledger}; echo out-{number}-{loud}"
        run = subprocess.run(
            ["ssh", *self._options, "prod-web", text],
            env=self.alice.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        if run.returncode == 0:
            said = run.stdout.split("\n")
            assert said[0] == f"out-{number}-", f"the answer to {number} is {run.stdout[:200]!r}"
            if loud and said[-2] != "40000":
                # The master writes what it received, and tells the exit status before it has: one that loses its connection then
                # takes the rest with it. Only then may something be missing.
                try:
                    master.wait(timeout=HANG_S)
                except subprocess.TimeoutExpired:
                    raise AssertionError(f"the answer to {number} ends in {run.stdout[-200:]!r}") from None
            self.numbers.done(number, "ssh")


class Door:
    """``sallyport connect prod-db --port 0``: it outlives every agent, and each connection through it is a session."""

    def __init__(self, alice: Person, errors: Path) -> None:
        """``errors`` is the folder that keeps what it says on standard error."""
        words = ["sallyport", "connect", "prod-db", "--port", "0", "--json"]
        self._process = subprocess.Popen(
            alice.command(words),
            env=alice.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(errors / "door.err").open("ab"),
            text=True,
        )
        assert self._process.stdout is not None
        self.dsn: str = json.loads(self._process.stdout.readline())["dsn"]

    def close(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=HANG_S)


class Query(Worker):
    """One psql at a time, and statements one after the other."""

    def __init__(self, alice: Person, numbers: Numbers, door: Door, number: int, errors: Path) -> None:
        super().__init__(alice, numbers, f"query-{number}", errors)
        self._door = door

    def once(self) -> bool:
        process = subprocess.Popen(
            [str(binary("psql")), "-XqAt", "-v", "ON_ERROR_STOP=1", self._door.dsn],
            env=self.alice.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        answered = False
        try:
            while not self.stopping.is_set():
                number = self.numbers.take()
                process.stdin.write(_statement(number))
                process.stdin.flush()
                said = process.stdout.readline()
                if not said.endswith("\n"):
                    break
                loud = LOUD_BYTES if number % LOUD == 0 else 0
                assert said == f"out-{number}-{'y' * loud}\n", f"the answer to {number} is {said[:200]!r}"
                self.sessions += not answered
                answered = True
                self.numbers.done(number, "psql")
        except OSError:
            pass
        finally:
            _end(process)
        return answered


def _statement(number: int) -> str:
    more, answer = (f"{'x' * 40_000}", f" || repeat('y', {LOUD_BYTES})") if number % LOUD == 0 else ("", "")
    return f"INSERT INTO ledger VALUES ({number}, 'mark-{number}- {more}') RETURNING 'out-{number}-'{answer};\n"


def _end(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        try:
            assert pipe is not None
            pipe.close()
        except OSError:
            pass
    process.terminate()
    process.wait()
