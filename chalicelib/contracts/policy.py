"""Policy: Cedar rules, compiled once, asked often, the same in Lambda and in the agent.

Cedar's default deny and forbid-overrides are the semantics. Two things are added here, both on the closed side:

* Cedar *skips* a rule whose evaluation fails, which would silently switch off a forbid. So any evaluation error is a denial.
* A forbid that carries ``@approval`` is liftable: if every determining forbid carries one, the verdict is ``hold``, not ``deny``.

Entity ids travel as structured JSON and never as Cedar text, so no name can be read as policy.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final, Literal

import cedarpy
import msgspec

from chalicelib.contracts.gateway import Document as Document
from chalicelib.contracts.gateway import Rule as Rule
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy_schema import SCHEMA

ALLOW: Final = "allow"
DENY: Final = "deny"
HOLD: Final = "hold"

NO_RULE: Final = "No policy permits this."
BROKEN_RULE: Final = "A policy could not be evaluated, so nothing is permitted. The gateway's administrators can see which."

_APPROVAL: Final = re.compile(
    r"group:(?P<group>[\w.@+-]+)(?: quorum:(?P<quorum>[1-9]\d?))?(?: ttl:(?P<ttl>[1-9]\d{0,3})(?P<unit>[smh]))?"
)
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


#: The entities that a question speaks of, and which of them is the resource.
_About = tuple[list[dict[str, Any]], tuple[str, str]]


class Approval(msgspec.Struct, frozen=True):
    """What ``@approval("group:dba quorum:2 ttl:15m")`` asks for. ``ttl`` is seconds."""

    group: str
    quorum: int = 1
    ttl: int = 900


class Principal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A verified identity, as far as policy can see it."""

    name: str
    groups: list[str] = []
    mfa: bool = False


class Moment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The circumstances of a question. ``now_ms`` is Unix milliseconds; hours and weekdays are UTC, Monday is 0."""

    now_ms: int
    reason: str = ""
    login: str = ""
    source_ip: str = ""


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What policy said, which rules said it, and the words for the person."""

    decision: Literal["allow", "deny", "hold"]
    rules: tuple[str, ...] = ()
    message: str = ""
    approvals: tuple[Approval, ...] = ()
    errors: tuple[str, ...] = ()
    """Evaluation errors, for the gateway's log only."""

    @property
    def allowed(self) -> bool:
        """True only for a plain yes."""
        return self.decision == ALLOW

    @property
    def rule(self) -> str:
        """The first determining rule, or an empty string."""
        return self.rules[0] if self.rules else ""


def parse_approval(text: str) -> Approval:
    """Read the value of an ``@approval`` annotation. Raises ValueError with the expected form."""
    match = _APPROVAL.fullmatch(text)
    if match is None:
        raise ValueError(f'@approval must read like "group:dba quorum:1 ttl:15m", not {text!r}')
    ttl = int(match["ttl"]) * _SECONDS[match["unit"]] if match["ttl"] else 900
    return Approval(match["group"], int(match["quorum"] or 1), ttl)


class Policy:
    """A compiled ``Document``. Raises ValueError where a rule does not parse: a policy that fails to load permits nothing."""

    def __init__(self, document: Document) -> None:
        self.document = document
        text = "\n".join(rule.text for rule in document.rules)
        self._schema = cedarpy.Schema.from_str(SCHEMA)
        self._rules = cedarpy.PolicySet.from_str(text)
        static = msgspec.json.decode(cedarpy.policies_to_json_str(text))["staticPolicies"]
        if len(static) != len(document.rules):
            raise ValueError("every rule of a policy document must hold exactly one Cedar policy")
        self._by_position = {f"policy{n}": rule for n, rule in enumerate(document.rules)}
        self._annotations: dict[str, dict[str, str]] = {name: body.get("annotations", {}) for name, body in static.items()}

    @property
    def version(self) -> int:
        """The version of the document that decides."""
        return self.document.version

    def connect(self, who: Principal, target: Target, moment: Moment, approvals: frozenset[str] = frozenset()) -> Verdict:
        """May ``who`` open a session to ``target``? ``approvals`` are the groups whose approval it has."""
        return self._ask_or_hold("connect", who, _on(target), _moment(who, moment, target), approvals)

    def operate(
        self,
        who: Principal,
        target: Target,
        operation: Operation,
        moment: Moment,
        approvals: frozenset[str] = frozenset(),
    ) -> Verdict:
        """May ``operation`` happen on ``target``? Asks the operation's own action."""
        context = _moment(who, moment, target) | {
            "kind": operation.kind,
            "text": operation.text,
            "effects": sorted(operation.effects),
            "verbs": sorted(operation.verbs),
            "objects": sorted(operation.objects),
            "flags": sorted(operation.flags),
            "size": operation.size,
        }
        if operation.action == "forward":
            context |= {"host": operation.host, "port": operation.port, "direction": operation.direction}
        return self._ask_or_hold(operation.action, who, _on(target), context, approvals)

    def reveal(self, who: Principal, target: Target, data_class: str, moment: Moment) -> Verdict:
        """May ``who`` see values of ``data_class`` on ``target`` as they are? Anything but a plain yes means masked."""
        context = _moment(who, moment, target) | {"data_class": data_class}
        return self._ask("reveal", who, _target_entities(target), ("Target", target.name), context)

    def approve(self, who: Principal, target: Target, moment: Moment, requester: str) -> Verdict:
        """May ``who`` answer ``requester``'s requests about ``target``? Groups and quorum are counted elsewhere."""
        context = _moment(who, moment, target) | {"requester": requester}
        return self._ask("approve", who, _target_entities(target), ("Target", target.name), context)

    def emergency(self, who: Principal, target: Target, moment: Moment) -> Verdict:
        """May ``who`` go first and be reviewed afterwards, where a rule would ask for an approval on ``target``?"""
        return self._ask("emergency", who, _target_entities(target), ("Target", target.name), _moment(who, moment, target))

    def replay(self, who: Principal, sid: str, owner: str, state: str, target: Target, moment: Moment) -> Verdict:
        """May ``who`` look at the recording of session ``sid``, which belongs to ``owner``?"""
        entities, resource = _on_session(who, sid, owner, state, target)
        return self._ask("replay", who, entities, resource, _moment(who, moment, target))

    def watch(self, who: Principal, session: tuple[str, str, str], target: Target, moment: Moment) -> Verdict:
        """May ``who`` look on while ``session`` (its identifier, owner and state) goes on?"""
        entities, resource = _on_session(who, *session, target)
        return self._ask("watch", who, entities, resource, _moment(who, moment, target))

    def kill(self, who: Principal, session: tuple[str, str, str], target: Target, moment: Moment) -> Verdict:
        """May ``who`` end ``session`` now? ``moment.reason`` is why."""
        entities, resource = _on_session(who, *session, target)
        return self._ask("kill", who, entities, resource, _moment(who, moment, target))

    def unmask(
        self,
        who: Principal,
        session: tuple[str, str, str],
        target: Target,
        moment: Moment,
        approvals: frozenset[str] = frozenset(),
    ) -> Verdict:
        """May ``who`` have the sealed originals of ``session`` (its identifier, owner and state) opened?"""
        about = _on_session(who, *session, target)
        return self._ask_or_hold("unmask", who, about, _moment(who, moment, target), approvals)

    def erase(
        self, who: Principal, target: Target, month: str, moment: Moment, approvals: frozenset[str] = frozenset()
    ) -> Verdict:
        """May ``who`` have the key of ``target``'s sealed originals of ``month`` erased, for good?"""
        return self._ask_or_hold("erase", who, _on(target), _moment(who, moment, target) | {"month": month}, approvals)

    def administer(self, who: Principal, moment: Moment) -> Verdict:
        """May ``who`` change the gateway's configuration?"""
        entities = [{"uid": {"type": "Gateway", "id": "gateway"}, "attrs": {}, "parents": []}]
        return self._ask("administer", who, entities, ("Gateway", "gateway"), _moment(who, moment, None))

    def _ask_or_hold(
        self, action: str, who: Principal, about: _About, context: dict[str, Any], approvals: frozenset[str]
    ) -> Verdict:
        entities, resource = about

        def ask(given: frozenset[str]) -> Verdict:
            return self._ask(action, who, entities, resource, context | {"approvals": sorted(given)})

        verdict = ask(approvals)
        if verdict.decision != HOLD:
            return verdict
        # Nobody is asked in vain: what stays forbidden after a yes, or is permitted by nothing else, is a no right now.
        lifted = ask(approvals | {approval.group for approval in verdict.approvals})
        return verdict if lifted.allowed else Verdict(DENY, verdict.rules, verdict.message, errors=lifted.errors)

    def _ask(
        self,
        action: str,
        who: Principal,
        entities: list[dict[str, Any]],
        resource: tuple[str, str],
        context: dict[str, Any],
    ) -> Verdict:
        request = {
            "principal": {"type": "User", "id": who.name},
            "action": {"type": "Action", "id": action},
            "resource": {"type": resource[0], "id": resource[1]},
            "context": context,
        }
        try:
            answer = cedarpy.is_authorized(request, self._rules, [_user(who), *entities], self._schema)
        except ValueError as error:
            return Verdict(DENY, message=BROKEN_RULE, errors=(str(error),))
        if answer.diagnostics.errors:
            return Verdict(DENY, message=BROKEN_RULE, errors=tuple(answer.diagnostics.errors))
        positions = sorted(answer.diagnostics.reasons, key=lambda name: int(name.removeprefix("policy")))
        rules = tuple(self._by_position[position].id for position in positions)
        if answer.allowed:
            return Verdict(ALLOW, rules)
        if not positions:
            return Verdict(DENY, message=NO_RULE)
        return self._refusal(positions, rules)

    def _refusal(self, positions: list[str], rules: tuple[str, ...]) -> Verdict:
        annotations = [self._annotations[position] for position in positions]
        wanted = [each.get("approval") for each in annotations]
        # Plain forbids speak before liftable ones: an approval would not help against them.
        plain = [each for each, want in zip(annotations, wanted, strict=True) if want is None]
        speaking = plain or annotations
        message = next((each["message"] for each in speaking if each.get("message")), "A policy forbids this.")
        if plain:
            return Verdict(DENY, rules, message)
        try:
            approvals = tuple(parse_approval(want) for want in wanted if want is not None)
        except ValueError as error:
            return Verdict(DENY, rules, BROKEN_RULE, errors=(str(error),))
        return Verdict(HOLD, rules, message, approvals)


def _user(who: Principal) -> dict[str, Any]:
    return {
        "uid": {"type": "User", "id": who.name},
        "attrs": {"name": who.name},
        "parents": [{"type": "Group", "id": group} for group in who.groups],
    }


def _target_entities(target: Target) -> list[dict[str, Any]]:
    return [
        {
            "uid": {"type": "Target", "id": target.name},
            "attrs": {"name": target.name, "protocol": target.protocol, "agent": target.agent},
            "parents": [{"type": "Tag", "id": tag} for tag in target.tags],
        }
    ]


def _on(target: Target) -> _About:
    return _target_entities(target), ("Target", target.name)


def _on_session(who: Principal, sid: str, owner: str, state: str, target: Target) -> _About:
    entities = [
        *_target_entities(target),
        {
            "uid": {"type": "Session", "id": sid},
            "attrs": {"owner": {"__entity": {"type": "User", "id": owner}}, "state": state},
            "parents": [{"type": "Target", "id": target.name}],
        },
    ]
    if owner != who.name:
        entities.append(_user(Principal(name=owner)))
    return entities, ("Session", sid)


def _moment(who: Principal, moment: Moment, target: Target | None) -> dict[str, Any]:
    when = dt.datetime.fromtimestamp(moment.now_ms / 1000, dt.UTC)
    context: dict[str, Any] = {
        "reason": moment.reason,
        "login": moment.login,
        "protocol": target.protocol if target else "",
        "mfa": who.mfa,
        "hour": when.hour,
        "weekday": when.weekday(),
        "now": moment.now_ms,
    }
    if moment.source_ip:
        context["source_ip"] = {"__extn": {"fn": "ip", "arg": moment.source_ip}}
    return context
