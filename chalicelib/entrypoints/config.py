"""What administrators do: targets, policies and agents."""

from __future__ import annotations

from chalice.app import Blueprint

from chalicelib.bootstrap import ports
from chalicelib.contracts.api import AgentList, AgentToken, AgentTokenRequest, ConfigFiles, ConfigPlan
from chalicelib.contracts.capability import AccessClaims
from chalicelib.entrypoints.http import Call, administrators
from chalicelib.usecases.apply_config import apply_config
from chalicelib.usecases.issue_agent_token import issue_agent_token
from chalicelib.usecases.list_agents import list_agents
from chalicelib.usecases.plan_config import plan_config
from chalicelib.usecases.read_config import ConfigInForce, read_config

bp = Blueprint(__name__)


@administrators(bp, "GET", "/config")
def read(call: Call, caller: AccessClaims) -> ConfigInForce:
    """The version in force and its files."""
    return read_config(ports())


@administrators(bp, "POST", "/config/plan")
def plan(call: Call, caller: AccessClaims) -> ConfigPlan:
    """What would change."""
    return plan_config(ports(), call.read(ConfigFiles))


@administrators(bp, "POST", "/config/apply")
def apply(call: Call, caller: AccessClaims) -> ConfigPlan:
    """Put a new version in force."""
    return apply_config(ports(), caller, call.read(ConfigFiles))


@administrators(bp, "POST", "/agents/tokens")
def agent_token(call: Call, caller: AccessClaims) -> AgentToken:
    """A one-time enrolment token."""
    return issue_agent_token(ports(), caller, call.read(AgentTokenRequest))


@administrators(bp, "GET", "/agents")
def agents(call: Call, caller: AccessClaims) -> AgentList:
    """Every agent."""
    return list_agents(ports())
