"""Who may answer a request, when enough have, and what a yes is still good for. Who is asking and the time come from outside.

People are told apart as humans, not as accounts: two accounts that share a verified e-mail address are one person, who neither
answers their own request nor counts twice. A person who is in several of the asked groups still fills one place only, so that a
rule which asks for a DBA *and* a lead gets two people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chalicelib.contracts.approval import OVER, ApprovalRequest, RequestState, Vote, may_follow, refusal
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.policy import Approval

#: A grant that is asked for ahead of time may be answered for a day, whatever the rule says about waiting in place.
AHEAD_MS: Final = 24 * 3600 * 1000


class Human(msgspec.Struct, kw_only=True, frozen=True):
    """Whoever is behind an account, as far as the identity provider shows it."""

    principal: str
    email: str = ""
    """Verified, in lower case; or empty."""

    def is_also(self, other: Human) -> bool:
        """True where both accounts are one person's: the same name, or the same verified address under any of the two."""
        return bool(self._names & other._names)

    @property
    def _names(self) -> set[str]:
        return {self.principal.casefold(), self.email.casefold()} - {""}


class Case(msgspec.Struct, kw_only=True, frozen=True):
    """A request with what the control plane alone keeps of it."""

    request: ApprovalRequest
    asker: Human
    voters: list[Human] = []
    keys: list[str] = []
    """Uses that were counted, by the name that their agent gave them: asking again counts nothing."""

    def step(self, state: RequestState, **changed: object) -> Case:
        """Return the case one version later. Raises Fault(approval_over) where the table does not allow it."""
        if state is not self.request.state and not may_follow(self.request.state, state):
            raise over(self.request)
        request = msgspec.structs.replace(self.request, state=state, version=self.request.version + 1, **changed)
        return msgspec.structs.replace(self, request=request)


def places(asks: Iterable[Approval]) -> list[str]:
    """Return one group name per person that is needed. Of two rules that ask the same group, the one that wants more counts."""
    most: dict[str, int] = {}
    for ask in asks:
        most[ask.group] = max(most.get(ask.group, 0), ask.quorum)
    return [group for group, quorum in sorted(most.items()) for _ in range(quorum)]


def met(asks: Sequence[Approval], votes: Sequence[Vote]) -> bool:
    """Tell whether the yes votes fill every place, each person one place at the most."""
    return _filled(asks, votes) == len(places(asks))


def missing(asks: Sequence[Approval], votes: Sequence[Vote]) -> list[str]:
    """Return the groups of which one more yes would bring the request further."""
    now = _filled(asks, votes)
    return [
        group
        for group in dict.fromkeys(places(asks))
        if _filled(asks, [*votes, Vote(voter="", approve=True, groups=[group], time_ms=0)]) > now
    ]


def _filled(asks: Sequence[Approval], votes: Sequence[Vote]) -> int:
    """Return how many places the yes votes fill at the most: a maximum matching, by Kuhn's algorithm."""
    wanted = places(asks)
    yes = [vote for vote in votes if vote.approve]
    seats: dict[int, int] = {}

    def seat(voter: int, tried: set[int]) -> bool:
        for place, group in enumerate(wanted):
            if place in tried or group not in yes[voter].groups:
                continue
            tried.add(place)
            if place not in seats or seat(seats[place], tried):
                seats[place] = voter
                return True
        return False

    return sum(seat(voter, set()) for voter in range(len(yes)))


def answer_until_ms(asks: Sequence[Approval], for_s: int, now_ms: int) -> int:
    """Return until when a request that is made now may be answered: as long as the most impatient rule waits."""
    patience = min((ask.ttl for ask in asks), default=0) * 1000
    return now_ms + (max(patience, AHEAD_MS) if for_s else patience)


def yes_until_ms(request: ApprovalRequest, now_ms: int) -> int:
    """Return the absolute end of a yes that is given now."""
    return now_ms + (request.for_s or min((ask.ttl for ask in request.asks), default=0)) * 1000


def granted(case: Case, now_ms: int) -> Case:
    """Return the case with its yes, which begins now."""
    return case.step(RequestState.APPROVED, decided_ms=now_ms, until_ms=yes_until_ms(case.request, now_ms))


def check_stranger(case: Case, who: Human) -> None:
    """Raise Fault(own_request) where ``who`` is the human who asked, whatever the account is called."""
    if who.is_also(case.asker):
        raise Fault("own_request", "Nobody answers their own request, with any of their accounts.")


def voted(case: Case, who: Human, vote: Vote) -> Case:
    """Return the case with one more vote in it, and what follows from it: the first no ends it, enough yes grant it.

    Raises Fault: own_request, voted_already, approval_over (answered, withdrawn or too late), denied (in none of the groups).
    """
    request = case.request
    check_stranger(case, who)
    if any(who.is_also(voter) for voter in case.voters):
        raise Fault("voted_already", "You have answered this request.")
    if request.state is not RequestState.PENDING or vote.time_ms >= request.deadline_ms:
        raise over(request)
    if not vote.groups:
        wanted = ", ".join(sorted({ask.group for ask in request.asks}))
        raise Fault("denied", f"This asks for somebody of: {wanted}.")
    votes = [*request.votes, vote]
    counted = msgspec.structs.replace(case, voters=[*case.voters, who])
    if not vote.approve:
        return counted.step(RequestState.DENIED, votes=votes, decided_ms=vote.time_ms, answer=vote.comment)
    if not met(request.asks, votes):
        return counted.step(RequestState.PENDING, votes=votes)
    return granted(
        msgspec.structs.replace(counted, request=msgspec.structs.replace(request, votes=votes)),
        vote.time_ms,
    )


def used(case: Case, now_ms: int, *, key: str = "", sid: str = "") -> Case:
    """Return the case with one more use counted, for the session ``sid`` that it opens or the use called ``key``.

    Raises Fault with a code for every state in which there is nothing to use: approval_pending, approval_denied,
    approval_expired, approval_withdrawn, approval_revoked, approval_used.
    """
    request = as_of(case.request, now_ms)
    if request.state is not RequestState.APPROVED:
        raise refusal(request)
    count = request.used + 1
    state = RequestState.USED if count == request.uses else RequestState.APPROVED
    counted = msgspec.structs.replace(case, keys=[*case.keys, key] if key else case.keys)
    return counted.step(state, used=count, sessions=[*request.sessions, sid] if sid else request.sessions)


def overdue(request: ApprovalRequest, now_ms: int) -> bool:
    """Tell whether time alone ends the request now."""
    if request.state is RequestState.PENDING:
        return now_ms >= request.deadline_ms
    return request.state is RequestState.APPROVED and now_ms >= request.until_ms


def as_of(request: ApprovalRequest, now_ms: int) -> ApprovalRequest:
    """Return the request as it is at ``now_ms``: one whose time is over is expired, also before a row says so."""
    return msgspec.structs.replace(request, state=RequestState.EXPIRED) if overdue(request, now_ms) else request


def over(request: ApprovalRequest) -> Fault:
    """Return why a request cannot be answered or changed any more, for whoever tries."""
    if request.state is RequestState.APPROVED:
        return Fault("approval_over", "The request was approved already.")
    if request.state is RequestState.EXPIRED or request.state not in OVER:
        return Fault("approval_expired", "The request's time is over.")
    return Fault("approval_over", f"The request is over: {request.state}.")
