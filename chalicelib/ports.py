"""Ports: what use cases need from the world, and nothing about how it is done.

Adapters implement these (``adapters/``), fakes implement them for tests (``tests/fakes/``), and one conformance suite runs on
both. Every method that writes evidence takes the audit event and stores it in the *same* transaction as the fact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from chalicelib.contracts.approval import ApprovalRequest, Precedent
from chalicelib.contracts.audit import AnyEvent
from chalicelib.contracts.gateway import Protocol as TargetProtocol
from chalicelib.contracts.originals import key_name
from chalicelib.contracts.policy import Document, Policy
from chalicelib.contracts.recording import Chunk, StoredChunk
from chalicelib.contracts.retention import Keeping, Lock, Retention
from chalicelib.contracts.session import Session, State
from chalicelib.contracts.translog import notes
from chalicelib.contracts.translog.merkle import EMPTY
from chalicelib.domain.approvals import Case
from chalicelib.domain.identity import Identity


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


class Clock(Protocol):
    """Time and chance, so that tests decide both."""

    def now_ms(self) -> int:
        """Unix milliseconds."""
        ...

    def entropy(self, count: int) -> bytes:
        """``count`` bytes that nobody can guess."""
        ...


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


class Store(Protocol):
    """Metadata. The access patterns are written out in docs/architecture.md.

    ``Conflict`` below means: the row was not in the state that the caller required; nothing was written.
    """

    # people
    def save_login(self, login: PendingLogin) -> None:
        """Keep a pending login."""
        ...

    def take_login(self, state: str, now_ms: int) -> PendingLogin | None:
        """Return and delete a pending login, once; None if there is none or it has expired."""
        ...

    def save_code(self, code: LoginCode, event: AnyEvent) -> None:
        """Keep a completed login together with its audit event, and who it was as a :class:`Person`."""
        ...

    def save_person(self, person: Person, event: AnyEvent) -> None:
        """Keep who somebody is as their newest login shows them, together with its audit event."""
        ...

    def person(self, principal: str) -> Person | None:
        """Return somebody as their newest login showed them; None if they never logged in."""
        ...

    def take_code(self, code_sha256: str, now_ms: int) -> LoginCode | None:
        """Return and delete a completed login, once."""
        ...

    def revoke_token(self, jti: str, until_ms: int, event: AnyEvent) -> None:
        """Refuse the access token ``jti`` from now on."""
        ...

    def is_revoked(self, jti: str) -> bool:
        """Tell whether an access token was revoked."""
        ...

    # agents
    def save_enrolment(self, enrolment: Enrolment, event: AnyEvent) -> None:
        """Keep a one-time token."""
        ...

    def find_enrolment(self, token_sha256: str, now_ms: int) -> Enrolment | None:
        """Return a one-time token that is still good, without using it."""
        ...

    def enrol(self, token_sha256: str, agent: Agent, event: AnyEvent) -> None:
        """Use the token and store the agent, replacing an earlier one of that name. Raises Conflict if the token is gone."""
        ...

    def agent(self, agent_id: str) -> Agent | None:
        """Return an agent by identifier. A replaced agent is not returned."""
        ...

    def custodian(self, agent_id: str) -> Agent | None:
        """Return an agent by identifier, also one that was replaced: for handing in what it recorded, and nothing else.

        Of a replaced agent only what it enrolled with is known: it speaks no protocol and has no socket.
        """
        ...

    def agent_named(self, name: str) -> Agent | None:
        """Return the agent that has ``name`` now."""
        ...

    def agents(self) -> list[Agent]:
        """Return all agents, by name."""
        ...

    def announce(self, agent_id: str, protocols: list[TargetProtocol], credentials: list[str], direct: str, now_ms: int) -> None:
        """Remember what an agent speaks. Raises Conflict if the agent is unknown or was replaced."""
        ...

    def agent_connected(self, agent_id: str, connection: Connection) -> str:
        """Remember an agent's control socket and return the one it replaces, or an empty text. Raises Conflict like announce."""
        ...

    def agent_seen(self, agent_id: str, now_ms: int, live: Sequence[str], refuses: str = "") -> None:
        """Remember a heartbeat, the sessions that it named, and whether it takes more. A replaced agent is ignored."""
        ...

    def enrol_witness(self, agent_id: str, key: str, event: AnyEvent) -> None:
        """Remember the key that an agent cosigns with. Raises Conflict like announce."""
        ...

    def agent_witnessed(self, agent_id: str, size: int, now_ms: int) -> None:
        """Remember what an agent cosigned last; an alarm of its is over then. A replaced agent is ignored."""
        ...

    def agent_alarmed(self, agent_id: str, text: str) -> None:
        """Remember what an agent saw that contradicts. A replaced agent is ignored."""
        ...

    # connections
    def connection_opened(self, connection: Connection) -> Link | None:
        """Remember a socket; return the session's link with the new end in it, or None where it is no end of a session."""
        ...

    def connection_closed(self, connection: str) -> Connection | None:
        """Forget a socket and return what it was. Only clears an end or a control socket that still *is* this connection."""
        ...

    def connection(self, connection: str) -> Connection | None:
        """Return what a socket is."""
        ...

    def link(self, sid: str) -> Link:
        """Return both ends of a session."""
        ...

    def waiting(self, rid: str) -> list[str]:
        """Return the sockets that wait for a request."""
        ...

    # configuration
    def config_version(self) -> int:
        """Return the version in force; 0 before the first apply."""
        ...

    def config(self, version: int) -> Document | None:
        """Return an immutable version."""
        ...

    def config_files(self, version: int) -> dict[str, str]:
        """Return the files that a version was made from; empty for version 0."""
        ...

    def apply_config(self, document: Document, files: dict[str, str], event: AnyEvent) -> None:
        """Store ``document`` as the version after the one in force. Raises Conflict if somebody else was faster."""
        ...

    # sessions
    def open_session(self, session: Session, custody: Custody, event: AnyEvent) -> None:
        """Store a new session (offered or denied) with its event. Raises Conflict if the identifier exists."""
        ...

    def session(self, sid: str) -> Session | None:
        """Return a session."""
        ...

    def entrusted(self, sid: str) -> tuple[Session, Custody] | None:
        """Return a session and who records it, in one read."""
        ...

    def step_session(self, session: Session, allowed: frozenset[State], event: AnyEvent) -> None:
        """Replace the session's row if its state is one of ``allowed``. Raises Conflict otherwise.

        ``chunks`` and ``chain`` must still be what the row says, so that a chunk which arrives meanwhile is never forgotten.
        """
        ...

    def sessions(self, query: SessionQuery, limit: int, cursor: str) -> tuple[list[Session], str]:
        """Return at most ``limit`` sessions that match, and the cursor of the next page (empty on the last)."""
        ...

    def unfinished(self) -> Iterator[Session]:
        """Yield every session that is offered or live."""
        ...

    def reaper_came(self, now_ms: int, gap_ms: int) -> int:
        """Remember that the reaper came; return since when (Unix milliseconds) it has come without a gap of more than ``gap_ms``.

        0 where no gap is known.
        """
        ...

    # recordings
    def add_chunk(self, sid: str, stored: StoredChunk, previous_chain: str, progress: Progress) -> None:
        """Register a chunk after the one that ``previous_chain`` is the head of, and move the session's head and counters.

        The session must be live or interrupted. Registering the very same chunk again does nothing, whatever the state.
        Raises Conflict for any other number, head or state.
        """
        ...

    def chunk(self, sid: str, n: int) -> StoredChunk | None:
        """Return one registered chunk."""
        ...

    def chunks(self, sid: str, first: int = 0, limit: int = 0) -> list[StoredChunk]:
        """Return registered chunks in order, from number ``first`` on; all of them, or at most ``limit``."""
        ...

    # approval requests
    def add_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], name: AskName | None = None) -> None:
        """Store a new request with its events, what people are to be told, and the name that its ask was given.

        Raises Conflict if the identifier exists, or the name is remembered.
        """
        ...

    def ask_name(self, digest: str, now_ms: int) -> AskName | None:
        """Return the name of an ask, while it is remembered."""
        ...

    def remember_ask(self, name: AskName, now_ms: int) -> None:
        """Remember that an ask is answered by a request that exists. Raises Conflict if the name is remembered."""
        ...

    def case(self, rid: str) -> Case | None:
        """Return a request."""
        ...

    def step_case(self, case: Case, events: Sequence[AnyEvent], notices: Sequence[Notice], *, done_ms: int = 0) -> None:
        """Replace a request's row by its next version. Raises Conflict unless the row is the version before.

        With ``done_ms``, what was asked for is done at that time and counts as a precedent from now on.
        """
        ...

    def precedent(self, shape: str) -> Precedent | None:
        """Return what is remembered of a shape (``domain.precedents``)."""
        ...

    def see_case(self, rid: str, viewer: str, event: AnyEvent) -> bool:
        """Remember that ``viewer`` looked at a request; False, and no event, if that was remembered before."""
        ...

    def open_cases(self) -> Iterator[Case]:
        """Yield every request that somebody still has to do something about (``ApprovalRequest.open``), newest last."""
        ...

    def cases(self, query: CaseQuery, limit: int, cursor: str) -> tuple[list[Case], str]:
        """Return at most ``limit`` requests that match, and the cursor of the next page (empty on the last)."""
        ...

    def open_approved_session(self, session: Session, custody: Custody, case: Case, events: Sequence[AnyEvent]) -> None:
        """Store a new session and the next version of the request that it uses, or neither. Raises Conflict like both.

        The session is a precedent, by its time of opening.
        """
        ...

    def chunk_arrived(self, sid: str, n: int, version: str) -> str:
        """Note the version of a registered chunk's object, unless one is known; return the one that is.

        An empty text where no such chunk was registered.
        """
        ...

    def spend(self, digest: str, until_ms: int) -> bool:
        """Remember that something that counts once came; False if it did before."""
        ...

    # notifications
    def due_notices(self, now_ms: int, limit: int) -> list[Notice]:
        """Return notices that are to be tried by now, oldest first."""
        ...

    def dead_notices(self, limit: int) -> list[Notice]:
        """Return notices that were given up, oldest first."""
        ...

    def settle_notice(self, notice: Notice, attempts: int, events: Sequence[AnyEvent]) -> None:
        """Replace a notice's row with its events if it still was at ``attempts``. Raises Conflict otherwise."""
        ...

    # evidence
    def record(self, events: Sequence[AnyEvent]) -> None:
        """Store events that have no other fact beside them."""
        ...

    def alert(self, marker: str, event: AnyEvent, notices: Sequence[Notice]) -> bool:
        """Store an event and its notices once for each ``marker``; return whether this was the first time."""
        ...

    def sweep_mark(self) -> str:
        """Return behind which key the sweep of the bucket goes on; empty at its beginning."""
        ...

    def save_sweep_mark(self, key: str) -> None:
        """Remember behind which key the sweep goes on."""
        ...

    def events(self, day: str) -> Iterator[AnyEvent]:
        """Yield the audit events of a UTC day (``YYYY-MM-DD``), oldest first."""
        ...

    # sealed originals
    def originals_key(self, target: str, month: str) -> OriginalsKey | None:
        """Return the key of a target's originals of one month, or what is left of it once it was erased."""
        ...

    def add_originals_key(self, key: OriginalsKey, event: AnyEvent) -> None:
        """Store a new key with its event. Raises Conflict if this target and month have one, or had."""
        ...

    def erase_originals_key(self, key: OriginalsKey, case: Case, events: Sequence[AnyEvent]) -> None:
        """Put ``key``, which is erased, in the place of the same one that is not, and step the request that it is done under.

        Raises Conflict like ``step_case``, or if there is no such key any more.
        """
        ...


class Conflict(Exception):  # noqa: N818 - it is an outcome of a race, not an error
    """A conditional write found another state than it required."""


class Policies(Protocol):
    """The policy in force, compiled."""

    def current(self) -> Policy:
        """Return the policy that decides now. An empty one before the first apply: nothing is permitted."""
        ...


class Blobs(Protocol):
    """The evidence bucket. The control plane signs; it never carries recording bytes."""

    def presign_put(self, key: str, chunk: Chunk, lock: Lock, expires_s: int) -> tuple[str, dict[str, str]]:
        """Return a URL and the exact headers for one upload: length, SHA-256, type, If-None-Match and ``lock`` are bound."""
        ...

    def presign_get(self, key: str, expires_s: int) -> str:
        """Return a URL that reads one object for a short while."""
        ...


class Signer(Protocol):
    """The gateway's own keys, in KMS. Private halves never leave it."""

    def sign_token(self, typ: str, claims: dict[str, Any]) -> str:
        """Return a compact JWS (ES256) with ``typ`` in its header."""
        ...

    def verify_token(self, typ: str, token: str) -> dict[str, Any]:
        """Return the claims of a JWS of exactly this ``typ``. Raises ValueError; times are the caller's to check."""
        ...

    def token_key(self) -> dict[str, str]:
        """Return the public JWK of the token key."""
        ...

    def ssh_ca(self) -> str:
        """Return the SSH CA's public key as one OpenSSH line."""
        ...

    def sign_ssh(self, blob: bytes) -> bytes:
        """Return the SSH signature blob (``ecdsa-sha2-nistp256``) of the CA over ``blob``."""
        ...


class Unavailable(Exception):  # noqa: N818 - an outcome that is told as a code and tried again by whoever asked
    """KMS did not answer, or would not do it. The text is for the gateway's own log."""


class Vault(Protocol):
    """The keys of sealed originals. Their private halves are plain for the length of one call, and nowhere else."""

    def make(self, target: str, month: str) -> tuple[bytes, bytes]:
        """Return a new raw X25519 public key and its private half, wrapped for this target and month. Raises Unavailable."""
        ...

    def open(self, key: OriginalsKey, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to ``key`` by HPKE with ``info``. Raises Unavailable; ValueError where it does not open."""
        ...


class Notary(Protocol):
    """The key of the transparency log, in KMS: it signs checkpoints and manifests, and nothing else."""

    def key(self) -> notes.Key:
        """Return the public key; its name is the log's."""
        ...

    def sign(self, text: str) -> notes.Note:
        """Return ``text``, which is lines, as a signed note."""
        ...


class StoredObject(msgspec.Struct, kw_only=True, frozen=True):
    """An object of the bucket with what is stored beside it."""

    body: bytes
    etag: str
    metadata: dict[str, str] = {}


class Version(msgspec.Struct, kw_only=True, frozen=True):
    """One version of an object. ``deleted`` is a delete marker: somebody hid what was there."""

    key: str
    version: str
    size: int
    deleted: bool = False


class Archive(Protocol):
    """What the gateway itself writes into the evidence bucket: manifests, and the transparency log."""

    def read(self, key: str) -> StoredObject | None:
        """Return the newest version of an object, or None."""
        ...

    def create(self, key: str, body: bytes, content_type: str, lock: Lock, metadata: dict[str, str] | None = None) -> bool:
        """Write an object that does not exist; return False, and change nothing, where one does."""
        ...

    def replace(self, key: str, body: bytes, content_type: str, lock: Lock, etag: str) -> bool:
        """Write over the object that has ``etag`` (empty: that does not exist); False where another one is there."""
        ...

    def versions(self, prefix: str) -> list[Version]:
        """Return every version of every object below ``prefix``, by key, oldest first."""
        ...

    def page(self, prefix: str, after: str) -> tuple[list[Version], str]:
        """Return the versions of about a thousand objects below ``prefix`` with keys behind ``after``, like ``versions``.

        The second part is the last key of the page, empty where it is the last page. All versions of a key are on one page;
        of a key with thousands only the newest.
        """
        ...


class LogHead(msgspec.Struct, kw_only=True, frozen=True):
    """Where the transparency log ends. ``root`` is hex."""

    size: int = 0
    root: str = EMPTY.hex()
    staging: str = ""
    """Key of the bundle that the last batch is finished from."""
    finished: bool = True
    """Everything of the last batch is written. No batch follows one that is not."""


class LogIndex(Protocol):
    """The head of the transparency log, and which events are in it already. The log itself lies in the archive."""

    def head(self) -> LogHead:
        """Return the head, read consistently."""
        ...

    def advance(self, old: LogHead, new: LogHead) -> None:
        """Put ``new`` in the place of ``old``. Raises Conflict if that is not the head any more."""
        ...

    def finish(self, head: LogHead) -> None:
        """Note that the batch of ``head`` is written whole. Nothing happens if the head has moved on."""
        ...

    def leaf(self, event: str) -> int | None:
        """Return which leaf an event is, read consistently; None while the log does not hold it."""
        ...

    def logged(self, events: Sequence[str]) -> set[str]:
        """Return which of these event identifiers are in the log, read consistently."""
        ...

    def mark_logged(self, indices: dict[str, int]) -> None:
        """Note the leaf of each event. Writing the same again changes nothing. Raises Conflict if it must be tried again."""
        ...

    def outbox(self, day: str) -> Iterator[tuple[str, bytes]]:
        """Yield identifier and stored bytes of every audit event of a UTC day, oldest first."""
        ...


class Routes(Protocol):
    """The relay's stateless routes: who may send frames to which connection."""

    def seal(self, kind: str, *parts: str) -> str:
        """Return a text that names ``parts`` and cannot be made by anybody else."""
        ...

    def unseal(self, kind: str, text: str) -> tuple[str, ...]:
        """Return the parts. Raises ValueError for anything that was not sealed as ``kind``."""
        ...


class Downlink(Protocol):
    """The way back through the WebSocket API."""

    def post(self, connection: str, message: bytes) -> bool:
        """Send one text message. Returns False if the connection is gone."""
        ...

    def close(self, connection: str) -> None:
        """End a connection; nothing happens if it is gone."""
        ...


class Undelivered(Exception):  # noqa: N818 - an outcome that is tried again, not an error
    """A channel did not take a notice. The text is for administrators and holds no secret."""


class Notifier(Protocol):
    """The ways to people's attention. What they are told and when is decided elsewhere; a link in it never decides anything."""

    def channels(self) -> list[str]:
        """Return the names of the channels that this deployment has; none is a valid answer."""
        ...

    def send(self, channel: str, notice: Notice, request: ApprovalRequest | None) -> None:
        """Hand ``notice`` to one channel, which may see it twice and tells it apart by ``nid``. Raises Undelivered."""
        ...


class Chat(Protocol):
    """Slack, as far as requests are answered there: its signature on what comes, and the ways back from a pressed button."""

    def secret(self) -> bytes:
        """Return what Slack signs with; empty where this deployment takes no answers from there."""
        ...

    def show(self, reply: str, request: ApprovalRequest) -> None:
        """Replace the message whose button was pressed by the request as it is now. Raises Undelivered."""
        ...

    def whisper(self, reply: str, text: str) -> None:
        """Tell something to whoever pressed, and to nobody else. Raises Undelivered."""
        ...


class IdentityProvider(Protocol):
    """The OIDC provider that knows the people."""

    def authorize_url(self, login: PendingLogin) -> str:
        """Return where the browser goes: Authorization Code with PKCE (S256), state and nonce."""
        ...

    def identify(self, code: str, login: PendingLogin) -> Identity:
        """Exchange ``code`` and verify the ID token (signature, issuer, audience, nonce, times). Raises Fault."""
        ...


@dataclass(frozen=True)
class Ports:
    """Everything a use case may need. Chosen once, in ``bootstrap.py``; tests choose fakes."""

    settings: Settings
    clock: Clock
    store: Store
    policies: Policies
    blobs: Blobs
    signer: Signer
    routes: Routes
    downlink: Downlink
    identity: IdentityProvider
    notary: Notary
    archive: Archive
    log: LogIndex
    notifier: Notifier
    vault: Vault
    chat: Chat
    second: Archive | None = None
    """A bucket of somebody else's, where checkpoints are copied to; None where there is none."""
