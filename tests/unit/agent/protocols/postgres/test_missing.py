"""When a name that is not known is worth another reading of the catalogue."""

from agent.protocols.postgres.missing import REST_MS, Missing


def missing(age_ms: int) -> Missing:
    found = Missing()
    found.age_ms = lambda: age_ms
    return found


def test_only_where_the_catalogue_has_aged() -> None:
    assert not Missing().miss()
    assert not missing(REST_MS).miss()
    found = missing(REST_MS + 1)
    assert found.miss()
    assert found.wanted


def test_less_often_where_it_helps_nobody() -> None:
    found = missing(REST_MS + 1)
    assert [found.miss() for _ in range(3)] == [True, False, False]
    found.age_ms = lambda: 2 * REST_MS + 1
    assert found.miss()
    found.age_ms = lambda: 60 * REST_MS
    assert all(found.miss() for _ in range(50)), "but never given up"


def test_what_was_found_was_worth_it() -> None:
    found = missing(REST_MS + 1)
    assert found.miss()
    found.known()
    assert found.miss()
    assert not found.miss()
    found.known()
    assert not found.miss(), "a statement that misses nothing says nothing of the one before"
