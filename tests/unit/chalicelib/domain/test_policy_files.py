"""Cedar files, cut into rules with their places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.policy_files import check_together, parse, split

PERMIT = "permit(principal, action, resource);"


def messages(text: str, file: str = "main.cedar") -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in parse(file, text)[1]]


def rules(text: str) -> list[tuple[str, int, str]]:
    found, problems = parse("main.cedar", text)
    assert problems == []
    return [(parsed.rule.id, parsed.rule.line, parsed.rule.text) for parsed in found]


def test_rules_are_cut_at_semicolons_and_keep_their_lines() -> None:
    text = f'// first\n@id("one")\n{PERMIT}\n\n/ /'.replace("/ /", "// last") + f'\n@id("two") {PERMIT}'
    assert rules(text) == [("one", 2, f'@id("one")\n{PERMIT}'), ("two", 6, f'@id("two") {PERMIT}')]


def test_a_rule_without_an_id_is_called_by_its_place() -> None:
    assert rules(f"\n\n{PERMIT}")[0][:2] == ("main.cedar:3", 3)


def test_semicolons_in_strings_and_comments_end_nothing() -> None:
    text = '@message("a; \\" ; b")\nforbid(principal, action, resource) // no ; here\nwhen { context.reason == ";" };'
    assert len(rules(text)) == 1


def test_a_carriage_return_ends_a_comment_as_it_does_for_cedar() -> None:
    # Otherwise a forbid behind one would be dropped without a word.
    found, problems = parse("main.cedar", f"// harmless\rforbid(principal, action, resource);\n{PERMIT}")
    assert problems == []
    assert [parsed.scope.effect for parsed in found] == ["forbid", "permit"]


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        (f"{PERMIT}\npermit(principal, action, resource)", 2, "does not end"),
        ('permit(principal, action, resource) when { "x };', 1, "does not end"),
        (f"{PERMIT}\n;", 2, "not a Cedar policy"),
        (f"{PERMIT}\npermit(principal action, resource);", 2, "not a Cedar policy"),
        ("permit(principal == ?principal, action, resource);", 1, "without slots"),
        (f'@aproval("group:a")\n{PERMIT}', 1, "unknown annotation @aproval"),
        (f"@id('x') {PERMIT}", 1, "not a Cedar policy"),
        (f'@id("") {PERMIT}', 1, "@id is letters"),
        (f'@id("a b") {PERMIT}', 1, "@id is letters"),
        (f'@message("{"x" * 501}") {PERMIT}', 1, "@message is at most"),
        (f'@approval("group:dba") {PERMIT}', 1, "on a permit it means nothing"),
        ('@approval("dba") forbid(principal, action == Action::"run", resource);', 1, "must read like"),
        ('@approval forbid(principal, action == Action::"run", resource);', 1, "must read like"),
        ('@approval("group:dba") forbid(principal, action, resource);', 1, "unmask and erase only"),
        ('@approval("group:dba") forbid(principal, action == Action::"replay", resource);', 1, "unmask and erase only"),
        ('@approval("group:dba") forbid(principal, action == Action::"run", resource);', 1, 'context.approvals.contains("dba")'),
        (
            '@approval("group:dba") forbid(principal, action == Action::"run", resource) '
            'unless { context.approvals.contains("leads") };',
            1,
            'context.approvals.contains("dba")',
        ),
        (
            '@approval("group:dba") @message("approvals") forbid(principal, action == Action::"run", resource);',
            1,
            "no approval can lift this rule",
        ),
        ("permit(principal, action, resource) when { " + "(" * 101 + "true" + ")" * 101 + " };", 1, "too deeply nested"),
        ("permit(principal, action, resource) when { " + "true && " * 300 + "true };", 1, "too deeply nested"),
        ("permit(principal, action, resource) when { " + "true && " * 1_900 + "true };", 1, "too deeply nested"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, line: int, word: str) -> None:
    found = messages(text)
    assert any(where == line and word in message for where, message in found), found


@pytest.mark.parametrize("action", ["connect", "run", "transfer", "forward", "replicate"])
def test_an_approval_is_kept(action: str) -> None:
    text = (
        f'@approval("group:dba quorum:2 ttl:15m") forbid(principal, action == Action::"{action}", resource) '
        'unless { context.approvals.contains("dba") };'
    )
    (parsed,), problems = parse("main.cedar", text)
    assert problems == []
    assert parsed.scope.approval
    assert parsed.scope.names(action)


def test_a_file_has_a_size() -> None:
    assert messages("//" + "x" * 300_000) == [(0, "the file is larger than 256 KB")]


def test_the_same_id_twice_is_a_problem_across_files() -> None:
    first, _ = parse("a.cedar", f'@id("x") {PERMIT}')
    second, _ = parse("b.cedar", f'\n@id("x") {PERMIT}')
    (problem,) = check_together([*first, *second])
    assert (problem.file, problem.line, problem.message) == ("b.cedar", 2, "@id 'x' is taken by a.cedar:1")


def test_what_the_schema_refuses_is_told_at_its_rule() -> None:
    found, problems = parse(
        "main.cedar",
        f'{PERMIT}\nforbid(principal, action == Action::"run", resource) when {{ context.verb == "rm" }};\n'
        'permit(principal == Person::"x", action, resource);',
    )
    assert problems == []
    lines = [(problem.line, problem.message) for problem in check_together(found)]
    assert {line for line, _ in lines} == {2, 3}
    assert any("attribute `verb`" in message for _, message in lines)
    assert not any("policy1" in message or "policy2" in message for _, message in lines)


def test_no_rules_are_fine() -> None:
    assert parse("main.cedar", "// nothing yet\n") == ([], [])
    assert check_together([]) == []


@given(st.text(alphabet='permitforbd(),;"\\/\n\r{} @', max_size=200))
def test_nothing_is_lost_between_the_cuts(text: str) -> None:
    # Whatever is not in a piece is white space or comment; so no rule can vanish.
    rest = text
    for _, piece, _ in split(text):
        before, found, rest = rest.partition(piece)
        assert found
        assert all(not line.strip() or line.strip().startswith("//") for line in before.replace("\r", "\n").split("\n"))
    assert all(not line.strip() or line.strip().startswith("//") for line in rest.replace("\r", "\n").split("\n"))
