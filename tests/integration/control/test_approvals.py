"""Asking others over the wire: real HTTP, real WebSockets, real signatures; and every road by which a yes could cover more."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey

from chalicelib.contracts.operation import Operation
from infra.local.cloud import EmbeddedCloud
from infra.local.people import Person as Account
from tests.integration.control.conftest import FILES, enrolled
from tests.integration.control.parties import PROTOCOL, AgentParty, Api, Person, Socket

pytestmark = pytest.mark.servers

ASK = """
@id("ask-dba") @message("A DBA has to agree.") @approval("group:dba ttl:10m")
forbid(principal, action == Action::"connect", resource == Target::"db-1") unless { context.approvals.contains("dba") };
@id("drop") @message("A DBA has to agree.") @approval("group:dba ttl:10m")
forbid(principal, action == Action::"run", resource) when { context.verbs.contains("DROP") }
unless { context.approvals.contains("dba") };
@id("dbas") permit(principal in Group::"dba", action == Action::"approve", resource);
"""
DB = FILES["gateway.yaml"].split("targets:\n")[1].replace("web-1", "db-1")
DROP = Operation(
    kind="query", text="DROP TABLE orders", effects=frozenset({"admin"}), verbs=frozenset({"DROP"}), arguments=("1",)
)
HOLDING = PROTOCOL | {
    "controls": [each | ({"enforced": True} if each["name"] == "hold" else {}) for each in PROTOCOL["controls"]]  # type: ignore[attr-defined]
}
#: Texts that try to be something else: markup, a terminal's commands, a line written backwards, a header.
HOSTILE = [
    "<script>alert(1)</script>",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202eevorppa",
    "a\r\nSet-Cookie: b=c",
    "{{7*7}}${7*7}\"'",
    "\x00\ufeff",
]


def code(answer: tuple[int, Any]) -> str:
    assert answer[0] >= 400, answer
    return str(answer[1]["error"]["code"])


class Party:
    """Everybody who takes part: alice asks; bob, dora and dave are DBAs; mallory is nobody."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self.cloud, self.api = cloud, Api(cloud.http_url)
        for name in ("dora", "dave"):
            cloud.idp.add(Account(name, ("dba",)))
        cloud.idp.add(Account("alicia", ("sre", "dba")))
        self.people = {name: Person(self.api, name).login() for name in ("alice", "bob", "dora", "dave", "mallory", "pat")}
        self.agent = enrolled(self.api, self.people["pat"], "edge")
        announced = {"protocols": [HOLDING], "credentials": ["web-key"]}
        assert self.agent.call("/agent/announce", announced)[0] == 200
        files = {"gateway.yaml": FILES["gateway.yaml"] + DB, "main.cedar": FILES["main.cedar"], "ask.cedar": ASK}
        status, plan = self.people["pat"].call("POST", "/config/apply", {"files": files})
        assert status == 200, plan

    def ask(self, who: str = "alice", **changed: Any) -> dict[str, Any]:
        status, found = self.people[who].call("POST", "/requests", {"target": "db-1", "reason": "ticket 7"} | changed)
        assert status == 200, found
        request: dict[str, Any] = found["request"]
        return request

    def vote(self, who: str, request: dict[str, Any], approve: bool = True, **changed: Any) -> tuple[int, Any]:
        ballot = {"approve": approve, "digest": request["digest"]} | changed
        return self.people[who].call("POST", f"/requests/{request['rid']}/votes", ballot)

    def live(self, target: str = "web-1") -> str:
        status, offer = self.people["alice"].call("POST", "/sessions", {"target": target})
        assert status == 200, offer
        assert self.agent.call(f"/agent/sessions/{offer['sid']}/claim", {"path": "relay"})[0] == 200
        return str(offer["sid"])

    def inside(self, sid: str, **changed: Any) -> dict[str, Any]:
        asked = {"operation": msgspec.to_builtins(DROP)} | changed
        status, found = self.agent.call(f"/agent/sessions/{sid}/requests", asked)
        assert status == 200, found
        return dict(found["request"])

    def use(self, sid: str, rid: str, key: str, digest: str = "", agent: AgentParty | None = None) -> tuple[int, Any]:
        body = {"digest": digest or DROP.digest(), "key": key}
        return (agent or self.agent).call(f"/agent/sessions/{sid}/requests/{rid}/use", body)


@pytest.fixture(scope="module")
def party() -> Iterator[Party]:
    with EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud:
        yield Party(cloud)


@pytest.fixture
def control(party: Party) -> Iterator[Socket]:
    socket = Socket(party.cloud.ws_url, party.agent.headers("control"))
    yield socket
    socket.close()


def capability(party: Party, token: str) -> dict[str, Any]:
    """Check a token as an agent does: with the published key and nothing else of ours."""
    key = ECKey.import_key(party.api.call("GET", "/trust")[1]["token_key"])
    found = jws.deserialize_compact(token, key, algorithms=["ES256"])
    assert found.headers()["typ"] == "sallyport-approval+jwt"
    claims: dict[str, Any] = msgspec.json.decode(found.payload)
    return claims


def test_from_the_question_to_the_statement(party: Party, control: Socket) -> None:
    sid = party.live()
    assert control.hear()["t"] == "offer"
    request = party.inside(sid, risks=["EXPLAIN estimates 120,000 rows"])
    assert (request["state"], request["principal"], request["operation"]["arguments"]) == ("pending", "alice@example.com", ["1"])
    assert party.vote("bob", request)[1]["request"]["state"] == "approved"
    heard = control.hear()
    assert (heard["t"], heard["rid"], heard["state"], heard["sid"]) == ("decided", request["rid"], "approved", sid)
    claims = capability(party, heard["approval"])
    assert (claims["digest"], claims["sid"], claims["aud"]) == (DROP.digest(), sid, party.agent.agent_id)
    assert party.use(sid, request["rid"], "k1") == (200, {"used": 1, "uses": 1})
    assert party.use(sid, request["rid"], "k1") == (200, {"used": 1, "uses": 1})
    assert code(party.use(sid, request["rid"], "k2")) == "approval_used"


def test_a_command_line_waits_and_goes_on_by_itself(party: Party, control: Socket) -> None:
    alice = party.people["alice"]
    assert code(alice.call("POST", "/sessions", {"target": "db-1"})) == "approval_required"
    request = party.ask()
    headers = {"Authorization": f"Bearer {alice.token}", "X-Sallyport-Socket": "request", "X-Sallyport-Request": request["rid"]}
    waiting = Socket(party.cloud.ws_url, headers)
    assert party.vote("dora", request)[0] == 200
    assert waiting.hear() == {"t": "decided", "rid": request["rid"], "state": "approved"}
    waiting.close()
    status, offer = alice.call("POST", "/sessions", {"target": "db-1", "approval": request["rid"]})
    assert status == 200, offer
    assert code(alice.call("POST", "/sessions", {"target": "db-1", "approval": request["rid"]})) == "approval_used"


def test_an_agent_that_was_away_finds_the_yes(party: Party) -> None:
    first = Socket(party.cloud.ws_url, party.agent.headers("control"))
    sid = party.live()
    request = party.inside(sid)
    first.close()
    assert party.vote("bob", request)[0] == 200
    path = f"/agent/sessions/{sid}/requests/{request['rid']}"
    status, found = party.api.call("GET", path, None, party.agent.proof("GET", path))
    assert (status, found["request"]["state"]) == (200, "approved")
    assert capability(party, found["approval"])["rid"] == request["rid"]


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(DROP, text="DROP TABLE orders;"),
        msgspec.structs.replace(DROP, arguments=("2",)),
        msgspec.structs.replace(DROP, environment=(("search_path", "x"),)),
    ],
)
def test_a_yes_to_other_bytes_covers_nothing(party: Party, control: Socket, other: Operation) -> None:
    sid = party.live()
    request = party.inside(sid)
    party.vote("bob", request)
    assert code(party.use(sid, request["rid"], "k", other.digest())) == "approval_mismatch"
    assert party.use(sid, request["rid"], "k")[0] == 200


def test_a_yes_to_another_session_or_agent_covers_nothing(party: Party, control: Socket) -> None:
    sid, elsewhere = party.live(), party.live()
    request = party.inside(sid)
    party.vote("bob", request)
    assert code(party.use(elsewhere, request["rid"], "k")) == "unknown_request"
    west = enrolled(party.api, party.people["pat"], "west")
    assert code(party.use(sid, request["rid"], "k", agent=west)) == "unknown_session"
    path = f"/agent/sessions/{sid}/requests/{request['rid']}"
    assert code(party.api.call("GET", path, None, west.proof("GET", path))) == "unknown_session"


def test_somebody_elses_yes_opens_nothing(party: Party, control: Socket) -> None:
    request = party.ask(reason="for pat")
    party.vote("bob", request)
    pat = party.people["pat"]
    assert code(pat.call("POST", "/sessions", {"target": "db-1", "approval": request["rid"]})) == "unknown_request"
    assert code(pat.call("POST", "/sessions", {"target": "db-1"})) == "approval_required"


def test_nobody_decides_alone(party: Party) -> None:
    party.people["alicia"] = Person(party.api, "alicia").login()
    own = party.ask("alicia")
    assert code(party.vote("alicia", own)) == "own_request"
    assert code(party.vote("pat", own)) == "denied"
    assert code(party.vote("mallory", own)) == "unknown_request"
    assert party.people["mallory"].call("GET", "/requests?view=history")[1]["requests"] == []
    # The twin: to somebody else's she may say yes.
    assert party.vote("alicia", party.ask(reason="the twin"))[1]["request"]["state"] == "approved"


def test_a_link_alone_or_a_proof_or_a_ticket_decides_nothing(party: Party, control: Socket) -> None:
    request = party.ask(reason="links")
    path = f"/requests/{request['rid']}/votes"
    ballot = {"approve": True, "digest": request["digest"]}
    ticket = party.people["alice"].call("POST", "/sessions", {"target": "web-1"})[1]["ticket"]
    for authorization in ("", f"Bearer {ticket}", party.agent.proof("POST", path, msgspec.json.encode(ballot))):
        assert party.api.call("POST", path, ballot, authorization)[0] == 401
    for method in ("GET", "PUT", "DELETE"):
        assert party.api.call(method, path, ballot, f"Bearer {party.people['bob'].token}")[0] in (403, 404, 405)
    assert party.people["bob"].call("GET", f"/requests/{request['rid']}")[1]["request"]["state"] == "pending"


def test_a_group_that_was_taken_away_ends_with_the_next_login(party: Party) -> None:
    request = party.ask(reason="stale")
    party.cloud.idp.set_groups("dave")
    try:
        Person(party.api, "dave").login()
        # The old token still carries the group.
        assert code(party.vote("dave", request)) == "denied"
    finally:
        party.cloud.idp.set_groups("dave", "dba")
    party.people["dave"].login()
    assert party.vote("dave", request)[0] == 200


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_come_back_as_they_are_and_do_nothing(party: Party, text: str) -> None:
    request = party.ask(reason=text)
    found = party.people["bob"].call("GET", f"/requests/{request['rid']}")[1]["request"]
    assert found["reason"] == text
    status, after = party.vote("bob", request, approve=False, comment=text)
    assert (status, after["request"]["answer"]) == (200, text)


def test_ten_megabytes_are_refused(party: Party) -> None:
    before = len(party.people["alice"].call("GET", "/requests?view=mine")[1]["requests"])
    for size, statuses in ((2_001, {413}), (900_000, {413}), (10_000_000, {413})):
        answer = party.people["alice"].call("POST", "/requests", {"target": "db-1", "reason": "x" * size})
        assert answer[0] in statuses
    assert len(party.people["alice"].call("GET", "/requests?view=mine")[1]["requests"]) == before
