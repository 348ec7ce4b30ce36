"""A plan against what the agents of this repository announce: their patterns and their flags."""

from __future__ import annotations

from agent.protocols.postgres.plugin import ANNOUNCEMENT as POSTGRES
from agent.protocols.ssh.plugin import ANNOUNCEMENT as SSH
from chalicelib.contracts.retention import Keeping, Retention
from chalicelib.domain import plan
from chalicelib.domain.enforcement import Announced

AGENTS = {"edge": Announced([SSH, POSTGRES], ["k"])}
KEEPING = Keeping(default=Retention(days=365), least_days=30)
GATEWAY = """version: 1
targets:
  web-1:
    protocol: ssh
    agent: edge
    address: 10.0.0.1:22
    logins: {me: {credential: k}}
    options:
      host_keys: ["ssh-ed25519 AAAA"]
      patterns:
        - badge=EMP-[0-9]{4}
        - WEB
  db-1:
    protocol: postgres
    agent: edge
    address: 10.0.0.2:5432
    logins: {me: {credential: k}}
    options:
      database: app
      patterns: ["badge=EMP-[0-9]+", 'note==\\d{9}']
"""
RULE = '@id("no-rm")\nforbid(principal, action == Action::"run", resource) when { context.flags.contains("FLAG") };\n'


def problems(web: str, flag: str) -> list[tuple[str, int, str]]:
    files = {"gateway.yaml": GATEWAY.replace("WEB", web), "main.cedar": RULE.replace("FLAG", flag)}
    draft = plan.draft(files, 1, AGENTS, KEEPING)
    assert draft.warnings == []
    assert draft.problems == draft.invalid
    return [(problem.file, problem.line, problem.message) for problem in draft.problems]


def test_what_agents_can_do_has_no_problems() -> None:
    assert problems("project=(?i:blue ?moon) [a-z]{1,40}", "recursive_delete") == []


def test_a_pattern_and_a_flag_are_named_with_their_lines() -> None:
    (pattern, flag) = problems("project=blue|(moon", "recursiv_delete")
    assert pattern == (
        "gateway.yaml",
        12,
        "option patterns: the pattern of project is not RE2 syntax: a bracket is not closed (character 11)",
    )
    assert flag[:2] == ("main.cedar", 1)
    assert flag[2].endswith("did you mean 'recursive_delete'?")


def test_ssh_has_a_bound_where_postgresql_has_none() -> None:
    (problem,) = problems("badge=EMP-[0-9]+", "no_where")
    assert problem[:2] == ("gateway.yaml", 12)
    assert "may match without end" in problem[2]
