"""``POST /requests/{rid}/votes``: one person's answer. Votes race by conditional writes; a request has exactly one outcome."""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts.api_requests import Ballot, RequestStanding
from chalicelib.contracts.approval import COMMENT_LIMIT, RequestState, Vote
from chalicelib.contracts.audit_requests import RequestVoted
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain import approvals
from chalicelib.ports import Conflict, Ports
from chalicelib.usecases.announce_outcome import announce_outcome
from chalicelib.usecases.approvers import approver, visible
from chalicelib.usecases.deliver_notices import deliver
from chalicelib.usecases.request_approval import standing
from chalicelib.usecases.request_events import about, notices, reply

#: A vote that loses a race is tried again on what the winner left. Every round has a winner, and quorums are small.
TRIES: Final = 120


class Chatted(msgspec.Struct, kw_only=True, frozen=True):
    """An answer that was given in a chat."""

    via: str
    reply: str
    """Where the chat takes the outcome."""


NOT_CHATTED: Final = Chatted(via="", reply="")


def vote(
    ports: Ports, caller: AccessClaims, rid: str, ballot: Ballot, source_ip: str, chatted: Chatted = NOT_CHATTED
) -> RequestStanding:
    """Return the request after the vote. A chat is told of the outcome first, and everybody else by the next scheduled round.

    Raises Fault: unknown_request, login_stale, denied, own_request, voted_already, approval_over, approval_expired,
    approval_mismatch (the voter was shown something else), too_large, conflict.
    """
    if len(ballot.comment) > COMMENT_LIMIT:
        raise Fault("too_large", f"A comment is at most {COMMENT_LIMIT} characters long.")
    for _ in range(TRIES):
        case = visible(ports, caller, rid, source_ip)
        if ballot.digest != case.request.digest:
            raise Fault("approval_mismatch", "The answer is to something else than this request.", hint="Read it again.")
        voter = approver(ports, caller, case.request, source_ip)
        given = Vote(
            voter=caller.sub,
            approve=ballot.approve,
            groups=voter.groups,
            time_ms=ports.clock.now_ms(),
            comment=ballot.comment,
        )
        after = approvals.voted(case, voter.human, given)
        decided = after.request.state is not RequestState.PENDING
        event = about(
            ports,
            RequestVoted,
            after.request,
            caller.sub,
            approve=given.approve,
            groups=given.groups,
            comment=given.comment,
            digest=after.request.digest,
            state=str(after.request.state),
            via=chatted.via,
        )
        told = notices(ports, after.request, str(after.request.state)) if decided else []
        replies = [reply(ports, after.request, chatted.reply)] if chatted.reply else []
        try:
            ports.store.step_case(after, [event], [*told, *replies])
        except Conflict:
            continue
        if decided:
            announce_outcome(ports, after.request)
        # A chat waits three seconds for its answer, so other channels wait for the next round instead.
        deliver(ports, replies or told)
        return standing(ports, after)
    raise Fault("conflict", "Too many people answer at this moment.", hint="Try again.")
