from __future__ import annotations

import datetime as dt
from typing import Literal

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import (
    ALLOW,
    BROKEN_RULE,
    DENY,
    HOLD,
    NO_RULE,
    Approval,
    Document,
    Moment,
    Policy,
    Principal,
    Rule,
    parse_approval,
)
from chalicelib.contracts.policy_schema import SCHEMA

WEB = Target(
    name="prod-web",
    protocol="ssh",
    agent="e",
    address="h:1",
    logins={"d": Login(credential="c")},
    default_login="d",
    tags=["prod"],
)
ALICE = Principal(name="alice@example.com", groups=["sre"], mfa=True)
BOB = Principal(name="bob@example.com")
NOW = Moment(now_ms=1_795_212_303_000, reason="ticket", login="d", source_ip="192.0.2.7")
RULES = {
    "may-connect": 'permit(principal in Group::"sre", action in [Action::"connect", Action::"run"], resource in Tag::"prod");',
    "own": 'permit(principal, action == Action::"replay", resource) when { resource.owner == principal };',
    "no-rm": '@message("Deleting needs a ticket.") forbid(principal, action == Action::"run", resource) '
    'when { context.flags.contains("recursive_delete") };',
    "ask": '@approval("group:dba quorum:2 ttl:15m") @message("Ask a DBA.") forbid(principal, action == Action::"run", resource) '
    'when { context.verbs.contains("mv") } unless { context.approvals.contains("dba") };',
    "admin": 'permit(principal in Group::"platform", action == Action::"administer", resource);',
}


def policy(**rules: str) -> Policy:
    listed = [Rule(name, "p.cedar", n, text) for n, (name, text) in enumerate(rules.items(), 1)]
    return Policy(Document(version=7, rules=listed, targets=[WEB]))


def run(text: str = "ls", *, flags: set[str] | None = None, verbs: set[str] | None = None) -> Operation:
    return Operation(
        kind="exec", text=text, effects=frozenset({"read"}), flags=frozenset(flags or ()), verbs=frozenset(verbs or ())
    )


def test_no_rules_means_no() -> None:
    empty = policy()
    assert empty.connect(ALICE, WEB, NOW).decision == DENY
    assert empty.operate(ALICE, WEB, run(), NOW).message == NO_RULE
    assert empty.administer(ALICE, NOW).decision == DENY


def test_a_group_and_a_tag_permit() -> None:
    rules = policy(**RULES)
    assert rules.connect(ALICE, WEB, NOW).decision == ALLOW
    assert rules.connect(ALICE, WEB, NOW).rule == "may-connect"
    assert rules.connect(BOB, WEB, NOW).decision == DENY


def test_a_forbid_speaks_the_operators_own_words() -> None:
    verdict = policy(**RULES).operate(ALICE, WEB, run(flags={"recursive_delete"}), NOW)
    assert (verdict.decision, verdict.message, verdict.rules) == (DENY, "Deleting needs a ticket.", ("no-rm",))


def test_a_liftable_forbid_holds_and_an_approval_lifts_it() -> None:
    rules = policy(**RULES)
    held = rules.operate(ALICE, WEB, run(verbs={"mv"}), NOW)
    assert (held.decision, held.approvals) == (HOLD, (Approval("dba", 2, 900),))
    assert not held.allowed
    assert rules.operate(ALICE, WEB, run(verbs={"mv"}), NOW, frozenset({"dba"})).decision == ALLOW


def test_nobody_is_asked_in_vain() -> None:
    never = '@approval("group:dba") @message("Never.") forbid(principal, action == Action::"run", resource);'
    verdict = policy(**RULES, never=never).operate(ALICE, WEB, run(), NOW)
    assert (verdict.decision, verdict.message, verdict.approvals) == (DENY, "Never.", ())
    # Nothing permits bob to run anything, with or without a yes.
    verdict = policy(**RULES).operate(BOB, WEB, run(verbs={"mv"}), NOW)
    assert (verdict.decision, verdict.approvals) == (DENY, ())


def test_all_that_hold_are_asked_for_together() -> None:
    second = (
        '@approval("group:security ttl:1h") forbid(principal, action == Action::"run", resource) '
        'when { context.verbs.contains("mv") } unless { context.approvals.contains("security") };'
    )
    rules = policy(**RULES, second=second)
    held = rules.operate(ALICE, WEB, run(verbs={"mv"}), NOW)
    assert (held.rules, held.approvals) == (("ask", "second"), (Approval("dba", 2, 900), Approval("security", 1, 3600)))
    half = rules.operate(ALICE, WEB, run(verbs={"mv"}), NOW, frozenset({"dba"}))
    assert (half.decision, half.approvals) == (HOLD, (Approval("security", 1, 3600),))
    assert rules.operate(ALICE, WEB, run(verbs={"mv"}), NOW, frozenset({"dba", "security"})).allowed


ASK_FIRST = (
    '@approval("group:leads") @message("Ask a lead.") forbid(principal, action == Action::"connect", resource) '
    'unless { context.approvals.contains("leads") };'
)


def test_an_opening_may_be_held_too() -> None:
    rules = policy(**RULES, first=ASK_FIRST)
    held = rules.connect(ALICE, WEB, NOW)
    assert (held.decision, held.message, held.approvals) == (HOLD, "Ask a lead.", (Approval("leads", 1, 900),))
    assert rules.connect(ALICE, WEB, NOW, frozenset({"leads"})).allowed
    assert rules.connect(BOB, WEB, NOW).decision == DENY


def test_approving_and_emergencies_are_actions_of_their_own() -> None:
    approve = 'permit(principal in Group::"sre", action == Action::"approve", resource) when { context.requester != "eve" };'
    emergency = 'permit(principal in Group::"sre", action == Action::"emergency", resource in Tag::"prod");'
    rules = policy(**RULES, approve=approve, emergency=emergency)
    assert rules.approve(ALICE, WEB, NOW, "bob@example.com").allowed
    assert not rules.approve(ALICE, WEB, NOW, "eve").allowed
    assert not rules.approve(BOB, WEB, NOW, "alice@example.com").allowed
    assert rules.emergency(ALICE, WEB, NOW).allowed
    assert not policy(**RULES).emergency(ALICE, WEB, NOW).allowed


def test_an_approval_does_not_help_against_a_plain_forbid() -> None:
    verdict = policy(**RULES).operate(ALICE, WEB, run(flags={"recursive_delete"}, verbs={"mv"}), NOW)
    assert (verdict.decision, verdict.message) == (DENY, "Deleting needs a ticket.")


def test_a_rule_that_fails_to_evaluate_denies_everything_it_could_have_spoken_about() -> None:
    # Cedar alone would skip the failing forbid and allow.
    overflow = "forbid(principal, action, resource) when { context.now * 9223372036854775807 > 0 };"
    verdict = policy(**RULES, broken=overflow).connect(ALICE, WEB, NOW)
    assert (verdict.decision, verdict.message) == (DENY, BROKEN_RULE)
    assert verdict.errors


def test_a_source_address_that_is_not_one_is_denied() -> None:
    assert policy(**RULES).connect(ALICE, WEB, Moment(now_ms=1, source_ip="nonsense")).decision == DENY


def test_replay_knows_the_owner() -> None:
    rules = policy(**RULES)
    assert rules.replay(ALICE, "ses_x", ALICE.name, "ended", WEB, NOW).decision == ALLOW
    assert rules.replay(BOB, "ses_x", ALICE.name, "ended", WEB, NOW).decision == DENY


def test_watching_and_ending_are_actions_of_their_own() -> None:
    rules = policy(
        look='permit(principal, action == Action::"watch", resource in Tag::"prod") unless { resource.owner == principal };',
        end='permit(principal, action == Action::"kill", resource) '
        'when { context.reason == "ticket" && resource.state == "live" };',
    )
    about = ("ses_x", ALICE.name, "live")
    assert rules.watch(BOB, about, WEB, NOW).decision == ALLOW
    assert rules.watch(ALICE, about, WEB, NOW).decision == DENY
    assert rules.replay(BOB, *about, WEB, NOW).decision == DENY
    assert rules.kill(BOB, about, WEB, NOW).rule == "end"
    assert rules.kill(BOB, about, WEB, Moment(now_ms=1, reason="fun")).decision == DENY
    assert rules.kill(BOB, ("ses_x", ALICE.name, "offered"), WEB, NOW).decision == DENY


def test_administer_is_its_own_action() -> None:
    rules = policy(**RULES)
    assert rules.administer(Principal(name="pat", groups=["platform"]), NOW).decision == ALLOW
    assert rules.administer(ALICE, NOW).decision == DENY


@pytest.mark.parametrize("text", ["permit(principal, action, resource", "nonsense"])
def test_a_policy_that_does_not_parse_cannot_be_asked(text: str) -> None:
    with pytest.raises(ValueError):
        policy(bad=text)


def test_two_policies_in_one_rule_are_refused_so_that_positions_stay_true() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        policy(two="permit(principal, action, resource); forbid(principal, action, resource);")


def test_a_broken_approval_annotation_denies() -> None:
    rules = policy(ok=RULES["may-connect"], bad='@approval("whoever") forbid(principal, action, resource);')
    assert rules.operate(ALICE, WEB, run(), NOW).decision == DENY


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_name_is_ever_read_as_policy(name: str, group: str) -> None:
    verdict = policy(**RULES).connect(Principal(name=name, groups=[group]), WEB, NOW)
    assert verdict.allowed == (group == "sre")


@pytest.mark.parametrize(("data_class", "revealed"), [("email", True), ("ssn", False)])
def test_a_data_class_is_revealed_only_by_a_rule_that_names_it(data_class: str, revealed: bool) -> None:
    rules = policy(
        run='permit(principal, action == Action::"run", resource);',
        show='permit(principal, action == Action::"reveal", resource) when { context.data_class == "email" };',
    )
    assert rules.reveal(ALICE, WEB, data_class, NOW).allowed is revealed


@given(st.text(max_size=200))
def test_any_text_can_be_asked_about(text: str) -> None:
    assert policy(**RULES).operate(ALICE, WEB, run(text or " "), NOW).decision in {ALLOW, DENY}


def test_hours_and_weekdays_are_utc() -> None:
    # 2026-11-20 is a Friday; 22:05 UTC, whatever the machine's own zone is.
    rules = policy(rule="permit(principal, action, resource) when { context.hour == 22 && context.weekday == 4 };")
    friday = int(dt.datetime(2026, 11, 20, 22, 5, tzinfo=dt.UTC).timestamp() * 1000)
    assert rules.connect(ALICE, WEB, Moment(now_ms=friday)).allowed
    assert not rules.connect(ALICE, WEB, Moment(now_ms=friday + 3_600_000)).allowed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("group:dba", Approval("dba", 1, 900)),
        ("group:dba quorum:2 ttl:15m", Approval("dba", 2, 900)),
        ("group:dba ttl:30s", Approval("dba", 1, 30)),
        ("group:dba ttl:2h", Approval("dba", 1, 7200)),
    ],
)
def test_approval_annotations(text: str, expected: Approval) -> None:
    assert parse_approval(text) == expected


@pytest.mark.parametrize("text", ["", "dba", "group:", "group:dba quorum:0", "group:dba ttl:15", "group:dba quorum:1 extra"])
def test_approval_annotations_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="@approval"):
        parse_approval(text)


def test_the_schema_accepts_the_rules_above_and_refuses_a_misspelt_fact() -> None:
    good = "\n".join(RULES.values())
    assert cedarpy.validate_policies(good, SCHEMA).validation_passed
    bad = 'forbid(principal, action == Action::"run", resource) when { context.verb.contains("rm") };'
    assert not cedarpy.validate_policies(bad, SCHEMA).validation_passed


def test_a_rule_about_ports_sees_where_and_which_way() -> None:
    rules = policy(
        one='permit(principal, action == Action::"forward", resource) when { context.host like "*.internal" && '
        'context.port == 5432 && context.direction == "local" };'
    )

    def decided(host: str, port: int, direction: Literal["local", "remote"]) -> str:
        place = Operation(
            action="forward",
            kind="direct-tcpip",
            text=f"{host}:{port}",
            effects=frozenset({"read"}),
            host=host,
            port=port,
            direction=direction,
        )
        return rules.operate(ALICE, WEB, place, NOW).decision

    assert decided("db.internal", 5432, "local") == ALLOW
    assert [decided("db.internal", 5433, "local"), decided("db", 5432, "local"), decided("db.internal", 5432, "remote")] == [
        DENY
    ] * 3


def test_the_schema_has_ports_for_forwarding_alone() -> None:
    for action, errors in (("forward", 0), ("run", 1)):
        rule = f'permit(principal, action == Action::"{action}", resource) when {{ context.port == 1 }};'
        assert len(cedarpy.validate_policies(rule, SCHEMA).errors) == errors
