"""What others send to the address at which Slack tells of pressed buttons; and the innocent press that works."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.domain.slack_signature import button, sign
from tests.fakes.approvals import access, inside, kept
from tests.fakes.world import World
from tests.unit.chalicelib.entrypoints.conftest import Gateway, gateway  # noqa: F401 - a fixture
from tests.unit.chalicelib.usecases.test_answer_in_slack import REPLY, SECRET, slack_world


class Slack:
    """Sends what Slack sends, or what somebody else would."""

    def __init__(self, gateway: Gateway, world: World) -> None:  # noqa: F811 - an argument
        self.gateway, self.world = gateway, world
        self.request = inside(world).request

    def body(self, request: ApprovalRequest | None = None, **changed: Any) -> bytes:
        request = request or self.request
        payload = {
            "type": "block_actions",
            "team": {"id": "T0TEAM", "domain": "shop"},
            "user": {"id": "U0DAN", "username": "dan", "team_id": "T0TEAM"},
            "actions": [{"action_id": "approve", "type": "button", "value": button(SECRET, request.rid, request.digest)}],
            "state": {"values": {"reason": {"reason": {"type": "plain_text_input", "value": None}}}},
            "response_url": REPLY,
        } | changed
        return urlencode({"payload": json.dumps(payload)}).encode()

    def send(self, body: bytes, at_s: int = 0, signature: str = "", content: str = "application/x-www-form-urlencoded") -> int:
        timestamp = str(self.world.clock.now // 1000 + at_s)
        headers = {
            "content-type": content,
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": signature or sign(SECRET, timestamp, body),
        }
        return int(self.gateway.client.http.request("POST", "/slack/interactive", headers=headers, body=body).status_code)

    def votes(self) -> int:
        return len(kept(self.world, self.request.rid).request.votes)


@pytest.fixture
def slack(gateway: Gateway) -> Slack:  # noqa: F811 - the fixture itself
    gateway.world.__dict__.update(slack_world().__dict__)
    return Slack(gateway, gateway.world)


def test_the_innocent_press_counts(slack: Slack) -> None:
    assert (slack.send(slack.body()), slack.votes()) == (200, 1)
    assert [to for to, _ in slack.world.chat.shown] == [REPLY]


def test_a_forged_signature(slack: Slack) -> None:
    timestamp = str(slack.world.clock.now // 1000)
    for forged in ("v0=" + "0" * 64, sign(b"another secret of 32 characters!!", timestamp, slack.body()), "x", "v0="):
        assert (slack.send(slack.body(), signature=forged), slack.votes()) == (401, 0)


@pytest.mark.parametrize("at_s", [-301, 301, -3600])
def test_an_old_timestamp(slack: Slack, at_s: int) -> None:
    assert (slack.send(slack.body(), at_s=at_s), slack.votes()) == (401, 0)


def test_a_replayed_body(slack: Slack) -> None:
    assert [slack.send(slack.body()) for _ in range(3)] == [200, 401, 401]
    assert (slack.votes(), slack.world.chat.whispered) == (1, [])


def test_an_unmapped_user_is_told_the_next_step(slack: Slack) -> None:
    stranger = {"id": "U0STRANGER", "team_id": "T0TEAM"}
    assert (slack.send(slack.body(user=stranger)), slack.votes()) == (200, 0)
    assert "slack.users in gateway.yaml" in slack.world.chat.whispered[0][1]


def test_the_requester_presses(slack: Slack) -> None:
    for user in ("U0ALICE", "U0ADMIN"):
        assert (slack.send(slack.body(user={"id": user, "team_id": "T0TEAM"})), slack.votes()) == (200, 0)
    assert len(slack.world.chat.whispered) == 2


@pytest.mark.parametrize(
    "changed",
    [{"team": {"id": "T0OTHER"}}, {"team": None}, {"user": {"id": "U0DAN", "team_id": "T0OTHER"}}, {"user": {"id": "U0DAN"}}],
)
def test_another_workspace(slack: Slack, changed: dict[str, Any]) -> None:
    assert (slack.send(slack.body(**changed)), slack.votes()) == (403, 0)


def test_a_payload_for_another_request(slack: Slack) -> None:
    other = access(slack.world).request
    mixed = [{"action_id": "approve", "value": button(SECRET, slack.request.rid, other.digest)}]
    assert (slack.send(slack.body(actions=mixed)), slack.votes()) == (200, 0)
    assert "something else than this request" in slack.world.chat.whispered[0][1]
    forged = [{"action_id": "approve", "value": f"{slack.request.rid}.{slack.request.digest}.{'0' * 64}"}]
    assert (slack.send(slack.body(actions=forged)), slack.votes()) == (400, 0)


def test_ten_megabytes(slack: Slack) -> None:
    assert (slack.send(b"payload=" + b"x" * 10_000_000), slack.votes()) == (413, 0)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.slack.com/a",
        "https://hooks.slack.com.evil.example/a",
        "https://hooks.slack.com@evil.example/",
        "https://hooks.slack.com:8443/a",
        "https://evil.example/hooks.slack.com",
        "https://hooks.slack.com\\@evil.example/",
        "//hooks.slack.com/a",
        "https://169.254.169.254/latest",
        "https://[",
        "",
    ],
)
def test_an_answer_goes_to_slack_only(slack: Slack, url: str) -> None:
    assert (slack.send(slack.body(response_url=url)), slack.votes()) == (400, 0)


@pytest.mark.parametrize(
    "body",
    [b"", b"payload", b"payload=", b"payload=x", b"payload=[]", b"payload={}&payload={}", b"\xff", b"payload=" + b"[" * 20_000],
)
def test_what_is_no_payload(slack: Slack, body: bytes) -> None:
    assert (slack.send(body), slack.votes()) == (400, 0)


def test_what_is_no_press_does_nothing(slack: Slack) -> None:
    """An opened link, a shortcut, and two buttons at once; a preview of a link is a GET, which this address does not take."""
    opened = [{"action_id": "open", "value": button(SECRET, slack.request.rid, slack.request.digest)}]
    two = [{"action_id": "approve", "value": button(SECRET, slack.request.rid, slack.request.digest)}] * 2
    for changed in ({"actions": opened}, {"type": "shortcut"}, {"type": "view_submission"}, {"actions": two}, {"actions": []}):
        assert (slack.send(slack.body(**changed)), slack.votes()) == (200, 0)
    assert slack.gateway.client.http.get("/slack/interactive").status_code in (403, 405)
    assert slack.send(slack.body(), content="application/json") == 415
