"""Everything on one core: the processes, and the kernel's workers that carry what terminals say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

#: Where the kernel is told which cores its workers may use, as a mask. Only root may write there.
WORKERS: Final = Path("/sys/devices/virtual/workqueue/cpumask")


def pin(pids: Iterable[int], cores: set[int]) -> None:
    """Have every thread of ``pids`` run on ``cores``. What they start from now on inherits it."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


@contextmanager
def all_on_one() -> Iterator[None]:
    """Have this process, and all that it starts, run on one core, and what the kernel does for it as well."""
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with workers_on(core):
        yield


@contextmanager
def workers_on(core: int) -> Iterator[None]:
    """Have the kernel's workers run on ``core`` for a while, where that is permitted.

    Each byte of a pseudo-terminal goes through one of them. On another core it costs a wake-up across cores, which is more than
    all that is measured: ``ssh -J`` looked as fast as nothing then, and every way half as fast as it is.
    """
    try:
        before = WORKERS.read_text()
        WORKERS.write_text(f"{1 << core:x}")
    except OSError as error:
        print(
            f"note: the kernel's workers stay where they are ({error.strerror}), so latencies of terminals are left to chance\n"
        )
        yield
        return
    try:
        yield
    finally:
        WORKERS.write_text(before)
