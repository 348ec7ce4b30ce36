"""The ways back to Slack, against a real receiver on the loopback; and what the channels' secret may say of Slack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chalicelib.adapters.channels import configured, signing_secret
from chalicelib.adapters.slack import SlackChat
from chalicelib.domain.slack_signature import pressed
from chalicelib.ports import Undelivered
from tests.fakes.approvals import DAN, access, answer, asking_world
from tests.unit.chalicelib.adapters.test_channels import Receiver, receiver, told, world  # noqa: F401 - a fixture

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


def chat(secret: str = SECRET) -> SlackChat:
    return SlackChat(lambda: secret, lambda rid: f"https://gw.example/approvals/{rid}")


def got(receiver: Receiver) -> dict[str, Any]:  # noqa: F811 - an argument
    ((_, body),) = receiver.got
    return dict(json.loads(body))


def test_a_message_is_replaced_by_the_request_as_it_is(receiver: Receiver) -> None:  # noqa: F811
    request = access(asking_world()).request
    chat().show(receiver.url, request)
    body = got(receiver)
    assert body["replace_original"] is True
    (buttons,) = [block["elements"] for block in body["blocks"] if block["type"] == "actions"]
    assert pressed(SECRET.encode(), buttons[0]["value"]) == (request.rid, request.digest)


def test_what_is_decided_has_no_buttons(receiver: Receiver) -> None:  # noqa: F811
    asking = asking_world()
    decided = answer(asking, DAN, access(asking).request)
    chat().show(receiver.url, decided)
    (buttons,) = [block["elements"] for block in got(receiver)["blocks"] if block["type"] == "actions"]
    assert [each["action_id"] for each in buttons] == ["open"]


def test_a_whisper_is_for_one_and_only_text(receiver: Receiver) -> None:  # noqa: F811
    chat().whisper(receiver.url, "<!channel> no")
    assert got(receiver) == {"response_type": "ephemeral", "replace_original": False, "text": "&lt;!channel&gt; no"}


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_slack_does_not_take_is_undelivered_and_no_redirect_is_followed(receiver: Receiver, status: int) -> None:  # noqa: F811
    receiver.status, receiver.headers = status, {"location": receiver.url}
    with pytest.raises(Undelivered, match=f"answered {status}"):
        chat().whisper(receiver.url, "x")
    assert len(receiver.got) == 1


def test_a_failure_does_not_tell_the_address() -> None:
    with pytest.raises(Undelivered) as caught:
        chat().whisper("http://127.0.0.1:1/very-secret", "x")
    assert "very-secret" not in str(caught.value)


def test_the_secret_is_long_or_not_there() -> None:
    url = "https://hooks.slack.com/services/x"
    assert signing_secret(json.dumps({"slack": {"url": url, "signing_secret": SECRET}})) == SECRET
    assert (signing_secret("{}"), signing_secret(json.dumps({"slack": {"url": url}}))) == ("", "")
    with pytest.raises(RuntimeError) as caught:
        signing_secret(json.dumps({"slack": {"url": url, "signing_secret": "short-one"}}))
    assert "short-one" not in str(caught.value)
    assert (chat("").secret(), chat().secret()) == (b"", SECRET.encode())


def test_the_channel_shows_buttons_only_where_they_can_be_pressed(receiver: Receiver) -> None:  # noqa: F811
    notice, request = told()
    configured(json.dumps({"slack": {"url": receiver.url}}), world())["slack"](notice, request)
    assert "approve" not in receiver.got[0][1].decode()
