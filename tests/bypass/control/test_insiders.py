"""Administrators, agents and passers-by who want evidence gone or changed, with what the control plane's API gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import urllib3
from websockets.exceptions import InvalidStatus

from tests.bypass.http import ask
from tests.bypass.world import World
from tests.integration.control.parties import PROTOCOL, AgentParty, Api, Chunks, Socket
from tests.patience import until

pytestmark = pytest.mark.servers

SECOND = """
  second:
    protocol: ssh
    agent: edge-2
    address: 127.0.0.1:9
    tags: [prod]
    logins: {web: {credential: web-key}}
"""


def code(answer: tuple[int, Any]) -> str:
    return str(answer[1]["error"]["code"])


def files(world: World, **changed: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in world.gateway.iterdir()} | changed


def apply(world: World, given: dict[str, str], who: str = "pat") -> tuple[int, dict[str, Any]]:
    return world.api("POST", "/config/apply", {"files": given}, who=who)


def enrolled(world: World, name: str) -> AgentParty:
    status, token = world.api("POST", "/agents/tokens", {"name": name}, who="pat")
    assert status == 200, token
    party = AgentParty(Api(world.stack.url))
    assert party.enrol(token["token"])[0] == 200
    assert party.enrol(token["token"])[0] in (400, 401), "a token enrols once"
    return party


def websocket_url(world: World) -> str:
    return str(json.loads((world.stack.folder / "cloud.json").read_text())["ws_url"])


class Second:
    """A second agent, which we are, with a live session of alice's."""

    def __init__(self, world: World, open_: ExitStack) -> None:
        self.world = world
        self.agent = enrolled(world, "edge-2")
        # The demo's rules hold some commands on what is tagged prod, so whoever serves such a target says that it can wait.
        controls = [each | ({"enforced": True} if each["name"] == "hold" else {}) for each in PROTOCOL["controls"]]  # type: ignore[attr-defined]
        announced = {"protocols": [PROTOCOL | {"controls": controls}], "credentials": ["web-key"]}
        assert self.agent.call("/agent/announce", announced)[0] == 200
        status, plan = apply(world, files(world, **{"gateway.yaml": files(world)["gateway.yaml"] + SECOND}))
        assert status == 200, plan
        socket = Socket(websocket_url(world), self.agent.headers("control"))
        open_.callback(socket.close)
        self.sid = world.offer("second")["sid"]
        assert self.agent.call(f"/agent/sessions/{self.sid}/claim", {"path": "relay"})[0] == 200
        self.chain = Chunks(self.sid, self.agent)

    def register(self, body: bytes) -> tuple[int, Any]:
        asked = {"chunk": self.chain.next(body), "operations": 0, "denied": 0}
        return self.agent.call(f"/agent/sessions/{self.sid}/chunks", asked)

    def close(self) -> tuple[int, Any]:
        end = {"state": "ended", "message": "", "chunks": self.chain.n, "chain": self.chain.head, "operations": 0, "denied": 0}
        return self.agent.call(f"/agent/sessions/{self.sid}/close", end)


@pytest.fixture
def second(world: World) -> Iterator[Second]:
    with ExitStack() as open_:
        yield Second(world, open_)
    world.restore()


def put(ticket: dict[str, Any], body: bytes, **changed: str) -> int:
    headers = ticket["headers"] | {"content-length": str(len(body))} | changed
    return int(urllib3.request("PUT", ticket["url"], body=body, headers=headers, retries=False).status)


# --- what belongs to administrators and agents, asked for by everybody else


ADMINISTER: list[tuple[str, str, Any]] = [
    ("GET", "/config", None),
    ("POST", "/config/plan", {"files": {}}),
    ("POST", "/config/apply", {"files": {}}),
    ("POST", "/agents/tokens", {"name": "edge-1"}),
    ("GET", "/agents", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMINISTER)
@pytest.mark.parametrize("who", ["alice", "bob", "carol", "mallory"])
def test_administration_is_for_administrators(world: World, who: str, method: str, path: str, body: Any) -> None:
    assert code(world.api(method, path, body, who=who)) == "denied"
    assert ask(world.stack.url, method, path, body)[0] == 401


OF_A_SESSION = ["sessions/{}/claim", "sessions/{}/chunks", "sessions/{}/report", "sessions/{}/close"]


@pytest.mark.parametrize("path", ["announce", "sessions", *OF_A_SESSION])
def test_nobody_is_an_agent_by_a_persons_token(world: World, path: str) -> None:
    sid = world.offer()["sid"]
    for who in ("alice", "pat"):
        assert world.api("POST", f"/agent/{path.format(sid)}", {}, who=who)[0] == 401


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "POST"])
def test_no_road_of_the_api_deletes_or_writes_evidence(world: World, method: str) -> None:
    world.run("ssh", "prod-web", "echo evidence")
    sid = world.sessions()[0]["sid"]
    before = world.api("GET", f"/sessions/{sid}")[1]["sid"]
    for path in (f"/sessions/{sid}", f"/sessions/{sid}/recording", f"/sessions/{sid}/chunks", "/events", "/audit", "/config"):
        assert ask(world.stack.url, method, path, {}, f"Bearer {world.saved('pat')['token']}")[0] in (403, 404, 405)
    assert world.api("GET", f"/sessions/{sid}")[1]["sid"] == before


# --- recording cannot be switched off


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("require: [record]", "require: [no-record]"),
        ("require: [record]", "record: false"),
        ("shell: guarded", "shell: unrecorded"),
        ("shell: guarded", "record: false"),
        ("shell: guarded", "shell: guarded\n      recording: off"),
        ("max_session: 8h", "max_session: 8h\n    recording: none"),
        ("max_session: 8h", "max_session: 9999h"),
        ("version: 1", "version: 1\nrecording: false"),
    ],
)
def test_no_configuration_switches_recording_off(world: World, old: str, new: str) -> None:
    text = files(world)["gateway.yaml"]
    assert old in text
    assert code(apply(world, files(world, **{"gateway.yaml": text.replace(old, new, 1)}))) == "config_invalid"


def test_the_twin_without_require_is_recorded_all_the_same(world: World) -> None:
    text = files(world)["gateway.yaml"].replace("    require: [record]\n", "")
    assert apply(world, files(world, **{"gateway.yaml": text}))[0] == 200
    try:
        assert world.run("ssh", "prod-web", "echo without-require").returncode == 0
        sid = world.sessions(target="prod-web")[0]["sid"]
        until(lambda: world.api("GET", f"/sessions/{sid}")[1]["state"] == "ended", "the session ends")
        assert any("without-require" in line for line in world.recorded(sid))
    finally:
        world.restore()


def test_every_change_is_an_event_that_names_its_author(world: World) -> None:
    before = events(world)
    assert apply(world, files(world))[0] == 200
    token = world.api("POST", "/agents/tokens", {"name": "edge-3"}, who="pat")[1]["token"]
    for _ in range(2):
        party = AgentParty(Api(world.stack.url))
        assert party.enrol(token)[0] == 200
        token = world.api("POST", "/agents/tokens", {"name": "edge-3"}, who="pat")[1]["token"]
    new = [each for each in events(world) if each not in before]
    said = "\n".join(new)
    assert sum("pat@example.com" in each for each in new) >= 4, "an apply and three tokens"
    assert "replaced" in said
    assert said.count("fingerprint") == 2


def events(world: World) -> list[str]:
    return [repr(row) for row in world.rows() if "evt_" in repr(row.get("pk", "")) + repr(row.get("sk", "")) + repr(row)]


# --- an agent that turned


def test_a_chunk_is_registered_once_and_stored_once(world: World, second: Second) -> None:
    status, ticket = second.register(b"the truth")
    assert status == 200
    assert put(ticket, b"the truth") == 200
    assert put(ticket, b"the truth") == 412
    assert put(ticket, b"a better t") != 200
    assert put(ticket, b"the lie!!") != 200
    # Another key under the same signature, and another method.
    elsewhere = ticket["url"].replace("000000_", "000001_")
    assert urllib3.request("PUT", elsewhere, body=b"the truth", headers=ticket["headers"], retries=False).status == 403
    assert int(urllib3.request("DELETE", ticket["url"], retries=False).status) in (403, 405)
    # The same number again, with other content, continues no chain.
    forged = Chunks(second.sid, second.agent).next(b"the lie!!")
    again = second.agent.call(f"/agent/sessions/{second.sid}/chunks", {"chunk": forged, "operations": 0, "denied": 0})
    assert code(again) == "chunk_conflict"
    assert world.aws("s3").get_object(Bucket=world.stack.bucket, Key=key(world, second.sid))["Body"].read() == b"the truth"
    assert second.register(b"and more")[0] == 200
    assert second.close()[0] == 200
    assert code(second.register(b"afterwards")) == "session_ended"


def key(world: World, sid: str) -> str:
    return next(each for each, _ in world.stack.recordings() if sid in each)


def test_an_agent_speaks_of_its_own_sessions_only(world: World, second: Second) -> None:
    sid = world.offer()["sid"]
    body = {"chunk": Chunks(sid, second.agent).next(b"x"), "operations": 0, "denied": 0}
    end = {"state": "ended", "message": "", "chunks": 0, "chain": "0" * 64, "operations": 0, "denied": 0}
    for path, asked in (("claim", {"path": "relay"}), ("chunks", body), ("report", {"denied": []}), ("close", end)):
        assert code(second.agent.call(f"/agent/sessions/{sid}/{path}", asked)) == "unknown_session"


def test_counters_and_ends_are_not_taken_back(world: World, second: Second) -> None:
    chunk = second.chain.next(b"one")
    assert second.agent.call(f"/agent/sessions/{second.sid}/chunks", {"chunk": chunk, "operations": 9, "denied": 5})[0] == 200
    assert second.close()[0] == 200
    session = world.api("GET", f"/sessions/{second.sid}")[1]
    assert (session["operations"], session["denied"], session["chunks"]) == (9, 5, 1)
    assert second.close()[0] == 200
    assert code(second.agent.call(f"/agent/sessions/{second.sid}/claim", {"path": "relay"})) == "ticket_used"


def test_an_agent_that_was_replaced_still_hands_in_what_it_recorded(world: World, second: Second) -> None:
    assert second.register(b"before")[0] == 200
    enrolled(world, "edge-2")
    status, ticket = second.register(b"what the administrator wanted gone")
    assert status == 200
    assert put(ticket, b"what the administrator wanted gone") == 200
    denied = {"time_ms": 1, "kind": "exec", "text": "rm", "digest": "0" * 64, "rules": [], "message": "No."}
    assert second.agent.call(f"/agent/sessions/{second.sid}/report", {"denied": [denied]})[0] == 200
    assert second.close()[0] == 200
    assert world.api("GET", f"/sessions/{second.sid}")[1]["chunks"] == 2


def test_an_agent_that_was_replaced_is_an_agent_for_nothing_else(world: World, second: Second) -> None:
    successor = enrolled(world, "edge-2")
    assert successor.announce()[0] == 200
    assert code(second.agent.announce()) == "agent_unknown"
    assert code(second.agent.call("/agent/sessions", {"certificate": "c", "target": "second"})) == "agent_unknown"
    assert code(second.agent.call(f"/agent/sessions/{second.sid}/claim", {"path": "relay"})) == "agent_unknown"
    with pytest.raises(InvalidStatus):
        Socket(websocket_url(world), second.agent.headers("control"))
    # Nor does the successor speak of what it did not record, although it has the name.
    end = {"state": "ended", "message": "", "chunks": 0, "chain": second.chain.head, "operations": 0, "denied": 0}
    assert code(successor.call(f"/agent/sessions/{second.sid}/close", end)) == "unknown_session"


# --- files that are bombs


NESTED = 'permit(principal, action, resource) when { context.text like "' + "*a" * 4_000 + '" };'
BOMBS: dict[str, dict[str, str]] = {
    "aliases": {"gateway.yaml": "a: &a [x,x]\nb: &b [*a,*a]\nversion: 1\ntargets: {}\n"},
    "depth": {"gateway.yaml": "version: 1\ntargets: " + "{a: " * 20_000},
    "breadth": {"gateway.yaml": "version: 1\ntargets:\n" + "".join(f"  t{n}: {{}}\n" for n in range(20_000))},
    "long key": {"gateway.yaml": "version: 1\n" + "k" * 200_000 + ": 1\n"},
    "cedar brackets": {"x.cedar": "permit(principal, action, resource) when { " + "(" * 8_000},
    "cedar not": {"x.cedar": "permit(principal, action, resource) when { " + "!" * 15_000 + "true };"},
    "cedar minus": {"x.cedar": "permit(principal, action, resource) when { " + "-" * 15_000 + "1 == 1 };"},
    "cedar and": {"x.cedar": "permit(principal, action, resource) when { " + "true && " * 1_900 + "true };"},
    "cedar plus": {"x.cedar": "permit(principal, action, resource) when { " + "1+" * 7_000 + "1 == 1 };"},
    "cedar dots": {"x.cedar": "permit(principal, action, resource) when { context" + ".text" * 3_000 + " };"},
    "cedar and, less": {"x.cedar": "permit(principal, action, resource) when { " + "true && " * 470 + "true };"},
    "cedar if": {"x.cedar": "permit(principal, action, resource) when { " + "if true then " * 1_200 + "true };"},
    "cedar has": {"x.cedar": "permit(principal, action, resource) when { context" + " has text" * 1_500 + " };"},
    "cedar like": {"x.cedar": NESTED},
    "cedar conditions": {"x.cedar": "permit(principal, action, resource) " + "when { true } " * 1_100 + ";"},
    "rules": {"x.cedar": "".join(f'@id("r{n}") permit(principal, action, resource);\n' for n in range(5_000))},
    "names": {f"{n}.cedar": "" for n in range(2_000)},
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_harmless_and_the_gateway_lives(world: World, name: str) -> None:
    status, body = world.api("POST", "/config/plan", {"files": files(world, **BOMBS[name])}, who="pat")
    assert status in (200, 400, 413, 422), (status, body)
    assert status == 200 or code((status, body)) in {"config_invalid", "config_unenforceable", "too_large", "bad_request"}, body
    assert world.api("GET", "/config", who="pat")[0] == 200


def test_the_twin_a_long_rule_of_a_person(world: World) -> None:
    names = " || ".join(f'context.objects.contains("/srv/data/file-{n}")' for n in range(90))
    rule = f'@id("long") forbid(principal, action == Action::"transfer", resource) when {{ {names} }};'
    status, plan = world.api("POST", "/config/plan", {"files": files(world, **{"x.cedar": rule})}, who="pat")
    assert status == 200, plan


def test_an_apply_beside_another_one(world: World) -> None:
    version = world.api("GET", "/config", who="pat")[1]["version"]
    given = {"files": files(world), "expected_version": version - 1}
    assert code(world.api("POST", "/config/apply", given, who="pat")) == "config_conflict"
