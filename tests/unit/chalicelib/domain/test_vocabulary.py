"""Words that rules look for, and that no agent can say."""

from __future__ import annotations

import pytest

from chalicelib.contracts.gateway import Protocol, Target
from chalicelib.domain.enforcement import Announced, Findings
from chalicelib.domain.policy_files import parse
from chalicelib.domain.vocabulary import check

SSH = Protocol(name="ssh", hint="", flags=["opaque", "pty", "recursive_delete"])
POSTGRES = Protocol(name="postgres", hint="", flags=["no_where", "opaque"])
OLD = Protocol(name="mysql", hint="")
AGENTS = {"edge": Announced([SSH, POSTGRES], [])}
TARGETS = [
    Target(name=name, protocol=protocol, agent="edge", address="h:1", logins={}, default_login="", tags=["prod", protocol])
    for name, protocol in (("web-1", "ssh"), ("db-1", "postgres"))
]


def findings(condition: str, *, about: str = "resource", agents: dict[str, Announced] = AGENTS, head: str = "forbid") -> Findings:
    text = f'\n@id("careful")\n{head}(principal, action == Action::"run", {about}) {condition};'
    rules, problems = parse("main.cedar", text)
    assert problems == []
    return check(rules, TARGETS, agents)


@pytest.mark.parametrize("head", ["forbid", "permit"])
@pytest.mark.parametrize(
    "condition",
    [
        'when { context.flags.contains("recursiv_delete") }',
        'unless { context.flags.contains("recursiv_delete") }',
        'when { context["flags"].contains("recursiv_delete") }',
        'when { context.flags.containsAny(["pty", "recursiv_delete"]) }',
        'when { context.flags.containsAll(["recursiv_delete"]) }',
        'when { ["recursiv_delete", "pty"].containsAll(context.flags) }',
        'when { context.flags == ["recursiv_delete"] }',
        'when { context.mfa && (if context.hour > 3 then !(context.flags.contains("recursiv_delete")) else true) }',
    ],
)
def test_a_flag_that_no_agent_knows_is_refused_with_its_rule_and_the_nearest_one(condition: str, head: str) -> None:
    (problem,) = findings(condition, head=head).invalid
    assert (problem.file, problem.line) == ("main.cedar", 2)
    assert problem.message == (
        "rule careful looks for the flag 'recursiv_delete', which no agent knows, so that is never true; "
        "did you mean 'recursive_delete'?"
    )


def test_a_word_that_is_near_to_none_leads_to_the_page() -> None:
    (problem,) = findings('when { context.flags.contains("x") }').invalid
    assert problem.message.endswith("so that is never true; docs/reference/policies.md lists what there is.")


def test_effects_are_known_without_agents() -> None:
    (problem,) = findings('when { context.effects.contains("wirte") }', agents={}).invalid
    assert "the effect 'wirte'" in problem.message
    assert "did you mean 'write'?" in problem.message


@pytest.mark.parametrize(
    "condition",
    [
        'when { context.flags.contains("pty") && context.flags.contains("no_where") }',
        'when { context.effects.containsAny(["unknown", "admin"]) }',
        'when { context.verbs.contains("recursiv_delete") || context.reason == "flags" }',
        "when { context.flags.contains(context.login) }",
        "",
    ],
)
def test_what_agents_know_and_what_they_cannot_is_let_be(condition: str) -> None:
    found = findings(condition)
    assert (found.invalid, found.warnings) == ([], [])


def test_an_agent_that_does_not_say_may_know_more() -> None:
    found = findings('when { context.flags.contains("optimizer_hint") }', agents={**AGENTS, "west": Announced([OLD], [])})
    assert found.invalid == []
    (warning,) = found.warnings
    assert "optimizer_hint" in warning.message
    silent = findings('when { context.flags.contains("optimizer_hint") }', agents={"west": Announced([OLD], [])})
    assert (silent.invalid, silent.warnings) == ([], [])


def test_a_flag_of_another_protocol_is_named_where_the_rule_says_which_targets_it_is_about() -> None:
    condition = 'when { context.flags.containsAny(["no_where", "opaque"]) }'
    found = findings(condition, about='resource == Target::"web-1"')
    assert found.invalid == []
    (warning,) = found.warnings
    assert "rule careful looks for the flag 'no_where', which ssh never has" in warning.message
    for about in ("resource", 'resource in Tag::"prod"', 'resource == Target::"db-1"', 'resource == Target::"later"'):
        assert findings(condition, about=about).warnings == []
