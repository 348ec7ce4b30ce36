"""``GET /agents``: every agent, as administrators see it."""

from __future__ import annotations

from chalicelib.contracts.api import AgentList, AgentView
from chalicelib.ports import Ports


def list_agents(ports: Ports) -> AgentList:
    """Return the agents by name."""
    return AgentList(
        agents=[
            AgentView(
                name=agent.name,
                agent_id=agent.agent_id,
                online=bool(agent.connection),
                seen_ms=agent.seen_ms,
                protocols=[protocol.name for protocol in agent.protocols],
                direct=agent.direct,
                refuses=agent.refuses,
                witness_key=agent.witness_key,
                witnessed=agent.witnessed,
                witnessed_ms=agent.witnessed_ms,
                alarm=agent.alarm,
            )
            for agent in sorted(ports.store.agents(), key=lambda each: each.name)
        ]
    )
