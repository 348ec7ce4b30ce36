"""The decider: asks policy about operations, and is the only mint of :class:`Permit`.

A permit names the digest of the one operation that it permits, or holds the very bytes that may be forwarded. Nothing is
forwarded without one (``effects.ToTarget``, ``effects.Repeat``), so a road around policy is a TypeError and not an oversight.

Decisions are cached only where nothing that a policy can see is left out of the key: the key is every fact of the operation that
``Policy.operate`` shows to rules (the text only where a rule might look at it), the cache is dropped when another policy comes
into force, and a document in which any rule might look at the clock is never cached at all.
What remains (principal, reason, login, source address) is fixed for the life of a session.

Whoever asks about the same operations again and again may hold a :class:`Standing`: a place in that cache which is found without
looking. It is asked each time all the same, and says nothing once another policy is in force or the session's time is over.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

import msgspec

from chalicelib.contracts.approval import ASKS_MORE, decide_approved
from chalicelib.contracts.capability import ApprovalClaims, TicketClaims, check_approval
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import DENY, HOLD, Moment, Policy, Verdict

_SEAL: Final = object()

#: Decisions remembered per session, and the longest text worth remembering (bounds memory at 1 MB a session).
CACHE_ENTRIES: Final = 256
CACHE_TEXT: Final = 4_096

HOLD_UNAVAILABLE: Final = "This needs an approval, which cannot be asked for here."
TARGET_GONE: Final = "The target is no longer part of the gateway's configuration."
GRANT_ENDED: Final = "The grant behind this session has ended."

_CLOCK: Final = re.compile(r"\b(?:now|hour|weekday)\b")
_TEXT: Final = re.compile(r"\btext\b")
#: ``context.name`` and ``context has name`` show which facts are read. Any other use (``context == …``, an escaped key) may
#: read the clock without naming it.
_CONTEXT: Final = re.compile(r"\bcontext\b(?!\s*\.\s*[A-Za-z_]|\s+has\s+[A-Za-z_])")
#: What stands before a rule and decides nothing: its words for people may name anything.
_ANNOTATIONS: Final = re.compile(r'\A(?:\s*@[A-Za-z_][A-Za-z0-9_]*\s*\(\s*"[^"\\]*"\s*\))+')


class Permit:
    """Proof that policy allowed one operation, or the operations that some bytes ask for.

    Cannot be constructed, copied, subclassed or changed outside this module.
    """

    __slots__ = ("_data", "_operation", "_seal")
    _operation: Operation | None
    _data: bytes | None
    _seal: object

    def __new__(cls, *_: object, **__: object) -> Permit:
        raise TypeError("a Permit is minted by the Decider alone")

    def __init_subclass__(cls, **_: object) -> NoReturn:
        raise TypeError("Permit cannot be subclassed")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a Permit does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Permit cannot be copied or pickled")

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the permitted operation; nothing where the permit is for bytes."""
        return self._operation.digest() if self._operation is not None else ""

    def covers(self, operation: Operation) -> bool:
        """True if this permit was minted, and minted for exactly ``operation``."""
        if getattr(self, "_seal", None) is not _SEAL or self._operation is None:
            return False
        return self._operation is operation or self.digest == operation.digest()

    def carries(self, data: bytes) -> bool:
        """True if this permit was minted, and minted for exactly these bytes."""
        if getattr(self, "_seal", None) is not _SEAL or self._data is None:
            return False
        return self._data is data or self._data == data


def permitted(permit: Permit) -> bytes:
    """Return the very bytes that ``permit`` is for. Raises PermissionError for anything but a permit that was minted for some."""
    if type(permit) is Permit and getattr(permit, "_seal", None) is _SEAL and permit._data is not None:
        return permit._data
    raise PermissionError("bytes are forwarded only with a permit that policy minted for them")


class Standing:
    """A yes that a decider remembers, to operations that policy cannot tell apart. Worth nothing without that decider."""

    __slots__ = ("_decider", "_policy", "_text")
    _decider: Decider
    _policy: Policy
    _text: str | None
    """The only text that the yes is for; None where policy does not look at texts."""

    def __new__(cls, *_: object, **__: object) -> Standing:
        raise TypeError("a Standing comes from a Decider alone")

    def __init_subclass__(cls, **_: object) -> NoReturn:
        raise TypeError("Standing cannot be subclassed")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise AttributeError("a Standing does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Standing cannot be copied or pickled")


class Yes(msgspec.Struct, frozen=True, kw_only=True):
    """An approval whose signature was verified, and who gave it. What it covers is checked where it is used."""

    claims: ApprovalClaims
    approvers: tuple[str, ...] = ()


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict together with the permit that follows from it. ``code`` is set exactly where ``permit`` is None."""

    verdict: Verdict
    permit: Permit | None = None
    code: str = ""
    version: int = 0
    """Version of the policy that decided."""
    yes: Yes | None = None
    """The approval that the permit rests on, where policy alone would not have given it."""

    @property
    def held(self) -> bool:
        """True where an approval could lift what forbids it."""
        return self.verdict.decision == HOLD

    @property
    def message(self) -> str:
        """The words for the person."""
        if self.code == "hold_unavailable":
            return f"{self.verdict.message} {HOLD_UNAVAILABLE}".strip()
        return self.verdict.message


class Decider:
    """Decides the operations of one session under whatever policy is in force when it is asked."""

    def __init__(self, claims: TicketClaims, in_force: Callable[[], Policy]) -> None:
        self._claims = claims
        self._deadline_ms = claims.deadline_ms
        self._in_force = in_force
        self._principal = claims.principal
        self._policy: Policy | None = None
        self._cacheable = False
        self._text_is_seen = True
        self._cache: OrderedDict[tuple[Any, ...], Verdict] = OrderedDict()

    def decide(self, operation: Operation, now_ms: int) -> Decision:
        """Return what policy says about ``operation`` at ``now_ms``. Anything but a plain yes carries no permit."""
        policy = self._in_force()
        if now_ms >= self._claims.deadline_ms:
            return Decision(verdict=Verdict(DENY, message=GRANT_ENDED), code="session_ended", version=policy.version)
        if policy is not self._policy:
            self._adopt(policy)
        key = self._seen(operation)
        verdict = self._cache.get(key)
        if verdict is None:
            verdict = self._ask(policy, operation, now_ms)
            self._remember(key, verdict)
        else:
            self._cache.move_to_end(key)
        if verdict.allowed:
            return Decision(verdict=verdict, permit=_mint(operation), version=policy.version)
        code = "hold_unavailable" if verdict.decision == HOLD else "denied"
        return Decision(verdict=verdict, code=code, version=policy.version)

    def approved(self, operation: Operation, yes: Yes, now_ms: int) -> Decision:
        """Decide an operation that others have agreed to: whether they agreed to this one, and whether that is still enough."""
        policy, claims = self._in_force(), self._claims
        if now_ms >= claims.deadline_ms:
            return Decision(verdict=Verdict(DENY, message=GRANT_ENDED), code="session_ended", version=policy.version)
        try:
            check_approval(yes.claims, agent_id=claims.aud, ticket=claims, digest=operation.digest(), now_ms=now_ms)
        except Fault as fault:
            return Decision(verdict=Verdict(DENY, message=fault.message), code=fault.code, version=policy.version)
        target = policy.document.target(claims.target)
        if target is None:
            return Decision(verdict=Verdict(DENY, message=TARGET_GONE), code="denied", version=policy.version)
        verdict = decide_approved(policy, self._principal, target, operation, self._moment(now_ms), yes.claims.asks)
        if verdict.allowed:
            return Decision(verdict=verdict, permit=_mint(operation), version=policy.version, yes=yes)
        code = "approval_mismatch" if verdict.message == ASKS_MORE else "denied"
        return Decision(verdict=verdict, code=code, version=policy.version)

    def standing(self, operations: Sequence[Operation]) -> Standing | None:
        """Return what tells :meth:`repeat` of the yeses that were just given to ``operations``, which have one text.

        None where one of them has to be decided anew each time, or was not allowed.
        """
        if self._policy is None or self._policy is not self._in_force():
            return None
        known = [self._cache.get(self._seen(operation)) for operation in operations]
        if not known or any(verdict is None or not verdict.allowed for verdict in known):
            return None
        text = operations[0].text
        if self._text_is_seen and any(operation.text != text for operation in operations):
            return None
        standing = object.__new__(Standing)
        object.__setattr__(standing, "_decider", self)
        object.__setattr__(standing, "_policy", self._policy)
        object.__setattr__(standing, "_text", text if self._text_is_seen else None)
        return standing

    def repeat(self, standing: Standing, text: str, data: bytes, now_ms: int) -> Permit | None:
        """Decide ``data`` at ``now_ms``: bytes that ask for the operations of ``standing`` again, all of them with ``text``.

        They may differ from those in their arguments, which policy never sees, and in their text where it does not look at that.
        None says nothing: the operations themselves have to be decided.
        """
        if standing._decider is not self or standing._policy is not self._in_force() or now_ms >= self._deadline_ms:
            return None
        if standing._text is not None and standing._text != text:
            return None
        # What ``_mint`` does, without a call: this is done for every statement.
        permit: Permit = _new(Permit)
        _put_operation(permit, None)
        _put_data(permit, data)
        _put_seal(permit, _SEAL)
        return permit

    def _seen(self, one: Operation) -> tuple[Any, ...]:
        """Everything of an operation that policy can see: what ``Policy.operate`` makes its context of, and the action."""
        # A forward's text is also where it goes, which rules may see by other names.
        text = one.text if self._text_is_seen or one.action == "forward" else ""
        return (one.action, one.kind, text, one.effects, one.verbs, one.objects, one.flags, one.size)

    def _ask(self, policy: Policy, operation: Operation, now_ms: int) -> Verdict:
        # The policy's own copy of the target counts: its tags may have changed since the session opened.
        target = policy.document.target(self._claims.target)
        if target is None:
            return Verdict(DENY, message=TARGET_GONE)
        return policy.operate(self._principal, target, operation, self._moment(now_ms))

    def _moment(self, now_ms: int) -> Moment:
        claims = self._claims
        return Moment(now_ms=now_ms, reason=claims.reason, login=claims.login, source_ip=claims.source_ip)

    def _adopt(self, policy: Policy) -> None:
        self._policy = policy
        self._cache.clear()
        self._cacheable = not sees_clock(policy)
        self._text_is_seen = sees_text(policy)

    def _remember(self, key: tuple[Any, ...], verdict: Verdict) -> None:
        # A verdict with errors may be different next time; asking again costs a tenth of a millisecond.
        if not self._cacheable or verdict.errors or len(key[2]) > CACHE_TEXT:
            return
        self._cache[key] = verdict
        if len(self._cache) > CACHE_ENTRIES:
            self._cache.popitem(last=False)


def sees_clock(policy: Policy) -> bool:
    """True if any rule might look at the time. Errs towards True: a mention in a comment is enough."""
    return _mentions(policy, _CLOCK)


def sees_text(policy: Policy) -> bool:
    """True if any rule might look at the text of an operation. Errs towards True like :func:`sees_clock`."""
    return _mentions(policy, _TEXT)


def _mentions(policy: Policy, fact: re.Pattern[str]) -> bool:
    bodies = (_ANNOTATIONS.sub("", rule.text) for rule in policy.document.rules)
    return any(fact.search(body) or _CONTEXT.search(body) for body in bodies)


def joined(permits: Sequence[tuple[Permit, Operation]], data: bytes) -> Permit:
    """Return a permit for ``data``, which asks for these operations. Raises PermissionError where one of them has none."""
    if not permits or not all(permit.covers(operation) for permit, operation in permits):
        raise PermissionError("bytes are permitted where everything is that they ask for")
    return _mint(None, data)


def _mint(operation: Operation | None, data: bytes | None = None) -> Permit:
    permit: Permit = _new(Permit)
    _put_operation(permit, operation)
    _put_data(permit, data)
    _put_seal(permit, _SEAL)
    return permit


_new: Final = object.__new__
#: The slots themselves: past the ``__setattr__`` that says no, in half of the time that ``object``'s own takes.
_put_operation, _put_data, _put_seal = (Permit.__dict__[name].__set__ for name in ("_operation", "_data", "_seal"))
