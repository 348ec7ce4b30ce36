"""Two accounts of one human, at a real identity provider that calls people by their user names: one voter, and one asker."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from infra.local.cloud import EmbeddedCloud
from infra.local.people import Person as Account
from tests.integration.control.conftest import FILES, enrolled
from tests.integration.control.parties import Api, Person

pytestmark = pytest.mark.servers

TWO = """
@id("ask") @message("Two have to agree.") @approval("group:dba quorum:2 ttl:10m")
forbid(principal, action == Action::"connect", resource) unless { context.approvals.contains("dba") };
@id("dbas") permit(principal in Group::"dba", action == Action::"approve", resource);
"""


@dataclass(frozen=True, slots=True)
class Second(Account):
    """Another account of somebody's, with the same e-mail address."""

    of: str = ""

    @property
    def email(self) -> str:
        return f"{self.of}@example.com"


class Town:
    """Alice asks; alice, her second account and two others are DBAs, one of whom has a second account, too."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        api = Api(cloud.http_url)
        for account in (
            Account("dora", ("dba",)),
            Second("alice-admin", ("dba", "platform"), of="alice"),
            Second("ALICE-UPPER", ("dba",), of="ALICE"),
            Second("bob-too", ("dba",), of="bob"),
        ):
            cloud.idp.add(account)
        cloud.idp.set_groups("alice", "sre", "dba")
        names = ("alice", "alice-admin", "ALICE-UPPER", "bob", "bob-too", "dora", "pat")
        self.people = {name: Person(api, name).login() for name in names}
        agent = enrolled(api, self.people["pat"], "edge")
        assert agent.announce()[0] == 200
        status, plan = self.people["pat"].call("POST", "/config/apply", {"files": FILES | {"ask.cedar": TWO}})
        assert status == 200, plan

    def ask(self) -> dict[str, Any]:
        status, found = self.people["alice"].call("POST", "/requests", {"target": "web-1", "reason": "ticket 7"})
        assert status == 200, found
        return dict(found["request"])

    def vote(self, who: str, request: dict[str, Any], approve: bool = True) -> str:
        ballot = {"approve": approve, "digest": request["digest"], "comment": "so"}
        status, found = self.people[who].call("POST", f"/requests/{request['rid']}/votes", ballot)
        return str(found["request"]["state"] if status == 200 else found["error"]["code"])


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with (
        EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("SALLYPORT_PRINCIPAL_CLAIM", "preferred_username")
        yield Town(cloud)


def test_they_are_two_accounts(town: Town) -> None:
    assert [town.people[name].call("GET", "/whoami")[1]["principal"] for name in ("alice", "alice-admin")] == [
        "alice",
        "alice-admin",
    ]


@pytest.mark.parametrize("approve", [True, False])
def test_nobody_answers_their_own_with_any_account(town: Town, approve: bool) -> None:
    request = town.ask()
    for who in ("alice", "alice-admin", "ALICE-UPPER"):
        assert town.vote(who, request, approve) == "own_request"
    assert "votes" not in town.people["alice"].call("GET", f"/requests/{request['rid']}")[1]["request"]


def test_two_accounts_of_one_human_are_no_quorum(town: Town) -> None:
    request = town.ask()
    assert [town.vote(who, request) for who in ("bob", "bob-too", "bob")] == ["pending", "voted_already", "voted_already"]
    assert town.vote("dora", request) == "approved"
