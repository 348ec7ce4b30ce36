"""Roads into a gateway that were walked in others, tried over the wire; beside each the innocent twin that must work."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest
import urllib3
from websockets.exceptions import InvalidStatus

from infra.local.cloud import EmbeddedCloud
from tests.integration.control.conftest import FILES, enrolled
from tests.integration.control.parties import AgentParty, Api, Chunks, Person, Socket

pytestmark = pytest.mark.servers


def code(answer: tuple[int, Any]) -> str:
    return str(answer[1]["error"]["code"])


def opened(engineer: Person, control: Socket) -> tuple[str, str]:
    status, offer = engineer.call("POST", "/sessions", {"target": "web-1"})
    assert status == 200, offer
    while control.hear()["t"] != "offer":
        pass
    return offer["sid"], offer["ticket"]


def refused(cloud: EmbeddedCloud, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as caught:
        Socket(cloud.ws_url, {name.replace("_", "-"): value for name, value in headers.items()})
    return caught.value.response.status_code


def test_each_kind_of_token_is_good_in_its_own_place_only(
    cloud: EmbeddedCloud, engineer: Person, agent: AgentParty, control: Socket
) -> None:
    sid, ticket = opened(engineer, control)
    client = Socket(cloud.ws_url, {"Authorization": f"Bearer {ticket}"})
    far = Socket(cloud.ws_url, agent.headers("session", sid))
    client.say(t="hello")
    resume = client.hear()["resume"]
    assert refused(cloud, Authorization=f"Bearer {engineer.token}") == 401
    assert refused(cloud, Authorization=f"Bearer {resume}") == 401
    assert refused(cloud, Authorization=f"Resume {ticket}") == 401
    assert refused(cloud, Authorization=f"Agent {engineer.token}", X_Sallyport_Socket="control") == 401
    for token in (ticket, resume, agent.proof("GET", "/whoami").removeprefix("Agent ")):
        assert code(engineer.api.call("GET", "/whoami", None, f"Bearer {token}")) == "token_invalid"
        assert code(engineer.api.call("POST", "/agent/announce", {}, f"Agent {token}")) == "agent_proof_invalid"
    client.close()
    far.close()


def test_a_proof_replayed_by_somebody_who_saw_it(agent: AgentParty) -> None:
    raw = b'{"protocols":[],"credentials":[]}'
    proof = agent.proof("POST", "/agent/sessions/x/claim", raw)
    assert code(agent.api.call("POST", "/agent/announce", raw, proof)) == "agent_proof_invalid"
    good = agent.proof("POST", "/agent/sessions/ses_x/claim", b'{"path":"relay"}')
    assert code(agent.api.call("POST", "/agent/sessions/ses_x/claim", b'{"path":"relay"}', good)) == "unknown_session"
    assert code(agent.api.call("POST", "/agent/sessions/ses_x/claim", b'{"path":"relay"}', good)) == "agent_proof_invalid"
    old = agent.proof("POST", "/agent/announce", raw, iat=int(time.time()) - 61)
    assert code(agent.api.call("POST", "/agent/announce", raw, old)) == "agent_proof_invalid"


def test_another_agent_gets_nothing_of_a_session(
    cloud: EmbeddedCloud, api: Api, admin: Person, engineer: Person, agent: AgentParty, control: Socket
) -> None:
    sid, _ = opened(engineer, control)
    west = enrolled(api, admin, "west")
    assert code(west.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})) == "unknown_session"
    assert refused(cloud, **{name.replace("-", "_"): value for name, value in west.headers("session", sid).items()}) == 404
    assert agent.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})[0] == 200


def test_a_route_from_another_connection_carries_nothing(
    cloud: EmbeddedCloud, engineer: Person, agent: AgentParty, control: Socket
) -> None:
    sid, ticket = opened(engineer, control)
    client = Socket(cloud.ws_url, {"Authorization": f"Bearer {ticket}"})
    far = Socket(cloud.ws_url, agent.headers("session", sid))
    client.say(t="hello")
    route = client.hear()["r"]
    assert far.hear()["t"] == "route"
    _, other_ticket = opened(engineer, control)
    thief = Socket(cloud.ws_url, {"Authorization": f"Bearer {other_ticket}"})
    thief.say(t="d", r=route, f="ZZZZ")
    assert thief.hear()["code"] == "route_invalid"
    client.say(t="d", r=route, f="AAAA")
    assert far.hear() == {"t": "f", "f": "AAAA"}
    for socket in (client, far, thief):
        socket.close()


def test_somebody_elses_recording(
    engineer: Person, stranger: Person, auditor: Person, agent: AgentParty, control: Socket
) -> None:
    sid, _ = opened(engineer, control)
    for path in (f"/sessions/{sid}", f"/sessions/{sid}/recording"):
        assert code(stranger.call("GET", path)) == "unknown_session"
    assert stranger.call("GET", "/sessions")[1]["sessions"] == []
    assert auditor.call("GET", f"/sessions/{sid}/recording")[0] == 200


def test_an_upload_is_exactly_what_was_registered(engineer: Person, agent: AgentParty, control: Socket) -> None:
    sid, _ = opened(engineer, control)
    agent.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})
    chain = Chunks(sid, agent)
    status, put = agent.call(f"/agent/sessions/{sid}/chunks", {"chunk": chain.next(b"evidence"), "operations": 0, "denied": 0})
    assert status == 200, put

    def upload(body: bytes, **changed: str) -> int:
        headers = {**put["headers"], "content-length": str(len(body))} | changed
        return int(urllib3.request("PUT", put["url"], body=body, headers=headers, retries=False).status)

    assert upload(b"Evidence") != 200
    assert upload(b"evidence and more") != 200
    without = {name: value for name, value in put["headers"].items() if name != "if-none-match"}
    assert urllib3.request("PUT", put["url"], body=b"evidence", headers=without, retries=False).status == 403
    assert upload(b"evidence") == 200
    assert upload(b"evidence") == 412


def test_a_reason_of_ten_megabytes(engineer: Person) -> None:
    status, _ = engineer.call("POST", "/sessions", {"target": "web-1", "reason": "x" * 10_000_000})
    assert status == 413
    assert code(engineer.call("POST", "/sessions", {"target": "web-1", "reason": "x" * 900_000})) == "too_large"


@pytest.mark.parametrize(
    "files",
    [
        {"gateway.yaml": "a: &a [x, x]\nb: &b [*a, *a]\nversion: 1\ntargets: {}\n"},
        {"gateway.yaml": "version: 1\ntargets: " + "[" * 50_000},
        {"gateway.yaml": "version: !!python/object/apply:os.system [id]\n"},
        FILES | {"../../etc/cron.d/x.cedar": ""},
        FILES | {"main.cedar": "permit(" + "(" * 20_000},
    ],
)
def test_bombs_in_a_configuration(admin: Person, agent: AgentParty, files: dict[str, str]) -> None:
    before = admin.call("GET", "/config")[1]["version"]
    assert code(admin.call("POST", "/config/apply", {"files": files})) == "config_invalid"
    assert admin.call("GET", "/config")[1]["version"] == before
    assert admin.call("POST", "/config/plan", {"files": FILES})[0] == 200


def test_a_login_cannot_be_finished_by_another_browsers_command_line(api: Api) -> None:
    alice = Person(api, "alice")
    _, url = alice.begin()
    location = alice.browse(url)
    stolen = location.split("code=")[1].split("&")[0]
    other = Person(api, "mallory")
    verifier, _ = other.begin()
    body = {"code": stolen, "verifier": verifier, "ssh_public_key": "ssh-ed25519 AAAA"}
    assert api.call("POST", "/login/redeem", body)[0] == 400
    from tests.integration.control.parties import openssh

    assert code(api.call("POST", "/login/redeem", body | {"ssh_public_key": openssh(other.key)})) == "login_failed"
    assert hashlib.sha256(stolen.encode()).hexdigest()


def test_an_email_that_nobody_verified(cloud: EmbeddedCloud, api: Api) -> None:
    from infra.local.people import Person as Known

    cloud.idp.add(Known("eve", ("platform",), email_verified=False))
    eve = Person(api, "eve")
    _, url = eve.begin()
    assert "error=identity_unverified" in eve.browse(url)
