"""Every route: who may call it, what it refuses, and that nothing but words leaves with a failure."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

import app as application
from chalicelib.contracts.api import BODY_LIMIT
from chalicelib.contracts.faults import CODES
from tests.fakes.approvals import DAN, EVERYBODY, FILES_ASK, HOLDING
from tests.fakes.world import ADMIN, ALICE, CAROL, FILES, MALLORY, SSH
from tests.unit.chalicelib.entrypoints.conftest import Gateway

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
RID = "req_01JD8QZ6T3N0V9C4K2M7X5B1HR"
PEOPLE = [
    ("POST", "/logout"),
    ("GET", "/whoami"),
    ("GET", "/targets"),
    ("POST", "/sessions"),
    ("GET", "/sessions"),
    ("GET", f"/sessions/{SID}"),
    ("GET", f"/sessions/{SID}/recording"),
    ("POST", "/requests"),
    ("GET", "/requests"),
    ("GET", f"/requests/{RID}"),
    ("POST", f"/requests/{RID}/votes"),
    ("POST", f"/requests/{RID}/withdraw"),
    ("POST", f"/requests/{RID}/revoke"),
    ("POST", f"/requests/{RID}/review"),
    ("POST", f"/sessions/{SID}/unmask"),
    ("POST", f"/sessions/{SID}/watch"),
    ("POST", f"/sessions/{SID}/kill"),
    ("POST", f"/requests/{RID}/unmask"),
    ("POST", "/originals/erasures"),
    ("POST", f"/requests/{RID}/erase"),
]
ADMINISTRATORS = [
    ("GET", "/config"),
    ("POST", "/config/plan"),
    ("POST", "/config/apply"),
    ("POST", "/agents/tokens"),
    ("GET", "/agents"),
    ("GET", "/notifications/dead"),
]
AGENTS = [
    ("POST", "/agent/announce"),
    ("POST", "/agent/sessions"),
    ("POST", "/agent/log"),
    ("POST", "/agent/log/cosignatures"),
    ("POST", "/agent/log/alarms"),
    ("POST", f"/agent/sessions/{SID}/claim"),
    ("POST", f"/agent/sessions/{SID}/chunks"),
    ("POST", f"/agent/sessions/{SID}/report"),
    ("POST", f"/agent/sessions/{SID}/close"),
    ("POST", f"/agent/sessions/{SID}/requests"),
    ("GET", f"/agent/sessions/{SID}/requests/{RID}"),
    ("POST", f"/agent/sessions/{SID}/requests/{RID}/withdraw"),
    ("POST", f"/agent/sessions/{SID}/requests/{RID}/use"),
]
PUBLIC = [
    ("GET", "/health"),
    ("GET", "/trust"),
    ("POST", "/login"),
    ("GET", "/login/callback"),
    ("POST", "/login/redeem"),
    ("POST", "/agents/enrol"),
    ("GET", "/static/{name}"),
]
#: Pages take a browser's session and nothing else; test_pages.py holds them.
PAGES = [
    ("GET", "/"),
    ("GET", "/approvals"),
    ("GET", "/approvals/list"),
    ("GET", "/approvals/decided"),
    ("GET", f"/approvals/{RID}"),
    ("GET", f"/approvals/{RID}/now"),
]
FORMS = [("POST", f"/approvals/{RID}/{deed}") for deed in ("answer", "withdraw", "revoke", "review")]
FORMS += [("POST", "/logout/browser"), ("POST", "/login/browser"), ("POST", "/slack/interactive")]


def code(answer: tuple[int, Any]) -> str:
    status, body = answer
    assert CODES[body["error"]["code"]].status == status
    assert set(body) == {"error", "problems"}
    return str(body["error"]["code"])


def test_this_list_of_routes_is_whole() -> None:
    declared = {(method, path) for path, methods in application.app.routes.items() for method in methods}
    known = {
        (method, path.replace(SID, "{sid}").replace(RID, "{rid}"))
        for method, path in PEOPLE + ADMINISTRATORS + AGENTS + PUBLIC + PAGES + FORMS
    }
    assert declared == known


@pytest.mark.parametrize(("method", "path"), PEOPLE + ADMINISTRATORS)
@pytest.mark.parametrize("who", [None, "Bearer x.y.z", "Basic YTpi", "Resume x", "Agent x.y.z"])
def test_people_log_in(gateway: Gateway, method: str, path: str, who: str | None) -> None:
    assert code(gateway.call(method, path, {}, who)) in ("login_required", "token_invalid")


@pytest.mark.parametrize(("method", "path"), PEOPLE + ADMINISTRATORS)
def test_tickets_and_proofs_are_no_logins(gateway: Gateway, method: str, path: str) -> None:
    _, ticket = gateway.world.open()
    raw = b"{}"
    assert code(gateway.call(method, path, raw, f"Bearer {ticket}")) == "token_invalid"
    proof = gateway.world.keys.proof(gateway.world.clock, method, path, raw)
    assert code(gateway.call(method, path, raw, proof)) == "login_required"
    assert code(gateway.call(method, path, raw, proof.replace("Agent", "Bearer"))) == "token_invalid"


@pytest.mark.parametrize(("method", "path"), ADMINISTRATORS)
@pytest.mark.parametrize("who", [ALICE, CAROL, MALLORY])
def test_only_administrators_administer(gateway: Gateway, method: str, path: str, who: Any) -> None:
    before = len(gateway.world.store.recorded)
    assert code(gateway.call(method, path, {"files": FILES, "name": "x"}, who)) == "denied"
    assert len(gateway.world.store.recorded) == before


@pytest.mark.parametrize(("method", "path"), AGENTS)
def test_agents_prove_themselves(gateway: Gateway, method: str, path: str) -> None:
    _, ticket = gateway.world.open()
    for who in (None, ADMIN, f"Bearer {ticket}", f"Agent {ticket}", "Agent x"):
        assert code(gateway.call(method, path, b"{}", who)) == "agent_proof_invalid"


@pytest.mark.parametrize(("method", "path"), AGENTS)
def test_a_proof_is_for_one_path_one_body_and_one_time(gateway: Gateway, method: str, path: str) -> None:
    world = gateway.world
    elsewhere = world.keys.proof(world.clock, method, f"{path}/x", b"{}")
    assert code(gateway.call(method, path, b"{}", elsewhere)) == "agent_proof_invalid"
    proof = world.keys.proof(world.clock, method, path, b"{}")
    assert code(gateway.call(method, path, b'{"a":1}', proof)) == "agent_proof_invalid"
    takes_nothing = method == "GET" or path.endswith(("/report", "/withdraw"))
    assert code(gateway.call(method, path, b"{}", proof)) == ("unknown_session" if takes_nothing else "bad_request")
    assert code(gateway.call(method, path, b"{}", proof)) == "agent_proof_invalid"


@pytest.mark.parametrize(("method", "path"), [each for each in PEOPLE + ADMINISTRATORS + AGENTS + PUBLIC if each[0] == "POST"])
def test_large_bodies_are_refused_before_anything_else(gateway: Gateway, method: str, path: str) -> None:
    assert code(gateway.call(method, path, b"x" * (BODY_LIMIT + 1))) == "too_large"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/login", "/login/redeem", "/agents/enrol"])
def test_bodies_of_another_shape_are_refused_in_words(gateway: Gateway, path: str, body: bytes) -> None:
    status, found = gateway.call("POST", path, body)
    assert code((status, found)) == "bad_request"
    assert "Traceback" not in json.dumps(found)


def test_a_body_that_misses_a_field_is_told_which(gateway: Gateway) -> None:
    _, found = gateway.call("POST", "/sessions", {"reason": "x"}, ALICE)
    assert "target" in found["error"]["message"]
    _, found = gateway.call("GET", "/sessions?limit=many", None, ALICE)
    assert code((400, found)) == "bad_request"


def test_our_own_mistakes_are_told_as_a_code_only(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret detail of the table")

    monkeypatch.setattr(gateway.world.store, "is_revoked", broken)
    status, found = gateway.call("GET", "/whoami", None, ALICE)
    assert code((status, found)) == "internal"
    assert "secret detail" not in json.dumps(found)
    assert "request " in found["error"]["message"]


def test_answers_are_json_and_not_kept(gateway: Gateway) -> None:
    assert gateway.call("GET", "/health") == (200, {"status": "ok"})
    assert gateway.headers["content-type"] == "application/json"
    assert gateway.headers["cache-control"] == "no-store"
    status, found = gateway.call("GET", "/trust")
    assert (status, set(found)) == (200, {"issuer", "ssh_ca", "token_key", "websocket_url", "log_key"})


def test_people_see_targets_and_open_sessions(gateway: Gateway) -> None:
    _, found = gateway.call("GET", "/targets", None, ALICE)
    assert [target["name"] for target in found["targets"]] == ["web-1"]
    status, offer = gateway.call("POST", "/sessions", {"target": "web-1"}, ALICE)
    assert status == 200
    _, page = gateway.call("GET", "/sessions?limit=5&state=offered", None, ALICE)
    assert [session["sid"] for session in page["sessions"]] == [offer["sid"]]
    assert gateway.call("GET", f"/sessions/{offer['sid']}", None, ALICE)[1]["target"] == "web-1"
    assert code(gateway.call("GET", f"/sessions/{offer['sid']}/recording", None, ALICE)) == "denied"
    assert gateway.call("GET", f"/sessions/{offer['sid']}/recording", None, CAROL)[1]["urls"] == []


def test_a_reason_of_ten_megabytes_leaves_nothing_behind(gateway: Gateway) -> None:
    before = len(gateway.world.store.recorded)
    assert code(gateway.call("POST", "/sessions", {"target": "web-1", "reason": "x" * 10_000_000}, ALICE)) == "too_large"
    assert code(gateway.call("POST", "/sessions", {"target": "web-1", "reason": "x" * 2001}, ALICE)) == "too_large"
    assert len(gateway.world.store.recorded) == before


def test_an_agent_works_through_a_session(gateway: Gateway) -> None:
    world = gateway.world
    status, config = gateway.agent("/agent/announce", {"protocols": [msgspec.to_builtins(SSH)], "credentials": []})
    assert (status, config["document"]["version"]) == (200, 1)
    sid, _ = world.open()
    assert gateway.agent(f"/agent/sessions/{sid}/claim", {"path": "relay"})[1]["session"]["state"] == "live"
    status, put = gateway.agent(f"/agent/sessions/{sid}/chunks", world.next_chunk(sid))
    assert (status, put["headers"]["if-none-match"]) == (200, "*")
    assert gateway.agent(f"/agent/sessions/{sid}/report", {"denied": []}) == (200, {})
    session = world.store.session(sid)
    assert session is not None
    close = {"state": "ended", "chunks": 1, "chain": session.chain, "operations": 1, "denied": 0}
    assert gateway.agent(f"/agent/sessions/{sid}/close", close) == (200, {})


def test_problems_travel_with_a_refused_configuration(gateway: Gateway) -> None:
    bomb = "a: &a [x]\nb: [*a, *a]\n"
    status, found = gateway.call("POST", "/config/apply", {"files": {"gateway.yaml": bomb, "../x.cedar": ""}}, ADMIN)
    assert code((status, found)) == "config_invalid"
    places = {(problem["file"], problem["line"]) for problem in found["problems"]}
    assert places == {("gateway.yaml", 1), ("../x.cedar", 0)}
    status, found = gateway.call("GET", "/config", None, ADMIN)
    assert (status, found["version"], found["files"]) == (200, 1, FILES)
    assert gateway.call("POST", "/config/plan", {"files": FILES}, ADMIN)[1]["changes"] == []
    assert gateway.call("GET", "/agents", None, ADMIN)[1]["agents"][0]["name"] == "edge"


def test_a_request_from_the_question_to_the_session(gateway: Gateway) -> None:
    world = gateway.world
    for who in (*EVERYBODY, ADMIN):
        world.login(who)
    plane = {"files": FILES_ASK}
    assert gateway.agent("/agent/announce", {"protocols": [msgspec.to_builtins(HOLDING)], "credentials": []})[0] == 200
    assert gateway.call("POST", "/config/apply", plane, ADMIN)[0] == 200
    assert code(gateway.call("POST", "/sessions", {"target": "db-1"}, ALICE)) == "approval_required"
    status, asked = gateway.call("POST", "/requests", {"target": "db-1", "reason": "ticket 7"}, ALICE)
    request = asked["request"]
    assert (status, request["state"], asked["missing"], asked["approval"]) == (200, "pending", ["dba"], "")
    path = f"/requests/{request['rid']}"
    assert code(gateway.call("GET", path, None, MALLORY)) == "unknown_request"
    assert code(gateway.call("POST", f"{path}/votes", {"approve": True, "digest": request["digest"]}, ALICE)) == "denied"
    inbox = gateway.call("GET", "/requests?view=inbox", None, DAN)[1]["requests"]
    assert [each["rid"] for each in inbox] == [request["rid"]]
    assert gateway.call("GET", path, None, DAN)[0] == 200
    status, after = gateway.call("POST", f"{path}/votes", {"approve": True, "digest": request["digest"]}, DAN)
    assert (status, after["request"]["state"], after["request"]["votes"][0]["voter"]) == (200, "approved", "dan@example.com")
    status, offer = gateway.call("POST", "/sessions", {"target": "db-1", "approval": request["rid"]}, ALICE)
    assert status == 200
    assert gateway.call("GET", f"/sessions/{offer['sid']}", None, ALICE)[1]["approval"] == request["rid"]
    assert gateway.call("GET", "/notifications/dead", None, ADMIN) == (200, {"letters": []})


def test_a_reason_or_comment_of_ten_megabytes_asks_nobody(gateway: Gateway) -> None:
    before = len(gateway.world.store.recorded)
    for size in (2_001, 10_000_000):
        body = {"target": "web-1", "reason": "x" * size}
        assert code(gateway.call("POST", "/requests", body, ALICE)) == "too_large"
        ballot = {"approve": True, "digest": "0", "comment": "x" * size}
        assert code(gateway.call("POST", f"/requests/{RID}/votes", ballot, ALICE)) == "too_large"
    assert (len(gateway.world.store.recorded), gateway.world.store.kept_cases) == (before, {})
