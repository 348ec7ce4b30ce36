"""The targets that somebody may connect to; the others do not exist for them."""

from __future__ import annotations

from chalicelib.contracts.api import TargetList, TargetView
from chalicelib.contracts.capability import AccessClaims
from chalicelib.contracts.gateway import Target
from chalicelib.contracts.policy import ALLOW, HOLD, Moment
from chalicelib.domain.ssh_certificate import host_alias
from chalicelib.ports import Agent, Ports
from chalicelib.usecases.circumstances import check_sizes


def list_targets(ports: Ports, caller: AccessClaims, source_ip: str, reason: str = "") -> TargetList:
    """Return every target to which policy permits at least one login for ``reason``, now or after a yes, as its user sees it.

    Raises Fault(too_large).
    """
    check_sizes("", "", reason)
    policy = ports.policies.current()
    now_ms = ports.clock.now_ms()
    agents = {agent.name: agent for agent in ports.store.agents()}
    views = []
    for target in sorted(policy.document.targets, key=lambda each: each.name):
        names = [target.default_login, *(login for login in target.logins if login != target.default_login)]
        moments = [Moment(now_ms=now_ms, reason=reason, login=login, source_ip=source_ip) for login in names]
        verdicts = {moment.login: policy.connect(caller.principal, target, moment) for moment in moments}
        # What opens after somebody else's yes is within reach, too.
        logins = [login for login, verdict in verdicts.items() if verdict.decision in (ALLOW, HOLD)]
        if logins:
            asks = sorted({approval.group for approval in verdicts[logins[0]].approvals})
            views.append(_view(target, logins, agents.get(target.agent), asks))
    return TargetList(targets=views)


def _view(target: Target, logins: list[str], agent: Agent | None, asks: list[str]) -> TargetView:
    spoken = agent.protocols if agent else []
    hint = next((protocol.hint for protocol in spoken if protocol.name == target.protocol), "")
    return TargetView(
        name=target.name,
        protocol=target.protocol,
        description=target.description,
        tags=target.tags,
        logins=logins,
        agent=target.agent,
        online=bool(agent and agent.connection),
        hint=hint.replace("{target}", target.name),
        host_alias=host_alias(target.name),
        asks=asks,
    )
