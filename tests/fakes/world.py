"""A whole control plane on fakes, with the people, agents and configuration that most use-case tests begin with."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chalicelib.adapters.policies import CompiledPolicies
from chalicelib.contracts import gateway, ids
from chalicelib.contracts.api import (
    AgentAnnounce,
    AgentEnrol,
    AgentTokenRequest,
    ChunkUpload,
    ConfigFiles,
    SessionClaim,
    SessionOpen,
)
from chalicelib.contracts.audit import LoginCompleted
from chalicelib.contracts.capability import PROOF_TYP, AccessClaims
from chalicelib.contracts.recording import Chunk, link
from chalicelib.domain import base64url
from chalicelib.ports import Agent, Connection, LoginCode, Ports, Settings
from chalicelib.usecases.announce_agent import announce_agent
from chalicelib.usecases.apply_config import apply_config
from chalicelib.usecases.claim_session import claim_session
from chalicelib.usecases.enroll_agent import enroll_agent
from chalicelib.usecases.issue_agent_token import issue_agent_token
from chalicelib.usecases.minting import mint
from chalicelib.usecases.open_session import open_session
from tests.fakes.apigateway import FakeDownlink
from tests.fakes.clock import FakeClock
from tests.fakes.dynamodb import FakeStore
from tests.fakes.kms import FakeSigner
from tests.fakes.log import FakeArchive, FakeLogIndex, FakeNotary
from tests.fakes.notifier import FakeChat, FakeNotifier
from tests.fakes.oidc import FakeIdentityProvider
from tests.fakes.s3 import FakeBlobs
from tests.fakes.secrets import FakeRoutes
from tests.fakes.vault import FakeVault

SETTINGS = Settings(issuer="https://gw.example", websocket_url="wss://ws.example/api", admin_group="platform")

SSH = gateway.Protocol(
    name="ssh",
    hint="ssh {target}",
    options=[
        gateway.Option(name="shell", type="string", doc="How shells are treated.", choices=["commands", "recorded"]),
        gateway.Option(name="env", type="strings", doc="Variables that clients may set."),
        gateway.Option(name="idle_s", type="integer", doc="Idle limit."),
        gateway.Option(name="motd", type="boolean", doc="Show the target's message."),
    ],
    controls=[
        gateway.Control(name="record", enforced=True),
        gateway.Control(
            name="block", enforced=True, except_option="shell", except_value="recorded", why="shells are only recorded"
        ),
        gateway.Control(name="hold", enforced=False, why="ssh sessions cannot wait yet"),
        gateway.Control(name="mask", enforced=False, why="ssh output is not masked yet"),
        gateway.Control(name="transfer", enforced=True),
        gateway.Control(name="forward", enforced=False, why="forwarding is switched off"),
    ],
)

GATEWAY = """
version: 1
targets:
  web-1:
    protocol: ssh
    agent: edge
    address: 10.0.0.7:22
    tags: [prod]
    description: front end
    logins: {deploy: {credential: web-key}, root: {credential: web-root}}
    default_login: deploy
    max_session: 1h
  db-1:
    protocol: ssh
    agent: edge
    address: 10.0.0.8:22
    tags: [restricted]
    logins: {dba: {credential: db-key}}
"""
POLICY = """
@id("sre") permit(principal in Group::"sre", action in [Action::"connect", Action::"run"], resource in Tag::"prod");
@id("no-root") @message("Not as root.") forbid(principal, action == Action::"connect", resource) when { context.login == "root" };
@id("auditors") permit(principal in Group::"auditors", action == Action::"replay", resource);
"""
FILES = {"gateway.yaml": GATEWAY, "main.cedar": POLICY}


def person(name: str, *groups: str, now_ms: int = FakeClock().now, mfa: bool = True) -> AccessClaims:
    issued = now_ms // 1000
    return AccessClaims(
        iss=SETTINGS.issuer, sub=name, jti=f"lgn-{name}", iat=issued, exp=issued + 3600, groups=list(groups), mfa=mfa
    )


ALICE = person("alice@example.com", "sre")
BOB = person("bob@example.com", "sre")
CAROL = person("carol@example.com", "auditors")
MALLORY = person("mallory@example.com")
ADMIN = person("pat@example.com", "platform")


@dataclass
class AgentKeys:
    """An agent's own keys and its proofs."""

    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    host_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    agent_id: str = ""

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def enrolment(self, token: str) -> AgentEnrol:
        return AgentEnrol(token=token, public_key=base64url.encode(self.public_key), ssh_host_key=openssh(self.host_key))

    def proof(self, clock: FakeClock, method: str, path: str, body: bytes = b"", **changed: Any) -> str:
        typ = changed.pop("typ", PROOF_TYP)
        alg = changed.pop("alg", "EdDSA")
        claims = {
            "sub": self.agent_id,
            "aud": "sallyport-control",
            "iat": clock.now // 1000,
            "jti": base64.urlsafe_b64encode(clock.entropy(12)).decode(),
            "htm": method,
            "htp": path,
            "bsh": hashlib.sha256(body).hexdigest(),
        } | changed
        header = {"alg": alg, "typ": typ, "kid": self.agent_id}
        signed = ".".join(base64url.encode(msgspec.json.encode(part)) for part in (header, claims))
        return f"Agent {signed}.{base64url.encode(self.key.sign(signed.encode()))}"


def openssh(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


class World:
    """Ports on fakes. ``World.ready()`` has an agent called edge, connected, and a configuration in force."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.clock, self.store, self.downlink = FakeClock(), store or FakeStore(), FakeDownlink()
        self.identity, self.signer, self.routes = FakeIdentityProvider(), FakeSigner(), FakeRoutes()
        self.notary, self.archive, self.log = FakeNotary(), FakeArchive(), FakeLogIndex(self.store)
        self.notifier, self.vault, self.chat = FakeNotifier(), FakeVault(), FakeChat()
        self.keys = AgentKeys()
        self.logins = 0
        self.ports = Ports(
            settings=SETTINGS,
            clock=self.clock,
            store=self.store,
            policies=CompiledPolicies(self.store),
            blobs=FakeBlobs(),
            signer=self.signer,
            routes=self.routes,
            downlink=self.downlink,
            identity=self.identity,
            notary=self.notary,
            archive=self.archive,
            log=self.log,
            notifier=self.notifier,
            vault=self.vault,
            chat=self.chat,
        )

    @classmethod
    def ready(cls, files: dict[str, str] = FILES, protocol: gateway.Protocol = SSH, store: FakeStore | None = None) -> World:
        world = cls(store)
        world.enrol("edge", world.keys)
        world.announce(protocol)
        world.connect_agent()
        apply_config(world.ports, ADMIN, ConfigFiles(files=files))
        world.downlink.sent.clear()
        return world

    @property
    def agent(self) -> Agent:
        found = self.store.agent(self.keys.agent_id)
        assert found is not None
        return found

    def enrol(self, name: str, keys: AgentKeys) -> Agent:
        token = issue_agent_token(self.ports, ADMIN, AgentTokenRequest(name=name)).token
        keys.agent_id = enroll_agent(self.ports, keys.enrolment(token)).agent_id
        found = self.store.agent(keys.agent_id)
        assert found is not None
        return found

    def announce(self, *protocols: gateway.Protocol, direct: str = "") -> None:
        asked = AgentAnnounce(protocols=list(protocols) or [SSH], credentials=["web-key", "web-root", "db-key"], direct=direct)
        announce_agent(self.ports, self.agent, asked)

    def connect_agent(self, connection: str = "control-1") -> None:
        opened = Connection(connection=connection, side="control", owner=self.keys.agent_id, since_ms=self.clock.now)
        self.store.agent_connected(self.keys.agent_id, opened)

    def open(self, who: AccessClaims = ALICE, target: str = "web-1", reason: str = "deploy") -> tuple[str, str]:
        """Open a session; return its identifier and ticket."""
        offer = open_session(self.ports, who, SessionOpen(target=target, reason=reason), "192.0.2.7")
        return offer.sid, offer.ticket

    def live(self, who: AccessClaims = ALICE) -> str:
        """Open and claim a session."""
        sid, _ = self.open(who)
        claim_session(self.ports, self.agent, sid, SessionClaim(path="relay"))
        return sid

    def login(self, who: AccessClaims) -> None:
        """Let the store know ``who`` as a login of this moment would."""
        self.logins += 1
        code = LoginCode(
            code_sha256=f"{self.logins}",
            challenge="",
            principal=who.sub,
            groups=who.groups,
            mfa=who.mfa,
            expires_ms=self.clock.now + 1,
            email=who.email,
        )
        event = LoginCompleted(
            id=mint(self.clock, ids.EVENT), time_ms=self.clock.now, actor=who.sub, groups=who.groups, source_ip="", mfa=who.mfa
        )
        self.store.save_code(code, event)

    def next_chunk(self, sid: str, body: bytes = b"lines") -> ChunkUpload:
        """Return the upload that continues the session's chain."""
        session = self.store.session(sid)
        assert session is not None
        sha256 = hashlib.sha256(body).hexdigest()
        chain = link(session.chain, session.chunks, self.clock.now, sha256)
        chunk = Chunk(n=session.chunks, kind="ch01.cast", time_ms=self.clock.now, size=len(body), sha256=sha256, chain=chain)
        return ChunkUpload(chunk=chunk, operations=session.chunks + 1, denied=0)

    def types(self) -> list[str]:
        """The types of every event so far."""
        return [str(event.__struct_config__.tag) for event in self.store.recorded]
