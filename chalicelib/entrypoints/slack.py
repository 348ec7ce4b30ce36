"""Where Slack tells of pressed buttons: the app's interactivity request URL.

Slack waits three seconds and takes an empty 200 as "understood"; what there is to say goes back by the press's own address.
Opening a link is not a press, and a preview of one is nobody's: neither comes here with a button of ours.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs, urlsplit

import msgspec
from chalice.app import Blueprint, Response

from chalicelib.bootstrap import ports
from chalicelib.contracts.approval import COMMENT_LIMIT
from chalicelib.contracts.faults import Fault
from chalicelib.domain.slack_message import APPROVE, DENY, REASON
from chalicelib.entrypoints.http import Call, public
from chalicelib.usecases.answer_in_slack import Press, answer_in_slack, authenticate_slack

bp = Blueprint(__name__)

FORM: Final = "application/x-www-form-urlencoded"
_REPLIES: Final = "hooks.slack.com"


class _Team(msgspec.Struct):
    id: str = ""


class _User(msgspec.Struct):
    id: str = ""
    team_id: str = ""


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str = ""


class _Value(msgspec.Struct):
    value: str | None = None


class _State(msgspec.Struct):
    values: dict[str, dict[str, _Value]] = {}


class _Payload(msgspec.Struct):
    """What we read of ``block_actions``. https://docs.slack.dev/reference/interaction-payloads/block_actions-payload"""

    type: str
    team: _Team | None = None
    user: _User | None = None
    actions: list[_Action] = []
    response_url: str = ""
    state: _State | None = None


@public(bp, "POST", "/slack/interactive", takes=FORM)
def interactive(call: Call) -> Response:
    """A button was pressed."""
    headers = call.headers
    people = authenticate_slack(
        ports(), headers.get("x-slack-request-timestamp", ""), headers.get("x-slack-signature", ""), call.body
    )
    press = _press(call.body)
    if press is not None:
        answer_in_slack(ports(), people, press)
    return Response("", status_code=200, headers={"Content-Type": "text/plain", "Cache-Control": "no-store"})


def _press(body: bytes) -> Press | None:
    """Return the press; None for what Slack tells besides, such as an opened link. Raises Fault(bad_request)."""
    payload = _payload(body)
    action = payload.actions[0] if payload.type == "block_actions" and len(payload.actions) == 1 else None
    if action is None or action.action_id not in (APPROVE, DENY):
        return None
    typed = payload.state.values.get(REASON, {}).get(REASON) if payload.state else None
    user = payload.user or _User()
    return Press(
        team=payload.team.id if payload.team else "",
        user=user.id,
        user_team=user.team_id,
        approve=action.action_id == APPROVE,
        value=action.value,
        comment=((typed.value if typed else "") or "").strip()[:COMMENT_LIMIT],
        reply=_checked(payload.response_url),
    )


def _payload(body: bytes) -> _Payload:
    try:
        (text,) = parse_qs(body.decode(), max_num_fields=10)["payload"]
        return msgspec.json.decode(text, type=_Payload)
    except (ValueError, KeyError, RecursionError):  # msgspec's errors are values that are wrong, too
        raise Fault("bad_request", "This is no interaction that Slack tells of.") from None


def _checked(url: str) -> str:
    """Where an answer may go: to Slack and nowhere else, whatever is signed."""
    try:
        parts = urlsplit(url)
        ours = (parts.scheme, parts.netloc) == ("https", _REPLIES)
    except ValueError:
        ours = False
    if not ours or not url.isprintable() or "\\" in url:
        raise Fault("bad_request", f"An answer goes to {_REPLIES} only.")
    return url
