"""Tell whoever waits what became of a request: the agent on its control socket, a command line on the socket that it waits on.

A message can be lost, so nobody relies on it: an agent asks again whenever it has connected, and a command line while it waits.
"""

from __future__ import annotations

import msgspec

from chalicelib.contracts import relay
from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.contracts.capability import APPROVAL_TYP, ApprovalClaims
from chalicelib.ports import Agent, Ports


def announce_outcome(ports: Ports, request: ApprovalRequest) -> None:
    """Push the state of ``request`` to everybody who waits for it and is connected."""
    if request.kind == "operation":
        _tell_agent(ports, request)
    for connection in ports.store.waiting(request.rid):
        if not ports.downlink.post(connection, relay.encode(_decided(request, ""))):
            ports.store.connection_closed(connection)


def capability(ports: Ports, request: ApprovalRequest, agent: Agent) -> str:
    """Return the signed yes for ``agent``, made anew whenever it is asked for; empty while there is none to use."""
    if request.state is not RequestState.APPROVED or request.kind != "operation":
        return ""
    claims = ApprovalClaims(
        iss=ports.settings.issuer,
        aud=agent.agent_id,
        rid=request.rid,
        sid=request.sid,
        sub=request.principal,
        target=request.target,
        login=request.login,
        digest=request.digest,
        asks=request.asks,
        uses=request.uses,
        policy_version=request.policy_version,
        emergency=request.emergency,
        approvers=[vote.voter for vote in request.votes if vote.approve],
        iat=request.decided_ms // 1000,
        exp=request.until_ms // 1000,
    )
    return ports.signer.sign_token(APPROVAL_TYP, msgspec.to_builtins(claims))


def _tell_agent(ports: Ports, request: ApprovalRequest) -> None:
    found = ports.store.entrusted(request.sid)
    agent = ports.store.agent(found[1].agent_id) if found else None
    if agent is None or not agent.connection:
        return
    message = relay.encode(_decided(request, capability(ports, request, agent)))
    if not ports.downlink.post(agent.connection, message):
        ports.store.connection_closed(agent.connection)


def _decided(request: ApprovalRequest, approval: str) -> relay.Decided:
    return relay.Decided(rid=request.rid, state=str(request.state), sid=request.sid, approval=approval)
