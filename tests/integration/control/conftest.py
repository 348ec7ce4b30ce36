"""One embedded cloud around the real application, with an enrolled agent and a configuration in force."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from infra.local.cloud import EmbeddedCloud
from tests.integration.control.parties import AgentParty, Api, Person, Socket

GATEWAY = """
version: 1
targets:
  web-1:
    protocol: ssh
    agent: edge
    address: 127.0.0.1:22
    tags: [prod]
    logins: {deploy: {credential: web-key}}
    max_session: 1h
"""
POLICY = """
@id("sre-connect") permit(principal in Group::"sre", action in [Action::"connect", Action::"run"], resource in Tag::"prod");
@id("auditors") permit(principal in Group::"auditors", action == Action::"replay", resource);
@id("no-root") @message("Not as root.") forbid(principal, action == Action::"connect", resource) when { context.login == "root" };
"""
FILES = {"gateway.yaml": GATEWAY, "main.cedar": POLICY}


@pytest.fixture(scope="package")
def cloud() -> Iterator[EmbeddedCloud]:
    with EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as running:
        yield running


@pytest.fixture(scope="package")
def api(cloud: EmbeddedCloud) -> Api:
    return Api(cloud.http_url)


@pytest.fixture(scope="package")
def admin(cloud: EmbeddedCloud, api: Api) -> Person:
    return Person(api, "pat").login()


@pytest.fixture(scope="package")
def engineer(cloud: EmbeddedCloud, api: Api) -> Person:
    return Person(api, "alice").login()


@pytest.fixture(scope="package")
def auditor(cloud: EmbeddedCloud, api: Api) -> Person:
    return Person(api, "carol").login()


@pytest.fixture(scope="package")
def stranger(cloud: EmbeddedCloud, api: Api) -> Person:
    return Person(api, "mallory").login()


@pytest.fixture(scope="package")
def agent(cloud: EmbeddedCloud, api: Api, admin: Person) -> AgentParty:
    party = enrolled(api, admin, "edge")
    assert party.announce()[0] == 200
    status, plan = admin.call("POST", "/config/apply", {"files": FILES})
    assert status == 200, plan
    return party


@pytest.fixture
def control(cloud: EmbeddedCloud, agent: AgentParty) -> Iterator[Socket]:
    socket = Socket(cloud.ws_url, agent.headers("control"))
    yield socket
    socket.close()


def enrolled(api: Api, admin: Person, name: str) -> AgentParty:
    status, token = admin.call("POST", "/agents/tokens", {"name": name})
    assert status == 200, token
    party = AgentParty(api)
    status, found = party.enrol(token["token"])
    assert status == 200, found
    return party
