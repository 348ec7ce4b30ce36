"""What an agent seals a session's originals with: the key of its target and month, made when the first session asks for it."""

from __future__ import annotations

import base64

import msgspec

from chalicelib.contracts import ids
from chalicelib.contracts.audit_requests import OriginalsKeyMade
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.originals import SEALING_TYP, SealingClaims, key_name, month_of
from chalicelib.contracts.session import Session
from chalicelib.ports import Conflict, OriginalsKey, Ports, Unavailable
from chalicelib.usecases.minting import mint


def sealing_key(ports: Ports, session: Session) -> str:
    """Return signed ``SealingClaims`` for ``session``; empty where its target keeps no originals now.

    Raises Fault: originals_unavailable (a target that keeps them has no sessions that cannot), originals_erased.
    """
    target = ports.policies.current().document.target(session.target)
    if target is None or target.originals != "sealed":
        return ""
    month = month_of(session.opened_ms)
    key = ports.store.originals_key(target.name, month) or _make(ports, target.name, month)
    if key.erased_ms:
        raise Fault("originals_erased", f"The key of {target.name} for {month} was erased; nothing more can be sealed to it.")
    return key.signed


def _make(ports: Ports, target: str, month: str) -> OriginalsKey:
    try:
        public, wrapped = ports.vault.make(target, month)
    except Unavailable as error:
        raise unavailable(error) from None
    claims = SealingClaims(iss=ports.settings.issuer, target=target, month=month, public=base64.b64encode(public).decode())
    now_ms = ports.clock.now_ms()
    key = OriginalsKey(
        target=target,
        month=month,
        public=public,
        wrapped=wrapped,
        signed=ports.signer.sign_token(SEALING_TYP, msgspec.to_builtins(claims)),
        made_ms=now_ms,
    )
    event = OriginalsKeyMade(
        id=mint(ports.clock, ids.EVENT), time_ms=now_ms, actor="system", target=target, month=month, key=key_name(public)
    )
    try:
        ports.store.add_originals_key(key, event)
    except Conflict:  # another session was faster; there is one key
        key = ports.store.originals_key(target, month) or key
    return key


def unavailable(error: Unavailable) -> Fault:
    """Return the fault of a vault that does not answer."""
    return Fault(
        "originals_unavailable",
        "The keys of sealed originals cannot be used now.",
        hint="Try again; if it stays so, ask the platform team.",
        detail=str(error),
    )
