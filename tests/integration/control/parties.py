"""The parties of a session as the control plane sees them, over real HTTP and WebSockets: a person, an agent, their sockets."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as ws_connect

from chalicelib.contracts import recording
from chalicelib.contracts.capability import PROOF_TYP
from tests.patience import HANG_S

PROTOCOL = {
    "name": "ssh",
    "hint": "ssh {target}",
    "options": [{"name": "shell", "type": "string", "doc": "How shells are treated.", "choices": ["commands", "recorded"]}],
    "controls": [
        {"name": "record", "enforced": True},
        {"name": "block", "enforced": True},
        {"name": "hold", "enforced": False, "why": "ssh sessions cannot wait yet"},
        {"name": "mask", "enforced": False, "why": "ssh output is not masked yet"},
        {"name": "transfer", "enforced": True},
        {"name": "forward", "enforced": False, "why": "ssh forwarding is switched off"},
    ],
}


def b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def openssh(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


class Api:
    """JSON over HTTP. Answers are ``(status, body)``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pool = urllib3.PoolManager(maxsize=8)

    def call(self, method: str, path: str, body: Any = None, authorization: str = "") -> tuple[int, Any]:
        raw = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if body is not None else {}
        if authorization:
            headers["authorization"] = authorization
        answer = self.pool.request(method, self.url + path, body=raw or None, headers=headers, redirect=False, retries=False)
        text = answer.data.decode()
        if answer.status == 302:
            return 302, answer.headers["location"]
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text


class Person:
    """Somebody who logs in with a browser that clicks by itself."""

    def __init__(self, api: Api, username: str) -> None:
        self.api, self.username = api, username
        self.key = Ed25519PrivateKey.generate()
        self.token = ""
        self.certificate = ""

    def begin(self, port: int = 40404, state: str = "state-of-mine") -> tuple[str, str]:
        verifier = b64url(os.urandom(32))
        challenge = b64url(hashlib.sha256(verifier.encode()).digest())
        status, started = self.api.call("POST", "/login", {"challenge": challenge, "port": port, "state": state})
        assert status == 200, started
        return verifier, started["authorize_url"]

    def browse(self, authorize_url: str) -> str:
        """Sign in at the identity provider and follow it back; return where the gateway sends the browser."""
        url = f"{authorize_url}&{urlencode({'prompt': 'none', 'login_hint': self.username})}"
        answer = self.api.pool.request("GET", url, redirect=False, retries=False)
        assert answer.status in (302, 303), answer.data
        back = answer.headers["location"]
        assert back.startswith(self.api.url + "/login/callback")
        status, location = self.api.call("GET", back.removeprefix(self.api.url))
        assert status == 302, location
        return str(location)

    def login(self) -> Person:
        verifier, url = self.begin()
        location = self.browse(url)
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert location.startswith("http://127.0.0.1:40404/done?")
        assert query["state"] == "state-of-mine"
        body = {"code": query["code"], "verifier": verifier, "ssh_public_key": openssh(self.key)}
        status, found = self.api.call("POST", "/login/redeem", body)
        assert status == 200, found
        self.token, self.certificate = found["access_token"], found["ssh_certificate"]
        return self

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.api.call(method, path, body, f"Bearer {self.token}")


class AgentParty:
    """An agent that enrols, proves every request, and keeps a control socket."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.key, self.host_key = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.agent_id = ""

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def enrol(self, token: str) -> tuple[int, Any]:
        body = {"token": token, "public_key": b64url(self.public_key), "ssh_host_key": openssh(self.host_key)}
        status, found = self.api.call("POST", "/agents/enrol", body)
        if status == 200:
            self.agent_id = found["agent_id"]
        return status, found

    def proof(self, method: str, path: str, body: bytes = b"", **changed: Any) -> str:
        header = {"alg": "EdDSA", "typ": PROOF_TYP, "kid": self.agent_id}
        claims = {
            "sub": self.agent_id,
            "aud": "sallyport-control",
            "iat": int(time.time()),
            "jti": b64url(os.urandom(12)),
            "htm": method,
            "htp": path,
            "bsh": hashlib.sha256(body).hexdigest(),
        } | changed
        signed = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
        return f"Agent {signed}.{b64url(self.key.sign(signed.encode()))}"

    def call(self, path: str, body: Any) -> tuple[int, Any]:
        raw = msgspec.json.encode(body)
        return self.api.call("POST", path, raw, self.proof("POST", path, raw))

    def announce(self) -> tuple[int, Any]:
        return self.call("/agent/announce", {"protocols": [PROTOCOL], "credentials": ["web-key"]})

    def headers(self, kind: str, sid: str = "") -> dict[str, str]:
        found = {"Authorization": self.proof("GET", "/ws"), "X-Sallyport-Socket": kind}
        return found | {"X-Sallyport-Session": sid} if sid else found


class Socket:
    """A WebSocket that speaks JSON."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._open = contextlib.ExitStack()
        self.raw: ClientConnection = self._open.enter_context(ws_connect(url, additional_headers=headers, open_timeout=HANG_S))

    def say(self, **message: Any) -> None:
        self.raw.send(json.dumps(message))

    def hear(self, timeout: float = HANG_S) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw.recv(timeout))
        return found

    def close(self) -> None:
        self._open.close()


class Chunks:
    """The chain of one session's chunks."""

    def __init__(self, sid: str, agent: AgentParty) -> None:
        self.head = recording.seed(sid, agent.public_key)
        self.n = 0

    def next(self, body: bytes) -> dict[str, Any]:
        sha256, time_ms = hashlib.sha256(body).hexdigest(), int(time.time() * 1000)
        self.head = recording.link(self.head, self.n, time_ms, sha256)
        chunk = {"n": self.n, "kind": "ch01.cast", "time_ms": time_ms, "size": len(body), "sha256": sha256, "chain": self.head}
        self.n += 1
        return chunk
