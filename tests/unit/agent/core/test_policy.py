"""The decider, and that permits cannot be had anywhere else."""

from __future__ import annotations

import ast
import copy
import pickle
from pathlib import Path

import msgspec
import pytest

from agent.core import policy as module
from agent.core.policy import CACHE_ENTRIES, CACHE_TEXT, Decider, Permit, Standing, joined, sees_clock, sees_text
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Policy, Rule
from tests.fakes.agent_runtime import NOW_MS, make_claims, make_policy, make_target

ALLOW = "permit(principal, action, resource);"
LIST = Operation(kind="exec", text="ls", effects=frozenset({"read"}), verbs=frozenset({"ls"}))
REMOVE = Operation(kind="exec", text="rm x", effects=frozenset({"write"}), verbs=frozenset({"rm"}))
SEES_TEXT = 'forbid(principal, action, resource) when { context.text == "never" };'
FORBID_RM = '@message("Not rm.") forbid(principal, action, resource) when { context.verbs.contains("rm") };'
HOLD_RM = (
    '@approval("group:dba quorum:2") @message("Ask.") forbid(principal, action == Action::"run", resource) '
    'when { context.verbs.contains("rm") } unless { context.approvals.contains("dba") };'
)


class Counting:
    """A policy in force that counts how often it is asked."""

    def __init__(self, *rules: str) -> None:
        self.asked = 0
        self.policy = make_policy(*rules)
        operate = self.policy.operate

        def counting(*arguments: object) -> object:
            self.asked += 1
            return operate(*arguments)

        self.policy.operate = counting

    def __call__(self) -> Policy:
        return self.policy


def test_a_yes_carries_a_permit_for_that_operation_alone() -> None:
    decision = Decider(make_claims(), make_policy).decide(LIST, NOW_MS)
    assert decision.permit is not None
    assert decision.code == ""
    assert decision.permit.digest == LIST.digest()
    assert decision.permit.covers(LIST)
    assert decision.permit.covers(msgspec.structs.replace(LIST))
    assert not decision.permit.covers(REMOVE)
    assert not decision.permit.covers(msgspec.structs.replace(LIST, environment=(("LC_ALL", "x"),)))


@pytest.mark.parametrize(
    ("rules", "operation", "code", "words"),
    [
        ((ALLOW, FORBID_RM), REMOVE, "denied", "Not rm."),
        (('permit(principal == User::"bob", action, resource);',), LIST, "denied", "No policy permits this."),
        ((ALLOW, HOLD_RM), REMOVE, "hold_unavailable", "Ask. This needs an approval, which cannot be asked for"),
        ((ALLOW, FORBID_RM, HOLD_RM), REMOVE, "denied", "Not rm."),
    ],
)
def test_anything_else_carries_none(rules: tuple[str, ...], operation: Operation, code: str, words: str) -> None:
    decision = Decider(make_claims(), lambda: make_policy(*rules)).decide(operation, NOW_MS)
    assert decision.permit is None
    assert decision.code == code
    assert decision.message.startswith(words)


def test_nothing_is_permitted_after_the_grant() -> None:
    decider = Decider(make_claims(deadline_ms=NOW_MS), make_policy)
    assert decider.decide(LIST, NOW_MS - 1).permit is not None
    late = decider.decide(LIST, NOW_MS)
    assert (late.permit, late.code) == (None, "session_ended")


def test_a_target_that_left_the_configuration_permits_nothing() -> None:
    policy = make_policy(ALLOW, target=make_target(name="other"))
    assert Decider(make_claims(), lambda: policy).decide(LIST, NOW_MS).permit is None


def test_the_tags_in_force_count_and_not_those_of_the_opening() -> None:
    rule = 'permit(principal, action, resource in Tag::"dev");'
    policies = [make_policy(rule), make_policy(rule, target=make_target(tags=["prod"]))]
    decider = Decider(make_claims(), lambda: policies[0])
    assert decider.decide(LIST, NOW_MS).permit is not None
    policies.pop(0)
    assert decider.decide(LIST, NOW_MS).permit is None


def test_decisions_are_remembered_until_another_policy_is_in_force() -> None:
    first, second = Counting(ALLOW), Counting(ALLOW, 'forbid(principal, action, resource) when { context.text == "ls" };')
    in_force = [first]
    decider = Decider(make_claims(), lambda: in_force[0]())
    for _ in range(3):
        decision = decider.decide(LIST, NOW_MS)
        assert decision.permit is not None
        assert decision.permit.covers(LIST)
    assert first.asked == 1
    in_force[0] = second
    assert decider.decide(LIST, NOW_MS).permit is None


@pytest.mark.parametrize(
    "change",
    [
        {"action": "transfer"},
        {"kind": "shell"},
        {"text": "ls "},
        {"effects": frozenset({"write"})},
        {"verbs": frozenset({"la"})},
        {"objects": frozenset({"/etc"})},
        {"flags": frozenset({"pty"})},
        {"size": 1},
    ],
)
def test_nothing_that_a_policy_can_see_is_left_out_of_the_key(change: dict[str, object]) -> None:
    counting = Counting(ALLOW, SEES_TEXT)
    decider = Decider(make_claims(), counting)
    decider.decide(LIST, NOW_MS)
    decider.decide(msgspec.structs.replace(LIST, **change), NOW_MS)
    assert counting.asked == 2


@pytest.mark.parametrize("change", [{"arguments": ("a",)}, {"environment": (("LANG", "C"),)}])
def test_what_no_policy_can_see_is_not_asked_again_and_yet_permitted_by_itself(change: dict[str, object]) -> None:
    counting = Counting(ALLOW, SEES_TEXT)
    seen: list[object] = []
    ask = counting.policy._ask
    counting.policy._ask = lambda *arguments: seen.append(arguments) or ask(*arguments)
    other = msgspec.structs.replace(LIST, **change)
    decider = Decider(make_claims(), counting)
    decider.decide(LIST, NOW_MS)
    decision = decider.decide(other, NOW_MS)
    assert counting.asked == 1
    assert decision.permit is not None
    assert decision.permit.covers(other)
    assert not decision.permit.covers(LIST)
    Decider(make_claims(), counting).decide(other, NOW_MS)
    assert len(seen) == 2
    assert seen[0] == seen[1], "policy was shown something that the key leaves out"


@pytest.mark.parametrize(
    ("rule", "sees"),
    [
        ('permit(principal, action, resource) when { context.text == "ls" };', True),
        ('permit(principal, action, resource) when { context["text"] == "ls" };', True),
        ('permit(principal, action, resource) when { context has "te\\u{78}t" };', True),
        ("permit(principal, action, resource) when { context.// a word\n te_xt };", True),
        ('permit(principal, action, resource) when { context.verbs.contains("ls") };', False),
    ],
)
def test_rules_that_look_at_the_text_are_asked_about_every_text(rule: str, sees: bool) -> None:
    counting = Counting(ALLOW)
    counting.policy.document = msgspec.structs.replace(counting.policy.document, rules=[Rule("r", "f", 1, rule)])
    assert sees_text(counting.policy) is sees
    decider = Decider(make_claims(), counting)
    for text in ("ls", "ls -l"):
        decider.decide(msgspec.structs.replace(LIST, text=text), NOW_MS)
    assert counting.asked == (2 if sees else 1)


def test_every_place_of_a_forward_is_decided_for_itself() -> None:
    counting = Counting('permit(principal, action == Action::"forward", resource) when { context.port == 22 };')
    assert not sees_text(counting.policy)
    decider = Decider(make_claims(), counting)
    for port in (22, 23):
        place = Operation(
            action="forward",
            kind="direct-tcpip",
            text=f"direct-tcpip db:{port}",
            effects=frozenset({"read"}),
            host="db",
            port=port,
            direction="local",
        )
        assert (decider.decide(place, NOW_MS).permit is not None) is (port == 22)


@pytest.mark.parametrize(
    ("rule", "sees"),
    [
        ("permit(principal, action, resource) when { context.hour < 18 };", True),
        ("permit(principal, action, resource) when { context.now < 9 };", True),
        ('permit(principal, action, resource) when { context["weekday"] == 1 };', True),
        ('permit(principal, action, resource) when { context["n\\u{6f}w"] < 9 };', True),
        ("permit(principal, action, resource) when { context == context };", True),
        ("permit(principal, action, resource) when { context // now\n .mfa };", True),
        ("permit(principal, action, resource) when { context\n .mfa && context has source_ip };", False),
        ('permit(principal, action, resource) when { context.text like "known*" };', False),
        ('@message("Not now.") @id("hour")\nforbid(principal, action, resource) when { context.mfa };', False),
        ('@message("Not now.") forbid(principal, action, resource) when { context.now < 9 };', True),
        ('@message("\\"Not\\" now.") forbid(principal, action, resource) when { context.mfa };', True),
    ],
)
def test_rules_that_look_at_the_clock_are_asked_every_time(rule: str, sees: bool) -> None:
    counting = Counting(rule)
    assert sees_clock(counting.policy) is sees
    decider = Decider(make_claims(), counting)
    decider.decide(LIST, NOW_MS)
    decider.decide(LIST, NOW_MS + 1)
    assert counting.asked == (2 if sees else 1)


def test_the_memory_is_bounded() -> None:
    counting = Counting(ALLOW, SEES_TEXT)
    decider = Decider(make_claims(), counting)
    for number in range(CACHE_ENTRIES + 10):
        decider.decide(msgspec.structs.replace(LIST, text=f"ls {number}"), NOW_MS)
    assert len(decider._cache) == CACHE_ENTRIES
    long = msgspec.structs.replace(LIST, text="x" * (CACHE_TEXT + 1))
    before = counting.asked
    decider.decide(long, NOW_MS)
    decider.decide(long, NOW_MS)
    assert counting.asked == before + 2


def test_a_permit_cannot_be_made_copied_changed_or_inherited() -> None:
    permit = Decider(make_claims(), make_policy).decide(LIST, NOW_MS).permit
    assert permit is not None
    for forge in (
        Permit,
        lambda: Permit(LIST),
        lambda: copy.copy(permit),
        lambda: copy.deepcopy(permit),
        lambda: pickle.dumps(permit),
        lambda: type("Mine", (Permit,), {}),
    ):
        with pytest.raises(TypeError):
            forge()
    with pytest.raises(AttributeError):
        permit._operation = REMOVE
    hollow = object.__new__(Permit)
    assert not hollow.covers(LIST)
    object.__setattr__(hollow, "_operation", LIST)
    assert not hollow.covers(LIST)
    object.__setattr__(hollow, "_data", b"ls")
    assert not hollow.carries(b"ls")


def test_only_this_module_mints() -> None:
    root = Path(module.__file__).parents[1]
    for path in root.rglob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        names |= {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        names |= {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        if path.name not in ("policy.py", "__init__.py") or path.parent.name not in ("core", "masking"):
            assert not names & {"_SEAL", "_mint", "_put_seal", "_put_data", "_put_operation"}, f"{path} reaches for a mint"


# -- asking again ------------------------------------------------------------------------------------------------------------

OTHER = msgspec.structs.replace(LIST, text="ls -l", arguments=("x",))


def standing_of(decider: Decider, *operations: Operation) -> Standing | None:
    for operation in operations:
        decider.decide(operation, NOW_MS)
    return decider.standing(operations)


def test_what_stands_is_decided_for_bytes_and_for_no_others() -> None:
    policy = make_policy()
    decider = Decider(make_claims(), lambda: policy)
    standing = standing_of(decider, LIST, OTHER)
    assert standing is not None
    permit = decider.repeat(standing, "ls /", b"ask", NOW_MS)
    assert permit is not None
    assert permit.carries(b"ask")
    assert permit.carries(bytes(bytearray(b"ask")))
    assert not permit.carries(b"other")
    assert not permit.covers(LIST)
    assert permit.digest == ""


def test_a_permit_for_an_operation_carries_no_bytes() -> None:
    permit = Decider(make_claims(), make_policy).decide(LIST, NOW_MS).permit
    assert permit is not None
    assert not permit.carries(b"ls")


def test_what_stood_falls_with_the_policy_and_with_the_grant() -> None:
    policy = make_policy()
    decider = Decider(make_claims(), lambda: policy)
    standing = standing_of(decider, LIST)
    assert standing is not None
    assert decider.repeat(standing, LIST.text, b"ask", NOW_MS) is not None
    assert decider.repeat(standing, LIST.text, b"ask", make_claims().deadline_ms) is None
    assert Decider(make_claims(), lambda: policy).repeat(standing, LIST.text, b"ask", NOW_MS) is None
    policy = make_policy(ALLOW, FORBID_RM, version=2)
    assert decider.repeat(standing, LIST.text, b"ask", NOW_MS) is None
    assert decider.standing([LIST]) is None
    decider.decide(LIST, NOW_MS)
    assert decider.standing([LIST]) is not None
    assert decider.repeat(standing, LIST.text, b"ask", NOW_MS) is None


def test_where_policy_looks_at_texts_a_yes_stands_for_one() -> None:
    policy = make_policy(ALLOW, SEES_TEXT)
    decider = Decider(make_claims(), lambda: policy)
    standing = standing_of(decider, LIST)
    assert standing is not None
    assert decider.repeat(standing, LIST.text, b"ask", NOW_MS) is not None
    assert decider.repeat(standing, "never", b"ask", NOW_MS) is None
    assert standing_of(decider, LIST, OTHER) is None


@pytest.mark.parametrize(
    ("rules", "operation"),
    [
        ((ALLOW, FORBID_RM), REMOVE),
        ((ALLOW, HOLD_RM), REMOVE),
        ((ALLOW, "forbid(principal, action, resource) when { context.hour == 25 };"), LIST),
        ((ALLOW, SEES_TEXT), msgspec.structs.replace(LIST, text="x" * (CACHE_TEXT + 1))),
    ],
)
def test_what_would_not_be_said_twice_does_not_stand(rules: tuple[str, ...], operation: Operation) -> None:
    policy = make_policy(*rules)
    decider = Decider(make_claims(), lambda: policy)
    assert standing_of(decider, operation) is None
    assert decider.standing([]) is None
    assert decider.standing([msgspec.structs.replace(LIST, kind="never asked")]) is None


def test_bytes_are_permitted_where_all_is_that_they_ask_for() -> None:
    decider = Decider(make_claims(), make_policy)
    permits = [decider.decide(operation, NOW_MS).permit for operation in (LIST, OTHER)]
    pairs = [(permit, operation) for permit, operation in zip(permits, (LIST, OTHER), strict=True) if permit is not None]
    assert joined(pairs, b"both").carries(b"both")
    for wrong in ([], [pairs[0], (pairs[0][0], OTHER)]):
        with pytest.raises(PermissionError):
            joined(wrong, b"both")


def test_a_standing_cannot_be_made_copied_changed_or_inherited() -> None:
    policy = make_policy()
    standing = standing_of(Decider(make_claims(), lambda: policy), LIST)
    assert standing is not None
    for forge in (Standing, lambda: copy.copy(standing), lambda: pickle.dumps(standing), lambda: type("Mine", (Standing,), {})):
        with pytest.raises(TypeError):
            forge()
    with pytest.raises(AttributeError):
        standing._text = None
