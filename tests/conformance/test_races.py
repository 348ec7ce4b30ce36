"""Eight at once, one winner: every operation that must happen once, on the fake and on DynamoDB."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from chalicelib.contracts.session import State
from chalicelib.ports import Conflict, Store
from tests.conformance.rows import (
    CUSTODY,
    NOW,
    PROGRESS,
    SEED,
    agent,
    chunk,
    code,
    document,
    enrolment,
    event,
    login,
    session,
)
from tests.patience import HANG_S

RACERS = 8


def winners(attempt: Callable[[int], Any]) -> int:
    """Let all racers go at the same moment; count those that neither got None nor met a Conflict."""
    start = threading.Barrier(RACERS)

    def run(n: int) -> bool:
        start.wait(HANG_S)
        try:
            return attempt(n) is not None
        except Conflict:
            return False

    with ThreadPoolExecutor(RACERS) as pool:
        return sum(pool.map(run, range(RACERS)))


def test_one_takes_a_login(store: Store) -> None:
    store.save_login(login())
    assert winners(lambda n: store.take_login("s" * 43, NOW)) == 1


def test_one_takes_a_code(store: Store) -> None:
    store.save_code(code(), event())
    assert winners(lambda n: store.take_code("ab", NOW)) == 1


def test_one_enrols_with_a_token(store: Store) -> None:
    store.save_enrolment(enrolment(), event())
    assert winners(lambda n: store.enrol("t0", agent(f"agt_{n}"), event(n + 1)) or n) == 1
    assert len(store.agents()) == 1


def test_one_claims_a_session(store: Store) -> None:
    store.open_session(session(), CUSTODY, event())
    live = msgspec.structs.replace(session(), state=State.LIVE)
    assert winners(lambda n: store.step_session(live, frozenset({State.OFFERED}), event(n + 1)) or n) == 1


def test_one_chunk_follows_a_head(store: Store) -> None:
    store.open_session(session(), CUSTODY, event())
    live = msgspec.structs.replace(session(), state=State.LIVE)
    store.step_session(live, frozenset({State.OFFERED}), event(1))
    attempts = [chunk(0, SEED, f"{n:02x}" * 32) for n in range(RACERS)]
    assert winners(lambda n: store.add_chunk(live.sid, attempts[n], SEED, PROGRESS) or n) == 1
    assert len(store.chunks(live.sid)) == 1


def test_one_applies_a_version(store: Store) -> None:
    def apply(n: int) -> int:
        store.apply_config(document(1), {"main.cedar": str(n)}, event(n))
        return n

    assert winners(apply) == 1
    assert store.config_version() == 1
