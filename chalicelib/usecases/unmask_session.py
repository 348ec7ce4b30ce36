"""``POST /requests/{rid}/unmask``: open one session's sealed originals, under somebody else's yes, and not before the log knows.


    check    the yes, its time, the policy that is in force now
    count    the use, with ``originals.unmasked``, in one transaction
    prove    that the log holds that event                            log_behind: ask again, with the same name for the use
    unwrap   the key of the target and month (KMS), open the session's own key (HPKE)
    spend    the use, with ``originals.released``, in one transaction; from here on it cannot be asked for again
    answer

Whatever fails, nothing was shown; what stood before it stands in the log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from chalicelib.contracts import ids, originals
from chalicelib.contracts.api_originals import Unmasked, UnmaskUse
from chalicelib.contracts.approval import ApprovalRequest, RequestState, unmask_digest
from chalicelib.contracts.audit_requests import OriginalsRefused, OriginalsReleased, OriginalsUnmasked
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import month_of
from chalicelib.contracts.session import Session
from chalicelib.domain import approvals
from chalicelib.domain.approvals import Case
from chalicelib.ports import Conflict, OriginalsKey, Ports, Unavailable
from chalicelib.usecases.circumstances import moment
from chalicelib.usecases.inclusion import require_logged
from chalicelib.usecases.request_events import about
from chalicelib.usecases.request_originals import erased, may_unmask, still_agreed, unknown_session
from chalicelib.usecases.sealing_key import unavailable

T = TypeVar("T")

_TRIES: Final = 20
_USE: Final = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SPENT: Final = "spent"
#: HPKE: an encapsulated X25519 key, 32 bytes of content key, a tag.
_CONTENT_BYTES: Final = 32 + 32 + 16


def unmask_session(ports: Ports, caller: AccessClaims, rid: str, asked: UnmaskUse, source_ip: str) -> Unmasked:
    """Return the session's content key.

    Raises Fault: unknown_request, denied, approval_required, approval_expired, approval_used, approval_over, approval_mismatch,
    originals_none, originals_erased, originals_mismatch, originals_unavailable, log_behind, evidence_altered, bad_request.
    """
    case = own_case(ports, caller, rid, "unmask")
    return audited(ports, caller, case.request, lambda: _unmask(ports, caller, case.request.rid, asked, source_ip))


def own_case(ports: Ports, caller: AccessClaims, rid: str, kind: str) -> Case:
    """Return the caller's own request of this kind. Raises Fault(unknown_request), as if others did not exist."""
    case = ports.store.case(rid) if ids.is_id(ids.REQUEST, rid) else None
    if case is None or case.request.principal != caller.sub or case.request.kind != kind:
        raise Fault("unknown_request", "There is no request of this name, or it is not yours.")
    return case


def audited(ports: Ports, caller: AccessClaims, request: ApprovalRequest, act: Callable[[], T]) -> T:
    """Return what ``act`` returns; what it refuses is an audit event. A log that is only behind is asked again, and is none."""
    try:
        return act()
    except Fault as fault:
        if fault.code != "log_behind":
            ports.store.record([about(ports, OriginalsRefused, request, caller.sub, code=fault.code)])
        raise


def _unmask(ports: Ports, caller: AccessClaims, rid: str, asked: UnmaskUse, source_ip: str) -> Unmasked:
    content = _content(asked)
    case, session = _checked(ports, caller, rid, source_ip)
    key = _key(ports, session)
    case, event = _counted(ports, case, session, key, asked.use)
    leaf = require_logged(ports, event)
    bound = (session.sid, key.target, key.month, key.name)
    try:
        opened = ports.vault.open(key, content, originals.info(*bound))
    except Unavailable as error:
        raise unavailable(error) from None
    except ValueError as error:
        message = "These originals were not sealed in this session, for this target and month."
        raise Fault("originals_mismatch", message, detail=str(error)) from None
    _spend(ports, case, key, event, asked.use)
    return Unmasked(
        sid=session.sid,
        target=key.target,
        month=key.month,
        key=key.name,
        content_key=base64.b64encode(opened).decode(),
        leaf=leaf,
    )


def _content(asked: UnmaskUse) -> bytes:
    if not _USE.fullmatch(asked.use):
        raise Fault("bad_request", "use is 16 to 64 letters, digits, - and _, made anew for each use.")
    try:
        content = base64.b64decode(asked.content, validate=True)
    except binascii.Error:
        content = b""
    if len(content) != _CONTENT_BYTES:
        raise Fault("bad_request", "content is not that of a heading of sealed originals.")
    return content


def _checked(ports: Ports, caller: AccessClaims, rid: str, source_ip: str) -> tuple[Case, Session]:
    """Return the request and its session, if the yes is good for it under the policy that is in force now."""
    case = own_case(ports, caller, rid, "unmask")
    request = case.request
    session = ports.store.session(request.sid)
    if session is None:
        raise unknown_session()
    check_yes(ports, request, unmask_digest(session.sid))
    at = moment(ports.clock, reason=request.reason, login=session.login, source_ip=source_ip)
    verdict = may_unmask(ports, caller, session, at)
    if not still_agreed(ports, request, verdict):
        raise Fault("approval_mismatch", "Policy asks for more by now than what was approved.")
    return case, session


def check_yes(ports: Ports, request: ApprovalRequest, digest: str) -> None:
    """Check that a request was granted, for this, and that its time is not over. Raises Fault."""
    if request.state is RequestState.PENDING:
        raise Fault("approval_required", "Nobody has answered this request yet.")
    if request.state not in (RequestState.APPROVED, RequestState.USED):
        raise approvals.over(request)
    if request.digest != digest:
        raise Fault("approval_mismatch", "The approval is for something else.")
    if ports.clock.now_ms() >= request.until_ms:
        raise Fault("approval_expired", "The approval's time is over.")


def _key(ports: Ports, session: Session) -> OriginalsKey:
    key = ports.store.originals_key(session.target, month_of(session.opened_ms))
    if key is None:
        raise Fault("originals_none", "No originals were sealed in this session.")
    if key.erased_ms:
        raise erased()
    return key


def _counted(ports: Ports, case: Case, session: Session, key: OriginalsKey, use: str) -> tuple[Case, OriginalsUnmasked]:
    """Return the case with this use counted, once, and the event that says so: the same one, however often it is asked for."""
    for _ in range(_TRIES):
        if f"{use} {_SPENT}" in case.keys:
            raise Fault("approval_used", "This use was answered already; what it opened is shown once.")
        counted = next((each for each in case.keys if each.startswith(f"{use} ")), "")
        if counted:
            return case, _event(case.request, session, key, use, int(counted.split()[1]))
        now_ms = ports.clock.now_ms()
        after = approvals.used(case, now_ms, key=f"{use} {now_ms}")
        event = _event(after.request, session, key, use, now_ms)
        try:
            ports.store.step_case(after, [event], [])
        except Conflict:
            case = ports.store.case(case.request.rid) or case
            continue
        return after, event
    raise Fault("conflict", "The request changes at this moment.", hint="Try again.")


def _event(request: ApprovalRequest, session: Session, key: OriginalsKey, use: str, time_ms: int) -> OriginalsUnmasked:
    """The event of a use, made of what does not change, so that asking again is about the very same one."""
    name = hashlib.sha256(use.encode()).hexdigest()
    entropy = hashlib.sha256(f"{request.rid} {use} unmasked".encode()).digest()[: ids.ENTROPY_BYTES]
    return OriginalsUnmasked(
        id=ids.mint(ids.EVENT, time_ms, entropy),
        time_ms=time_ms,
        actor=request.principal,
        rid=request.rid,
        target=request.target,
        principal=request.principal,
        key=key.name,
        sid=session.sid,
        owner=session.principal,
        reason=request.reason,
        approvers=approvers_of(request),
        digest=request.digest,
        use=name,
    )


def approvers_of(request: ApprovalRequest) -> list[str]:
    """Return who said yes, in order."""
    return [vote.voter for vote in request.votes if vote.approve]


def _spend(ports: Ports, case: Case, key: OriginalsKey, event: OriginalsUnmasked, use: str) -> None:
    """Note that the use is answered now. Of two that race, one is answered."""
    spent = msgspec.structs.replace(case, keys=[*case.keys, f"{use} {_SPENT}"]).step(case.request.state)
    released = about(ports, OriginalsReleased, case.request, case.request.principal, key=key.name, sid=event.sid, use=event.use)
    try:
        ports.store.step_case(spent, [released], [])
    except Conflict:
        raise Fault("conflict", "The request changes at this moment.", hint="Try again.") from None
