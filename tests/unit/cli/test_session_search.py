from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.faults import Fault
from cli.control_plane import ControlPlane
from cli.session_search import SHORTEST, Filter, listing, resolve, short_ids
from tests.fakes.http_control_plane import FakeControlPlane
from tests.unit.cli.conftest import NOW_MS, session

HOUR = 3_600_000
DAYS = ["2026-11-20", "2026-11-19"]


@pytest.fixture
def client(logged_in: FakeControlPlane) -> ControlPlane:
    logged_in.sessions = [session(n, age_ms=n * HOUR) for n in range(1, 30)]
    return ControlPlane(logged_in.url, logged_in.token)


def test_newest_first_across_pages_and_days(client: ControlPlane, logged_in: FakeControlPlane) -> None:
    logged_in.page_size = 3
    found = list(listing(client, Filter(days=DAYS), 100))
    assert [each.sid for each in found] == [each.sid for each in logged_in.sessions]


def test_a_limit_stops_asking(client: ControlPlane, logged_in: FakeControlPlane) -> None:
    assert len(list(listing(client, Filter(days=DAYS), 4))) == 4
    assert len(logged_in.requests) == 1


def test_since_cuts_within_a_day(client: ControlPlane) -> None:
    assert len(list(listing(client, Filter(days=DAYS, since_ms=NOW_MS - 5 * HOUR), 100))) == 5


def test_a_cursor_that_does_not_move_ends_it(client: ControlPlane, logged_in: FakeControlPlane) -> None:
    from tests.fakes.http_control_plane import Reply

    logged_in.overrides["GET", "/sessions"] = Reply(200, b'{"sessions":[],"cursor":"same"}')
    assert list(listing(client, Filter(days=["2026-11-20"]), 100)) == []
    assert len(logged_in.requests) == 2


@given(st.lists(st.text(alphabet="0123456789AB", min_size=26, max_size=26), max_size=20))
def test_short_identifiers_tell_all_apart(bodies: list[str]) -> None:
    short = short_ids(bodies)
    assert len(set(short.values())) == len(set(bodies))
    assert all(sid.endswith(form) and len(form) >= SHORTEST for sid, form in short.items())


def test_an_end_or_a_beginning_means_one_session(client: ControlPlane, logged_in: FakeControlPlane) -> None:
    sid = logged_in.sessions[3].sid
    assert resolve(client, sid[-8:], NOW_MS) == sid
    assert resolve(client, sid[-8:].lower(), NOW_MS) == sid
    assert resolve(client, f"ses_{sid[4:20]}", NOW_MS) == sid


def test_a_whole_identifier_needs_no_search(client: ControlPlane, logged_in: FakeControlPlane) -> None:
    sid = logged_in.sessions[0].sid
    assert resolve(client, sid, NOW_MS) == resolve(client, sid.removeprefix("ses_"), NOW_MS) == sid
    assert logged_in.requests == []


def test_an_ambiguous_end_is_refused(client: ControlPlane, logged_in: FakeControlPlane) -> None:
    logged_in.sessions = [session(1), session(2)]
    with pytest.raises(Fault, match="means 2 sessions"):
        resolve(client, logged_in.sessions[0].sid[4:10], NOW_MS)


def test_an_unknown_end_is_refused(client: ControlPlane) -> None:
    with pytest.raises(Fault, match="unknown_session"):
        resolve(client, "ZZZZZZZZ", NOW_MS)


@pytest.mark.parametrize("text", ["", "abc", "../../etc/passwd", "ses_", "1234567?x=y", "ÄÖÜÄÖÜ"])
def test_what_is_no_identifier_is_refused(client: ControlPlane, logged_in: FakeControlPlane, text: str) -> None:
    with pytest.raises(Fault, match="is not a session's identifier"):
        resolve(client, text, NOW_MS)
    assert logged_in.requests == []
