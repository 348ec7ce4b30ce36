"""gateway.yaml: every problem, with its line."""

from __future__ import annotations

import pytest

from chalicelib.contracts.gateway import Login
from chalicelib.domain.gateway_file import parse

WHOLE = """version: 1
targets:
  prod-web-1:
    protocol: ssh
    agent: edge
    address: 10.0.3.7:22
    tags: [prod, eu-1]
    description: front end
    logins:
      deploy: {credential: web-key}
      root: {credential: web-root}
    default_login: deploy
    options: {shell: commands, idle_s: 300, motd: false, env: [LANG, TZ]}
    require: [block]
    max_session: 90m
"""
SMALL = "version: 1\ntargets:\n  t:\n    protocol: ssh\n    agent: edge\n    address: h:22\n    logins: {me: {credential: k}}\n"


def problems(text: str) -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in parse(text)[1]]


def test_a_target_is_read_whole() -> None:
    (placed,), found = parse(WHOLE)
    target = placed.target
    assert found == []
    assert (target.name, target.protocol, target.agent, target.address) == ("prod-web-1", "ssh", "edge", "10.0.3.7:22")
    assert target.logins == {"deploy": Login(credential="web-key"), "root": Login(credential="web-root")}
    assert (target.default_login, target.tags, target.description) == ("deploy", ["prod", "eu-1"], "front end")
    assert target.options == {"shell": "commands", "idle_s": 300, "motd": False, "env": ["LANG", "TZ"]}
    assert (target.require, target.max_session_s) == (["block"], 5400)
    assert placed.line("options", "shell") == 13
    assert placed.line("options", "env", "1") == 13
    assert placed.line("logins", "root") == 11
    assert placed.line("require", "unwritten") == 14
    assert placed.line("nothing") == 3


def test_a_single_login_is_the_default_and_eight_hours_are_the_limit() -> None:
    (placed,), found = parse(SMALL)
    assert found == []
    assert (placed.target.default_login, placed.target.max_session_s) == ("me", 8 * 3600)


@pytest.mark.parametrize(
    ("line", "kept"), [("", "none"), ("    originals: none\n", "none"), ("    originals: sealed\n", "sealed")]
)
def test_originals_are_kept_where_a_target_says_so(line: str, kept: str) -> None:
    (placed,), found = parse(SMALL + line)
    assert (found, placed.target.originals) == ([], kept)


def test_every_problem_is_told_at_once() -> None:
    text = WHOLE.replace("version: 1", "version: 2").replace("ssh", "SSH!").replace("90m", "3 days").replace("tags", "tagz")
    assert [line for line, _ in problems(text)] == [1, 7, 4, 15]


@pytest.mark.parametrize(
    ("old", "new", "line", "word"),
    [
        ("version: 1\n", "", 1, "version is missing"),
        ("targets:", "target:", 2, "no setting 'target'"),
        ("prod-web-1:", "../../etc:", 3, "a target's name"),
        ("prod-web-1:", "Prod:", 3, "a target's name"),
        ("prod-web-1:", "a.b:", 3, "a target's name"),
        ("prod-web-1:", f"{'a' * 64}:", 3, "a target's name"),
        ("prod-web-1:", "-a:", 3, "a target's name"),
        ("agent: edge", "agent: ''", 3, "needs agent"),
        ("agent: edge", "agent: 7", 5, "put it in quotes"),
        ("    agent: edge\n", "", 3, "needs agent"),
        ("10.0.3.7:22", "10.0.3.7", 6, "address must read"),
        ("10.0.3.7:22", "h:0", 6, "address must read"),
        ("10.0.3.7:22", "h:70000", 6, "address must read"),
        ("10.0.3.7:22", "'a b:22'", 6, "address must read"),
        ("10.0.3.7:22", "http://h:22", 6, "address must read"),
        ("10.0.3.7:22", "'[::zz]:22'", 6, "address must read"),
        ("[prod, eu-1]", "[prod, prod]", 7, "not a tag"),
        ("[prod, eu-1]", "prod", 7, "must be a list"),
        ("deploy: {credential", "'../x': {credential", 10, "not an account"),
        ("{credential: web-key}", "{credential: a/b}", 10, "name of a credential"),
        ("{credential: web-key}", "{password: x}", 10, "no setting 'password'"),
        ("default_login: deploy", "default_login: nobody", 12, "not one of the logins"),
        ("    default_login: deploy\n", "", 3, "needs default_login"),
        ("require: [block]", "require: [everything]", 14, "no control"),
        ("max_session: 90m", "max_session: 30h", 15, "between 1m and 24h"),
        ("max_session: 90m", "max_session: 10s", 15, "between 1m and 24h"),
        ("max_session: 90m", "max_session: 1d", 15, "between 1m and 24h"),
        ("max_session: 90m", "originals: plain", 15, "must be sealed or none"),
        ("description: front end", 'description: "a\\u001bb"', 8, "printable"),
        ("    protocol: ssh", "    protocol: ssh\n    protocol: ssh", 5, "twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, line: int, word: str) -> None:
    assert old in WHOLE
    found = problems(WHOLE.replace(old, new))
    assert any(where == line and word in message for where, message in found), found


@pytest.mark.parametrize("address", ["h:1", "a.b-c.example:65535", "10.0.0.1:22", "'[2001:db8::1]:22'"])
def test_good_addresses_pass(address: str) -> None:
    assert problems(SMALL.replace("h:22", address)) == []


def test_an_empty_or_missing_list_of_targets() -> None:
    assert problems("version: 1\ntargets: {}\n") == []
    assert problems("version: 1\n") == [(1, "targets is missing")]
    assert problems("version: 1\ntargets: [a]\n") == [(2, "targets must be a mapping")]
    assert problems("version: 1\ntargets: {a: b}\n")[0] == (2, "target a must be a mapping")


def test_an_agent_has_as_many_targets_as_a_certificate_has_names() -> None:
    entry = "  t{n}: {{protocol: ssh, agent: edge, address: 'h:22', logins: {{me: {{credential: k}}}}}}\n"
    text = "version: 1\ntargets:\n" + "".join(entry.format(n=n) for n in range(257))
    assert problems(text) == [(259, "agent edge has more than 256 targets; run a second agent")]
