"""Announcing: what is said, what is learned, and what happens when it cannot be used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agent.runtime import identity as identities
from agent.runtime.announcer import Announcer
from agent.runtime.configuration import Configuration
from agent.runtime.control_client import ControlClient
from agent.runtime.credentials import CredentialFolder
from agent.runtime.identity import Identity
from agent.runtime.spool import Disk
from chalicelib.contracts.faults import Fault
from chalicelib.contracts.gateway import Protocol
from chalicelib.contracts.policy import Document, Moment, Principal, Rule
from tests.fakes.control_plane import FakeControlPlane, document
from tests.unit.agent.runtime.conftest import CLOCK, quick, until

WHO = Principal(name="alice@example.com")


class Parts:
    """An announcer and what it changes."""

    def __init__(self, client: ControlClient, identity: Identity, state: Path, disk: Disk) -> None:
        self.identity = identity
        self.configuration = Configuration()
        self.changes = 0
        self.announcer = Announcer(
            client,
            identity,
            self.configuration,
            CredentialFolder(state / "credentials"),
            CLOCK,
            disk,
            protocols=[Protocol(name="echo", hint="echo {target}")],
            direct="edge.example.com:2222",
            backoff=quick,
            on_change=self.changed,
        )

    def changed(self) -> None:
        self.changes += 1


@pytest.fixture
async def parts(control: FakeControlPlane, state: Path) -> AsyncIterator[Parts]:
    enrolled, keys = identities.load(state)
    identity, disk = Identity(enrolled, keys, CLOCK.now_ms), Disk(1)
    async with ControlClient(control.url, CLOCK, identity.proof) as client:
        yield Parts(client, identity, state, disk)
    disk.close()


async def test_what_is_said_and_what_is_learned(control: FakeControlPlane, parts: Parts, state: Path) -> None:
    (state / "credentials").mkdir(mode=0o700)
    (state / "credentials" / "root-key.key").touch(mode=0o600)
    await parts.announcer.announce()
    said = control.announcements[0]
    assert (said.protocols[0].name, said.credentials, said.direct) == ("echo", ["root-key"], "edge.example.com:2222")
    assert parts.configuration.version == 1
    assert parts.configuration.target("web").name == "web"
    assert parts.identity.certificate.startswith("ssh-ed25519-cert-v01@openssh.com ")
    assert parts.changes == 1
    with pytest.raises(Fault) as caught:
        parts.configuration.target("db")
    assert caught.value.code == "unknown_target"


async def test_it_persists_and_announces_again_when_asked(control: FakeControlPlane, parts: Parts) -> None:
    control.faults["announce"] = [503, Fault("agent_proof_invalid", "Too old."), 502]
    running = asyncio.ensure_future(parts.announcer.run())
    await until(lambda: parts.configuration.version == 1)
    control.document = document(version=2)
    parts.announcer.ask()
    await until(lambda: parts.configuration.version == 2)
    running.cancel()
    await asyncio.wait({running})


async def test_a_final_refusal_does_not_end_the_agent(control: FakeControlPlane, parts: Parts) -> None:
    control.faults["announce"] = [Fault("bad_request", "A protocol's name is lower-case.")]
    running = asyncio.ensure_future(parts.announcer.run())
    await until(lambda: not control.faults["announce"])
    parts.announcer.ask()
    await until(lambda: parts.configuration.version == 1)
    running.cancel()
    await asyncio.wait({running})


async def test_the_certificate_is_renewed_well_before_it_ends(parts: Parts) -> None:
    in_an_hour = CLOCK.now_ms() + 3_600_000
    assert 1_790 < parts.announcer._wait_s(in_an_hour) <= 1_800
    assert parts.announcer._wait_s(CLOCK.now_ms() + 10**9) == 3600
    assert parts.announcer._wait_s(0) == 5


async def test_another_gateways_answer_changes_nothing(control: FakeControlPlane, parts: Parts) -> None:
    await parts.announcer.announce()
    control.issuer = "https://elsewhere.test"
    control.document = document(version=9)
    with pytest.raises(Fault, match="another gateway"):
        await parts.announcer.announce()
    assert parts.configuration.version == 1


def test_before_the_first_announcement_nothing_is_permitted() -> None:
    configuration = Configuration()
    assert not configuration.policy.connect(WHO, document().targets[0], Moment(now_ms=0)).allowed


def test_rules_that_do_not_compile_permit_nothing() -> None:
    configuration = Configuration()
    configuration.replace(document(version=1))
    target = configuration.target("web")
    assert configuration.policy.connect(WHO, target, Moment(now_ms=0)).allowed
    broken = msgspec.structs.replace(document(version=2), rules=[Rule("r", "r.cedar", 1, "permit(nonsense;")])
    configuration.replace(broken)
    assert configuration.version == 2
    assert not configuration.policy.connect(WHO, target, Moment(now_ms=0)).allowed


def test_an_overtaken_answer_does_not_bring_old_rules_back() -> None:
    configuration = Configuration()
    configuration.replace(document(version=5))
    configuration.replace(Document(version=4, rules=[], targets=[]))
    assert configuration.version == 5
