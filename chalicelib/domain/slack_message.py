"""A request as a message in Slack: what exactly is asked, and buttons that stand for exactly that.

Everything that people wrote is plain or preformatted text, in which nothing is a link, a mention or an emphasis, and what cannot
be seen is named. Where the whole of it cannot be shown in a message that nobody has to unfold, there are no buttons: it is
answered on its page. https://docs.slack.dev/reference/block-kit
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.domain.notice_words import REASON_LIMIT, span, words
from chalicelib.domain.plain_text import one_line, visible

APPROVE: Final = "approve"
DENY: Final = "deny"
REASON: Final = "reason"
#: What a message shows before Slack folds it, with room for the rest of it.
LETTERS: Final = 1_000
LINES: Final = 20
_SECTION: Final = 3_000
_VOTES: Final = 20

Block = dict[str, Any]


def message(request: ApprovalRequest, about: str, link: str, value: str = "") -> dict[str, Any]:
    """Return the message. With ``value`` it has buttons that carry it, while the request waits and can be shown whole."""
    said = words(about, request, link)
    blocks = [_section("\n".join([said.title, *(f"{name}: {text}" for name, text in said.facts)]))]
    exact = _exact(request)
    buttons = bool(value) and request.state is RequestState.PENDING
    if buttons and exact:
        blocks += exact
        blocks.append(_section("\n".join([*(f"• {one_line(risk, 200)}" for risk in request.risks), *_terms(request)])))
    blocks += [_section(line) for line in ["\n".join(_votes(request))] if line]
    if buttons and exact:
        blocks += [_asking(), _actions(link, value)]
    else:
        blocks += [_section("It is too long to be shown here whole. Read and answer it on its page.")] if buttons else []
        blocks.append(_actions(link, ""))
    return {"text": escaped(said.title), "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def escaped(text: str) -> str:
    """Return ``text`` for Slack's own markup, in which it is only text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _exact(request: ApprovalRequest) -> list[Block]:
    """What the digest stands for, each part in a block of its own so that none can pose as another; nothing if it is too long."""
    run = request.operation
    if run is None:
        count = "one session" if request.uses == 1 else f"{request.uses} sessions"
        lasts = f"any number of sessions for {span(request.for_s)}" if request.for_s else count
        parts = [("What exactly", f"Access to {visible(request.target)} as {visible(request.login)}: {lasts}")]
    else:
        parts = [(f"What exactly runs{f', up to {request.uses} times' if request.uses != 1 else ''}", visible(run.text))]
        parts += [(f"Bound value {n}", visible(value)) for n, value in enumerate(run.arguments, 1)]
        parts += [("Environment", visible(f"{name}={value}")) for name, value in run.environment]
        parts += [("Objects", visible(", ".join(sorted(run.objects))))] if run.objects else []
    if one_line(request.reason, REASON_LIMIT).endswith("…"):
        parts.append(("The reason, whole", visible(request.reason)))
    whole = "\n".join(text for _, text in parts)
    if len(whole) > LETTERS or whole.count("\n") >= LINES:
        return []
    return [block for title, text in parts for block in (_section(title), _preformatted(text))]


def _terms(request: ApprovalRequest) -> list[str]:
    """What a yes is bound to besides the text: one line each."""
    run = request.operation
    until = dt.datetime.fromtimestamp(request.deadline_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [
        *(
            [f"Effects: {', '.join(sorted(run.effects))}", f"Uses: {'once' if request.uses == 1 else request.uses}"]
            if run
            else []
        ),
        f"Rule: {one_line(', '.join(request.rules), 300)} (policy version {request.policy_version})",
        f"To be answered until: {until} UTC",
        f"SHA-256: {request.digest}",
    ]


def _votes(request: ApprovalRequest) -> list[str]:
    found = []
    for vote in request.votes[-_VOTES:]:
        comment = f": {one_line(vote.comment, 200)}" if vote.comment else ""
        found.append(f"{'✓ Yes' if vote.approve else '✗ No'} from {one_line(vote.voter, 80)}{comment}")
    return found


def _section(text: str) -> Block:
    return {"type": "section", "text": {"type": "plain_text", "text": text[:_SECTION], "emoji": False}}


def _preformatted(text: str) -> Block:
    # Slack refuses an empty text; an empty value is shown as one.
    part = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text or "(empty)"}]}
    return {"type": "rich_text", "elements": [part]}


def _asking() -> Block:
    return {
        "type": "input",
        "block_id": REASON,
        "optional": True,
        "label": {"type": "plain_text", "text": "Reason (needed to deny)"},
        "element": {"type": "plain_text_input", "action_id": REASON, "max_length": 2_000},
    }


def _actions(link: str, value: str) -> Block:
    elements = [
        {"type": "button", "action_id": action, "style": style, "value": value, "text": {"type": "plain_text", "text": text}}
        for action, style, text in ((APPROVE, "primary", "Approve"), (DENY, "danger", "Deny"))
        if value
    ]
    opening = {"type": "button", "action_id": "open", "url": link, "text": {"type": "plain_text", "text": "Open its page"}}
    return {"type": "actions", "elements": [*elements, opening]}
