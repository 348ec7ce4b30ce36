"""Answers by a button in Slack: the same vote as anywhere, and whoever may not is told the next step."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.contracts.audit_requests import RequestVoted
from chalicelib.domain.slack_signature import button, sign
from chalicelib.usecases.answer_in_slack import Press, answer_in_slack, authenticate_slack
from chalicelib.usecases.deliver_notices import REPLIES, dead_letters, deliver_notices
from tests.fakes.approvals import ASK_FIRST, DAN, FILES_ASK, answer, asking_world, drop, inside, kept
from tests.fakes.world import FILES, World
from tests.unit.chalicelib.usecases.expecting import fault

SECRET = b"8f742231b10e8888abcd99yyyzzz85a5"
REPLY = "https://hooks.slack.com/actions/T0TEAM/1/abc"
SLACK = """
slack:
  team: T0TEAM
  users:
    U0DAN: dan@example.com
    U0DORA: dora@example.com
    U0ALICE: alice@example.com
    U0ADMIN: alice-admin
    U0LEA: lea@example.com
    U0GONE: gone@example.com
"""


def slack_world(files: dict[str, str] = FILES_ASK) -> World:
    world = asking_world(files | {"gateway.yaml": files["gateway.yaml"] + SLACK})
    world.chat.signs_with = SECRET
    return world


def press(world: World, request: ApprovalRequest, user: str = "U0DAN", **changed: Any) -> None:
    fields: dict[str, Any] = {
        "team": "T0TEAM",
        "user": user,
        "user_team": "T0TEAM",
        "approve": True,
        "value": button(SECRET, request.rid, request.digest),
        "comment": "",
        "reply": REPLY,
    }
    people = world.ports.policies.current().document.slack
    assert people is not None
    answer_in_slack(world.ports, people, Press(**(fields | changed)))


class TestVotes:
    def test_two_presses_make_a_quorum_and_the_message_says_so(self) -> None:
        world = slack_world()
        request = inside(world).request
        press(world, request)
        assert [(to, shown.state, len(shown.votes)) for to, shown in world.chat.shown] == [(REPLY, "pending", 1)]
        press(world, request, "U0DORA", comment="go")
        assert kept(world, request.rid).request.state == "approved"
        assert [(shown.state, len(shown.votes)) for _, shown in world.chat.shown] == [("pending", 1), ("approved", 2)]
        voted = [event for event in world.store.recorded if isinstance(event, RequestVoted)]
        assert [(event.actor, event.via) for event in voted] == [
            ("dan@example.com", "slack T0TEAM/U0DAN"),
            ("dora@example.com", "slack T0TEAM/U0DORA"),
        ]
        assert [each["state"] for each in world.downlink.sent["control-1"] if each["t"] == "decided"] == ["approved"]
        assert world.chat.whispered == []

    def test_a_denial_says_why(self) -> None:
        world = slack_world()
        request = inside(world).request
        press(world, request, approve=False)
        assert "needs a reason" in world.chat.whispered[0][1]
        assert kept(world, request.rid).request.state == "pending"
        press(world, request, approve=False, comment="not today")
        assert (kept(world, request.rid).request.state, kept(world, request.rid).request.answer) == ("denied", "not today")

    def test_the_message_waits_for_nobody_else(self) -> None:
        world = slack_world(FILES | {"ask.cedar": ASK_FIRST.replace("quorum:2 ", "")})
        request = inside(world).request
        press(world, request)
        assert world.notifier.told() == ["asked > dba"], "the asker's mail is not waited for"
        assert deliver_notices(world.ports) == 1
        assert world.notifier.told() == ["asked > dba", "approved > alice@example.com"]
        notified = [event.channel for event in world.store.recorded if event.__struct_config__.tag == "request.notified"]  # type: ignore[union-attr]
        assert notified == ["mail", "slack-reply", "mail"]

    def test_a_message_that_slack_did_not_take_is_tried_again_and_given_up(self) -> None:
        world = slack_world()
        request = inside(world).request
        world.chat.failing = True
        press(world, request)
        assert kept(world, request.rid).request.votes != []
        world.clock.advance(31)
        world.chat.failing = False
        assert deliver_notices(world.ports) == 1
        assert [shown.state for _, shown in world.chat.shown] == ["pending"]
        world.chat.failing = True
        press(world, request, "U0DORA")
        for _ in range(REPLIES):
            world.clock.advance(3600)
            deliver_notices(world.ports)
        (letter,) = dead_letters(world.ports).letters
        assert (letter.channels, letter.attempts) == (["slack-reply"], REPLIES)
        assert REPLY not in msgspec.json.encode(letter).decode()


class TestNobodyElse:
    @pytest.mark.parametrize(
        ("user", "words"),
        [
            ("U0STRANGER", "slack.users in gateway.yaml"),
            ("", "slack.users in gateway.yaml"),
            ("U0GONE", "recent login"),
            ("U0ALICE", "No policy permits this."),
            ("U0ADMIN", "Nobody answers their own request"),
            ("U0LEA", "somebody of: dba"),
        ],
    )
    def test_whoever_may_not_is_told_the_next_step(self, user: str, words: str) -> None:
        world = slack_world()
        request = inside(world).request
        press(world, request, user)
        ((to, text),) = world.chat.whispered
        assert (to, words in text, f"https://gw.example/approvals/{request.rid}" in text) == (REPLY, True, True), text
        assert kept(world, request.rid).request.votes == []
        assert world.chat.shown == []

    def test_groups_are_those_of_the_newest_login_and_it_is_recent(self) -> None:
        world = slack_world()
        request = inside(world).request
        world.login(msgspec.structs.replace(DAN, groups=["sre"]))
        press(world, request)
        assert kept(world, request.rid).request.votes == []
        world.clock.advance(10)
        world.login(DAN)
        world.clock.advance(world.ports.settings.vote_login_s + 1)
        fresh = inside(world).request
        press(world, fresh)
        assert "recent login" in world.chat.whispered[-1][1]
        assert kept(world, fresh.rid).request.votes == []
        world.login(DAN)
        press(world, fresh)
        assert len(kept(world, fresh.rid).request.votes) == 1

    def test_slack_is_no_second_factor(self) -> None:
        rules = ASK_FIRST + '@id("mfa") forbid(principal, action == Action::"approve", resource) unless { context.mfa };'
        world = slack_world(FILES | {"ask.cedar": rules})
        request = inside(world).request
        press(world, request)
        assert kept(world, request.rid).request.votes == []
        assert answer(world, DAN, request).votes != []

    def test_one_person_answers_once_wherever(self) -> None:
        world = slack_world()
        request = inside(world).request
        answer(world, DAN, request)
        press(world, request)
        assert "You have answered this request." in world.chat.whispered[0][1]
        assert len(kept(world, request.rid).request.votes) == 1

    def test_buttons_of_what_is_over_are_taken_away(self) -> None:
        world = slack_world()
        request = inside(world).request
        answer(world, DAN, request, approve=False, comment="no")
        press(world, request, "U0DORA")
        assert "The request is over: denied." in world.chat.whispered[0][1]
        assert [shown.state for _, shown in world.chat.shown] == ["denied"]

    def test_a_button_is_for_what_it_was_made_for(self) -> None:
        world = slack_world()
        one, other = inside(world).request, inside(world, drop("DROP TABLE other")).request
        press(world, one, value=button(SECRET, other.rid, one.digest))
        assert "something else than this request" in world.chat.whispered[0][1]
        with fault("bad_request"):
            press(world, one, value=f"{other.rid}.{other.digest}.{button(SECRET, one.rid, one.digest).split('.')[2]}")
        assert [kept(world, each.rid).request.votes for each in (one, other)] == [[], []]

    @pytest.mark.parametrize("changed", [{"team": "T0OTHER"}, {"team": ""}, {"user_team": "T0OTHER"}, {"user_team": ""}])
    def test_other_workspaces_answer_nothing(self, changed: dict[str, str]) -> None:
        world = slack_world()
        request = inside(world).request
        with fault("denied", "another workspace"):
            press(world, request, **changed)
        assert (kept(world, request.rid).request.votes, world.chat.whispered) == ([], [])

    def test_who_cannot_be_told_hears_it_from_slack(self) -> None:
        world = slack_world()
        request = inside(world).request
        world.chat.failing = True
        with fault("own_request"):
            press(world, request, "U0ADMIN")


class TestSignature:
    def signed(self, world: World, body: bytes = b"payload=x", at_s: int = 0) -> None:
        timestamp = str(world.clock.now // 1000 + at_s)
        authenticate_slack(world.ports, timestamp, sign(SECRET, timestamp, body), body)

    def test_it_counts_once(self) -> None:
        world = slack_world()
        self.signed(world)
        with fault("signature_invalid"):
            self.signed(world)
        self.signed(world, b"payload=y")
        self.signed(world, at_s=1)

    @pytest.mark.parametrize("at_s", [-301, 301, -86_400])
    def test_it_counts_now(self, at_s: int) -> None:
        with fault("signature_invalid"):
            self.signed(slack_world(), at_s=at_s)

    def test_without_a_secret_or_people_there_is_nothing_here(self) -> None:
        world = slack_world()
        world.chat.signs_with = b""
        with fault("not_found"):
            authenticate_slack(world.ports, "1", sign(b"", "1", b""), b"")
        world = asking_world()
        world.chat.signs_with = SECRET
        with fault("not_found"):
            self.signed(world)
