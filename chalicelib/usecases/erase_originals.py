"""``POST /requests/{rid}/erase``: delete the key of a target's originals of one month, under a yes of somebody else.

What was sealed with it stays where it is, under Object Lock, in every chain and manifest; nobody can read it any more. The event,
the end of the key and the use of the yes are one transaction.
"""

from __future__ import annotations

from typing import Final

import msgspec

from chalicelib.contracts.api_originals import Erased
from chalicelib.contracts.approval import erase_digest
from chalicelib.contracts.audit_requests import OriginalsErased
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.faults import Fault
from chalicelib.domain import approvals
from chalicelib.ports import Conflict, OriginalsKey, Ports
from chalicelib.usecases.circumstances import moment
from chalicelib.usecases.request_events import about
from chalicelib.usecases.request_originals import erased, erased_target, may_erase, still_agreed
from chalicelib.usecases.unmask_session import approvers_of, audited, check_yes, own_case

_TRIES: Final = 20


def erase_originals(ports: Ports, caller: AccessClaims, rid: str, source_ip: str) -> Erased:
    """Return what was erased; asked again, the same.

    Raises Fault: unknown_request, denied, approval_required, approval_expired, approval_mismatch, originals_none,
    originals_erased.
    """
    case = own_case(ports, caller, rid, "erase")
    return audited(ports, caller, case.request, lambda: _erase(ports, caller, rid, source_ip))


def _erase(ports: Ports, caller: AccessClaims, rid: str, source_ip: str) -> Erased:
    for _ in range(_TRIES):
        case = own_case(ports, caller, rid, "erase")
        request = case.request
        key = ports.store.originals_key(request.target, request.month)
        if key is None:
            raise Fault("originals_none", f"No originals of {request.target} were sealed in {request.month}.")
        if key.erased_ms:
            if key.erased_by == rid:
                return _answer(key)
            raise erased()
        check_yes(ports, request, erase_digest(key.target, key.month, key.name))
        at = moment(ports.clock, reason=request.reason, source_ip=source_ip)
        verdict = may_erase(ports, caller, erased_target(ports, request.target), request.month, at)
        if not still_agreed(ports, request, verdict):
            raise Fault("approval_mismatch", "Policy asks for more by now than what was approved.")
        now_ms = ports.clock.now_ms()
        after = approvals.used(case, now_ms, key="erased")
        gone = msgspec.structs.replace(key, wrapped=b"", erased_ms=now_ms, erased_by=rid)
        event = about(
            ports,
            OriginalsErased,
            request,
            caller.sub,
            key=key.name,
            month=key.month,
            reason=request.reason,
            approvers=approvers_of(request),
            digest=request.digest,
        )
        try:
            ports.store.erase_originals_key(gone, after, [event])
        except Conflict:
            continue
        return _answer(gone)
    raise Fault("conflict", "The request changes at this moment.", hint="Try again.")


def _answer(key: OriginalsKey) -> Erased:
    return Erased(target=key.target, month=key.month, key=key.name, erased_ms=key.erased_ms)
