"""Asking and answering in a terminal: what is agreed to is shown whole, and nothing in it is obeyed."""

from __future__ import annotations

import json
import sys

import click
import msgspec
import pytest

from chalicelib.contracts.approval import Precedent, RequestState
from cli import asking
from cli.commands import requests as commands
from tests.fakes.http_control_plane import FakeControlPlane
from tests.unit.cli.asking_plane import DELETE, RID, Asking, request
from tests.unit.cli.conftest import NOW_MS, Run


@pytest.fixture
def there(logged_in: FakeControlPlane, monkeypatch: pytest.MonkeyPatch) -> Asking:
    monkeypatch.setattr(asking, "POLL_S", 0.01)
    return Asking(logged_in)


def test_a_grant_is_asked_for_and_waited_for(run: Run, there: Asking) -> None:
    there.comes = [request(state=RequestState.APPROVED, until_ms=NOW_MS + 3_600_000)]
    ran = run("request", "prod-db", "--for", "1h", "--reason", "INC-4711", "--login", "app")
    assert (ran.status, ran.out) == (0, f"granted prod-db until 11:03 (in 1 h) ({RID})\n"), ran
    (asked,) = there.asked
    assert (asked.target, asked.login, asked.reason, asked.for_s, asked.emergency) == ("prod-db", "app", "INC-4711", 3600, False)
    assert asked.key


def test_only_asking_prints_where_it_is_answered(run: Run, there: Asking) -> None:
    ran = run("request", "prod-db", "--no-wait")
    assert (ran.status, ran.out) == (0, f"{RID}  https://gw.example/approvals/{RID}\n")
    ran = run("request", "prod-db", "--no-wait", "--json", "--emergency")
    assert json.loads(ran.out)["request"]["rid"] == RID
    assert there.asked[-1].emergency


@pytest.mark.parametrize("length", ["1", "0h", "1d", "-1h", "h", "123456h", "1h30m", "\x1b[2J"])
def test_a_length_that_is_none_asks_nobody(run: Run, there: Asking, length: str) -> None:
    ran = run("request", "prod-db", f"--for={length}")
    assert (ran.status, "bad_request" in ran.err, "\x1b[2J" in ran.err) == (2, True, False), ran
    assert there.asked == []


def test_a_denied_request_is_a_denial(run: Run, there: Asking) -> None:
    there.comes = [request(state=RequestState.DENIED, answer="no")]
    ran = run("request", "prod-db")
    assert (ran.status, ran.out) == (126, "")
    assert "said no: no [approval_denied]" in ran.err


def test_the_inbox_is_a_table(run: Run, there: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    there.request = request(operation=DELETE, kind="operation")
    head, line = run("requests").out.splitlines()
    assert head.split() == ["REQUEST", "STATE", "WHO", "TARGET", "WHAT", "REASON", "LEFT"]
    assert all(word in line for word in (RID, "pending", "alice@example.com", "prod-db", "DELETE FROM orders", "INC-4711"))
    assert "\x1b" not in line
    assert "\u202e" not in line


@pytest.mark.parametrize("view", ["inbox", "mine", "unreviewed"])
def test_each_view_asks_for_its_own(run: Run, there: Asking, logged_in: FakeControlPlane, view: str) -> None:
    assert json.loads(run("requests", f"--{view}", "--json").out)["requests"][0]["rid"] == RID
    assert logged_in.requests[-1].path == f"/requests?view={view}"


def test_a_yes_is_to_what_was_shown(run: Run, there: Asking) -> None:
    ran = run("approve", RID, "--yes", "--reason", "fine")
    assert (ran.status, ran.out) == (0, f"{RID} is approved\n")
    (ballot,) = there.ballots
    assert (ballot.approve, ballot.digest, ballot.comment) == (True, there.request.digest, "fine")


def test_one_yes_of_two_says_who_is_still_waited_for(run: Run, there: Asking) -> None:
    there.missing = ["dba", "leads"]
    assert run("approve", RID, "--yes").out == f"{RID} is pending; still waits for dba, leads\n"


def test_a_no_needs_a_reason(run: Run, there: Asking) -> None:
    assert run("deny", RID).status == 2
    assert there.ballots == []
    assert run("deny", RID, "--reason", "not now").out == f"{RID} is denied\n"
    assert (there.ballots[0].approve, there.ballots[0].comment) == (False, "not now")


def test_a_request_is_taken_back(run: Run, there: Asking) -> None:
    assert run("withdraw", RID).out == f"{RID} is withdrawn\n"
    assert json.loads(run("withdraw", RID, "--json").out)["request"]["state"] == "withdrawn"


def test_a_yes_is_taken_back(run: Run, there: Asking) -> None:
    assert run("revoke", RID, "--reason", "it is over").out == f"{RID} is revoked\n"
    assert json.loads(run("revoke", RID, "--json").out)["request"]["state"] == "revoked"
    assert there.revoked == ["it is over", ""]


def test_an_emergency_is_reviewed(run: Run, there: Asking) -> None:
    there.request = request(state=RequestState.EXPIRED, emergency=True)
    assert run("review", RID, "--justified", "--reason", "INC-4711").out == f"{RID} is reviewed: justified\n"
    assert there.request.review is not None
    assert (there.request.review.justified, there.request.review.comment) == (True, "INC-4711")
    assert run("review", RID, "--unjustified", "--reason", "no").out == f"{RID} is reviewed: not justified\n"
    said = json.loads(run("review", RID, "--unjustified", "--reason", "no", "--json").out)
    assert said["request"]["review"]["justified"] is False


@pytest.mark.parametrize("words", [["--justified"], ["--reason", "x"], []])
def test_a_review_says_what_was_found_and_why(run: Run, there: Asking, logged_in: FakeControlPlane, words: list[str]) -> None:
    assert run("review", RID, *words).status == 2
    assert logged_in.requests == []


def test_what_is_no_emergency_is_not_reviewed(run: Run, there: Asking) -> None:
    ran = run("review", RID, "--justified", "--reason", "x")
    assert (ran.status, ran.out) == (2, "")
    assert "Only an emergency is reviewed. [bad_request]" in ran.err


def test_history_goes_back_day_by_day(run: Run, there: Asking, logged_in: FakeControlPlane) -> None:
    asked = lambda: [each.path for each in logged_in.requests]  # noqa: E731
    run("requests", "--history", "--since", "24h", "--limit", "5", "--json")
    assert asked() == [
        "/requests?view=history&day=2026-11-20&limit=5",
        "/requests?view=history&day=2026-11-19&limit=4",
    ]
    del logged_in.requests[:]
    assert len(json.loads(run("requests", "--history", "--days", "3", "--json").out)["requests"]) == 4
    assert len(asked()) == 4
    del logged_in.requests[:]
    there.request = request(asked_ms=NOW_MS - 7_200_001)
    assert run("requests", "--history", "--since", "2h").err.strip() == "Nothing was asked since then."
    assert len(asked()) == 1


@pytest.mark.parametrize(
    "words", [["--since", "2h"], ["--days", "2"], ["--history", "--since", "2h", "--days", "2"], ["--history", "--days", "0"]]
)
def test_days_are_the_historys(run: Run, there: Asking, logged_in: FakeControlPlane, words: list[str]) -> None:
    assert run("requests", *words).status == 2
    assert logged_in.requests == []


@pytest.mark.parametrize("command", ["approve", "deny", "withdraw", "revoke", "review"])
@pytest.mark.parametrize("rid", ["req_../../whoami", "ses_1", "", "req_x/votes", "req_%2e"])
def test_what_is_no_identifier_reaches_no_address(run: Run, logged_in: FakeControlPlane, command: str, rid: str) -> None:
    more = {"deny": ["--reason", "x"], "review": ["--justified", "--reason", "x"]}.get(command, [])
    assert run(command, rid, *more).status != 0
    assert logged_in.requests == []


class Somebody:
    """A person at the terminal, who says ``answer``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
        self.asked: list[str] = []
        monkeypatch.setattr(commands, "is_terminal", lambda stream: stream is sys.stdin)
        monkeypatch.setattr(click, "confirm", self._confirm)
        self._answer = answer

    def _confirm(self, words: str, **_: object) -> bool:
        self.asked.append(words)
        return self._answer


def test_a_person_is_shown_everything_and_nothing_of_it_is_obeyed(
    run: Run, there: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = Somebody(monkeypatch, True)
    read = {"verbs": {"DELETE", "NOTIFY"}, "objects": {"public.orders", "public.x\x1b]0;\x07"}, "flags": {"no_where"}}
    operation = msgspec.structs.replace(DELETE, **{name: frozenset(found) for name, found in read.items()})
    there.request = request(kind="operation", operation=operation, risks=["About 4,711 rows.\x1b[2J"])
    ran = run("approve", RID)
    assert (ran.status, somebody.asked) == (0, ["Agree?"])
    for shown in (
        "alice@example.com (sre)",
        "prod-db as app (postgres)",
        "INC-4711",
        "ask-a-dba (policy version ",
        "DELETE, NOTIFY",
        "public.orders, public.x",
        "no_where",
        "1 use(s)",
        "ab" * 32,
        "! About 4,711 rows.",
        "  | DELETE FROM orders",
        "  | WHERE id = $1 -- ",
        "It holds characters that a terminal cannot show; as JSON:",
        r"\u001b[2J\u202e",
        "  $1 = 4711",
        "  $2 = ",
        "  PGOPTIONS=",
    ):
        assert shown in ran.err, (shown, ran.err)
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.err + ran.out)


@pytest.mark.parametrize(("times", "words"), [(1, "once with an approval"), (3, "3 times with an approval")])
def test_what_was_done_before_is_said(run: Run, there: Asking, monkeypatch: pytest.MonkeyPatch, times: int, words: str) -> None:
    Somebody(monkeypatch, True)
    there.request = request(kind="operation", operation=DELETE, before=Precedent(times=times, first_ms=1, last_ms=NOW_MS))
    assert words in run("approve", RID).err


def test_a_long_operation_is_cut_nowhere(run: Run, there: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    Somebody(monkeypatch, True)
    text = "SELECT " + ", ".join(f"column_{n}" for n in range(5_000)) + "\n" * 300 + "FROM last_word"
    there.request = request(kind="operation", operation=DELETE.__class__(kind="query", text=text, effects=DELETE.effects))
    ran = run("approve", RID)
    assert "column_4999" in ran.err
    assert "FROM last_word" in ran.err


def test_who_does_not_agree_has_not_voted(run: Run, there: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    Somebody(monkeypatch, False)
    assert run("approve", RID).status != 0
    assert there.ballots == []


def test_without_a_person_only_a_script_may_agree(run: Run, there: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "is_terminal", lambda stream: False)
    ran = run("approve", RID)
    assert (ran.status, "--yes" in ran.err, there.ballots) == (2, True, [])
