"""What every store must do with sessions' chunks and what is known of them, on the fake and on DynamoDB."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.adapters.dynamodb import evidence
from chalicelib.contracts.audit import AgentTokenIssued, EvidenceAlert
from chalicelib.contracts.session import State
from chalicelib.ports import Conflict, Notice, Progress, Store
from tests.conformance.rows import (
    DAY,
    NOW,
    PROGRESS,
    SEED,
    chunk,
    ended,
    event,
    identifier,
    live,
    session,
)

replace = msgspec.structs.replace


class TestChunks:
    def test_chunks_move_the_head(self, store: Store) -> None:
        sid = live(store)
        first = chunk(0, SEED)
        second = chunk(1, first.chunk.chain)
        store.add_chunk(sid, first, SEED, PROGRESS)
        store.add_chunk(sid, second, first.chunk.chain, Progress(operations=4, denied=2, now_ms=NOW + 9))
        found = store.session(sid)
        assert found is not None
        assert (found.chunks, found.chain, found.operations, found.denied, found.seen_ms) == (
            2,
            second.chunk.chain,
            4,
            2,
            NOW + 9,
        )
        assert store.chunks(sid) == [first, second]
        assert store.chunk(sid, 1) == second
        assert store.chunk(sid, 2) is None

    def test_chunks_are_read_from_any_number_on(self, store: Store) -> None:
        sid, head = live(store), SEED
        for n in range(5):
            kept = chunk(n, head)
            store.add_chunk(sid, kept, head, PROGRESS)
            head = kept.chunk.chain
        numbers = [[each.chunk.n for each in store.chunks(sid, *asked)] for asked in ((), (3,), (1, 2), (5,), (0, 9))]
        assert numbers == [[0, 1, 2, 3, 4], [3, 4], [1, 2], [], [0, 1, 2, 3, 4]]

    def test_the_same_chunk_again_does_nothing(self, store: Store) -> None:
        sid = live(store)
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        store.add_chunk(sid, chunk(0, SEED), SEED, Progress(operations=9, denied=9, now_ms=NOW))
        assert store.session(sid).operations == 1  # type: ignore[union-attr]
        assert len(store.chunks(sid)) == 1

    def test_another_chunk_of_the_same_number_is_refused(self, store: Store) -> None:
        sid = live(store)
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        with pytest.raises(Conflict):
            store.add_chunk(sid, chunk(0, SEED, "0b" * 32), SEED, PROGRESS)
        assert store.chunks(sid) == [chunk(0, SEED)]

    @pytest.mark.parametrize(("n", "previous"), [(1, SEED), (0, "00" * 32)])
    def test_a_gap_or_another_head_is_refused(self, store: Store, n: int, previous: str) -> None:
        sid = live(store)
        with pytest.raises(Conflict):
            store.add_chunk(sid, chunk(n, SEED), previous, PROGRESS)
        assert store.chunks(sid) == []

    @pytest.mark.parametrize("state", [State.ENDED, State.KILLED])
    def test_a_session_that_is_over_takes_no_chunk(self, store: Store, state: State) -> None:
        sid = live(store)
        over = replace(session(), state=state)
        store.step_session(over, frozenset({State.LIVE}), ended(over))
        with pytest.raises(Conflict):
            store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)

    def test_an_interrupted_session_may_be_completed(self, store: Store) -> None:
        sid = live(store)
        over = replace(session(), state=State.INTERRUPTED)
        store.step_session(over, frozenset({State.LIVE}), ended(over))
        store.add_chunk(sid, chunk(0, SEED), SEED, PROGRESS)
        found = store.session(sid)
        assert found is not None
        assert (found.state, found.chunks) == (State.INTERRUPTED, 1)

    def test_a_session_that_does_not_exist_takes_no_chunk(self, store: Store) -> None:
        with pytest.raises(Conflict):
            store.add_chunk("ses_none", chunk(0, SEED), SEED, PROGRESS)


class TestEvidence:
    def test_a_day_reads_in_order(self, store: Store) -> None:
        many = [event(n) for n in range(12)]
        store.record(many[6:])
        store.record(many[:6])
        assert list(store.events(DAY)) == many
        assert list(store.events("2026-09-20")) == []

    def test_events_come_back_as_what_they_were(self, store: Store) -> None:
        issued = AgentTokenIssued(id=identifier("evt", 1), time_ms=NOW, actor="pat", name="edge", expires_ms=NOW)
        store.record([issued])
        assert list(store.events(DAY)) == [issued]

    def test_more_events_than_one_transaction_holds(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(evidence, "TRANSACTION_LIMIT", 4)
        store.record([event(n) for n in range(11)])
        assert len(list(store.events(DAY))) == 11


def test_an_alert_is_raised_once(store: Store) -> None:
    event = EvidenceAlert(
        id=identifier("evt", 1),
        time_ms=NOW,
        actor="system",
        sid="",
        what="hidden",
        key="k",
        version="v2",
        first="",
        found_by="sweep",
    )
    notice = Notice(
        nid="ntc_1", rid="", about="evidence", groups=["platform"], time_ms=NOW, channels=["mail"], due_ms=NOW, text="Look."
    )
    assert store.alert("ab", event, [notice])
    assert not store.alert("ab", msgspec.structs.replace(event, id=identifier("evt", 2)), [])
    assert list(store.events(DAY)) == [event]
    assert store.due_notices(NOW, 10) == [notice]


def test_the_sweep_remembers_where_it_is(store: Store) -> None:
    assert store.sweep_mark() == ""
    for mark in ("recordings/x", ""):
        store.save_sweep_mark(mark)
        assert store.sweep_mark() == mark


def test_the_version_of_a_chunk_is_noted_once(store: Store) -> None:
    begun = live(store)
    store.add_chunk(begun, chunk(0, SEED), SEED, PROGRESS)
    assert store.chunk_arrived(begun, 7, "v1") == ""
    assert store.chunk_arrived(begun, 0, "v1") == "v1"
    assert store.chunk_arrived(begun, 0, "v2") == "v1"
    (stored,) = store.chunks(begun)
    assert stored.version == "v1"
    assert msgspec.structs.replace(stored, version="").is_same(store.chunk(begun, 0))
