"""Chunks are hashed in parallel and reported in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from chalicelib.contracts.faults import Fault
from cli.verification import hashing
from cli.verification.hashing import Task
from cli.verification.sources import Object


class Shelf:
    """A source in memory."""

    workers = 3

    def __init__(self, objects: dict[str, bytes]) -> None:
        self.kept = objects

    def objects(self, prefix: str) -> Iterator[Object]:
        yield from (Object(key, len(body)) for key, body in self.kept.items() if key.startswith(prefix))

    def read(self, key: str) -> bytes | None:
        if key == "unreadable":
            raise Fault("control_plane_unreachable", "S3 is away.")
        if key == "huge":
            raise Fault("too_large", "huge")
        return self.kept.get(key)

    def rewritten(self, prefix: str) -> list[str] | None:
        return None


def task(key: str, body: bytes) -> Task:
    return Task("ses_1", key, len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize("count", [0, 1, 16, 17, 1000])
def test_good_chunks_are_silent_and_counted(count: int) -> None:
    bodies = {f"{n:04d}": b"x" * n for n in range(count)}
    seen: list[int] = []
    assert list(hashing.check(Shelf(bodies), [task(key, body) for key, body in bodies.items()], seen.append)) == []
    assert sum(seen) == sum(len(body) for body in bodies.values())


def test_each_problem_is_told_in_order() -> None:
    bodies = {f"{n:04d}": b"body %d" % n for n in range(200)}
    tasks = [task(key, body) for key, body in bodies.items()]
    del bodies["0003"]
    bodies["0077"] = b"BODY 77"
    bodies["0150"] += b"."
    tasks.append(Task("ses_1", "huge", 1, "00" * 32))
    found = list(hashing.check(Shelf(bodies), tasks, lambda amount: None))
    assert [(problem.task.key, problem.what) for problem in found] == [
        ("0003", hashing.MISSING),
        ("0077", "has other bytes than were recorded"),
        ("0150", "has 9 bytes; 8 were recorded"),
        ("huge", "is far larger than it was"),
    ]


def test_what_cannot_be_read_is_not_called_missing() -> None:
    with pytest.raises(Fault, match="S3 is away"):
        list(hashing.check(Shelf({}), [task("unreadable", b"x")], lambda amount: None))
