"""The fail-closed matrix at apply."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.gateway import Control, Login, Option, Protocol, Target
from chalicelib.domain import enforcement
from chalicelib.domain.enforcement import Announced, Findings, may_concern
from chalicelib.domain.gateway_file import Placed
from chalicelib.domain.policy_files import Parsed, parse
from tests.fakes.world import SSH

LIFTED = 'unless { context.approvals.contains("dba") }'
AGENTS = {"edge": Announced([SSH], ["k"])}


def placed(**changed: object) -> Placed:
    fields: dict[str, object] = {
        "name": "web-1",
        "protocol": "ssh",
        "agent": "edge",
        "address": "h:22",
        "logins": {"me": Login(credential="k")},
        "default_login": "me",
        "tags": ["prod"],
    }
    return Placed(Target(**(fields | changed)), {"": 3, "protocol": 4, "agent": 5, "options": 9})  # type: ignore[arg-type]


def rules(text: str) -> list[Parsed]:
    found, problems = parse("main.cedar", text)
    assert problems == []
    return found


def check(target: Placed, policy: str = "", agents: dict[str, Announced] = AGENTS) -> Findings:
    return enforcement.check([target], rules(policy), agents)


def test_a_target_that_its_agent_can_serve_has_no_findings() -> None:
    found = check(placed(require=["block", "transfer"]), 'permit(principal, action == Action::"run", resource);')
    assert (found.invalid, found.unenforceable, found.warnings) == ([], [], [])


OWN = Protocol(
    name="ssh",
    hint="",
    options=[Option(name="patterns", type="strings", form="class=pattern", longest=512, doc="")],
    controls=SSH.controls,
)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("badge=(EMP", "the pattern of badge is not RE2 syntax: a bracket is not closed (character 5)"),
        ("EMP", "must read like class=pattern, not 'EMP'"),
        ("badge=x*", "the pattern of badge matches empty text"),
        ("badge=EMP-[0-9]+", "the pattern of badge may match without end; a stream can hold back 512, so say how many"),
        ("badge=.{129}", "may match up to 516 bytes"),
        ("badge=^EMP", "which a stream does not know"),
    ],
)
def test_a_pattern_that_an_agent_would_refuse_is_named_with_its_line(pattern: str, words: str) -> None:
    target = placed(options={"patterns": ["order=ORD=[0-9]{4}", pattern]})
    target.lines.update({"options.patterns": 10, "options.patterns.0": 11, "options.patterns.1": 12})
    (problem,) = check(target, agents={"edge": Announced([OWN], ["k"])}).invalid
    assert (problem.file, problem.line) == ("gateway.yaml", 12)
    assert problem.message.startswith("option patterns: ")
    assert words in problem.message


def test_what_is_shown_whole_may_match_without_end() -> None:
    whole = msgspec.structs.replace(OWN, options=[msgspec.structs.replace(OWN.options[0], longest=0)])
    target = placed(options={"patterns": ["badge=EMP-[0-9]+", "start=^EMP"]})
    assert check(target, agents={"edge": Announced([whole], ["k"])}).invalid == []


def test_there_are_so_many_patterns_at_the_most() -> None:
    (problem,) = check(placed(options={"patterns": ["a=b"] * 65}), agents={"edge": Announced([OWN], ["k"])}).invalid
    assert "more than 64 patterns" in problem.message


def test_an_agent_must_be_enrolled_and_speak_the_protocol() -> None:
    (problem,) = check(placed(agent="west")).invalid
    assert (problem.line, "no agent called 'west'" in problem.message) == (5, True)
    (problem,) = check(placed(protocol="telnet")).invalid
    assert (problem.line, "announced ssh" in problem.message) == (4, True)
    (problem,) = check(placed(), agents={"edge": Announced([], [])}).invalid
    assert "nothing yet" in problem.message


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"shel": "x"}, "no option 'shel'"),
        ({"shell": "none"}, "must be one of commands, recorded"),
        ({"shell": True}, "must be text"),
        ({"idle_s": "5"}, "must be a whole number"),
        ({"idle_s": True}, "must be a whole number"),
        ({"motd": 1}, "must be true or false"),
        ({"env": "LANG"}, "must be a list"),
        ({"env": None}, "must be a list"),
    ],
)
def test_options_are_held_against_what_was_announced(options: dict[str, object], word: str) -> None:
    (problem,) = check(placed(options=options)).invalid
    assert word in problem.message
    assert problem.line == 9


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        (["ssh-ed25519 AAAA", "ssh-rsa AAAA somebody"], ""),
        (["tofu"], "must start with ssh-ed25519, ssh-rsa, not 'tofu'"),
        (["ssh-ed25519 AAAA", "ssh-dss AAAA"], "not 'ssh-dss AAAA'"),
        ([5], "not '5'"),
    ],
)
def test_texts_start_as_was_announced(keys: list[object], word: str) -> None:
    option = Option(name="host_keys", type="strings", doc="Keys.", starts=["ssh-ed25519 ", "ssh-rsa "])
    protocol = Protocol(name="ssh", hint="", options=[option], controls=SSH.controls)
    found = check(placed(options={"host_keys": keys}), agents={"edge": Announced([protocol], ["k"])}).invalid
    assert [word in problem.message for problem in found] == [True] * bool(word)


def test_a_required_option_must_be_there() -> None:
    protocol = Protocol(
        name="ssh", hint="", options=[Option(name="db", type="string", doc="Which.", required=True)], controls=SSH.controls
    )
    (problem,) = check(placed(), agents={"edge": Announced([protocol], ["k"])}).invalid
    assert "needs option 'db'" in problem.message


KEY = "ssh-ed25519 AAAA"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host_keys": [KEY]}, ""),
        ({"trust_first_host_key": True}, ""),
        ({"host_keys": [KEY], "trust_first_host_key": False}, ""),
        ({}, "ssh needs option 'host_keys'"),
        ({"trust_first_host_key": False}, "ssh needs option 'host_keys'"),
        ({"host_keys": [KEY], "trust_first_host_key": True}, "option trust_first_host_key stands for a missing host_keys"),
        ({"host_keys": [], "trust_first_host_key": True}, "option trust_first_host_key stands for a missing host_keys"),
        ({"trust_first_host_key": "true"}, "option trust_first_host_key must be true or false"),
        ({"trust_first_host_key": 1}, "option trust_first_host_key must be true or false"),
    ],
)
def test_a_host_is_pinned_or_its_first_key_trusted_and_never_both(options: dict[str, object], words: str) -> None:
    """As the agent announces it."""
    from agent.protocols.ssh.plugin import ANNOUNCEMENT as STOCK

    found = check(placed(options=options), agents={"edge": Announced([STOCK], ["k"])})
    assert [problem.message.startswith(words) for problem in found.invalid[:1]] == [True] * bool(words)
    warned = [(problem.line, "whoever answers first" in problem.message) for problem in found.warnings]
    assert warned == [(9, True)] * (options.get("trust_first_host_key") is True)


def test_the_trust_of_a_first_host_key_is_new_to_older_agents() -> None:
    """The option is unknown to them, so apply refuses the target."""
    assert [problem.message for problem in check(placed(options={"trust_first_host_key": True})).invalid] == [
        "ssh has no option 'trust_first_host_key'; it knows env, idle_s, motd, shell"
    ]


@pytest.mark.parametrize(
    ("columns", "strange"),
    [
        (["public.customers.mail=email", 'public."Order".card=card'], ""),
        (["public.customers.mail=email", "customers.mail=email"], "customers.mail=email"),
        (["public.customers.mail"], "public.customers.mail"),
        (["public.customers.mail=email=card"], "public.customers.mail=email=card"),
        (["db.public.customers.mail=email"], "db.public.customers.mail=email"),
        (["public..mail=email"], "public..mail=email"),
        (["public.customers.mail= "], "public.customers.mail= "),
    ],
)
def test_the_options_of_a_database(columns: list[str], strange: str) -> None:
    """As the agent announces them, so that a typing error is told at `plan` and not to whoever connects."""
    from agent.protocols.postgres.plugin import ANNOUNCEMENT

    target = placed(protocol="postgres", options={"database": "shop", "sslmode": "require", "columns": columns})
    found = check(target, agents={"edge": Announced([ANNOUNCEMENT], ["k"])}).invalid
    words = [f"option columns must read like schema.table.column=class, not {strange!r}"] if strange else []
    assert [problem.message for problem in found] == words


@pytest.mark.parametrize(
    ("place", "fits"),
    [
        ("db.internal:5432", True),
        ("*.internal:*", True),
        ("[2001:db8::7]:443", True),
        ("db.internal", False),
        ("2001:db8::7:443", False),
        ("[2001:db8::7]", False),
        (":22", False),
        ("db:", False),
    ],
)
def test_places_of_ssh(place: str, fits: bool) -> None:
    from agent.protocols.ssh.plugin import ANNOUNCEMENT

    target = placed(options={"host_keys": ["ssh-ed25519 AAAA"], "forward": [place]}, require=["forward"])
    found = check(target, agents={"edge": Announced([ANNOUNCEMENT], ["k"])})
    assert [problem.message for problem in found.invalid] == (
        [] if fits else [f"option forward must read like host:port, not {place!r}"]
    )
    assert found.unenforceable == []


def several(value: object, **changed: object) -> Findings:
    option = Option(name="shell", type="string", doc="", choices=["guarded", "locked", "recorded"], several=True)
    protocol = Protocol(name="ssh", hint="", options=[option], controls=SSH.controls)
    return check(placed(options={"shell": value}, **changed), agents={"edge": Announced([protocol], ["k"])})


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("locked", ""),
        (["guarded", "locked"], ""),
        ("none", "must be one of guarded, locked, recorded"),
        (["guarded", "none"], "must be one of guarded, locked, recorded"),
        (["guarded", 1], "must be text"),
        ([["guarded"]], "must be text"),
        ([], "at least one of its values"),
        (["locked", "locked"], "none of them twice"),
    ],
)
def test_an_option_may_be_an_order_of_preference(value: object, word: str) -> None:
    found = [problem.message for problem in several(value).invalid]
    assert bool(found) == bool(word)
    assert all(word in message for message in found)


def test_the_least_of_a_preference_counts() -> None:
    assert several(["guarded", "locked"], require=["block"]).unenforceable == []
    (problem,) = several(["guarded", "locked", "recorded"], require=["block"]).unenforceable
    assert "shells are only recorded" in problem.message


def test_a_list_is_for_options_that_have_an_order() -> None:
    (problem,) = check(placed(options={"shell": ["recorded"]})).invalid
    assert "must be text" in problem.message


def test_what_is_required_must_be_enforceable() -> None:
    (problem,) = check(placed(require=["hold"])).unenforceable
    assert "cannot enforce hold: ssh sessions cannot wait yet" in problem.message
    (problem,) = check(placed(require=["block"], options={"shell": "recorded"})).unenforceable
    assert "shells are only recorded" in problem.message


def test_originals_are_kept_by_those_who_can_seal_them() -> None:
    (problem,) = check(placed(originals="sealed")).unenforceable
    assert "cannot enforce seal: ssh says nothing about seal" in problem.message
    sealing = msgspec.structs.replace(SSH, controls=[*SSH.controls, Control(name="seal", enforced=True)])
    assert check(placed(originals="sealed"), agents={"edge": Announced([sealing], ["k"])}).unenforceable == []
    from agent.protocols.postgres.plugin import ANNOUNCEMENT as POSTGRES
    from agent.protocols.ssh.plugin import ANNOUNCEMENT as STOCK

    for announced in (STOCK, POSTGRES):
        assert announced.refuses("seal", {}) is None


def test_what_waits_at_the_control_plane_needs_nothing_of_a_protocol() -> None:
    for action in ("unmask", "erase"):
        policy = f'@approval("group:dba") forbid(principal, action == Action::"{action}", resource) {LIFTED};'
        assert check(placed(), policy).unenforceable == []


def test_a_protocol_that_cannot_record_has_no_targets() -> None:
    from chalicelib.contracts.gateway import Protocol

    silent = {"edge": Announced([Protocol(name="ssh", hint="")], ["k"])}
    (problem,) = check(placed(), agents=silent).unenforceable
    assert "says nothing about record" in problem.message


@pytest.mark.parametrize(
    ("policy", "control"),
    [
        (f'@approval("group:dba") forbid(principal, action == Action::"run", resource) {LIFTED};', "hold"),
        (f'@approval("group:dba") forbid(principal, action in [Action::"run", Action::"transfer"], resource) {LIFTED};', "hold"),
        ('permit(principal, action == Action::"forward", resource);', "forward"),
        ('permit(principal, action == Action::"replicate", resource);', "replicate"),
        ('permit(principal, action == Action::"trust_host_key", resource);', "trust_host_key"),
        ('permit(principal, action in [Action::"connect", Action::"forward"], resource in Tag::"prod");', "forward"),
        ('permit(principal, action == Action::"reveal", resource == Target::"web-1");', "mask"),
        ('permit(principal, action == Action::"reveal", resource is Target in Tag::"prod");', "mask"),
        ('permit(principal, action == Action::"reveal", resource is Target);', "mask"),
        ('permit(principal, action == Action::"reveal", resource in Target::"web-1");', "mask"),
    ],
)
def test_a_rule_that_names_a_control_must_be_enforceable_where_it_may_apply(policy: str, control: str) -> None:
    (problem,) = check(placed(), f"\n{policy}").unenforceable
    assert (problem.file, problem.line) == ("main.cedar", 2)
    assert f"needs {control} on target web-1" in problem.message


@pytest.mark.parametrize(
    "policy",
    [
        f'@approval("group:dba") forbid(principal, action == Action::"run", resource in Tag::"dev") {LIFTED};',
        f'@approval("group:dba") forbid(principal, action == Action::"connect", resource) {LIFTED};',
        'permit(principal, action == Action::"forward", resource == Target::"web-2");',
        'permit(principal, action == Action::"reveal", resource is Target in Tag::"dev");',
        'forbid(principal, action == Action::"forward", resource);',
        'forbid(principal, action == Action::"replicate", resource);',
        'forbid(principal, action == Action::"trust_host_key", resource);',
        "permit(principal, action, resource);",
        'permit(principal, action == Action::"transfer", resource);',
    ],
)
def test_a_rule_that_is_about_others_or_asks_for_nothing_passes(policy: str) -> None:
    assert check(placed(), policy).unenforceable == []


def test_a_head_about_other_entities_concerns_no_target() -> None:
    target = placed().target
    for head in ("resource is Session", 'resource == Session::"x"', 'resource == Gateway::"gateway"', "resource is Gateway"):
        (parsed,) = rules(f"permit(principal, action, {head});")
        assert not may_concern(parsed.scope.resource, target), head


def test_recorded_shells_beside_forbids_are_a_warning() -> None:
    policy = '@id("no-rm") forbid(principal, action == Action::"run", resource) when { context.verbs.contains("rm") };'
    (warning,) = check(placed(options={"shell": "recorded"}), policy).warnings
    assert "rule no-rm decides exec requests only" in warning.message
    assert check(placed(options={"shell": "commands"}), policy).warnings == []
    assert check(placed(options={"shell": "recorded"}), policy.replace("resource)", 'resource in Tag::"dev")')).warnings == []


def test_a_credential_that_the_agent_lacks_is_a_warning() -> None:
    (warning,) = check(placed(logins={"me": Login(credential="other")})).warnings
    assert "does not hold credential 'other'" in warning.message


@pytest.mark.parametrize(
    ("head", "granted"),
    [
        (
            "principal, action, resource",
            "transfer, forward, replicate, trust_host_key, reveal, approve, emergency, erase, "
            "replay, watch, kill, unmask and administer;",
        ),
        (
            'principal in Group::"sre", action, resource in Tag::"prod"',
            "transfer, forward, replicate, trust_host_key, reveal, approve, emergency, erase, replay, watch, kill and unmask;",
        ),
        (
            'principal, action, resource == Target::"web-1"',
            "transfer, forward, replicate, trust_host_key, reveal, approve, emergency and erase;",
        ),
        (
            "principal, action, resource is Target",
            "transfer, forward, replicate, trust_host_key, reveal, approve, emergency and erase;",
        ),
        ('principal, action, resource is Session in Tag::"prod"', "replay, watch, kill and unmask;"),
    ],
)
def test_a_permit_of_every_action_is_a_warning_that_says_what_it_grants(head: str, granted: str) -> None:
    (warning,) = check(placed(), f'// who\n@id("all")\npermit({head});').warnings
    assert (warning.file, warning.line) == ("main.cedar", 2)
    assert warning.message.startswith(f"rule all permits every action, so also {granted}")
    assert 'action in [Action::"connect", Action::"run"]' in warning.message


@pytest.mark.parametrize(
    "rule",
    [
        'permit(principal, action in [Action::"connect", Action::"run"], resource);',
        'permit(principal, action == Action::"administer", resource);',
        "permit(principal, action, resource is Gateway);",
        'permit(principal, action, resource == Gateway::"gateway");',
        "forbid(principal, action, resource);",
    ],
)
def test_the_twins_that_name_what_they_mean_are_none(rule: str) -> None:
    assert check(placed(), rule).warnings == []


def test_a_blanket_permit_is_told_without_any_target() -> None:
    found = enforcement.check([], rules("permit(principal, action, resource);"), AGENTS)
    assert [warning.line for warning in found.warnings] == [1]
    assert (found.invalid, found.unenforceable) == ([], [])
