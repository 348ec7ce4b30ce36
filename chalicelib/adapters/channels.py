"""The channels themselves: SNS, SES, Slack, Microsoft Teams, and signed webhooks (Standard Webhooks 1.0).

Which ones a deployment has, and where they lead, is one JSON secret: the address of an incoming webhook is a password. Addresses
come from there and from nowhere else, over https, and a redirect is not followed: whoever answers cannot send us elsewhere.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import urllib3

from chalicelib.adapters.notifications import Channel
from chalicelib.contracts.approval import ApprovalRequest
from chalicelib.domain import slack_message
from chalicelib.domain.notice_words import Words, alarm, words
from chalicelib.ports import Clock, Notice, Undelivered

_TIMEOUT: Final = urllib3.Timeout(connect=2.0, read=4.0)
_ANSWER: Final = 4_096
#: SES takes 50 recipients of one message; one of them is the sender.
_RECIPIENTS: Final = 49
#: Slack's own are 32 hexadecimal digits.
_SECRET_LEAST: Final = 32
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Sns(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A topic; whoever subscribes is told."""

    topic_arn: str


class Mail(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """SES. Groups have addresses here; people have those that their identity provider verified."""

    sender: str
    groups: dict[str, list[str]] = {}


class Hook(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """An incoming webhook of Slack or Microsoft Teams."""

    url: str


class SlackHook(Hook, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Slack's; with the signing secret of the app that it belongs to, requests are answered there by buttons."""

    signing_secret: str = ""


class SignedHook(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A receiver of Standard Webhooks; ``secret`` is ``whsec_`` and base64 of 24 to 64 bytes."""

    url: str
    secret: str


class Configuration(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The secret. A channel that is not named does not exist."""

    sns: Sns | None = None
    mail: Mail | None = None
    slack: SlackHook | None = None
    teams: Hook | None = None
    webhook: SignedHook | None = None


class World(msgspec.Struct, kw_only=True, frozen=True):
    """What channels need besides their configuration."""

    clock: Clock
    link: Callable[[str], str]
    """From a request's identifier to its page."""
    address: Callable[[str], str]
    """From a principal to a verified e-mail address, or an empty text."""
    client: Callable[[str], Any]
    """From a service's name to its boto3 client."""
    button: Callable[[str, str], str] = lambda rid, digest: ""
    """From a request's identifier and digest to what a button in Slack carries; nothing while nobody may press one."""


def signing_secret(text: str) -> str:
    """Return what Slack signs with; empty where requests are not answered there. Raises RuntimeError."""
    found = _read(text).slack
    secret = found.signing_secret if found else ""
    if secret and (len(secret) < _SECRET_LEAST or not secret.isascii()):
        raise RuntimeError(f"slack's signing_secret must be at least {_SECRET_LEAST} characters")
    return secret


def configured(text: str, world: World) -> Mapping[str, Channel]:
    """Return the channels that ``text`` names. Raises RuntimeError, which quotes no value, where it is none."""
    found = _read(text)
    pool = urllib3.PoolManager(timeout=_TIMEOUT, retries=False, maxsize=4)
    made: dict[str, Channel] = {}
    if found.sns:
        made["sns"] = _sns(found.sns, world)
    if found.mail:
        made["mail"] = _mail(found.mail, world)
    if found.slack:
        made["slack"] = _posting("slack", found.slack.url, pool, lambda notice, request: slack(notice, request, world))
    if found.teams:
        made["teams"] = _posting("teams", found.teams.url, pool, lambda notice, request: teams(notice, request, world))
    if found.webhook:
        made["webhook"] = _signed(found.webhook, pool, world)
    return made


def slack(notice: Notice, request: ApprovalRequest | None, world: World) -> Any:
    """Return Slack's message: text of others is plain text, in which nothing is a link, a mention or an emphasis."""
    if request and notice.about == "asked" and (value := world.button(request.rid, request.digest)):
        return slack_message.message(request, notice.about, world.link(request.rid), value)
    said = _said(notice, request, world)
    facts = "\n".join(f"{name}: {value}" for name, value in said.facts)
    button = {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": said.link}
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "plain_text", "text": f"{said.title}\n{facts}"[:3000], "emoji": False}},
    ]
    if said.link:
        blocks.append({"type": "actions", "elements": [button]})
    fallback = said.title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": fallback, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def teams(notice: Notice, request: ApprovalRequest | None, world: World) -> Any:
    """Return an Adaptive Card. Facts are rendered as Markdown, so what could be Markdown is escaped."""
    said = _said(notice, request, world)
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": _no_markdown(said.title), "weight": "Bolder", "wrap": True},
            {"type": "FactSet", "facts": [{"title": name, "value": _no_markdown(value)} for name, value in said.facts]},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open", "url": said.link}] if said.link else [],
    }
    return {"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]}


def _read(text: str) -> Configuration:
    try:
        return msgspec.json.decode(text, type=Configuration)
    except msgspec.DecodeError as error:
        raise RuntimeError(f"the channels' configuration cannot be read: {error}") from None


def sign(secret: bytes, nid: str, seconds: int, body: bytes) -> str:
    """Return the ``webhook-signature`` of Standard Webhooks: HMAC-SHA-256 over identifier, time and body."""
    mac = hmac.digest(secret, f"{nid}.{seconds}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"


def _signed(hook: SignedHook, pool: urllib3.PoolManager, world: World) -> Channel:
    url, secret = _checked("webhook", hook.url), _secret(hook.secret)

    def send(notice: Notice, request: ApprovalRequest | None) -> None:
        kind = f"request.{notice.about}" if request else "evidence.alert"
        data = _facts(notice, request, world) if request else {"text": notice.text, "groups": notice.groups}
        body = msgspec.json.encode({"type": kind, "time_ms": notice.time_ms, "data": data})
        seconds = world.clock.now_ms() // 1000
        _post(
            "webhook",
            url,
            pool,
            body,
            {
                "webhook-id": notice.nid,
                "webhook-timestamp": str(seconds),
                "webhook-signature": sign(secret, notice.nid, seconds, body),
            },
        )

    return send


def _said(notice: Notice, request: ApprovalRequest | None, world: World) -> Words:
    return words(notice.about, request, world.link(request.rid)) if request else alarm(notice.text)


def _facts(notice: Notice, request: ApprovalRequest, world: World) -> dict[str, Any]:
    return {
        "rid": request.rid,
        "state": str(request.state),
        "kind": request.kind,
        "principal": request.principal,
        "target": request.target,
        "login": request.login,
        "reason": request.reason,
        "digest": request.digest,
        "groups": notice.groups,
        "people": notice.people,
        "deadline_ms": request.deadline_ms,
        "link": world.link(request.rid),
    }


def _posting(
    name: str, address: str, pool: urllib3.PoolManager, message: Callable[[Notice, ApprovalRequest | None], Any]
) -> Channel:
    url = _checked(name, address)
    return lambda notice, request: _post(name, url, pool, msgspec.json.encode(message(notice, request)), {})


def _sns(topic: Sns, world: World) -> Channel:
    def send(notice: Notice, request: ApprovalRequest | None) -> None:
        said = _said(notice, request, world)
        # A subject is ASCII without control characters, at most 100 of them (SNS API, Publish).
        subject = said.title.encode("ascii", "replace").decode()[:100]
        attributes = {name: {"DataType": "String", "StringValue": value} for name, value in _marks(notice)}
        _aws(
            "sns",
            lambda: world.client("sns").publish(
                TopicArn=topic.topic_arn, Subject=subject, Message=said.text, MessageAttributes=attributes
            ),
        )

    return send


def _mail(mail: Mail, world: World) -> Channel:
    def send(notice: Notice, request: ApprovalRequest | None) -> None:
        said = _said(notice, request, world)
        to = [address for group in notice.groups for address in mail.groups.get(group, [])]
        to += [address for person in notice.people if (address := world.address(person))]
        if not to:
            raise Undelivered("mail knows no address for: " + ", ".join([*notice.groups, *notice.people]))
        content = {"Subject": {"Data": said.title}, "Body": {"Text": {"Data": said.text}}}
        # One message, so that a failure never leaves half of them told; nobody sees who else was.
        _aws(
            "mail",
            lambda: world.client("sesv2").send_email(
                FromEmailAddress=mail.sender,
                Destination={"ToAddresses": [mail.sender], "BccAddresses": sorted(set(to))[:_RECIPIENTS]},
                Content={"Simple": content},
                EmailTags=[{"Name": name, "Value": value} for name, value in _marks(notice)],
            ),
        )

    return send


def _marks(notice: Notice) -> list[tuple[str, str]]:
    return [("notice", notice.nid), ("about", notice.about)]


def _aws(name: str, call: Callable[[], Any]) -> None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        call()
    except ClientError as error:
        raise Undelivered(f"{name}: {error.response.get('Error', {}).get('Code', 'refused')}") from None
    except BotoCoreError as error:
        raise Undelivered(f"{name}: {type(error).__name__}") from None


def _post(name: str, url: str, pool: urllib3.PoolManager, body: bytes, headers: dict[str, str]) -> None:
    sent = {"content-type": "application/json", "user-agent": "sallyport"} | headers
    try:
        answer = pool.request("POST", url, body=body, headers=sent, redirect=False, preload_content=False)
        try:
            answer.read(_ANSWER)
        finally:
            answer.close()
    except urllib3.exceptions.HTTPError as error:
        # The address is a secret, and errors quote it.
        raise Undelivered(f"{name}: {type(error).__name__}") from None
    if not 200 <= answer.status < 300:
        raise Undelivered(f"{name} answered {answer.status}")


def _checked(name: str, url: str) -> str:
    parts = urlsplit(url)
    private = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not private or not parts.hostname or parts.username is not None:
        raise RuntimeError(f"the channel {name} must lead to an https address")
    return url


def _secret(text: str) -> bytes:
    try:
        found = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        found = b""
    if not text.startswith("whsec_") or not 24 <= len(found) <= 64:
        raise RuntimeError("the webhook's secret must be whsec_ and base64 of 24 to 64 bytes")
    return found


def _no_markdown(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!|<>~" else letter for letter in text)
