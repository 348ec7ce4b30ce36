"""Words and numbers of pages."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.approval import RequestState
from chalicelib.entrypoints import page_words
from tests.fakes.approvals import access, asking_world


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (-5, "0 s"), (45, "45 s"), (60, "1 min"), (3600, "1 h"), (5400, "1 h 30 min"), (61, "1 min 1 s")],
)
def test_spans(seconds: int, text: str) -> None:
    assert page_words.span(seconds) == text


def test_time_alone_ends_a_request_on_its_page() -> None:
    request = access(asking_world()).request
    assert page_words.state_as_of(request, request.deadline_ms - 1) == "pending"
    assert page_words.state_as_of(request, request.deadline_ms) == "expired"
    granted = msgspec.structs.replace(request, state=RequestState.APPROVED, until_ms=100)
    assert (page_words.state_as_of(granted, 99), page_words.state_as_of(granted, 100)) == ("approved", "expired")


def test_every_state_has_words() -> None:
    assert set(page_words.STATES) == {str(state) for state in RequestState}


def test_what_a_request_about_originals_is_for() -> None:
    request = msgspec.structs.replace(access(asking_world()).request, kind="unmask", sid="ses_1")
    assert page_words.brief(request) == "Show what masking took out of session ses_1"
    erase = msgspec.structs.replace(request, kind="erase", month="2026-08")
    assert page_words.brief(erase) == "Erase for good what masking took out of the sessions on db-1 in 2026-08"
