"""The HTTP API: every request and reply body, shared by the command line, the agents and the control plane.

Routes, methods and who may call them are listed in docs/reference/http-api.md. Errors are a ``Failure`` with the status that
``faults.CODES`` gives its code. Unknown fields are ignored; missing ones are refused with ``bad_request``.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from chalicelib.contracts.api_live import WatchNews
from chalicelib.contracts.faults import Notice
from chalicelib.contracts.gateway import Document, Protocol
from chalicelib.contracts.recording import Chunk, StoredChunk
from chalicelib.contracts.session import Session

#: The longest reason that a request may give, in characters; more is refused with ``too_large``.
REASON_LIMIT: Final = 2_000
#: The largest request body of any route, in bytes. API Gateway itself stops at 10 MB.
BODY_LIMIT: Final = 1_000_000
#: How many sessions one page of a listing holds at most.
PAGE_LIMIT: Final = 200


class Failure(msgspec.Struct, frozen=True):
    """The body of every reply with a status of 400 or more."""

    error: Notice
    problems: list[Problem] = []


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a configuration file. ``line`` is 1-based; 0 where there is none."""

    file: str
    line: int
    message: str


# --- people -------------------------------------------------------------------------------------------------------------------


class LoginStart(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /login``: begin a login. ``challenge`` is the S256 PKCE challenge of a verifier that the caller keeps."""

    challenge: str
    port: int
    """Loopback port on which the caller waits for the redirect."""
    state: str
    """Opaque; comes back in the redirect so that the caller knows it is its own login."""


class LoginStarted(msgspec.Struct, kw_only=True, frozen=True):
    """Where the browser goes, and until when (Unix milliseconds) that makes sense."""

    authorize_url: str
    expires_ms: int


class LoginRedeem(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /login/redeem``: turn the one-time code from the redirect into an access token and an SSH certificate."""

    code: str
    verifier: str
    ssh_public_key: str
    """``ssh-ed25519 AAAA…``: the key that the certificate is for. Its private half never leaves the caller."""


class LoggedIn(msgspec.Struct, kw_only=True, frozen=True):
    """A completed login."""

    access_token: str
    expires_ms: int
    principal: str
    groups: list[str]
    ssh_certificate: str
    """One line, ``ssh-ed25519-cert-v01@openssh.com AAAA…``; valid as long as the token."""


class WhoAmI(msgspec.Struct, kw_only=True, frozen=True):
    """``GET /whoami``."""

    principal: str
    groups: list[str]
    expires_ms: int


class Trust(msgspec.Struct, kw_only=True, frozen=True):
    """``GET /trust``, public: what clients and agents need to trust this gateway."""

    issuer: str
    ssh_ca: str
    """Public key that signs agents' host certificates and people's user certificates: ``ecdsa-sha2-nistp256 AAAA…``."""
    token_key: dict[str, str]
    """JWK of the key that signs access tokens and tickets."""
    websocket_url: str
    log_key: str = ""
    """Key that signs manifests and the transparency log's checkpoints, as ``sallyport verify --keys`` reads it."""


class TargetView(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One target as its user sees it: nothing about addresses or credentials."""

    name: str
    protocol: str
    description: str
    tags: list[str]
    logins: list[str]
    """The first one is the default."""
    agent: str
    online: bool
    hint: str
    host_alias: str
    """The name in the agent's host certificate; the client checks it (``HostKeyAlias``)."""
    asks: list[str] = []
    """Groups that are asked before a session opens; empty where none is."""


class TargetList(msgspec.Struct, kw_only=True, frozen=True):
    """``GET /targets``: the targets that the caller may connect to."""

    targets: list[TargetView]


class SessionOpen(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /sessions``: ask for a session."""

    target: str
    login: str = ""
    reason: str = ""
    approval: str = ""
    """The approval request to open it under; without one, any that covers it and is still good."""


class Way(msgspec.Struct, kw_only=True, frozen=True):
    """One way to reach the agent: ``direct`` with ``host:port``, or ``relay`` with a WebSocket URL."""

    kind: Literal["direct", "relay"]
    address: str


class SessionOffer(msgspec.Struct, kw_only=True, frozen=True):
    """An allowed session: present the ticket on one of the ways, best first, before ``expires_ms``."""

    sid: str
    ticket: str
    expires_ms: int
    deadline_ms: int
    ways: list[Way]
    host_alias: str


class SessionPage(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``GET /sessions?day=&principal=&target=&state=&limit=&cursor=``: newest first."""

    sessions: list[Session]
    cursor: str = ""
    """Pass it back for the next page; empty on the last one."""


class RecordingLinks(msgspec.Struct, kw_only=True, frozen=True):
    """``GET /sessions/{sid}/recording?first=``: short-lived links to chunks, in order, page by page. Asking is an audit event."""

    session: Session
    chain_seed: str
    chunks: list[StoredChunk]
    urls: list[str]
    """One presigned GET per chunk, in the same order."""
    expires_ms: int
    next: int = 0
    """Where the next page begins (``first``); 0 on the last one."""
    agent_key: str = ""
    """Base64url of the raw Ed25519 key of the agent that recorded: the chain's start is computed from it."""


class ConfigFiles(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /config/plan`` and ``POST /config/apply``: ``gateway.yaml`` and the ``*.cedar`` files beside it, by name."""

    files: dict[str, str]
    expected_version: int | None = None
    """For apply: refuse with ``config_conflict`` unless this is the version in force."""


class Change(msgspec.Struct, kw_only=True, frozen=True):
    """One line of a plan."""

    sign: Literal["+", "-", "~"]
    what: str
    """``target prod-web``, ``rule no-recursive-delete``."""
    detail: str = ""


class ConfigPlan(msgspec.Struct, kw_only=True, frozen=True):
    """What would change, or what did. ``version`` is the version in force after it."""

    version: int
    changes: list[Change]
    warnings: list[Problem]


class AgentTokenRequest(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agents/tokens``: make a one-time enrolment token for an agent called ``name``."""

    name: str


class AgentToken(msgspec.Struct, kw_only=True, frozen=True):
    """A one-time enrolment token; it is shown once and stored as a hash."""

    token: str
    expires_ms: int


class AgentView(msgspec.Struct, kw_only=True, frozen=True):
    """``GET /agents``: one agent as administrators see it."""

    name: str
    agent_id: str
    online: bool
    seen_ms: int
    protocols: list[str]
    direct: str
    refuses: str = ""
    """The fault code with which it turns new sessions away now; empty while it takes them."""
    witness_key: str = ""
    """The key that it cosigns checkpoints of the log with."""
    witnessed: int = 0
    """Size of the last checkpoint that it cosigned."""
    witnessed_ms: int = 0
    alarm: str = ""
    """What it saw in the log that contradicts what it had seen before; it begins no session then."""


class AgentList(msgspec.Struct, kw_only=True, frozen=True):
    """All agents."""

    agents: list[AgentView]


# --- agents -------------------------------------------------------------------------------------------------------------------


class AgentEnrol(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agents/enrol``: exchange a one-time token for an identity. The only agent request without a proof."""

    token: str
    public_key: str
    """Base64url (no padding) of the raw 32-byte Ed25519 public key."""
    ssh_host_key: str
    """``ssh-ed25519 AAAA…``: the key of the agent's own SSH listener; the control plane certifies it."""


class AgentEnrolled(msgspec.Struct, kw_only=True, frozen=True):
    """The new agent's identity, and everything it needs to trust the control plane from now on."""

    agent_id: str
    name: str
    trust: Trust


class AgentAnnounce(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/announce``: what this agent speaks. Sent at start and whenever a ``refresh`` arrives."""

    protocols: list[Protocol]
    credentials: list[str]
    """Names of the credentials it holds; never the credentials."""
    direct: str = ""
    """``host:port`` of its own listener as clients reach it, or empty."""
    witness_key: str = ""
    """The key that it cosigns checkpoints with, as ``sallyport verify --keys`` reads it (kind 4, under the agent's name)."""


class AgentConfig(msgspec.Struct, kw_only=True, frozen=True):
    """The reply to an announcement: what to serve and how to decide."""

    document: Document
    """Holds only this agent's targets, and every rule."""
    ssh_host_certificate: str
    """One line; names every target alias that this agent serves."""
    expires_ms: int
    """When the certificate ends; announce again well before."""
    trust: Trust


class DirectOpen(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions``: a native client reached the agent's listener and proved a certificate's key."""

    certificate: str
    target: str
    login: str = ""
    source_ip: str = ""


class DirectOpened(msgspec.Struct, kw_only=True, frozen=True):
    """The ticket of a session that an agent opened for a native client."""

    ticket: str


class SessionClaim(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions/{sid}/claim``: the ticket was presented; take the session, once."""

    path: Literal["relay", "direct"]


class SessionClaimed(msgspec.Struct, kw_only=True, frozen=True):
    """The session as it is now: live."""

    session: Session
    sealing: str = ""
    """What to seal its originals with: signed ``originals.SealingClaims``; empty where none are kept."""


class ChunkUpload(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions/{sid}/chunks``: register one chunk before its bytes are uploaded."""

    chunk: Chunk
    operations: int
    denied: int


class ChunkTicket(msgspec.Struct, kw_only=True, frozen=True):
    """Where and how to put a registered chunk: a presigned PUT and the exact headers that it binds."""

    url: str
    headers: dict[str, str]
    expires_ms: int


class DeniedOperation(msgspec.Struct, kw_only=True, frozen=True):
    """One operation that policy refused inside a session."""

    time_ms: int
    kind: str
    text: str
    digest: str
    rules: list[str]
    message: str


class LearnedHostKey(msgspec.Struct, kw_only=True, frozen=True):
    """A host key that an agent trusted because it came first."""

    time_ms: int
    address: str
    """``host:port`` where it was shown."""
    key_type: str
    """``ssh-ed25519``."""
    fingerprint: str
    """``SHA256:…``, as OpenSSH prints it."""


class SessionReport(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions/{sid}/report``: things an auditor should know before the session ends."""

    denied: list[DeniedOperation] = []
    target_fault: Notice | None = None
    watches: list[WatchNews] = []
    learned: list[LearnedHostKey] = []


class SessionClose(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/sessions/{sid}/close``: the session is over and every chunk is uploaded."""

    state: Literal["ended", "killed"]
    message: str = ""
    chunks: int
    chain: str
    operations: int
    denied: int


class LogAsk(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/log``: the newest checkpoint, with proofs for what the agent knows and waits for."""

    size: int
    """Size of the last checkpoint that it verified; 0 for none."""
    events: list[str] = []
    """Events whose leaves it was promised, at most 100."""


class LogPlace(msgspec.Struct, kw_only=True, frozen=True):
    """Where a leaf is, and the proof: hex hashes (RFC 9162 §2.1.3)."""

    index: int
    hashes: list[str]


class LogNews(msgspec.Struct, kw_only=True, frozen=True):
    """The newest checkpoint as it was signed; empty where there is no log yet."""

    checkpoint: str = ""
    consistency: list[str] = []
    """Hex hashes (RFC 9162 §2.1.4) from ``LogAsk.size``; none where the log is not longer."""
    places: dict[str, LogPlace] = {}
    """The events that are in it."""


class Cosign(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/log/cosignatures``: an agent's line under the checkpoint of ``size`` (https://c2sp.org/tlog-cosignature)."""

    size: int
    line: str


class WitnessAlarm(msgspec.Struct, kw_only=True, frozen=True):
    """``POST /agent/log/alarms``: what an agent was shown contradicts what it had verified, or is late."""

    kind: Literal["fork", "rollback", "forged", "overdue"]
    message: str
    kept: str
    """The checkpoint that it had verified, as it was signed."""
    shown: str
    """The one that contradicts."""


class Done(msgspec.Struct, kw_only=True, frozen=True):
    """The empty reply."""
