"""The words that rules look for, held against those that agents can say.

A flag that no agent knows is the most dangerous typing mistake there is: a ``forbid`` that looks for it forbids nothing, and an
``unless`` with it excepts nothing, without a word. So a rule with one is refused, as one with an unknown annotation is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from chalicelib.contracts.api import Problem
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.operation import EFFECTS
from chalicelib.domain.enforcement import Announced, Findings, may_concern
from chalicelib.domain.policy_files import Parsed

_PAGE: Final = "docs/reference/policies.md lists what there is"


def check(rules: Sequence[Parsed], targets: Sequence[Target], agents: Mapping[str, Announced]) -> Findings:
    """Return what is wrong with the words of ``rules``, and what is strange about them.

    Agents announce their flags. While one that is too old to do so is there, it may know what no other one does, and what would
    be wrong is only strange; where none announces any, nothing is said about flags.
    """
    protocols = [protocol for agent in agents.values() for protocol in agent.protocols]
    known = frozenset(flag for protocol in protocols for flag in protocol.flags)
    all_say = all(protocol.flags for protocol in protocols)
    findings = Findings()
    for parsed in rules:
        findings.invalid += [_unknown(parsed, "effect", word, EFFECTS) for word in sorted(parsed.scope.effects - EFFECTS)]
        strange = [_unknown(parsed, "flag", word, known) for word in sorted(parsed.scope.flags - known)] if known else []
        (findings.invalid if all_say else findings.warnings).extend(strange)
        findings.warnings += _elsewhere(parsed, known, targets, agents)
    return findings


def _unknown(parsed: Parsed, what: str, word: str, known: frozenset[str]) -> Problem:
    near = get_close_matches(word, sorted(known), n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"{_PAGE}."
    message = f"rule {parsed.rule.id} looks for the {what} {word[:80]!r}, which no agent knows, so that is never true; {advice}"
    return Problem(parsed.rule.file, parsed.rule.line, message)


def _elsewhere(
    parsed: Parsed, known: frozenset[str], targets: Sequence[Target], agents: Mapping[str, Announced]
) -> Iterator[Problem]:
    """Yield flags that there are, but on none of the targets that the rule names."""
    if parsed.scope.resource["op"] == "All" or not parsed.scope.flags & known:
        return
    spoken = {target.protocol: set[str]() for target in targets if may_concern(parsed.scope.resource, target)}
    for agent in agents.values():
        for protocol in agent.protocols:
            if protocol.name in spoken:
                # Who does not say which flags it has may have any.
                spoken[protocol.name] |= set(protocol.flags) or known
    if not all(spoken.values()):
        return
    for word in sorted((parsed.scope.flags & known).difference(*spoken.values()) if spoken else ()):
        names = " and ".join(sorted(spoken))
        message = f"rule {parsed.rule.id} looks for the flag {word!r}, which {names} never has, and is about no other target"
        yield Problem(parsed.rule.file, parsed.rule.line, message)
