"""``agents`` and ``agent-token``."""

from __future__ import annotations

import re
import shlex

import click

from chalicelib.contracts import api
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.translog.notes import read_key
from cli.control_plane import ControlPlane
from cli.home import Home
from cli.moments import duration, now_ms, until
from cli.plain import clean
from cli.progress import Progress
from cli.screen import Cell, Column, note, paint, say, say_json, table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--witness-keys", is_flag=True, help="Print the keys that agents cosign the audit log with, as verify --keys reads them."
)
def agents(as_json: bool, witness_keys: bool) -> None:
    """List the agents, whether they take sessions, and what they say of the audit log.

    \b
    Examples:
      sallyport agents
      sallyport agents --json
      sallyport agents --witness-keys >> gateway.keys
    """
    saved = Home.find().login()
    with Progress("Asking for the agents"):
        listed = ControlPlane(saved.url, saved.token).get("/agents", api.AgentList)
    if as_json:
        say_json(listed)
        return
    if witness_keys:
        for key in sorted(agent.witness_key for agent in listed.agents if agent.witness_key):
            say(_key(key))
        return
    if not listed.agents:
        note("No agent has enrolled yet. Begin with: sallyport agent-token NAME")
        return
    columns = [
        Column("NAME"),
        Column("STATE"),
        Column("SEEN"),
        Column("PROTOCOLS", flexible=True),
        Column("DIRECT"),
        Column("LOG"),
        Column("ID"),
    ]
    for line in table(columns, [_row(agent) for agent in sorted(listed.agents, key=lambda agent: agent.name)]):
        say(line)


def _row(agent: api.AgentView) -> list[Cell]:
    seen = f"{duration(now_ms() - agent.seen_ms)} ago" if agent.seen_ms else "never"
    return [
        Cell(agent.name, "bold"),
        _state(agent),
        Cell(seen),
        Cell(", ".join(agent.protocols)),
        Cell(agent.direct),
        _log(agent),
        Cell(agent.agent_id, "dim"),
    ]


def _state(agent: api.AgentView) -> Cell:
    if not agent.online:
        return Cell("offline", "red")
    # A code, and an agent's own word: shown as it is, in a column that nothing else is in.
    return Cell(f"refuses: {clean(agent.refuses)}", "yellow") if agent.refuses else Cell("online", "green")


def _key(text: str) -> str:
    """Return a key's line as it is written to a file, or raise Fault: what is no key must not get among keys."""
    try:
        return str(read_key(text))
    except ValueError:
        raise Fault("internal", "The gateway names a key of an agent that is none.") from None


def _log(agent: api.AgentView) -> Cell:
    """What the agent says of the audit log: how far it vouches for it, or what contradicts."""
    if agent.alarm:
        return Cell(clean(agent.alarm), "red", "bold")
    if not agent.witnessed:
        return Cell("")
    return Cell(f"{agent.witnessed:,} entries, {duration(now_ms() - agent.witnessed_ms)} ago")


@click.command("agent-token")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def agent_token(name: str, as_json: bool) -> None:
    """Make a one-time token that enrols an agent called NAME.

    The token is shown once. An agent that already has the name is replaced when the token is used.

    \b
    Examples:
      sallyport agent-token edge-1
      sallyport agent-token edge-1 --json | jq -r .token
    """
    saved = Home.find().login()
    with Progress("Making a token"):
        made = ControlPlane(saved.url, saved.token).post("/agents/tokens", api.AgentToken, api.AgentTokenRequest(name=name))
    # It is meant to be copied into a shell, so it must not be more than a word there.
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,2048}", made.token):
        raise Fault("internal", "The gateway's token holds characters that no token has.")
    if as_json:
        say_json(made)
        return
    say(made.token)
    note(f"\nUse it once, {paint('on the machine of the agent', 'bold')}, before {until(made.expires_ms, now_ms())}:")
    note(f"  sallyport-agent enrol --url {shlex.quote(saved.url)} --token {made.token}")
    note("  sallyport-agent run")
