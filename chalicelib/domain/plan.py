"""A plan: from files to a document, with every problem; and the difference between two documents, line by line."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chalicelib.contracts.api import Change, Problem
from chalicelib.contracts.policy import Document, Policy
from chalicelib.contracts.retention import Keeping
from chalicelib.domain import enforcement, gateway_file, keeping, policy_files, slack_file, vocabulary
from chalicelib.domain.enforcement import Announced

FILES_LIMIT: Final = 100
#: Below DynamoDB's 400 KB per item, with room for the rest of the row.
ARCHIVE_LIMIT: Final = 350_000
#: What an archive may hold when it is read back; it was ours, but a bound costs nothing.
_UNPACKED_LIMIT: Final = 30_000_000

_CEDAR: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}\.cedar")


class Draft(msgspec.Struct):
    """What a set of files says. ``document`` is meaningful only where nothing is wrong."""

    document: Document
    invalid: list[Problem]
    unenforceable: list[Problem]
    warnings: list[Problem]

    @property
    def problems(self) -> list[Problem]:
        """Everything that is wrong, in the order of files and lines."""
        return sorted([*self.invalid, *self.unenforceable], key=lambda each: (each.file, each.line, each.message))


def draft(files: Mapping[str, str], version: int, agents: Mapping[str, Announced], bounds: Keeping) -> Draft:
    """Read ``files`` as the configuration ``version`` and check all of it. Never raises for what a file says."""
    invalid = _check_names(files)
    targets, problems = gateway_file.parse(files.get(gateway_file.FILE, ""))
    invalid += problems
    invalid += keeping.out_of_bounds(targets, bounds)
    rules: list[policy_files.Parsed] = []
    for name in sorted(name for name in files if _CEDAR.fullmatch(name)):
        found, problems = policy_files.parse(name, files[name])
        rules += found
        invalid += problems
    invalid += policy_files.check_together(rules)
    findings = enforcement.check(targets, rules, agents)
    words = vocabulary.check(rules, [placed.target for placed in targets], agents)
    slack, problems = slack_file.parse(files.get(gateway_file.FILE, ""))
    invalid += problems
    document = Document(
        version=version,
        rules=[parsed.rule for parsed in rules],
        targets=[placed.target for placed in targets],
        slack=slack,
    )
    invalid += findings.invalid + words.invalid
    if not invalid:
        invalid += _compiles(document)
    return Draft(document, invalid, findings.unenforceable, findings.warnings + words.warnings)


def _check_names(files: Mapping[str, str]) -> list[Problem]:
    problems = []
    if gateway_file.FILE not in files:
        problems.append(Problem(gateway_file.FILE, 0, "the file is missing"))
    if len(files) > FILES_LIMIT:
        problems.append(Problem("", 0, f"more than {FILES_LIMIT} files"))
    problems += [
        Problem(name[:120], 0, "only gateway.yaml and files like prod.cedar belong here")
        for name in files
        if name != gateway_file.FILE and not _CEDAR.fullmatch(name)
    ]
    return problems


def _compiles(document: Document) -> list[Problem]:
    # The last word belongs to the code that will decide: what it cannot load must never be stored.
    try:
        Policy(document)
    except ValueError as error:
        return [Problem("", 0, f"the policies do not compile together: {str(error)[:300]}")]
    return []


def changes(before: Document, after: Document, bounds: Keeping) -> list[Change]:
    """Return the difference, targets first, by name. A rule that only moved within its file has not changed."""
    found = []
    for kind, old, new in (
        ("target", _by_name(before, bounds), _by_name(after, bounds)),
        ("rule", _by_id(before), _by_id(after)),
        ("slack", _by_member(before), _by_member(after)),
    ):
        for name in sorted(old.keys() | new.keys()):
            what = f"{kind} {name}"
            if name not in old:
                found.append(Change(sign="+", what=what, detail=_detail(new[name])))
            elif name not in new:
                found.append(Change(sign="-", what=what, detail=_detail(old[name])))
            elif old[name] != new[name]:
                parts = sorted(part for part in new[name] if old[name][part] != new[name][part])
                details = [_changed(part, old[name], new[name]) for part in parts]
                found.append(Change(sign="~", what=what, detail=", ".join(details)))
    return found


def _by_name(document: Document, bounds: Keeping) -> dict[str, dict[str, Any]]:
    return {
        target.name: msgspec.structs.asdict(target) | {"retention": keeping.said(target, bounds)} for target in document.targets
    }


def _by_id(document: Document) -> dict[str, dict[str, Any]]:
    # An unnamed rule is called by its place, so its text is all that it is compared by.
    return {rule.id: {"file": rule.file, "text": rule.text} for rule in document.rules}


def _by_member(document: Document) -> dict[str, dict[str, Any]]:
    # Who may answer as whom is as much a grant as a rule is.
    if document.slack is None:
        return {}
    return {f"team {document.slack.team}": {"is": "the workspace"}} | {
        f"user {user}": {"is": who} for user, who in document.slack.users.items()
    }


def _detail(thing: dict[str, Any]) -> str:
    if "protocol" in thing:
        return f"{thing['protocol']} {thing['address']} by {thing['agent']}, kept {thing['retention']}"
    return str(thing["file"] if "file" in thing else thing["is"])


def _changed(part: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    words = {"retention": "kept ", "is": ""}
    return f"{words[part]}{old[part]} → {new[part]}" if part in words else part


def pack(value: Document | Mapping[str, str]) -> bytes:
    """Return ``value`` as compressed JSON, the shape in which versions are stored."""
    return zlib.compress(msgspec.json.encode(value), 9)


def unpack(packed: bytes, kind: Any) -> Any:
    """Return what :func:`pack` was given, as ``kind``. Raises ValueError for anything else."""
    opened = zlib.decompressobj()
    try:
        text = opened.decompress(packed, _UNPACKED_LIMIT)
    except zlib.error:
        raise ValueError("a stored configuration is not what was written") from None
    return msgspec.json.decode(text, type=kind)
