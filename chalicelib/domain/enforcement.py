"""The fail-closed matrix: what a configuration asks for, held against what the agents have announced.

Nothing is assumed: an agent that has not announced, a protocol it does not speak, an option it does not know, a control that it
refuses or says nothing about, are all problems, and with one problem nothing is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chalicelib.contracts import patterns
from chalicelib.contracts.api import Problem
from chalicelib.contracts.gateway import (
    FORWARD,
    HOLD,
    MASK,
    RECORD,
    REPLICATE,
    SEAL,
    TRANSFER,
    TRUST,
    Option,
    Protocol,
    Target,
    chosen,
)
from chalicelib.domain.gateway_file import FILE, Placed
from chalicelib.domain.policy_files import Parsed


class Announced(msgspec.Struct, frozen=True):
    """What an enrolled agent says it can do."""

    protocols: Sequence[Protocol]
    credentials: Sequence[str]


class Findings(msgspec.Struct):
    """What is wrong, by kind: a shape that no agent accepts, and a promise that none can keep."""

    invalid: list[Problem] = []
    unenforceable: list[Problem] = []
    warnings: list[Problem] = []


def check(targets: Sequence[Placed], rules: Sequence[Parsed], agents: Mapping[str, Announced]) -> Findings:
    """Check every target against its agent and against every rule that may concern it."""
    findings = Findings()
    for placed in targets:
        protocol = _protocol(placed, agents, findings)
        if protocol is None:
            continue
        findings.invalid += _options(placed, protocol)
        findings.unenforceable += _required(placed, protocol)
        findings.unenforceable += _asked_by_rules(placed, protocol, rules)
        findings.warnings += _dangers(placed, protocol)
        findings.warnings += _warnings(placed, rules, agents[placed.target.agent])
    findings.warnings += _blanket(rules)
    return findings


def may_concern(resource: dict[str, Any], target: Target) -> bool:
    """Tell whether a rule with this ``resource`` in its head may be about ``target``. Conditions do not count: in doubt, yes."""
    match resource:
        case {"op": "==", "entity": {"type": "Target", "id": name}}:
            return bool(name == target.name)
        case {"op": "is", "entity_type": kind} if kind != "Target":
            return False
        case {"op": "in" | "is", **rest}:
            inside = rest.get("entity") or rest.get("in", {}).get("entity")
            return inside is None or _holds(inside, target)
        case {"op": "All"}:
            return True
        case _:
            return False  # another kind of entity: a session, the gateway


def _holds(group: dict[str, str], target: Target) -> bool:
    if group["type"] == "Tag":
        return group["id"] in target.tags
    return group["type"] == "Target" and group["id"] == target.name


def _protocol(placed: Placed, agents: Mapping[str, Announced], findings: Findings) -> Protocol | None:
    target = placed.target
    agent = agents.get(target.agent)
    if agent is None:
        message = f"no agent called {target.agent!r} is enrolled; run: sallyport agent-token {target.agent}"
        findings.invalid.append(Problem(FILE, placed.line("agent"), message))
        return None
    found = next((protocol for protocol in agent.protocols if protocol.name == target.protocol), None)
    if found is None:
        spoken = ", ".join(sorted(protocol.name for protocol in agent.protocols)) or "nothing yet; start it once"
        message = f"agent {target.agent} does not speak {target.protocol!r}; it announced {spoken}"
        findings.invalid.append(Problem(FILE, placed.line("protocol"), message))
    return found


def _options(placed: Placed, protocol: Protocol) -> Iterator[Problem]:
    known = {option.name: option for option in protocol.options}
    for name, value in placed.target.options.items():
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            yield Problem(FILE, placed.line("options", name), f"{protocol.name} has no option {name!r}; it knows {names}")
        elif complaint := _misfit(known[name], value):
            yield Problem(FILE, placed.line("options", name), f"option {name} {complaint}")
        elif known[name].form == patterns.FORM:
            yield from _patterns(placed, known[name], value)
    instead = {option.instead_of: option.name for option in protocol.options if _is_on(placed, option) and option.instead_of}
    for option in protocol.options:
        there = option.name in placed.target.options
        if option.required and not there and option.name not in instead:
            yield Problem(FILE, placed.line("options"), f"{protocol.name} needs option {option.name!r}: {option.doc}")
        if there and option.name in instead:
            other = instead[option.name]
            message = f"option {other} stands for a missing {option.name}; take one of the two out"
            yield Problem(FILE, placed.line("options", other), message)


def _is_on(placed: Placed, option: Option) -> bool:
    return placed.target.options.get(option.name) is True


def _dangers(placed: Placed, protocol: Protocol) -> Iterator[Problem]:
    for option in protocol.options:
        if option.warns and _is_on(placed, option):
            message = f"target {placed.target.name}, {option.name}: {option.warns}"
            yield Problem(FILE, placed.line("options", option.name), message)


def _patterns(placed: Placed, option: Option, lines: list[Any]) -> Iterator[Problem]:
    """Yield what an agent would refuse ``lines`` for when a session opens."""
    if len(lines) > patterns.MOST:
        yield Problem(FILE, placed.line("options", option.name), f"option {option.name} has more than {patterns.MOST} patterns")
    for place, each in enumerate(lines):
        try:
            patterns.read_line(str(each), option.longest)
        except ValueError as error:
            yield Problem(FILE, placed.line("options", option.name, str(place)), f"option {option.name}: {error}")


def _misfit(option: Option, value: Any) -> str | None:
    if option.several and isinstance(value, list):
        if not value or len(set(map(str, value))) < len(value):
            return "must name at least one of its values, and none of them twice"
        return next((complaint for each in value if (complaint := _misfit_one(option, each))), None)
    return _misfit_one(option, value)


def _misfit_one(option: Option, value: Any) -> str | None:
    fits = {
        "string": isinstance(value, str),
        "strings": isinstance(value, list),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
    }
    if not fits[option.type]:
        words = {"string": "must be text", "strings": "must be a list of texts", "integer": "must be a whole number"}
        return words.get(option.type, "must be true or false")
    chosen = value if isinstance(value, list) else [value]
    if option.choices and any(each not in option.choices for each in chosen):
        return f"must be one of {', '.join(option.choices)}"
    stray = next((each for each in chosen if option.starts and not str(each).startswith(tuple(option.starts))), None)
    if stray is not None:
        return f"must start with {', '.join(each.strip() for each in option.starts)}, not {str(stray)[:80]!r}"
    strange = next((each for each in chosen if _is_strange(option.form, str(each))), None)
    return f"must read like {option.form}, not {str(strange)[:80]!r}" if strange is not None else None


def _is_strange(form: str, text: str) -> bool:
    # A pattern may hold any sign, also those that stand between the parts of a form.
    return bool(form) and form != patterns.FORM and not has_form(text, form)


def has_form(text: str, form: str) -> bool:
    """Tell whether ``text`` is put together like ``form``: the same separators in the same order, and something between them."""
    between = [letter for letter in form if not letter.isalnum()]
    if form == "host:port":
        # An IPv6 address stands in brackets, with the separator inside.
        text = re.sub(r"^\[[0-9A-Fa-f:.]+\]", "address", text)
    parts, rest = [], text
    for separator in between:
        part, found, rest = rest.partition(separator)
        if not found:
            return False
        parts.append(part)
    return all(part.strip() and not set(part) & set(between) for part in [*parts, rest])


def _required(placed: Placed, protocol: Protocol) -> Iterator[Problem]:
    # Recording is not an option of a gateway like this one: a protocol that cannot record cannot have targets.
    needed = {RECORD: placed.line("protocol")}
    if placed.target.originals == "sealed":
        needed[SEAL] = placed.line("originals")
    needed |= {control: placed.line("require", control) for control in placed.target.require}
    for control, at in needed.items():
        if why := protocol.refuses(control, placed.target.options):
            yield Problem(FILE, at, f"target {placed.target.name} cannot enforce {control}: {why}")


#: What waits at the control plane where policy holds it.
_AHEAD: Final = frozenset({"connect", "unmask", "erase"})


def asks(parsed: Parsed) -> Iterator[str]:
    """Yield the controls that a rule needs from every protocol it may concern."""
    scope = parsed.scope
    if scope.approval and not (scope.actions and scope.actions <= _AHEAD):
        # A session, a look at originals or their end waits at the control plane; what waits inside a session needs its protocol.
        yield HOLD
    if scope.effect == "permit":
        # A permit of every action names none of them; it grants what the protocol has.
        yield from (control for action, control in _NAMED.items() if scope.names(action))


_NAMED = {"transfer": TRANSFER, "forward": FORWARD, "replicate": REPLICATE, "trust_host_key": TRUST, "reveal": MASK}


def _asked_by_rules(placed: Placed, protocol: Protocol, rules: Sequence[Parsed]) -> Iterator[Problem]:
    for parsed in rules:
        if not may_concern(parsed.scope.resource, placed.target):
            continue
        for control in asks(parsed):
            if why := protocol.refuses(control, placed.target.options):
                rule = parsed.rule
                message = f"rule {rule.id} needs {control} on target {placed.target.name}, which cannot enforce it: {why}"
                yield Problem(rule.file, rule.line, message)


#: What a permit of every action grants, by the kind of resource it is about; the schema says which action is about which.
_GRANTED: Final[dict[str, tuple[str, ...]]] = {
    "Target": ("transfer", "forward", "replicate", "trust_host_key", "reveal", "approve", "emergency", "erase"),
    "Session": ("replay", "watch", "kill", "unmask"),
    "Gateway": ("administer",),
}


def _blanket(rules: Sequence[Parsed]) -> Iterator[Problem]:
    for parsed in rules:
        scope, rule = parsed.scope, parsed.rule
        if scope.effect != "permit" or scope.actions:
            continue
        granted = [action for kind in _kinds(scope.resource) for action in _GRANTED[kind]]
        if len(granted) > 1:
            message = (
                f"rule {rule.id} permits every action, so also {', '.join(granted[:-1])} and {granted[-1]}; "
                'name the ones that are meant, as in: action in [Action::"connect", Action::"run"]'
            )
            yield Problem(rule.file, rule.line, message)


def _kinds(resource: dict[str, Any]) -> Sequence[str]:
    """The kinds of entity that a rule's head can be about. Sessions are inside targets, and targets inside tags."""
    match resource:
        case {"op": "is", "entity_type": str(kind)}:
            return [kind] if kind in _GRANTED else []
        case {"op": "==", "entity": {"type": str(kind)}}:
            return [kind] if kind in _GRANTED else []
        case {"op": "in", "entity": {"type": str(kind)}} if kind in ("Session", "Gateway"):
            return [kind]
        case {"op": "in"}:
            return ["Target", "Session"]
    return list(_GRANTED)


def _warnings(placed: Placed, rules: Sequence[Parsed], agent: Announced) -> Iterator[Problem]:
    target = placed.target
    for account, login in target.logins.items():
        if login.credential not in agent.credentials:
            message = f"agent {target.agent} does not hold credential {login.credential!r} yet; logging in will fail"
            yield Problem(FILE, placed.line("logins", account), message)
    if "recorded" not in chosen(target.options, "shell"):
        return
    for parsed in rules:
        scope = parsed.scope
        forbids_run = scope.effect == "forbid" and (not scope.actions or scope.names("run"))
        if forbids_run and may_concern(scope.resource, target):
            message = (
                f"rule {parsed.rule.id} decides exec requests only: shells on this target are recorded, not cut into commands"
            )
            yield Problem(FILE, placed.line("options", "shell"), message)
