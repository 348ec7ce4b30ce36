"""A session from login to replay, over the wire."""

from __future__ import annotations

import pytest
import urllib3

from infra.local.cloud import EmbeddedCloud
from tests.integration.control.parties import AgentParty, Chunks, Person, Socket

pytestmark = pytest.mark.servers


def opened(engineer: Person, control: Socket) -> tuple[str, str]:
    status, offer = engineer.call("POST", "/sessions", {"target": "web-1", "reason": "deploy"})
    assert status == 200, offer
    heard = control.hear()
    assert heard == {"t": "offer", "sid": offer["sid"], "ticket": offer["ticket"]}
    return offer["sid"], offer["ticket"]


def test_a_session_from_offer_to_replay(
    cloud: EmbeddedCloud, engineer: Person, auditor: Person, agent: AgentParty, control: Socket
) -> None:
    sid, ticket = opened(engineer, control)
    client = Socket(cloud.ws_url, {"Authorization": f"Bearer {ticket}"})
    far = Socket(cloud.ws_url, agent.headers("session", sid))
    client.say(t="hello")
    near_route, far_route = client.hear(), far.hear()
    assert near_route["t"] == far_route["t"] == "route"
    client.say(t="d", r=near_route["r"], f="AAEC")
    assert far.hear() == {"t": "f", "f": "AAEC"}
    far.say(t="d", r=far_route["r"], f="BBBB")
    assert client.hear() == {"t": "f", "f": "BBBB"}

    status, claimed = agent.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})
    assert status == 200, claimed
    assert claimed["session"]["state"] == "live"
    assert agent.call(f"/agent/sessions/{sid}/claim", {"path": "relay"})[1]["error"]["code"] == "ticket_used"

    chain = Chunks(sid, agent)
    for body in (b"first chunk", b"second chunk"):
        status, put = agent.call(f"/agent/sessions/{sid}/chunks", {"chunk": chain.next(body), "operations": chain.n, "denied": 0})
        assert status == 200, put
        answer = urllib3.request("PUT", put["url"], body=body, headers=put["headers"], retries=False)
        assert answer.status == 200, answer.data
        again = urllib3.request("PUT", put["url"], body=body, headers=put["headers"], retries=False)
        assert again.status == 412

    near, far_resume = near_route["resume"], far_route["resume"]
    again = Socket(cloud.ws_url, {"Authorization": f"Resume {near}"})
    again.say(t="hello")
    newer = again.hear()
    assert newer["gen"] > near_route["gen"]
    assert far.hear()["gen"] == newer["gen"]
    assert far_resume != near
    client.close()
    again.say(t="d", r=newer["r"], f="CCCC")
    assert far.hear() == {"t": "f", "f": "CCCC"}

    close = {"state": "ended", "chunks": 2, "chain": chain.head, "operations": 2, "denied": 0}
    assert agent.call(f"/agent/sessions/{sid}/close", close) == (200, {})
    status, links = auditor.call("GET", f"/sessions/{sid}/recording")
    assert status == 200, links
    assert [urllib3.request("GET", url).data for url in links["urls"]] == [b"first chunk", b"second chunk"]
    assert links["session"]["state"] == "ended"
    again.close()
    far.close()
