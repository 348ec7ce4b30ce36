"""An ask whose answer was lost is repeated, and is answered with the same request: nobody is called twice.

The caller names the ask; the name is bound to the caller and to everything that was asked, and is stored in the same transaction
as the request. It is remembered for a day, which is longer than anybody repeats a question.
"""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from chalicelib.contracts.api_requests import KEY_LENGTH
from chalicelib.contracts.faults import Fault
from chalicelib.domain.approvals import Case
from chalicelib.ports import AskName, Conflict, Ports

_REMEMBERED_MS: Final = 24 * 3600 * 1000


def ask_name(ports: Ports, caller: str, key: str, asked: msgspec.Struct) -> AskName | None:
    """Return the name of an ask by ``caller``; None where none was given. Raises Fault(bad_request)."""
    if len(key) > KEY_LENGTH:
        raise Fault("bad_request", f"key is at most {KEY_LENGTH} characters long.")
    if not key:
        return None
    return AskName(
        digest=hashlib.sha256(msgspec.json.encode(["sallyport-ask-v1", caller, key])).hexdigest(),
        # An operation holds sets, whose order is another one in every process.
        body=hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest(),
        until_ms=ports.clock.now_ms() + _REMEMBERED_MS,
    )


def asked_before(ports: Ports, name: AskName | None) -> Case | None:
    """Return the request that this very ask was answered with, as it is now. Raises Fault(key_reused)."""
    found = ports.store.ask_name(name.digest, ports.clock.now_ms()) if name else None
    if name is None or found is None:
        return None
    if found.body != name.body:
        raise Fault("key_reused", "This key was given to another ask.", hint="Make a new key for every ask.")
    return ports.store.case(found.rid)


def for_request(name: AskName | None, rid: str) -> AskName | None:
    """Return the name with the request that is made of its ask."""
    return msgspec.structs.replace(name, rid=rid) if name else None


def remember(ports: Ports, name: AskName | None, case: Case) -> Case:
    """Remember that the ask is answered by ``case``, which exists already, and return what answers it."""
    made = for_request(name, case.request.rid)
    if made is None:
        return case
    try:
        ports.store.remember_ask(made, ports.clock.now_ms())
    except Conflict:
        return asked_before(ports, name) or case
    return case
