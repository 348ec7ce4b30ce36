"""Policy files: Cedar text cut into single rules, each with its file and line, each parsed alone, all validated together.

Cutting is ours because Cedar's parser reports positions only within a whole text and stops at the first error. A ``;`` ends a
rule unless it stands in a string or a comment. Nothing is executed here and nothing is repaired: a rule that is not understood
is a problem, and with one problem nothing is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import cedarpy
import msgspec

from chalicelib.contracts.api import Problem
from chalicelib.contracts.policy import Rule, parse_approval
from chalicelib.contracts.policy_schema import SCHEMA

FILE_LIMIT: Final = 256 * 1024
RULE_LIMIT: Final = 2_000
RULE_BYTES: Final = 16 * 1024
MESSAGE_LIMIT: Final = 500
#: Cedar's parser recurses; more brackets than this in one rule is not a policy that a person wrote.
BRACKETS_LIMIT: Final = 100
#: A chain of operators nests too: ``a && b && c`` is a tree as deep as it is long. Whoever reads it back, here or in an agent,
#: has Python's own limit of a thousand, less what is on the stack already.
DEPTH_LIMIT: Final = 500

_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
#: Anything else is refused: a misspelt @approval would silently turn "ask first" into "never".
_ANNOTATIONS: Final = frozenset({"id", "message", "approval"})
_TOKEN: Final = re.compile(r'//[^\n\r]*|"(?:[^"\\]|\\[\s\S])*"|[;"(\[{)\]}]|[^\s;"(\[{)\]}/]+|/|\s+')
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{\]}]')
#: Only these can wait for somebody: connect, unmask and erase at the control plane, the others inside a session.
HOLDABLE: Final = frozenset({"connect", "run", "transfer", "forward", "replicate", "trust_host_key", "unmask", "erase"})
_HOLDABLE_WORDS: Final = "connect, run, transfer, forward, replicate, trust_host_key, unmask and erase"
_LIFTED: Final = re.compile(r"\bapprovals\b")


class Scope(msgspec.Struct, frozen=True):
    """What a rule says about itself in its head: enough to know which targets and actions it may concern."""

    effect: str
    actions: frozenset[str]
    """Named actions; empty for a rule about all of them."""
    resource: dict[str, Any]
    approval: bool
    flags: frozenset[str] = frozenset()
    """The words that its conditions look for in ``context.flags``."""
    effects: frozenset[str] = frozenset()
    """The same of ``context.effects``."""

    def names(self, action: str) -> bool:
        """True where the rule names ``action`` itself, not merely every action."""
        return action in self.actions


class Parsed(msgspec.Struct, frozen=True):
    """A rule and its scope."""

    rule: Rule
    scope: Scope


def parse(file: str, text: str) -> tuple[list[Parsed], list[Problem]]:
    """Return the rules of one file, and every problem in it."""
    if len(text.encode("utf-8", "replace")) > FILE_LIMIT:
        return [], [Problem(file, 0, f"the file is larger than {FILE_LIMIT // 1024} KB")]
    found: list[Parsed] = []
    problems: list[Problem] = []
    for line, body, whole in split(text):
        if not whole:
            problems.append(Problem(file, line, "the rule does not end; is a semicolon or a quote missing?"))
            continue
        parsed = _rule(file, line, body)
        if isinstance(parsed, Problem):
            problems.append(parsed)
        else:
            found.append(parsed)
    return found, problems


def split(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield ``(line, text, complete)`` for each rule. Comments before a rule do not belong to it; those inside stay."""
    start = -1
    first = line = 1
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if start < 0 and not piece.isspace() and not piece.startswith("//"):
            start, first = match.start(), line
        if piece == '"':  # a quote that no string begins with: the rest of the file cannot be trusted
            yield first, text[start:], False
            return
        if piece == ";" and start >= 0:
            yield first, text[start : match.end()], True
            start = -1
        line += piece.count("\n")
    if start >= 0:
        yield first, text[start:], False


def _rule(file: str, line: int, body: str) -> Parsed | Problem:
    if len(body) > RULE_BYTES or sum(body.count(bracket) for bracket in "([{") > BRACKETS_LIMIT:
        return Problem(file, line, "the rule is too long or too deeply nested")
    try:
        text = cedarpy.policies_to_json_str(body)
    except ValueError as error:
        return Problem(file, line, f"not a Cedar policy: {_first_line(error)}")
    if _depth(text) > DEPTH_LIMIT:
        return Problem(file, line, "the rule is too deeply nested; use sets, or several rules, instead of long chains")
    decoded = msgspec.json.decode(text)
    if decoded["templates"] or len(decoded["staticPolicies"]) != 1:
        return Problem(file, line, "a rule is one Cedar policy without slots (?principal, ?resource)")
    (policy,) = decoded["staticPolicies"].values()
    annotations: dict[str, str | None] = policy.get("annotations", {})
    complaint = _check_annotations(annotations, policy["effect"])
    if complaint:
        return Problem(file, line, complaint)
    rule = Rule(annotations.get("id") or f"{file}:{line}", file, line, body)
    asked = _words(policy["conditions"])
    scope = Scope(
        policy["effect"],
        _actions(policy["action"]),
        policy["resource"],
        "approval" in annotations,
        frozenset(asked["flags"]),
        frozenset(asked["effects"]),
    )
    if scope.approval and not (scope.actions and scope.actions <= HOLDABLE):
        return Problem(file, line, f"@approval stands on rules about {_HOLDABLE_WORDS} only; name the action")
    if scope.approval:
        group = parse_approval(annotations["approval"] or "").group
        if f'"{group}"' not in body or not _LIFTED.search(_STRING.sub("", body)):
            return Problem(file, line, f'no approval can lift this rule; add: unless {{ context.approvals.contains("{group}") }}')
    return Parsed(rule, scope)


def _depth(text: str) -> int:
    """Return how deep a JSON text nests."""
    deepest = depth = 0
    for bracket in _BRACKETS.finditer(text):
        depth += 1 if bracket[0] in "[{" else -1 if bracket[0] in "]}" else 0
        deepest = max(deepest, depth)
    return deepest


def _check_annotations(annotations: dict[str, str | None], effect: str) -> str | None:
    if unknown := sorted(set(annotations) - _ANNOTATIONS):
        return f"unknown annotation @{unknown[0]}; there are @id, @message and @approval"
    if "id" in annotations and not _ID.fullmatch(annotations["id"] or ""):
        return "@id is letters, digits and _.:/- only, at most 128"
    if len(annotations.get("message") or "") > MESSAGE_LIMIT:
        return f"@message is at most {MESSAGE_LIMIT} characters long"
    if "approval" not in annotations:
        return None
    if effect != "forbid":
        return "@approval lifts a forbid; on a permit it means nothing"
    try:
        parse_approval(annotations["approval"] or "")
    except ValueError as error:
        return str(error)
    return None


def check_together(rules: list[Parsed]) -> list[Problem]:
    """Return what is wrong with the whole set: repeated ids, and everything that Cedar's validator finds against the schema."""
    problems = []
    if len(rules) > RULE_LIMIT:
        return [Problem(rules[RULE_LIMIT].rule.file, rules[RULE_LIMIT].rule.line, f"more than {RULE_LIMIT} rules")]
    seen: dict[str, Rule] = {}
    for rule in (parsed.rule for parsed in rules):
        if rule.id in seen:
            earlier = seen[rule.id]
            problems.append(Problem(rule.file, rule.line, f"@id {rule.id!r} is taken by {earlier.file}:{earlier.line}"))
        seen.setdefault(rule.id, rule)
    problems += _validate([parsed.rule for parsed in rules])
    return problems


def _validate(rules: list[Rule]) -> list[Problem]:
    if not rules:
        return []
    try:
        result = cedarpy.validate_policies("\n".join(rule.text for rule in rules), SCHEMA)
    except ValueError as error:
        return [Problem(rules[0].file, 0, f"the policies do not stand together: {_first_line(error)}")]
    problems = []
    for found in result.errors:
        # Without annotations in between, Cedar numbers the policies of a text in their order.
        rule = rules[int(found.policy_id.removeprefix("policy"))]
        problem = Problem(rule.file, rule.line, _first_line(found.error).replace(f"for policy `{found.policy_id}`, ", ""))
        if problem not in problems:
            problems.append(problem)
    if not result.validation_passed and not problems:
        problems.append(Problem(rules[0].file, 0, "the policies do not validate against the schema"))
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.message))


def _actions(head: dict[str, Any]) -> frozenset[str]:
    if head["op"] == "All":
        return frozenset()
    entities = head.get("entities") or [head["entity"]]
    return frozenset(entity["id"] for entity in entities)


def _words(conditions: list[Any]) -> dict[str, set[str]]:
    """Return the literal words that ``conditions`` hold against those sets of the context whose words are known beforehand."""
    found: dict[str, set[str]] = {"flags": set(), "effects": set()}
    waiting: list[Any] = list(conditions)
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
            if node.keys() >= {"left", "right"}:
                for one, other in (("left", "right"), ("right", "left")):
                    found.get(_attribute(node[one]), set()).update(_literals(node[other]))
    return found


def _attribute(node: Any) -> str:
    """Return ``flags`` for ``context.flags``, and an empty string for what is no attribute of the context."""
    match node:
        case {".": {"left": {"Var": "context"}, "attr": str(name)}}:
            return name
    return ""


def _literals(node: Any) -> set[str]:
    members = node["Set"] if isinstance(node, dict) and "Set" in node else [node]
    return {each["Value"] for each in members if isinstance(each, dict) and isinstance(each.get("Value"), str)}


def _first_line(error: object) -> str:
    return (str(error).splitlines() or ["unknown"])[0][:400]
