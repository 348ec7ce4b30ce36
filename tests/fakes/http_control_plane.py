"""A control plane over loopback HTTP, small enough to read: just what the command line asks for.

It keeps what it was asked in ``requests``, checks PKCE and the token for real, signs real SSH certificates, serves recordings
from its own ``/blobs``, and answers whatever a test puts into ``overrides`` instead.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import re
import secrets
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import ssh

from chalicelib.contracts import api, recording
from chalicelib.contracts.faults import CODES, Fault
from chalicelib.contracts.session import Session

PRINCIPAL = "alice@example.com"


class Request(NamedTuple):
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """A reply that a test wants instead of the real one."""

    status: int
    body: bytes
    headers: dict[str, str] = {}


class FakeControlPlane:
    """Use as a context manager. Facts are public attributes; tests set them."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.token = secrets.token_urlsafe(24)
        self.requests: list[Request] = []
        self.overrides: dict[tuple[str, str], Reply] = {}
        self.targets: list[api.TargetView] = []
        self.agents: list[api.AgentView] = []
        self.sessions: list[Session] = []
        self.offer: api.SessionOffer | Fault = Fault("unknown_target", "There is no such target.")
        self.recordings: dict[str, api.RecordingLinks] = {}
        self.blobs: dict[str, bytes] = {}
        self.plan = api.ConfigPlan(version=1, changes=[], warnings=[])
        self.applied: list[api.ConfigFiles] = []
        self.problems: list[api.Problem] = []
        self.login_error = ""
        self.page_size = 200
        self.compress: Callable[[bytes], bytes] = raw_frame
        self._logins: dict[str, api.LoginStart] = {}
        self._ca = ec.generate_private_key(ec.SECP256R1())
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler_class())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeControlPlane:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def ssh_ca(self) -> str:
        form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return self._ca.public_key().public_bytes(*form).decode()

    def certify(self, public: str) -> str:
        """Sign a user certificate."""
        key = ssh.load_ssh_public_key(public.encode())
        builder = (
            ssh.SSHCertificateBuilder()
            .public_key(key)  # type: ignore[arg-type]
            .serial(7)
            .type(ssh.SSHCertificateType.USER)
            .key_id(PRINCIPAL.encode())
            .valid_principals([PRINCIPAL.encode()])
            .valid_after(self.now_ms / 1000 - 60)
            .valid_before(self.now_ms / 1000 + 3600)
        )
        return builder.sign(self._ca).public_bytes().decode()

    def record(self, session: Session, parts: list[tuple[str, int, bytes]]) -> Session:
        """Store a recording of ``(kind, time_ms, text)`` and a session that it belongs to. Returns that session."""
        head = start = recording.seed(session.sid, b"k" * 32)
        stored, urls = [], []
        for n, (kind, time_ms, text) in enumerate(parts):
            body = self.compress(text)
            sha256 = hashlib.sha256(body).hexdigest()
            head = recording.link(head, n, time_ms, sha256)
            chunk = recording.Chunk(n=n, kind=kind, time_ms=time_ms, size=len(body), sha256=sha256, chain=head)
            stored.append(recording.StoredChunk(chunk=chunk, key=recording.key("recordings/x", chunk)))
            urls.append(f"{self.url}/blobs/{session.sid}/{n}?X-Amz-Signature=abc")
            self.blobs[f"{session.sid}/{n}"] = body
        session = msgspec.structs.replace(session, chunks=len(parts), chain=head if parts else "")
        self.sessions.append(session)
        self.recordings[session.sid] = api.RecordingLinks(
            session=session,
            chain_seed=start,
            chunks=stored,
            urls=urls,
            expires_ms=self.now_ms + 60_000,
            agent_key=base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("="),
        )
        return session

    def answer(self, request: Request) -> Reply:
        """Route one request."""
        parts = urlsplit(request.path)
        if override := self.overrides.get((request.method, parts.path)):
            return override
        if parts.path.startswith("/blobs/"):
            return self._blob(parts.path.removeprefix("/blobs/"))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            return self._route(request, parts.path, query)
        except Fault as fault:
            failure = api.Failure(fault.notice, self.problems)
            return Reply(CODES[fault.code].status, msgspec.json.encode(failure))

    def _route(self, request: Request, path: str, query: dict[str, str]) -> Reply:
        match request.method, path:
            case "POST", "/login":
                return self._start(msgspec.json.decode(request.body, type=api.LoginStart))
            case "GET", "/authorize":
                return self._authorize(query["login"])
            case "POST", "/login/redeem":
                return self._redeem(msgspec.json.decode(request.body, type=api.LoginRedeem))
            case "GET", "/trust":
                return _ok(
                    api.Trust(issuer=self.url, ssh_ca=self.ssh_ca, token_key={"kty": "EC"}, websocket_url="ws://127.0.0.1:1")
                )
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise Fault("token_invalid", "The access token is not valid.")
        return self._private_route(request, path, query)

    def _private_route(self, request: Request, path: str, query: dict[str, str]) -> Reply:
        match request.method, path:
            case "POST", "/logout":
                return _ok(api.Done())
            case "GET", "/whoami":
                return _ok(api.WhoAmI(principal=PRINCIPAL, groups=["engineering", "sre"], expires_ms=self.now_ms + 28_740_000))
            case "GET", "/targets":
                return _ok(api.TargetList(targets=self.targets))
            case "POST", "/sessions":
                msgspec.json.decode(request.body, type=api.SessionOpen)
                if isinstance(self.offer, Fault):
                    raise self.offer
                return _ok(self.offer)
            case "GET", "/sessions":
                return self._page(query)
            case "GET", "/agents":
                return _ok(api.AgentList(agents=self.agents))
            case "POST", "/agents/tokens":
                return _ok(api.AgentToken(token="spt_0123456789abcdef", expires_ms=self.now_ms + 3_600_000))
            case "POST", "/config/plan" | "/config/apply":
                return self._configure(path, msgspec.json.decode(request.body, type=api.ConfigFiles))
        if match := re.fullmatch(r"/sessions/(ses_\w+)(/recording)?", path):
            return self._session(match[1], bool(match[2]))
        return Reply(404, b'{"message":"Not Found"}')

    def _start(self, start: api.LoginStart) -> Reply:
        login = secrets.token_urlsafe(12)
        self._logins[login] = start
        return _ok(api.LoginStarted(authorize_url=f"{self.url}/authorize?login={login}", expires_ms=self.now_ms + 300_000))

    def _authorize(self, login: str) -> Reply:
        start = self._logins[login]
        end = f"error={self.login_error}" if self.login_error else f"code={login}"
        return Reply(302, b"", {"Location": f"http://127.0.0.1:{start.port}/done?{end}&state={start.state}"})

    def _redeem(self, redeem: api.LoginRedeem) -> Reply:
        start = self._logins.pop(redeem.code, None)
        digest = base64.urlsafe_b64encode(hashlib.sha256(redeem.verifier.encode()).digest()).rstrip(b"=").decode()
        if start is None or start.challenge != digest:
            raise Fault("login_failed", "The code is not valid.")
        return _ok(
            api.LoggedIn(
                access_token=self.token,
                expires_ms=self.now_ms + 28_740_000,
                principal=PRINCIPAL,
                groups=["engineering", "sre"],
                ssh_certificate=self.certify(redeem.ssh_public_key),
            )
        )

    def _page(self, query: dict[str, str]) -> Reply:
        def wanted(session: Session) -> bool:
            day = dt.datetime.fromtimestamp(session.opened_ms / 1000, dt.UTC).date().isoformat()
            facts = {"day": day, "principal": session.principal, "target": session.target, "state": session.state.value}
            return all(query.get(name, value) == value for name, value in facts.items())

        found = sorted(filter(wanted, self.sessions), key=lambda session: session.sid, reverse=True)
        start, size = int(query.get("cursor", "0")), min(int(query["limit"]), self.page_size)
        after = start + size
        return _ok(api.SessionPage(sessions=found[start:after], cursor=str(after) if after < len(found) else ""))

    def _session(self, sid: str, recording: bool) -> Reply:
        if recording and sid in self.recordings:
            return _ok(self.recordings[sid])
        session = next((each for each in self.sessions if each.sid == sid), None)
        if session is None or recording:
            raise Fault("unknown_session", "There is no such session.")
        return _ok(session)

    def _configure(self, path: str, files: api.ConfigFiles) -> Reply:
        if self.problems:
            raise Fault("config_invalid", f"The configuration has {len(self.problems)} problems.")
        if path == "/config/plan":
            return _ok(self.plan)
        if files.expected_version != self.plan.version:
            raise Fault("config_conflict", "Somebody else has applied meanwhile.", hint="Look at the plan again.")
        self.applied.append(files)
        return _ok(msgspec.structs.replace(self.plan, version=self.plan.version + 1))

    def _blob(self, name: str) -> Reply:
        body = self.blobs.get(name)
        return Reply(404, b"<Error><Code>NoSuchKey</Code></Error>") if body is None else Reply(200, body)

    def _handler_class(self) -> type[BaseHTTPRequestHandler]:
        plane = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.command, self.path, headers, body)
                plane.requests.append(request)
                reply = plane.answer(request)
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = _serve  # noqa: N815 - the server library looks for these names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        return Handler


def raw_frame(text: bytes) -> bytes:
    """Return ``text`` as one zstd frame of raw blocks (RFC 8878 §3.1.1): the same bytes with every version of every library."""
    blocks = [text[at : at + 0x1FFFF] for at in range(0, len(text), 0x1FFFF)] or [b""]
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(text))
    for n, block in enumerate(blocks):
        frame += struct.pack("<I", len(block) << 3 | (n == len(blocks) - 1))[:3] + block
    return frame


def _ok(value: Any) -> Reply:
    return Reply(200, msgspec.json.encode(value), {"Content-Type": "application/json"})


def failure(code: str, message: str, hint: str = "") -> Reply:
    """Return the reply that carries a fault."""
    return Reply(400, json.dumps({"error": {"code": code, "message": message, "hint": hint}}).encode())
