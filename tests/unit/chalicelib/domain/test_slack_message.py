"""A request as Slack shows it: all of it or no buttons, and other people's text is only text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.domain.slack_message import LETTERS, escaped, message
from tests.fakes.approvals import DAN, DORA, access, answer, asking_world, drop, inside, kept
from tests.fakes.world import World

LINK = "https://gw.example/approvals/req_1"
HOSTILE = "<!channel> <https://evil.example|x> *b* :tada:\u202e\x1b[2J\u200b"


def texts(block: dict[str, Any]) -> str:
    if block["type"] == "rich_text":
        return str(block["elements"][0]["elements"][0]["text"])
    return str(block.get("text", {}).get("text", ""))


def actions(made: dict[str, Any]) -> list[str]:
    return [each["action_id"] for block in made["blocks"] if block["type"] == "actions" for each in block["elements"]]


def asked(world: World | None = None, **changed: Any) -> ApprovalRequest:
    world = world or asking_world()
    return inside(world, drop(**changed), risks=["no WHERE"], reason="ticket 7").request


def test_the_whole_operation_stands_above_its_buttons() -> None:
    request = asked(text="DROP TABLE orders;\n  DROP TABLE users", arguments=("1", ""), environment=(("LANG", "C"),))
    made = message(request, "asked", LINK, "the-value")
    exact = [texts(block) for block in made["blocks"] if block["type"] == "rich_text"]
    assert exact == ["DROP TABLE orders;\n  DROP TABLE users", "1", "(empty)", "LANG=C"]
    said = "\n".join(texts(block) for block in made["blocks"])
    for words in ("alice@example.com asks for approval: web-1", "ticket 7", "• no WHERE", "First time here", request.digest):
        assert words in said
    kinds = [block["type"] for block in made["blocks"]]
    assert kinds.index("rich_text") < kinds.index("input") < kinds.index("actions")
    assert actions(made) == ["approve", "deny", "open"]
    (buttons,) = [block["elements"] for block in made["blocks"] if block["type"] == "actions"]
    assert [each.get("value") for each in buttons] == ["the-value", "the-value", None]
    assert buttons[2]["url"] == LINK


def test_what_a_yes_is_bound_to_besides_stands_there_too() -> None:
    changed: dict[str, Any] = {
        "objects": frozenset({"public.orders", "public.<!here>\u202e"}),
        "effects": frozenset({"admin", "write"}),
    }
    request = asked(**changed)
    blocks = [texts(block) for block in message(request, "asked", LINK, "v")["blocks"]]
    assert "public.<!here>[U+202E], public.orders" in blocks
    (terms,) = [block for block in blocks if request.digest in block]
    for line in ("Effects: admin, write", "Uses: once", "Rule: drop-needs-two (policy version 1)", "To be answered until: 2026-"):
        assert line in terms
    again = inside(asking_world(), drop(), uses=3).request
    assert "Uses: 3" in "\n".join(texts(block) for block in message(again, "asked", LINK, "v")["blocks"])
    access_terms = "\n".join(texts(block) for block in message(access(asking_world()).request, "asked", LINK, "v")["blocks"])
    assert "Rule: ask-dba (policy version 1)" in access_terms


@pytest.mark.parametrize("words", ["because " * 50, "\u200b" * 60])
def test_a_reason_that_is_cut_in_the_heading_stands_there_whole(words: str) -> None:
    request = inside(asking_world(), drop(), reason=words + "END").request
    whole = [texts(block) for block in message(request, "asked", LINK, "v")["blocks"] if block["type"] == "rich_text"]
    assert whole[-1].endswith("END")


def test_access_says_what_for() -> None:
    world = asking_world()
    once = message(access(world).request, "asked", LINK, "v")
    hour = message(access(world, for_s=5400).request, "asked", LINK, "v")
    assert "Access to db-1 as dba: one session" in [texts(block) for block in once["blocks"]]
    assert "Access to db-1 as dba: any number of sessions for 1 h 30 min" in [texts(block) for block in hour["blocks"]]


@pytest.mark.parametrize(
    "changed",
    [
        {"text": "DROP TABLE " + "x" * LETTERS},
        {"text": "DROP" + "\n" * 20},
        {"arguments": ("x" * LETTERS,)},
        {"environment": (("A", "x" * LETTERS),)},
        {"text": "\u200b" * (LETTERS // 8 + 1)},
        {"objects": frozenset(f"public.a_long_name_{n}" for n in range(60))},
    ],
)
def test_what_cannot_be_shown_whole_has_no_buttons(changed: dict[str, Any]) -> None:
    made = message(asked(**changed), "asked", LINK, "v")
    assert actions(made) == ["open"]
    assert [block for block in made["blocks"] if block["type"] in ("rich_text", "input")] == []
    assert "too long to be shown here whole" in json.dumps(made)
    assert len(max((texts(block) for block in made["blocks"]), key=len)) <= 3_000


def test_without_buttons_the_statement_does_not_leave() -> None:
    made = message(asked(text="DROP TABLE secret_name"), "asked", LINK)
    assert actions(made) == ["open"]
    assert "secret_name" not in json.dumps(made)


def test_other_peoples_text_is_only_text() -> None:
    world = asking_world()
    request = inside(world, drop(text=HOSTILE, arguments=(HOSTILE,)), reason=HOSTILE, risks=[HOSTILE]).request
    made = message(request, "asked", LINK, "v")
    for block in made["blocks"]:
        assert block.get("text", {"type": "plain_text"})["type"] == "plain_text"
        assert block.get("text", {"emoji": False})["emoji"] is False
    whole = json.dumps(made, ensure_ascii=False)
    for letter in "\u202e\u200b":
        assert letter not in whole
    assert "\\u001b" not in whole
    assert "[U+202E]" in whole
    assert escaped("<!channel> & co") == "&lt;!channel&gt; &amp; co"


def test_what_became_of_it_replaces_the_buttons() -> None:
    world = asking_world()
    request = asked(world)
    first = answer(world, DAN, request)
    waiting = message(first, "asked", LINK, "v")
    assert "approve" in actions(waiting)
    assert "✓ Yes from dan@example.com" in [texts(block) for block in waiting["blocks"]]
    answer(world, DORA, request, approve=False, comment="not <!here> today")
    denied = message(kept(world, request.rid).request, "denied", LINK, "v")
    assert actions(denied) == ["open"]
    said = [texts(block) for block in denied["blocks"]]
    assert "was denied: web-1" in said[0]
    assert "✗ No from dora@example.com: not <!here> today" in said[1]
    assert "DROP" not in json.dumps(denied)
