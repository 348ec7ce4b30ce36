"""The control plane as agents see it, over loopback: real proofs, real tickets, a store that keeps what is put, and WebSockets.

Tests read its public facts and switch its faults on; it decides nothing by itself. Sockets of one session are relayed to each
other exactly as they come, in the words of ``contracts/relay``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections import Counter, defaultdict
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import WSMsgType, web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
)
from joserfc import jws
from joserfc.jwk import ECKey

from chalicelib.contracts import api, ids, recording, relay
from chalicelib.contracts.capability import PROOF_TYP, TICKET_TYP, ProofClaims, TicketClaims, check_proof
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.policy import Document, Rule
from chalicelib.contracts.session import Session, State
from tests.fakes.chunks import text_of

HOUR_MS = 3_600_000
#: Sent as they were signed, and required by the store: the real one binds them into the link.
BOUND = ("If-None-Match", "Content-Type", "x-amz-checksum-sha256")


def document(version: int = 1, protocol: str = "echo", targets: tuple[str, ...] = ("web",)) -> Document:
    """A document that lets everybody do everything on ``targets``."""
    return Document(
        version=version,
        rules=[Rule("all", "all.cedar", 1, '@id("all") permit(principal, action, resource);')],
        targets=[
            Target(
                name=name,
                protocol=protocol,
                agent="edge",
                address="127.0.0.1:9",
                logins={"root": Login(credential="root-key")},
                default_login="root",
            )
            for name in targets
        ],
    )


class FakeControlPlane:
    """Use as an async context manager; ``url`` and ``websocket_url`` are where it listens."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self.issuer = "https://gateway.test"
        self.token_key = ECKey.generate_key("P-256")
        self.ca = ec.generate_private_key(ec.SECP256R1())
        self.enrolment_tokens = {"one-time"}
        self.agent_id = ""
        self.agent_key: ed25519.Ed25519PublicKey | None = None
        self.host_key = ""
        self.document = document()
        self.announcements: list[api.AgentAnnounce] = []
        self.sessions: dict[str, Session] = {}
        self.claims: list[tuple[str, str]] = []
        self.sealing = ""
        """What claims are answered with for originals."""
        self.chunks: dict[str, list[recording.Chunk]] = defaultdict(list)
        self.stored: dict[str, bytes] = {}
        self.reports: dict[str, list[api.SessionReport]] = defaultdict(list)
        self.closes: dict[str, api.SessionClose] = {}
        self.beats: list[relay.Beat] = []
        self.requests: Counter[str] = Counter()
        self.faults: dict[str, list[Any]] = defaultdict(list)
        """By route (``claim``, ``chunks``, ``put``, …): what to answer instead, once each. A Fault, or a status."""
        self.held: dict[str, asyncio.Event] = {}
        """By route: what its answers wait for."""
        self.control: list[web.WebSocketResponse] = []
        self.ends: dict[str, dict[str, web.WebSocketResponse]] = defaultdict(dict)
        self._jtis: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._waiting: list[tuple[Callable[[], bool], Any]] = []

    async def __aenter__(self) -> FakeControlPlane:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.on_response_prepare.append(self._date)
        app.router.add_get("/prod/trust", self._trust)
        app.router.add_post("/prod/agents/enrol", self._enrol)
        app.router.add_post("/prod/agent/announce", self._signed("announce", self._announce))
        app.router.add_post("/prod/agent/sessions", self._signed("open", self._open))
        for verb, serve in {"claim": self._claim, "chunks": self._chunk, "report": self._report, "close": self._close}.items():
            app.router.add_post(f"/prod/agent/sessions/{{sid}}/{verb}", self._signed(verb, serve))
        app.router.add_put("/store/{key:.+}", self._put)
        app.router.add_get("/socket", self._socket)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert self._runner.addresses
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}/prod"
        self.websocket_url = f"ws://127.0.0.1:{self.port}/socket"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # --- facts that tests make

    def trust(self) -> api.Trust:
        return api.Trust(
            issuer=self.issuer,
            ssh_ca=self.ca.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(),
            token_key={name: str(value) for name, value in self.token_key.as_dict(private=False).items()},
            websocket_url=self.websocket_url,
        )

    def session(self, sub: str = "alice@example.com", target: str = "web", state: State = State.OFFERED) -> Session:
        """Make a session in the store's eyes."""
        now = self.now_ms()
        made = Session(
            sid=ids.mint(ids.SESSION, now, secrets.token_bytes(10)),
            state=state,
            principal=sub,
            target=target,
            protocol="echo",
            agent="edge",
            login="root",
            policy_version=self.document.version,
            opened_ms=now,
            deadline_ms=now + HOUR_MS,
        )
        self.sessions[made.sid] = made
        return made

    def ticket(self, session: Session, *, key: ECKey | None = None, typ: str = TICKET_TYP, **changes: Any) -> str:
        """Sign a ticket for ``session``; ``changes`` spoil it."""
        now_s = self.now_ms() // 1000
        claims = TicketClaims(
            iss=self.issuer,
            aud=self.agent_id,
            sid=session.sid,
            sub=session.principal,
            target=session.target,
            login=session.login,
            policy_version=session.policy_version,
            recording=recording.prefix(session.opened_ms, session.target, session.principal, session.sid),
            iat=now_s,
            exp=now_s + 60,
            deadline_ms=session.deadline_ms,
        )
        claims = msgspec.structs.replace(claims, **changes)
        return jws.serialize_compact({"alg": "ES256", "typ": typ}, msgspec.json.encode(claims), key or self.token_key, ["ES256"])

    def person_certificate(self, principal: str, public_key: str, *, principals: list[str] | None = None) -> str:
        """Return a user certificate line for an OpenSSH public key line."""
        return self._certificate(SSHCertificateType.USER, public_key, principal, principals or [principal])

    async def send(self, message: relay.Control) -> None:
        """Send to the agent's newest control socket."""
        await self.control[-1].send_str(relay.encode(message).decode())

    def text_of(self, sid: str) -> str:
        """Everything that was stored of a session, in the order of its chunks."""
        parts = [self.stored[f"{sid}/{chunk.n}"] for chunk in self.chunks[sid]]
        return b"".join(text_of(part) for part in parts).decode()

    def chain_holds(self, sid: str) -> bool:
        """Tell whether the registered chunks and stored bodies form the chain that the contract describes."""
        assert self.agent_key is not None
        head = recording.seed(sid, self.agent_key.public_bytes_raw())
        for number, chunk in enumerate(self.chunks[sid]):
            body = self.stored[f"{sid}/{chunk.n}"]
            digest = hashlib.sha256(body).hexdigest()
            head = recording.link(head, number, chunk.time_ms, digest)
            if (chunk.n, chunk.size, chunk.sha256, chunk.chain) != (number, len(body), digest, head):
                return False
        return True

    # --- routes

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.now_ms() // 1000, usegmt=True)

    async def _trust(self, _: web.Request) -> web.Response:
        return _json(self.trust())

    async def _enrol(self, request: web.Request) -> web.Response:
        asked = msgspec.json.decode(await request.read(), type=api.AgentEnrol)
        if asked.token not in self.enrolment_tokens:
            return _failure(Fault("enrolment_invalid", "The enrolment token is not valid, or was used."))
        self.enrolment_tokens.remove(asked.token)
        raw = base64.urlsafe_b64decode(asked.public_key + "=" * (-len(asked.public_key) % 4))
        self.agent_key = ed25519.Ed25519PublicKey.from_public_bytes(raw)
        self.agent_id = ids.mint(ids.AGENT, self.now_ms(), secrets.token_bytes(10))
        self.host_key = asked.ssh_host_key
        return _json(api.AgentEnrolled(agent_id=self.agent_id, name="edge", trust=self.trust()))

    def _signed(self, route: str, serve: Callable[[web.Request, bytes], Any]) -> Any:
        async def checked(request: web.Request) -> web.StreamResponse:
            self.requests[route] += 1
            body = await request.read()
            path = request.path.removeprefix("/prod")
            try:
                self._check(request.headers.get("Authorization", ""), request.method, path, body)
            except Fault as fault:
                return _failure(fault)
            if route in self.held:
                await self.held[route].wait()
            wrong = self._wrong(route)
            return wrong if wrong is not None else await serve(request, body)

        return checked

    def _wrong(self, route: str) -> web.Response | None:
        if not self.faults[route]:
            return None
        answer = self.faults[route].pop(0)
        return _failure(answer) if isinstance(answer, Fault) else web.Response(status=answer, text="<Error/>")

    def _check(self, header: str, method: str, path: str, body: bytes) -> None:
        scheme, _, token = header.partition(" ")
        if scheme != "Agent" or self.agent_key is None or token.count(".") != 2:
            raise Fault("agent_proof_invalid", "There is no proof.")
        first, second, third = token.split(".")
        fields = msgspec.json.decode(_unpadded(first))
        try:
            self.agent_key.verify(_unpadded(third), f"{first}.{second}".encode())
        except InvalidSignature:
            raise Fault("agent_proof_invalid", "The proof's signature is wrong.") from None
        if fields != {"alg": "EdDSA", "typ": PROOF_TYP, "kid": self.agent_id}:
            raise Fault("agent_proof_invalid", "The proof is of another kind.")
        claims = msgspec.json.decode(_unpadded(second), type=ProofClaims)
        digest = hashlib.sha256(body).hexdigest()
        check_proof(claims, agent_id=self.agent_id, method=method, path=path, body_sha256=digest, now_ms=self.now_ms())
        if claims.jti in self._jtis:
            raise Fault("agent_proof_invalid", "The proof was used before.")
        self._jtis.add(claims.jti)

    async def _announce(self, _: web.Request, body: bytes) -> web.Response:
        self.announcements.append(msgspec.json.decode(body, type=api.AgentAnnounce))
        certificate = self._certificate(SSHCertificateType.HOST, self.host_key, "edge", ["web.sallyport"])
        return _json(
            api.AgentConfig(
                document=self.document,
                ssh_host_certificate=certificate,
                expires_ms=self.now_ms() + HOUR_MS,
                trust=self.trust(),
            )
        )

    async def _open(self, _: web.Request, body: bytes) -> web.Response:
        asked = msgspec.json.decode(body, type=api.DirectOpen)
        return _json(api.DirectOpened(ticket=self.ticket(self.session(target=asked.target))))

    async def _claim(self, request: web.Request, body: bytes) -> web.Response:
        session = self.sessions.get(request.match_info["sid"])
        if session is None:
            return _failure(Fault("unknown_session", "There is no such session."))
        if session.state is not State.OFFERED:
            return _failure(Fault("ticket_used", "The ticket was used before."))
        asked = msgspec.json.decode(body, type=api.SessionClaim)
        self.claims.append((session.sid, asked.path))
        live = self.sessions[session.sid] = msgspec.structs.replace(session, state=State.LIVE, path=asked.path)
        return _json(api.SessionClaimed(session=live, sealing=self.sealing))

    async def _chunk(self, request: web.Request, body: bytes) -> web.Response:
        sid = request.match_info["sid"]
        chunk = msgspec.json.decode(body, type=api.ChunkUpload).chunk
        known = self.chunks[sid]
        if recording.problem(chunk):
            return _failure(Fault("chunk_invalid", str(recording.problem(chunk))))
        if chunk not in known:
            if chunk.n != len(known):
                return _failure(Fault("chunk_conflict", f"The next chunk is {len(known)}."))
            known.append(chunk)
        digest = base64.b64encode(bytes.fromhex(chunk.sha256)).decode()
        headers = {"If-None-Match": "*", "Content-Type": recording.CONTENT_TYPE, "x-amz-checksum-sha256": digest}
        url = f"http://127.0.0.1:{self.port}/store/{sid}/{chunk.n}"
        return _json(api.ChunkTicket(url=url, headers=headers, expires_ms=self.now_ms() + 60_000))

    async def _put(self, request: web.Request) -> web.Response:
        self.requests["put"] += 1
        wrong = self._wrong("put")
        if wrong is not None:
            return wrong
        key, body = request.match_info["key"], await request.read()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        if "Authorization" in request.headers or any(name not in request.headers for name in BOUND):
            return web.Response(status=403, text="SignatureDoesNotMatch")
        if request.headers["x-amz-checksum-sha256"] != digest or request.headers["Content-Type"] != recording.CONTENT_TYPE:
            return web.Response(status=400, text="BadDigest")
        if key in self.stored:
            return web.Response(status=412, text="PreconditionFailed")
        self.stored[key] = body
        return web.Response()

    async def _report(self, request: web.Request, body: bytes) -> web.Response:
        self.reports[request.match_info["sid"]].append(msgspec.json.decode(body, type=api.SessionReport))
        return _json(api.Done())

    async def _close(self, request: web.Request, body: bytes) -> web.Response:
        sid = request.match_info["sid"]
        self.closes[sid] = msgspec.json.decode(body, type=api.SessionClose)
        return _json(api.Done())

    # --- sockets

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        kind, sid = request.headers.get("X-Sallyport-Socket", ""), request.headers.get("X-Sallyport-Session", "")
        wrong = self._wrong("socket")
        if wrong is not None:
            return wrong
        if kind != "client":
            try:
                self._check(request.headers.get("Authorization", ""), "GET", "/ws", b"")
            except Fault as fault:
                return _failure(fault)
        socket = web.WebSocketResponse(max_msg_size=relay.MESSAGE_LIMIT)
        await socket.prepare(request)
        if kind == "control":
            self.control.append(socket)
        else:
            self.ends[sid][kind] = socket
            for end in self.ends[sid].values():
                await self._route(end)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._obey(kind, sid, socket, message.data)
        return socket

    async def _obey(self, kind: str, sid: str, socket: web.WebSocketResponse, text: str) -> None:
        match relay.decode_upward(text):
            case relay.Beat() as beat if kind == "control":
                self.beats.append(beat)
            case relay.Hello():
                if len(self.ends[sid]) == 2:
                    await self._route(socket)
                else:
                    await socket.send_str(relay.encode(relay.Lost("peer_away")).decode())
            case relay.Data() as data:
                for other in self.ends[sid].values():
                    if other is not socket and not other.closed:
                        await other.send_str(relay.deliver(data).decode())
            case _:
                pass

    async def _route(self, socket: web.WebSocketResponse) -> None:
        await socket.send_str(relay.encode(relay.Route("route", "resume", 1)).decode())

    def _certificate(self, kind: SSHCertificateType, public_key: str, key_id: str, principals: list[str]) -> str:
        key = load_ssh_public_key(public_key.encode())
        assert isinstance(key, ed25519.Ed25519PublicKey)
        now_s = self.now_ms() // 1000
        builder = SSHCertificateBuilder().public_key(key).type(kind).key_id(key_id.encode()).serial(1)
        builder = builder.valid_principals([name.encode() for name in principals])
        made = builder.valid_after(now_s - 60).valid_before(now_s + 3600).sign(self.ca)
        return made.public_bytes().decode()


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _failure(fault: Fault) -> web.Response:
    return _json(api.Failure(fault.notice), CODES[fault.code].status)


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
