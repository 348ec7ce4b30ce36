"""Telling people, the whole way: the application reads its secret, and SNS, SES and real receivers of webhooks get what they are
to get; at once, again where one is down, and at last as a letter that an administrator sees.
"""

from __future__ import annotations

import base64
import hmac
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import pytest

from chalicelib.adapters.slack import SlackChat
from chalicelib.domain.slack_signature import sign
from chalicelib.usecases.deliver_notices import ATTEMPTS
from infra.local.cloud import EmbeddedCloud
from tests.integration.control.conftest import FILES
from tests.integration.control.parties import Socket
from tests.integration.control.test_approvals import ASK, DB, Party

pytestmark = pytest.mark.servers

KEY = b"k" * 32
SIGNING_SECRET = "5" * 32
CHANNELS = ["mail", "slack", "sns", "teams", "webhook"]
GATEWAY = FILES["gateway.yaml"] + DB + "slack:\n  team: T0TEAM\n  users: {U0BOB: bob@example.com, U0ALICE: alice@example.com}\n"
ON_CALL = '@id("on-call") permit(principal in Group::"sre", action == Action::"emergency", resource == Target::"db-1");'


class Receivers:
    """One server for Slack, Teams and the signed webhook; each has its path, and may be down."""

    def __init__(self) -> None:
        self.got: dict[str, list[tuple[dict[str, str], bytes]]] = {"slack": [], "teams": [], "webhook": []}
        self.down: set[str] = set()
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                name, body = self.path.strip("/"), self.rfile.read(int(self.headers["content-length"]))
                outer.got[name].append(({key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(503 if name in outer.down else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def secret(self, topic: str) -> str:
        """Return what ``ChannelsSecret`` holds."""
        return json.dumps(
            {
                "sns": {"topic_arn": topic},
                "mail": {"sender": "gw@example.com", "groups": {"dba": ["dbas@example.com"]}},
                "slack": {"url": f"{self.url}/slack", "signing_secret": SIGNING_SECRET},
                "teams": {"url": f"{self.url}/teams"},
                "webhook": {"url": f"{self.url}/webhook", "secret": "whsec_" + base64.b64encode(KEY).decode()},
            }
        )


class Town:
    """A gateway with every channel there is."""

    def __init__(self, cloud: EmbeddedCloud, receivers: Receivers, topic: str) -> None:
        self.cloud, self.receivers, self._topic = cloud, receivers, topic
        self.party = Party(cloud)
        files = {"gateway.yaml": GATEWAY, "main.cedar": FILES["main.cedar"], "ask.cedar": ASK + ON_CALL}
        status, plan = self.party.people["pat"].call("POST", "/config/apply", {"files": files})
        assert status == 200, plan

    def told(self, rid: str) -> dict[str, list[str]]:
        """Return what each channel got about a request."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.ses.models import ses_backends
        from moto.sns.models import sns_backends

        mails = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
        posts = sns_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].topics[self._topic].sent_notifications
        found = {name: [body.decode() for _, body in got] for name, got in self.receivers.got.items()}
        found |= {"mail": [f"{each.destinations} {each.body}" for each in mails], "sns": [str(each[1]) for each in posts]}
        return {name: [text for text in texts if rid in text] for name, texts in found.items()}

    def notified(self, rid: str, about: str) -> list[str]:
        """Return the channels of which an audit event says that they took it."""
        bodies = [row["body"]["S"] for row in self.rows() if row["pk"]["S"].startswith("EVENT#")]
        events = [json.loads(body) for body in bodies if '"request.notified"' in body and rid in body]
        return sorted(each["channel"] for each in events if each["about"] == about)

    def rows(self) -> list[dict[str, Any]]:
        pages = self.cloud.boto("dynamodb").get_paginator("scan").paginate(TableName=self.cloud.resources.table)
        return [row for page in pages for row in page["Items"]]

    def round(self) -> None:
        """Let every wait be over, and the schedule come."""
        for row in self.rows():
            if row.get("gsi2pk", {}).get("S") == "DUE":
                values = {":now": {"N": "1"}, ":sk": {"S": f"{1:015d}#{row['pk']['S'].removeprefix('NOTICE#')}"}}
                self.cloud.boto("dynamodb").update_item(
                    TableName=self.cloud.resources.table,
                    Key={"pk": row["pk"], "sk": row["sk"]},
                    UpdateExpression="SET due_ms = :now, gsi2sk = :sk",
                    ExpressionAttributeValues=values,
                )
        self.cloud.pump.fire("reap")


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    receivers = Receivers()
    with (
        EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        topic = cloud.boto("sns").create_topic(Name="sallyport-approvals")["TopicArn"]
        cloud.boto("sesv2").create_email_identity(EmailIdentity="gw@example.com")
        cloud.boto("secretsmanager").create_secret(Name="sallyport/channels", SecretString=receivers.secret(topic))
        patch.setenv("SALLYPORT_CHANNELS_SECRET", "sallyport/channels")
        yield Town(cloud, receivers, topic)
    receivers.server.shutdown()
    receivers.server.server_close()


@pytest.fixture
def down(town: Town) -> Iterator[Callable[[str], None]]:
    yield town.receivers.down.add
    town.receivers.down.clear()


def test_every_channel_is_told_who_asks_and_how_it_ended(town: Town) -> None:
    request = town.party.ask(reason="INC-1")
    rid = request["rid"]
    assert {name: len(texts) for name, texts in town.told(rid).items()} == dict.fromkeys(CHANNELS, 1), "at once, each once"
    for name, (text,) in town.told(rid).items():
        assert "alice" in text, name
        assert "INC" in text, name
    assert town.notified(rid, "asked") == CHANNELS
    assert "dbas@example.com" in town.told(rid)["mail"][0]
    assert town.party.vote("bob", request, approve=False, comment="not now")[0] == 200
    assert {name: len(texts) for name, texts in town.told(rid).items()} == dict.fromkeys(CHANNELS, 2)
    assert "alice@example.com" in town.told(rid)["mail"][1], "whoever asked, at the address that was verified"
    assert town.notified(rid, "denied") == CHANNELS
    town.round()
    assert {name: len(texts) for name, texts in town.told(rid).items()} == dict.fromkeys(CHANNELS, 2), "and never again"


def test_a_webhook_proves_where_it_comes_from(town: Town) -> None:
    town.party.ask(reason="INC-2")
    headers, body = town.receivers.got["webhook"][-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300


def test_an_emergency_is_told_at_once_and_is_a_report_until_somebody_reviewed_it(town: Town) -> None:
    alice, bob = town.party.people["alice"], town.party.people["bob"]
    for reason in ("", " \n"):
        status, refused = alice.call("POST", "/requests", {"target": "db-1", "emergency": True, "reason": reason})
        assert (status >= 400, refused["error"]["code"]) == (True, "reason_required")
    request = town.party.ask(emergency=True, reason="the shop is down")
    rid = request["rid"]
    assert request["state"] == "approved", "nobody is waited for"
    assert town.notified(rid, "emergency") == CHANNELS, "before the answer, by nobody's schedule"
    assert all("emergency" in text for (text,) in town.told(rid).values())
    agent = Socket(town.cloud.ws_url, town.party.agent.headers("control"))
    assert alice.call("POST", "/sessions", {"target": "db-1", "approval": rid})[0] == 200
    agent.close()

    def unreviewed() -> list[str]:
        status, page = bob.call("GET", "/requests?view=unreviewed")
        assert status == 200
        return [each["rid"] for each in page["requests"]]

    assert rid in unreviewed(), "used up, and still to be reviewed"
    review = {"justified": True, "comment": "it was down"}
    assert alice.call("POST", f"/requests/{rid}/review", review)[0] == 403
    assert rid in unreviewed()
    assert bob.call("POST", f"/requests/{rid}/review", review)[0] == 200
    assert rid not in unreviewed()


def test_a_channel_that_was_down_is_told_later_and_alone(town: Town, down: Callable[[str], None]) -> None:
    down("webhook")
    rid = town.party.ask(reason="INC-3")["rid"]
    assert town.notified(rid, "asked") == [each for each in CHANNELS if each != "webhook"]
    town.cloud.pump.fire("reap")
    assert len(town.told(rid)["webhook"]) == 1, "not before its time"
    town.receivers.down.clear()
    town.round()
    assert town.notified(rid, "asked") == CHANNELS
    assert {name: len(texts) for name, texts in town.told(rid).items()} == dict.fromkeys(CHANNELS, 1) | {"webhook": 2}
    ids = {headers["webhook-id"] for headers, body in town.receivers.got["webhook"] if rid.encode() in body}
    assert len(ids) == 1, "a receiver knows the second one for the first"


def test_what_nobody_takes_is_a_letter_that_administrators_see(town: Town, down: Callable[[str], None]) -> None:
    down("teams")
    rid = town.party.ask(reason="INC-4")["rid"]
    for attempt in range(1, ATTEMPTS):
        assert len(town.told(rid)["teams"]) == attempt
        town.round()
    for _ in range(2):
        town.round()
    assert len(town.told(rid)["teams"]) == ATTEMPTS, "given up"
    status, found = town.party.people["pat"].call("GET", "/notifications/dead")
    (letter,) = [each for each in found["letters"] if each["rid"] == rid]
    assert (status, letter["channels"], letter["attempts"], letter["error"]) == (200, ["teams"], ATTEMPTS, "teams answered 503")
    assert town.receivers.url not in json.dumps(found)
    assert town.party.people["bob"].call("GET", "/notifications/dead")[0] == 403
    assert len(town.told(rid)["slack"]) == 1


def test_a_link_in_any_message_decides_nothing_whoever_opens_it(town: Town) -> None:
    request = town.party.ask(reason="INC-5")
    link = f"{town.cloud.http_url}/approvals/{request['rid']}"
    assert all(link in text for (text,) in town.told(request["rid"]).values())
    agents = (
        "Slackbot-LinkExpanding 1.0",
        "SkypeUriPreview Preview/0.5",
        "Mozilla/5.0 (compatible; Google-Safety)",
        "facebookexternalhit/1.1",
    )
    for agent in agents:
        for method in ("GET", "HEAD"):
            answer = town.party.api.pool.request(method, link, headers={"user-agent": agent}, redirect=False, retries=False)
            assert answer.status >= 400
    assert town.party.people["alice"].call("GET", f"/requests/{request['rid']}")[1]["request"] == request
    assert not [row for row in town.rows() if row["pk"]["S"] == f"REQUEST#{request['rid']}" and row["sk"]["S"] != "A"]


def test_a_press_in_slack_is_the_vote_of_whoever_pressed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    # Slack's own address is the one thing here that is not of this machine.
    monkeypatch.setattr(SlackChat, "_post", lambda self, url, body: said.append((url, body)))
    request = town.party.ask(reason="INC-6")
    (message,) = town.told(request["rid"])["slack"]
    buttons = [each for block in json.loads(message)["blocks"] for each in block.get("elements", []) if "value" in each]
    values = {each["action_id"]: each["value"] for each in buttons}

    def press(user: str, secret: str = SIGNING_SECRET, age_s: int = 0) -> int:
        payload = {
            "type": "block_actions",
            "team": {"id": "T0TEAM"},
            "user": {"id": user, "team_id": "T0TEAM"},
            "actions": [{"action_id": "approve", "type": "button", "value": values["approve"]}],
            "response_url": "https://hooks.slack.com/actions/T0TEAM/1/abc",
        }
        body, now = urlencode({"payload": json.dumps(payload)}).encode(), str(int(time.time()) - age_s)
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-slack-request-timestamp": now,
            "x-slack-signature": sign(secret.encode(), now, body),
        }
        address = f"{town.cloud.http_url}/slack/interactive"
        return int(town.party.api.pool.request("POST", address, body=body, headers=headers, retries=False).status)

    def state() -> str:
        return str(town.party.people["alice"].call("GET", f"/requests/{request['rid']}")[1]["request"]["state"])

    assert (press("U0BOB", secret="6" * 32), press("U0BOB", age_s=301)) == (401, 401)
    assert (press("U0NOBODY"), press("U0ALICE"), state()) == (200, 200, "pending")
    assert ["whisper" if body["response_type"] == "ephemeral" else "" for _, body in said] == ["whisper", "whisper"]
    assert (press("U0BOB"), state()) == (200, "approved")
    (voted,) = [
        row["body"]["S"]
        for row in town.rows()
        if '"request.voted"' in row.get("body", {}).get("S", "") and request["rid"] in row["body"]["S"]
    ]
    assert (json.loads(voted)["actor"], json.loads(voted)["via"]) == ("bob@example.com", "slack T0TEAM/U0BOB")
