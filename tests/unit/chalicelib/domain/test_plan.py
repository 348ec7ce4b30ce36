"""From files to a document, and from one document to the next."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.policy import Document, Rule
from chalicelib.contracts.retention import Keeping, Retention
from chalicelib.domain import keeping, plan
from chalicelib.domain.enforcement import Announced
from tests.fakes.world import FILES, SSH

AGENTS = {"edge": Announced([SSH], ["web-key", "web-root", "db-key"])}
KEEPING = Keeping(default=Retention(days=365), least_days=30)
EMPTY = Document(version=0, rules=[], targets=[])


def test_good_files_make_a_document() -> None:
    draft = plan.draft(FILES, 4, AGENTS, KEEPING)
    assert draft.problems == []
    assert draft.warnings == []
    assert draft.document.version == 4
    assert [target.name for target in draft.document.targets] == ["web-1", "db-1"]
    assert [rule.id for rule in draft.document.rules] == ["sre", "no-root", "auditors"]


def test_problems_of_all_files_come_together_in_order() -> None:
    files = {
        "gateway.yaml": "version: 1\ntargets: {T: {}}\n",
        "b.cedar": "permit(oops);",
        "a.cedar": "permit(principal, action, resource)",
    }
    draft = plan.draft(files, 1, AGENTS, KEEPING)
    assert [(problem.file, problem.line) for problem in draft.problems] == [("a.cedar", 1), ("b.cedar", 1), ("gateway.yaml", 2)]


@pytest.mark.parametrize(
    "name", ["../evil.cedar", "/etc/passwd", "a/b.cedar", "main.cedar ", "x.yaml", "", ".cedar", "a\n.cedar"]
)
def test_file_names_stay_in_their_folder(name: str) -> None:
    draft = plan.draft({**FILES, name: ""}, 1, AGENTS, KEEPING)
    assert [problem.message for problem in draft.invalid] == ["only gateway.yaml and files like prod.cedar belong here"]


def test_too_many_files_and_a_missing_one() -> None:
    draft = plan.draft({f"f{n}.cedar": "" for n in range(101)}, 1, AGENTS, KEEPING)
    assert "the file is missing" in [problem.message for problem in draft.invalid]
    assert "more than 100 files" in [problem.message for problem in draft.invalid]


def test_unenforceable_is_told_apart_from_invalid() -> None:
    files = FILES | {"more.cedar": 'permit(principal, action == Action::"forward", resource in Tag::"prod");'}
    draft = plan.draft(files, 1, AGENTS, KEEPING)
    assert draft.invalid == []
    assert len(draft.unenforceable) == 1


def test_changes_are_told_by_name() -> None:
    before = plan.draft(FILES, 1, AGENTS, KEEPING).document
    files = {
        "gateway.yaml": FILES["gateway.yaml"].replace("10.0.0.7:22", "10.0.0.9:22").replace("db-1:", "db-2:"),
        "main.cedar": FILES["main.cedar"].replace('@id("sre") permit', '\n\n@id("sre") permit').replace("Not as root.", "Never."),
    }
    after = plan.draft(files, 2, AGENTS, KEEPING).document
    found = [(change.sign, change.what, change.detail) for change in plan.changes(before, after, KEEPING)]
    assert found == [
        ("-", "target db-1", "ssh 10.0.0.8:22 by edge, kept 365 days COMPLIANCE (default)"),
        ("+", "target db-2", "ssh 10.0.0.8:22 by edge, kept 365 days COMPLIANCE (default)"),
        ("~", "target web-1", "address"),
        ("~", "rule no-root", "text"),
    ]


def test_a_first_plan_adds_everything_and_a_second_nothing() -> None:
    document = plan.draft(FILES, 1, AGENTS, KEEPING).document
    assert {change.sign for change in plan.changes(EMPTY, document, KEEPING)} == {"+"}
    assert plan.changes(document, msgspec.structs.replace(document, version=2), KEEPING) == []


def test_archives_come_back_as_they_were() -> None:
    document = Document(version=3, rules=[Rule("a", "f", 1, "permit(principal, action, resource);")] * 500, targets=[])
    packed = plan.pack(document)
    assert len(packed) < 2_000
    assert plan.unpack(packed, Document) == document
    for broken in (b"", b"x", packed[:-4][:20]):
        with pytest.raises(ValueError):
            plan.unpack(broken, Document)


def retained(text: str) -> plan.Draft:
    files = FILES | {"gateway.yaml": FILES["gateway.yaml"].replace("max_session: 1h", f"max_session: 1h\n    retention: {text}")}
    return plan.draft(files, 2, AGENTS, KEEPING)


def test_retention_is_read_and_shown() -> None:
    before, after = plan.draft(FILES, 1, AGENTS, KEEPING).document, retained("{days: 2555, legal_hold: true}").document
    (change,) = plan.changes(before, after, KEEPING)
    assert change.detail == "kept 365 days COMPLIANCE (default) → 2555 days COMPLIANCE, and under a legal hold"
    assert keeping.weaker(before, after, KEEPING) == []


@pytest.mark.parametrize(
    "text",
    ["{days: 29}", "{days: 3651}", "{days: 0}", "{days: 40000}", "{days: x}", "{mode: compliance}", "{legal_hold: 1}", "30"],
)
def test_a_retention_out_of_bounds_or_misspelt_is_refused(text: str) -> None:
    assert retained(text).invalid
    assert retained(text).invalid[0].line > 0


@pytest.mark.parametrize(
    ("text", "told"), [("{days: 30}", 1), ("{mode: GOVERNANCE}", 1), ("{days: 365}", 0), ("{legal_hold: true}", 0)]
)
def test_less_than_until_now_is_a_warning(text: str, told: int) -> None:
    before = plan.draft(FILES, 1, AGENTS, KEEPING).document
    assert len(keeping.weaker(before, retained(text).document, KEEPING)) == told


def test_a_hold_that_is_taken_back_is_a_warning() -> None:
    held, free = retained("{legal_hold: true}").document, retained("{days: 365}").document
    (warning,) = keeping.weaker(held, free, KEEPING)
    assert "until now" in warning.message
