"""Approvals: how many votes a second the embedded cloud counts, one at a time and racing for one request.

Everything is in this one process: the application, moto's DynamoDB and KMS, and the voters, so wall time is that of the whole and
CPU time is that of all of it together. On AWS a vote is one Lambda invocation with two reads and one transaction.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.measure import Table
from infra.local.cloud import EmbeddedCloud
from infra.local.people import Person

#: Votes in a row per round, and how many people race for one request.
IN_A_ROW: Final = 20
RACERS: Final = 16
GATEWAY: Final = """
version: 1
targets:
  db-1:
    protocol: ssh
    agent: edge
    address: 127.0.0.1:22
    tags: [prod]
    logins: {deploy: {credential: key}}
"""
POLICY: Final = """
@id("in") permit(principal in Group::"sre", action == Action::"connect", resource);
@id("one") @message("One has to agree.") @approval("group:dba ttl:10m")
forbid(principal, action == Action::"connect", resource) when { context.reason like "one*" }
unless { context.approvals.contains("dba") };
@id("many") @message("Many have to agree.") @approval("group:dba quorum:RACERS ttl:10m")
forbid(principal, action == Action::"connect", resource) when { context.reason like "many*" }
unless { context.approvals.contains("dba") };
@id("dbas") permit(principal in Group::"dba", action == Action::"approve", resource);
""".replace("RACERS", str(RACERS))
HOLDING: Final = {
    "name": "ssh",
    "hint": "ssh {target}",
    "options": [],
    "controls": [{"name": name, "enforced": True} for name in ("record", "block", "hold", "mask", "transfer", "forward")],
}


def run(rounds: int) -> list[Table]:
    """Measure all of it."""
    with EmbeddedCloud(lambda: importlib.import_module("app").app, background=False) as cloud:
        return _votes(_Voting(cloud), rounds)


def _votes(voting: _Voting, rounds: int) -> list[Table]:
    reference = "one request read (for comparison)"
    rate = Table("approvals: votes", "per second", "more", reference=reference)
    cpu = Table("approvals: votes, CPU of everything together", "ms each", "less", reference=reference)
    for _ in range(rounds):
        for name, (seconds, cpu_s, count) in {
            reference: voting.reads(),
            "votes, one at a time, each decides a request": voting.in_a_row(),
            f"votes, {RACERS} people race for one request": voting.race(),
        }.items():
            rate.add(name, [count / seconds])
            cpu.add(name, [cpu_s * 1000 / count])
    rate.notes.append(
        f"quorum {RACERS} in the race: every vote but one is counted without deciding, and each lost race is tried again"
    )
    return [rate, cpu]


class _Voting:
    """Alice asks; every voter is a DBA with a login of their own."""

    def __init__(self, cloud: EmbeddedCloud) -> None:
        self._http = urllib3.PoolManager(maxsize=RACERS + 1)
        self._url = cloud.http_url
        names = [f"voter{n}" for n in range(RACERS)]
        for name in names:
            cloud.idp.add(Person(name, ("dba",)))
        admin = self._login("pat")
        self._alice, self._voters = self._login("alice"), [self._login(name) for name in names]
        # The file's target names an agent; plan checks it against what that agent announced.
        _announce(self, admin)
        self._call("POST", "/config/apply", {"files": {"gateway.yaml": GATEWAY, "main.cedar": POLICY}}, f"Bearer {admin}")
        self._asked = 0

    def reads(self) -> tuple[float, float, int]:
        """Read one request again and again."""
        request = self._ask("one")
        path = f"/requests/{request['rid']}"
        found = _timed(lambda: [self._call("GET", path, None, f"Bearer {self._alice}") for _ in range(IN_A_ROW)])
        self._vote(self._voters[0], request)
        return *found, IN_A_ROW

    def in_a_row(self) -> tuple[float, float, int]:
        """One yes after another; each ends its own request."""
        requests = [self._ask("one") for _ in range(IN_A_ROW)]
        return *_timed(lambda: [self._vote(self._voters[0], each) for each in requests]), IN_A_ROW

    def race(self) -> tuple[float, float, int]:
        """Everybody answers the same request at the same moment."""
        request, start = self._ask("many"), threading.Barrier(RACERS + 1)

        def voter(token: str) -> Any:
            start.wait(60)
            return self._vote(token, request)

        with ThreadPoolExecutor(RACERS) as pool:
            voted = [pool.submit(voter, token) for token in self._voters]

            def race() -> None:
                start.wait(60)
                states = [each.result()["request"]["state"] for each in voted]
                if states.count("approved") != 1:
                    raise RuntimeError(f"a race had {states.count('approved')} outcomes")

            return *_timed(race), RACERS

    def _ask(self, kind: str) -> dict[str, Any]:
        self._asked += 1
        body = {"target": "db-1", "reason": f"{kind} {self._asked}"}
        found: dict[str, Any] = self._call("POST", "/requests", body, f"Bearer {self._alice}")["request"]
        return found

    def _vote(self, token: str, request: dict[str, Any]) -> Any:
        ballot = {"approve": True, "digest": request["digest"]}
        return self._call("POST", f"/requests/{request['rid']}/votes", ballot, f"Bearer {token}")

    def _call(self, method: str, path: str, body: Any, authorization: str = "") -> Any:
        raw = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json", "Authorization": authorization}
        answer = self._http.request(method, self._url + path, body=raw, headers=headers, redirect=False, retries=False)
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data.decode()[:300]}")
        return json.loads(answer.data)

    def _login(self, name: str) -> str:
        verifier = _b64(os.urandom(32))
        challenge = _b64(hashlib.sha256(verifier.encode()).digest())
        url = self._call("POST", "/login", {"challenge": challenge, "port": 40404, "state": "benchmark"})["authorize_url"]
        there = f"{url}&prompt=none&login_hint={quote(name)}"
        for _ in range(2):  # the identity provider, then our callback
            there = self._http.request("GET", there, redirect=False, retries=False).headers["location"]
        code = parse_qs(urlsplit(there).query)["code"][0]
        body = {"code": code, "verifier": verifier, "ssh_public_key": _openssh()}
        return str(self._call("POST", "/login/redeem", body)["access_token"])


def _announce(voting: _Voting, admin: str) -> None:
    """Enrol an agent that says it can hold; it serves nothing here."""
    key = Ed25519PrivateKey.generate()
    token = voting._call("POST", "/agents/tokens", {"name": "edge"}, f"Bearer {admin}")["token"]
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    asked = {"token": token, "public_key": _b64(public), "ssh_host_key": _openssh()}
    agent = voting._call("POST", "/agents/enrol", asked)["agent_id"]
    body = {"protocols": [HOLDING], "credentials": ["key"]}
    claims = {
        "sub": agent,
        "aud": "sallyport-control",
        "iat": int(time.time()),
        "jti": _b64(os.urandom(12)),
        "htm": "POST",
        "htp": "/agent/announce",
        "bsh": hashlib.sha256(json.dumps(body).encode()).hexdigest(),
    }
    header = {"alg": "EdDSA", "typ": "sallyport-agent-proof+jwt", "kid": agent}
    signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
    voting._call("POST", "/agent/announce", body, f"Agent {signed}.{_b64(key.sign(signed.encode()))}")


def _timed(work: Any) -> tuple[float, float]:
    """Return wall and CPU seconds of ``work``."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def _openssh() -> str:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
