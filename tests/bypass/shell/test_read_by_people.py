"""What others read before they agree to a command is what runs: nothing of it hides, in a terminal or on the page."""

from __future__ import annotations

import json

import pytest

from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.contracts.operation import EXECUTE, Operation
from chalicelib.contracts.policy import Approval
from chalicelib.domain import plain_text
from cli.commands import requests

#: Each reads as another command where it is shown as it is.
MISLEADING = {
    "a line that is none to a shell": "echo done # \u2028rm -rf /srv/cache",
    "a paragraph that is none": "echo done # \u2029rm -rf /srv/cache",
    "a carriage return": "rm -rf /srv\recho hello",
    "a form feed": "rm -rf /srv # \x0crm -rf /srv/cache",
    "a vertical tab": "rm -rf /srv # \x0brm -rf /srv/cache",
    "the next line of eight bits": "rm -rf /srv # \x85rm -rf /srv/cache",
    "a separator": "rm -rf /srv # \x1crm -rf /srv/cache",
    "a space that is none": "rm -rf /srv/a\u00a0/srv/b",
    "a wide space": "rm -rf /srv/a\u3000/srv/b",
    "a letter without ink": "rm -rf /srv/a\u3164",
    "half a letter without ink": "rm -rf /srv/a\uffa0",
    "an empty pattern": "rm -rf /srv/a\u2800/srv/b",
    "a joiner": "rm -rf /srv/a\u034f",
    "a variation": "rm -rf /srv/a\ufe0f",
    "another variation": "rm -rf /srv/a\U000e0100",
    "a Mongolian variation": "rm -rf /srv/a\u180b",
    "a note without a head": "rm -rf /srv/a\U0001d159",
    "a filler": "rm -rf /srv/a\U00016fe4",
    "marks over marks": "rm -rf /srv/a" + "\u0336" * 20,
    "no width": "r\u200bm -rf /srv",
    "backwards": "rm -rf /srv/\u202egnp.exe",
    "tags": "echo " + "".join(chr(0xE0000 + ord(each)) for each in "rm -rf"),
    "a backspace": "rm -rf /srv/b\x08a",
    "a screen of its own": "rm -rf /srv\x1b[2K\recho hello",
}
PLAIN = {
    "lines": 'for f in *; do\n\techo "$f"\ndone\n',
    "names": "cp Übersicht.txt 'résumé – 2024.txt' 日本語.txt",
    "marks": "echo Vie\u0323\u0302t e\u0301",
    "Korean": "ls 한국어",
    "signs": "echo '→ ✓ €'",
}


def shown(operation: Operation) -> list[str]:
    """What an approver reads in the terminal."""
    request = ApprovalRequest(
        rid="req_1", kind="operation", state=RequestState.PENDING, principal="ann", target="web", protocol="ssh", agent="edge",
        operation=operation, digest=operation.digest(), rules=["ask"], message="", asks=[Approval("dba")], policy_version=1,
        asked_ms=0, deadline_ms=1,
    )  # fmt: skip
    return requests._shown(request)


def told(text: str) -> bool:
    """Tell whether the terminal says that it cannot show ``text``, and what it is."""
    lines = shown(Operation(kind="exec", text=text, effects=frozenset({EXECUTE})))
    assert any("as JSON" in line for line in lines) == (f"  {json.dumps(text)}" in lines)
    return f"  {json.dumps(text)}" in lines


@pytest.mark.parametrize("text", MISLEADING.values(), ids=MISLEADING)
def test_what_cannot_be_read_is_named(text: str) -> None:
    assert told(text)
    assert plain_text.shown(text).hidden


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_the_twin_that_reads_as_it_is(text: str) -> None:
    assert not told(text)
    assert not plain_text.shown(text).hidden


@pytest.mark.parametrize("text", MISLEADING.values(), ids=MISLEADING)
def test_so_are_bound_values_and_the_environment(text: str) -> None:
    operation = Operation(
        kind="exec", text="x", effects=frozenset({EXECUTE}), arguments=(text, "4711"), environment=(("LC_A", text),)
    )
    lines = shown(operation)
    assert {f"  $1 = {json.dumps(text)}", "  $2 = 4711", f"  LC_A={json.dumps(text)}"} <= set(lines)
