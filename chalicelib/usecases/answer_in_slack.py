"""An answer by a button in Slack: the same vote as anywhere, by whoever ``gateway.yaml`` says that this Slack user is.

    signed by Slack, now, once ─► our workspace ─► a button that we made ─► a person of ours ─► the vote, with all of its rules

Slack vouches for its user and for nothing else. Groups, and how recently they were learned, are those of the person's newest
login here; a login at Slack proves no second factor to us, so rules that ask for one say no.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from chalicelib.contracts.api_requests import Ballot
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import SlackPeople
from chalicelib.domain import slack_signature
from chalicelib.ports import Ports, Undelivered
from chalicelib.usecases.vote import Chatted, vote

#: The message still shows buttons that are good for nothing.
_OVER: Final = frozenset({"approval_over", "approval_expired"})


class Press(msgspec.Struct, kw_only=True, frozen=True):
    """A button that somebody pressed, as Slack tells it."""

    team: str
    user: str
    user_team: str
    """Members of other workspaces take part in shared channels."""
    approve: bool
    value: str
    comment: str
    reply: str


def authenticate_slack(ports: Ports, timestamp: str, signature: str, body: bytes) -> SlackPeople:
    """Return the workspace that may answer. Raises Fault: not_found (none may), signature_invalid."""
    secret, people = ports.chat.secret(), ports.policies.current().document.slack
    if not secret or people is None:
        raise Fault("not_found", "This gateway takes no answers from Slack.")
    now_ms = ports.clock.now_ms()
    slack_signature.check(secret, timestamp, signature, body, now_ms)
    # Remembered for longer than the signature is good for, at either end of the window.
    until_ms = now_ms + 2 * slack_signature.WINDOW_S * 1000
    if not ports.store.spend(hashlib.sha256(f"slack {signature}".encode()).hexdigest(), until_ms):
        raise slack_signature.invalid()
    return people


def answer_in_slack(ports: Ports, people: SlackPeople, press: Press) -> None:
    """Count the answer, or tell whoever pressed why not. Raises Fault where it cannot even be told."""
    if press.team != people.team or press.user_team != people.team:
        raise Fault("denied", "This gateway takes answers from another workspace.")
    rid, digest = slack_signature.pressed(ports.chat.secret(), press.value)
    link = f"{ports.settings.issuer}/approvals/{rid}"
    try:
        if not press.approve and not press.comment:
            raise Fault("bad_request", "A denial needs a reason. Whoever asked reads it.", hint="Write it above the buttons.")
        ballot = Ballot(approve=press.approve, digest=digest, comment=press.comment)
        chatted = Chatted(via=f"slack {press.team}/{press.user}", reply=press.reply)
        vote(ports, _caller(ports, people, press.user), rid, ballot, "", chatted)
    except Fault as fault:
        if fault.kind.owner == "gateway":
            raise
        _tell(ports, press, fault, rid, f"{fault.message} {fault.hint}".strip() + f"\nIts page: {link}")


def _caller(ports: Ports, people: SlackPeople, user: str) -> AccessClaims:
    who = people.users.get(user)
    if who is None:
        hint = f"Ask your platform team to put {user} under slack.users in gateway.yaml, or answer on its page."
        raise Fault("denied", "Sallyport does not know who you are.", hint=hint)
    known = ports.store.person(who)
    if known is None:
        raise Fault("login_stale", "Answering for others needs a recent login.", hint="Open its page and log in.")
    seen_s = known.seen_ms // 1000
    # The age of the newest login, which is when the groups were learned; the vote refuses one that is too old.
    return AccessClaims(
        iss=ports.settings.issuer, sub=who, jti="", iat=seen_s, exp=seen_s, groups=known.groups, mfa=False, email=known.email
    )


def _tell(ports: Ports, press: Press, fault: Fault, rid: str, text: str) -> None:
    try:
        ports.chat.whisper(press.reply, text)
        case = ports.store.case(rid) if fault.code in _OVER else None
        if case:
            ports.chat.show(press.reply, case.request)
    except Undelivered:
        # Slack then says itself that something did not work.
        raise fault from None
