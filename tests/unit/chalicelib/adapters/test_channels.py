"""Channels against real receivers on the loopback, and moto for SNS and SES."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from chalicelib.adapters.channels import World, configured
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.ports import Notice, Undelivered
from tests.fakes.approvals import access, asking_world
from tests.fakes.clock import FakeClock

KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()
HOSTILE = "<!channel> <https://evil.example|x> *b* [a](https://evil.example)\u202e\x1b[2J\n" + "x" * 900


@dataclass
class Receiver:
    """A web server that keeps what it is sent, and answers what the test wants."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    found.url = f"http://127.0.0.1:{server.server_address[1]}/hook/very-secret"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def world(client: Any = None) -> World:
    addresses = {"alice@example.com": "alice@example.com"}
    return World(
        clock=FakeClock(),
        link=lambda rid: f"https://gw.example/approvals/{rid}",
        address=lambda who: addresses.get(who, ""),
        client=client or (lambda service: None),
    )


def told(**changed: Any) -> tuple[Notice, ApprovalRequest]:
    asking = asking_world()
    access(asking, reason=HOSTILE)
    _, notice, request = asking.notifier.sent[0]
    return msgspec.structs.replace(notice, **changed), request


def channels(**named: Any) -> Any:
    return configured(json.dumps(named), world())


def test_a_signed_webhook_is_what_the_standard_says(receiver: Receiver) -> None:
    notice, request = told()
    channels(webhook={"url": receiver.url, "secret": SECRET})["webhook"](notice, request)
    ((headers, body),) = receiver.got
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["webhook-id"] == notice.nid, "the same notice again has the same name"
    found = json.loads(body)
    assert (found["type"], found["data"]["rid"], found["data"]["groups"]) == ("request.asked", request.rid, ["dba"])
    assert found["data"]["link"] == f"https://gw.example/approvals/{request.rid}"


def test_slack_is_sent_text_that_is_only_text(receiver: Receiver) -> None:
    notice, request = told()
    channels(slack={"url": receiver.url})["slack"](notice, request)
    found = json.loads(receiver.got[0][1])
    section, actions = found["blocks"]
    assert section["text"]["type"] == "plain_text"
    assert "\u202e" not in section["text"]["text"]
    assert "[U+202E][U+001B]" in section["text"]["text"]
    assert len(section["text"]["text"]) < 1000
    assert "<" not in found["text"]
    assert actions["elements"][0]["url"].endswith(request.rid)
    assert found["unfurl_links"] is False


def test_teams_is_sent_a_card_without_anybodys_markdown(receiver: Receiver) -> None:
    notice, request = told()
    channels(teams={"url": receiver.url})["teams"](notice, request)
    card = json.loads(receiver.got[0][1])["attachments"][0]["content"]
    reason = {fact["title"]: fact["value"] for fact in card["body"][1]["facts"]}["Reason"]
    assert "\\[a\\]\\(https://evil" in reason
    assert card["actions"][0]["url"].endswith(request.rid)


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 429, 500, 503])
def test_what_is_not_taken_is_tried_again_and_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.status, receiver.headers = status, {"Location": f"{receiver.url}/elsewhere"}
    with pytest.raises(Undelivered, match=f"^slack answered {status}$"):
        channels(slack={"url": receiver.url})["slack"](*told())
    assert len(receiver.got) == 1


def test_an_address_that_nobody_answers_is_not_told_to_anybody() -> None:
    with pytest.raises(Undelivered) as caught:
        channels(slack={"url": "http://127.0.0.1:9/very-secret"})["slack"](*told())
    assert "very-secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/x",
        "ftp://x.example",
        "file:///etc/passwd",
        "https://",
        "https://a:b@x.example/",
        "http://169.254.169.254/",
    ],
)
def test_only_https_addresses_are_channels(url: str) -> None:
    for named in ({"slack": {"url": url}}, {"teams": {"url": url}}, {"webhook": {"url": url, "secret": SECRET}}):
        with pytest.raises(RuntimeError, match="https address"):
            channels(**named)


@pytest.mark.parametrize("text", ["", "[]", '{"slak": {}}', '{"slack": {"url": 1}}', '{"webhook": {"url": "https://x.example"}}'])
def test_a_configuration_that_makes_no_sense_is_none(text: str) -> None:
    with pytest.raises(RuntimeError):
        configured(text, world())
    for secret in ("", "whsec_", "whsec_YQ==", base64.b64encode(KEY).decode(), "whsec_!!"):
        with pytest.raises(RuntimeError, match="whsec_"):
            channels(webhook={"url": "https://x.example", "secret": secret})


def test_no_configuration_is_no_channel() -> None:
    assert configured("{}", world()) == {}


@mock_aws
def test_a_topic_and_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.ses.models import ses_backends
    from moto.sns.models import sns_backends

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    made = boto3.session.Session(region_name="us-east-1")
    topic = made.client("sns").create_topic(Name="sallyport-approvals")["TopicArn"]
    made.client("sesv2").create_email_identity(EmailIdentity="gw@example.com")
    named = {
        "sns": {"topic_arn": topic},
        "mail": {"sender": "gw@example.com", "groups": {"dba": ["bob@example.com", "dora@example.com"]}},
    }
    found = configured(json.dumps(named), world(made.client))
    notice, request = told()
    found["sns"](notice, request)
    (sent,) = sns_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].topics[topic].sent_notifications
    assert request.rid in sent[1]
    assert "\u202e" not in sent[1]
    found["mail"](notice, request)
    (mail,) = ses_backends[DEFAULT_ACCOUNT_ID]["us-east-1"].sent_messages
    assert mail.destinations["BccAddresses"] == ["bob@example.com", "dora@example.com"]
    found["mail"](told(groups=[], people=["alice@example.com"])[0], request)
    with pytest.raises(Undelivered, match="no address for: nobody"):
        found["mail"](told(groups=[], people=["nobody"])[0], request)
    with pytest.raises(Undelivered, match=r"^sns: NotFound"):
        configured(json.dumps({"sns": {"topic_arn": topic + "x"}}), world(made.client))["sns"](notice, request)
