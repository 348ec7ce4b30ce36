"""From files to a document, and from one document to the next."""

from __future__ import annotations

import msgspec
import pytest

from chalicelib.contracts.policy import Document, Rule
from chalicelib.domain import plan
from chalicelib.domain.enforcement import Announced
from tests.fakes.world import FILES, SSH

AGENTS = {"edge": Announced([SSH], ["web-key", "web-root", "db-key"])}
EMPTY = Document(version=0, rules=[], targets=[])


def test_good_files_make_a_document() -> None:
    draft = plan.draft(FILES, 4, AGENTS)
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
    draft = plan.draft(files, 1, AGENTS)
    assert [(problem.file, problem.line) for problem in draft.problems] == [("a.cedar", 1), ("b.cedar", 1), ("gateway.yaml", 2)]


@pytest.mark.parametrize(
    "name", ["../evil.cedar", "/etc/passwd", "a/b.cedar", "main.cedar ", "x.yaml", "", ".cedar", "a\n.cedar"]
)
def test_file_names_stay_in_their_folder(name: str) -> None:
    draft = plan.draft({**FILES, name: ""}, 1, AGENTS)
    assert [problem.message for problem in draft.invalid] == ["only gateway.yaml and files like prod.cedar belong here"]


def test_too_many_files_and_a_missing_one() -> None:
    draft = plan.draft({f"f{n}.cedar": "" for n in range(101)}, 1, AGENTS)
    assert "the file is missing" in [problem.message for problem in draft.invalid]
    assert "more than 100 files" in [problem.message for problem in draft.invalid]


def test_unenforceable_is_told_apart_from_invalid() -> None:
    files = FILES | {"more.cedar": 'permit(principal, action == Action::"forward", resource in Tag::"prod");'}
    draft = plan.draft(files, 1, AGENTS)
    assert draft.invalid == []
    assert len(draft.unenforceable) == 1


def test_changes_are_told_by_name() -> None:
    before = plan.draft(FILES, 1, AGENTS).document
    files = {
        "gateway.yaml": FILES["gateway.yaml"].replace("10.0.0.7:22", "10.0.0.9:22").replace("db-1:", "db-2:"),
        "main.cedar": FILES["main.cedar"].replace('@id("sre") permit', '\n\n@id("sre") permit').replace("Not as root.", "Never."),
    }
    after = plan.draft(files, 2, AGENTS).document
    found = [(change.sign, change.what, change.detail) for change in plan.changes(before, after)]
    assert found == [
        ("-", "target db-1", "ssh 10.0.0.8:22 by edge"),
        ("+", "target db-2", "ssh 10.0.0.8:22 by edge"),
        ("~", "target web-1", "address"),
        ("~", "rule no-root", "text"),
    ]


def test_a_first_plan_adds_everything_and_a_second_nothing() -> None:
    document = plan.draft(FILES, 1, AGENTS).document
    assert {change.sign for change in plan.changes(EMPTY, document)} == {"+"}
    assert plan.changes(document, msgspec.structs.replace(document, version=2)) == []


def test_archives_come_back_as_they_were() -> None:
    document = Document(version=3, rules=[Rule("a", "f", 1, "permit(principal, action, resource);")] * 500, targets=[])
    packed = plan.pack(document)
    assert len(packed) < 2_000
    assert plan.unpack(packed, Document) == document
    for broken in (b"", b"x", packed[:-4][:20]):
        with pytest.raises(ValueError):
            plan.unpack(broken, Document)
