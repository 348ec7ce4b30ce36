"""What a notification says, and what it never does."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.domain.notice_words import words
from tests.fakes.approvals import access, asking_world, drop, inside

LINK = "https://gw.example/approvals/req_1"


@pytest.mark.parametrize(
    "about", ["asked", "emergency", "approved", "denied", "withdrawn", "expired", "revoked", "something.new"]
)
def test_every_notice_says_who_and_where_and_links(about: str) -> None:
    request = access(asking_world(), reason="ticket\u202e 7\nTarget: other-db").request
    said = words(about, request, LINK)
    assert said.title.startswith("alice@example.com ")
    assert said.title.endswith(": db-1")
    assert said.text.endswith(LINK)
    assert dict(said.facts)["Reason"] == "ticket[U+202E] 7 Target: other-db", "a reason stays one line"


def test_a_statement_is_never_told() -> None:
    request = inside(asking_world(), drop("DROP TABLE very_secret", arguments=("4111",))).request
    text = words("asked", request, LINK).text
    assert "very_secret" not in text
    assert "4111" not in text
    assert "one operation in a session" in text


def test_a_denial_says_why() -> None:
    request = msgspec.structs.replace(access(asking_world()).request, answer="Not today.")
    assert ("Answer", "Not today.") in words("denied", request, LINK).facts
    assert "Answer" not in dict(words("approved", request, LINK).facts)
