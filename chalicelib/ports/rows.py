"""What the store keeps and is asked for: rows, and nothing that acts."""

from __future__ import annotations

import msgspec

from chalicelib.contracts.gateway import Protocol as TargetProtocol
from chalicelib.contracts.originals import key_name
from chalicelib.contracts.retention import Keeping, Retention


class Settings(msgspec.Struct, kw_only=True, frozen=True):
    """What this deployment is called and where it is. Read once per container from ``SALLYPORT_*`` (bootstrap.py)."""

    issuer: str
    """The gateway's public URL without a trailing slash; also the ``iss`` of every token."""
    websocket_url: str
    admin_group: str
    """Members may always administer, so that the first policy can be applied."""
    login_hours: int = 12
    stale_s: int = 90
    """A live session that its agent has not spoken of for this long is interrupted."""
    vote_login_s: int = 3600
    """Whoever answers for others has logged in within this time, so that the groups that count are not yesterday's."""
    keeping: Keeping = Keeping(default=Retention(days=365))
    """How long evidence is kept."""


class PendingLogin(msgspec.Struct, kw_only=True, frozen=True):
    """A login that went to the identity provider and has not come back. Single use."""

    state: str
    """The OAuth ``state`` that the provider returns; random, and the key of this row."""
    verifier: str
    """PKCE verifier of the control plane towards the provider."""
    nonce: str
    challenge: str
    """PKCE challenge of the command line towards the control plane."""
    port: int
    client_state: str
    expires_ms: int
    browser: str = ""
    """For a login that ends in the browser itself: the hash of what this browser alone knows. Port, challenge and client state
    are empty then."""
    onward: str = ""
    """The page on which such a login ends: a path of ours, without the stage."""


class LoginCode(msgspec.Struct, kw_only=True, frozen=True):
    """A completed login that waits for the command line to redeem it. Single use; stored under the hash of the code."""

    code_sha256: str
    challenge: str
    principal: str
    groups: list[str]
    mfa: bool
    expires_ms: int
    email: str = ""


class Person(msgspec.Struct, kw_only=True, frozen=True):
    """Somebody as their newest login showed them. Tokens of earlier logins may still carry groups that are gone."""

    principal: str
    email: str
    """Verified by the identity provider, in lower case; or empty."""
    groups: list[str]
    seen_ms: int


class Enrolment(msgspec.Struct, kw_only=True, frozen=True):
    """A one-time enrolment token, by hash."""

    token_sha256: str
    name: str
    expires_ms: int


class Agent(msgspec.Struct, kw_only=True, frozen=True):
    """An enrolled agent. ``connection`` is its control WebSocket, empty while it is away."""

    agent_id: str
    name: str
    public_key: str
    """Base64url of the raw Ed25519 public key."""
    ssh_host_key: str
    enrolled_ms: int
    connection: str = ""
    seen_ms: int = 0
    protocols: list[TargetProtocol] = []
    credentials: list[str] = []
    direct: str = ""
    live: list[str] = []
    """Sessions that the last heartbeat named."""
    live_ms: int = 0
    """When that heartbeat came."""
    refuses: str = ""
    """The fault code with which it turns new sessions away, as that heartbeat said; empty while it takes them."""
    witness_key: str = ""
    """The key that it cosigns checkpoints with, one line."""
    witnessed: int = 0
    """Size of the last checkpoint that it cosigned."""
    witnessed_ms: int = 0
    alarm: str = ""
    """What it saw in the log that contradicts what it had seen before."""


class Custody(msgspec.Struct, kw_only=True, frozen=True):
    """What the store keeps of a session for the control plane alone."""

    agent_id: str
    """Which agent records it. Names are given again after an enrolment; identifiers are not."""
    seed: str
    """Where its hash chain starts."""
    token: str = ""
    """The login behind it, so that a logout reaches a ticket that nobody presented yet."""


class Progress(msgspec.Struct, kw_only=True, frozen=True):
    """What an agent says of a session beside a chunk. Counters never go back."""

    operations: int
    denied: int
    now_ms: int


class Connection(msgspec.Struct, kw_only=True, frozen=True):
    """A WebSocket that is open now, so that its end can be understood."""

    connection: str
    side: str
    """``control``, ``client``, ``agent``, or ``waiting`` for an approval."""
    owner: str
    """Agent identifier for ``control``, request identifier for ``waiting``, else session or watch identifier."""
    since_ms: int
    deadline_ms: int = 0
    """When the session ends, for its two ends."""
    ticket: str = ""
    """What opened a ``client`` socket, so that a lost offer can be made again while it is good; never listed or logged."""
    ticket_until_ms: int = 0
    watches: str = ""
    """The session that the owner, a watch, looks at; empty for everything else."""


class Link(msgspec.Struct, kw_only=True, frozen=True):
    """The two ends of a relayed session: connection identifiers, empty where nobody is."""

    client: str = ""
    agent: str = ""
    generation: int = 0
    """Grows with every change of either end."""


class Notice(msgspec.Struct, kw_only=True, frozen=True):
    """One thing to tell people about a request. Written with the fact that it speaks of, sent afterwards, channel by channel."""

    nid: str
    rid: str
    """The request that it is about; empty for one about evidence."""
    about: str
    """``asked``, ``emergency``, ``approved``, ``denied``, ``withdrawn``, ``expired`` or ``revoked``; or ``evidence``."""
    groups: list[str] = []
    """Groups whose members are told."""
    people: list[str] = []
    """Principals who are told."""
    time_ms: int
    channels: list[str]
    """Channels that have not taken it yet. Empty once it is delivered."""
    attempts: int = 0
    due_ms: int
    """When it is tried next; a dead letter is not tried any more."""
    dead: bool = False
    error: str = ""
    """What the last channel that failed said; for administrators."""
    reply: str = ""
    """Where the chat that somebody answered in takes a new version of its message; good for half an hour, and a secret."""
    text: str = ""
    """For a notice that is about no request but about evidence: one sentence."""


class AskName(msgspec.Struct, kw_only=True, frozen=True):
    """The name that a caller gave to an ask, so that a repetition is known."""

    digest: str
    """Hex SHA-256 of who asks, where, and the name."""
    body: str
    """Hex SHA-256 of what was asked."""
    rid: str = ""
    """The request that was made of it."""
    until_ms: int
    """Until when it is remembered."""


class CaseQuery(msgspec.Struct, kw_only=True, frozen=True):
    """A listing of requests, newest first. ``day`` is ``YYYY-MM-DD`` (UTC); an empty filter matches everything."""

    day: str
    principal: str = ""
    target: str = ""
    state: str = ""


class SessionQuery(msgspec.Struct, kw_only=True, frozen=True):
    """A listing of sessions, newest first. ``day`` is ``YYYY-MM-DD`` (UTC); an empty filter matches everything."""

    day: str
    principal: str = ""
    target: str = ""
    state: str = ""


class OriginalsKey(msgspec.Struct, kw_only=True, frozen=True):
    """What the control plane keeps of the key of a target's sealed originals of one month."""

    target: str
    month: str
    public: bytes
    wrapped: bytes = b""
    """The private half, encrypted by KMS under ``originals.context``; empty once it was erased."""
    signed: str
    """``originals.SealingClaims``, as agents are given them."""
    made_ms: int
    erased_ms: int = 0
    erased_by: str = ""
    """The request under which it was erased."""

    @property
    def name(self) -> str:
        """What the key is called everywhere else."""
        return key_name(self.public)
