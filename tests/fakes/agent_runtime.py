"""What the runtime promises to plug-ins, kept in memory: ``Serving``, ``Recorder``, ``Door`` and ``HostIdentity``.

They record what happened in one list in the order in which it happened, so that tests can compare order and not only presence.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

import asyncssh
import msgspec

from agent.core.policy import Yes
from agent.runtime.host_keys import HostKeys, Learned
from agent.runtime.operator_tls import OperatorCertificate
from agent.runtime.sealing import Sealer
from agent.runtime.serving import Credential, Told
from chalicelib.contracts.api_requests import RequestStanding
from chalicelib.contracts.approval import ApprovalRequest, RequestState
from chalicelib.contracts.capability import ApprovalClaims, TicketClaims
from chalicelib.contracts.faults import Fault, Notice
from chalicelib.contracts.gateway import Login, Target
from chalicelib.contracts.operation import Operation
from chalicelib.contracts.policy import Approval, Document, Policy, Rule, Verdict
from chalicelib.contracts.recording import Kind

SID = "ses_01JD8QZ6T3N0V9C4K2M7X5B1HR"
NOW_MS = 1_700_000_000_000

ALLOW_ALL = "permit(principal, action, resource);"


def make_claims(**changes: Any) -> TicketClaims:
    """A ticket of ann for the target web."""
    fields: dict[str, Any] = {
        "iss": "https://gateway.example",
        "aud": "agt_01JD8QZ6T3N0V9C4K2M7X5B1HR",
        "sid": SID,
        "sub": "ann@example.com",
        "groups": ["dev"],
        "target": "web",
        "login": "deploy",
        "policy_version": 1,
        "reason": "INC-7",
        "source_ip": "192.0.2.7",
        "recording": "recordings/2023/11/14/web/ann@example.com/221320Z_" + SID,
        "iat": NOW_MS // 1000,
        "exp": NOW_MS // 1000 + 60,
        "deadline_ms": NOW_MS + 3_600_000,
    }
    return TicketClaims(**fields | changes)


def make_target(**changes: Any) -> Target:
    """The target web, reached over SSH."""
    fields: dict[str, Any] = {
        "name": "web",
        "protocol": "ssh",
        "agent": "agent-1",
        "address": "127.0.0.1:22",
        "logins": {"deploy": Login(credential="web-key")},
        "default_login": "deploy",
        "tags": ["dev"],
    }
    return Target(**fields | changes)


def make_policy(*rules: str, target: Target | None = None, version: int = 1) -> Policy:
    """A policy of ``rules`` (everything is permitted where none is given) about ``target``."""
    texts = rules or (ALLOW_ALL,)
    named = [Rule(f"rule-{number}", "test.cedar", number, text) for number, text in enumerate(texts, 1)]
    return Policy(Document(version=version, rules=named, targets=[target or make_target()]))


SEEN = "seen: "


class FakeRecorder:
    """Keeps lines per channel. ``failing`` makes durable writes fail; ``full`` makes it say that it cannot keep up."""

    def __init__(self, happened: list[tuple[Any, ...]]) -> None:
        self.happened = happened
        self._pieces: dict[tuple[int, str], list[bytes]] = {}
        self.failing = False
        self.full = False
        self.gave_way = 0
        self.relief = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self._writing: set[asyncio.Task[None]] = set()

    async def write(self, channel: int, kind: Kind, lines: bytes, *, durable: bool = False) -> None:
        """Keep lines, after ``gate`` opened if there is one."""
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.failing:
            raise Fault("recording_failed", "The recording cannot be written.")
        self._keep("record", channel, kind, lines)

    def write_then(self, channel: int, kind: Kind, lines: bytes, done: Callable[[Fault | None], None]) -> None:
        """Keep lines like a durable ``write``, and then call ``done``."""

        def over(writing: asyncio.Task[None]) -> None:
            fault = writing.exception()
            assert fault is None or isinstance(fault, Fault)
            done(fault)

        writing = asyncio.ensure_future(self.write(channel, kind, lines, durable=True))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        writing.add_done_callback(over)

    def write_soon(self, channel: int, kind: Kind, lines: bytes) -> None:
        """Keep lines."""
        self._keep("output", channel, kind, lines)

    def _keep(self, what: str, channel: int, kind: str, lines: bytes) -> None:
        assert lines.endswith(b"\n"), "a recorder is given whole lines"
        self.happened.append((what, channel, kind))
        self._pieces.setdefault((channel, kind), []).append(lines)

    @property
    def written(self) -> dict[tuple[int, str], bytes]:
        """Everything that was written, per channel and kind."""
        return {place: b"".join(pieces) for place, pieces in list(self._pieces.items())}

    def size(self) -> int:
        """How many bytes were written."""
        return sum(len(piece) for pieces in self._pieces.values() for piece in pieces)

    def pressure(self) -> bool:
        """True while ``full``."""
        return self.full

    async def relieved(self) -> None:
        """Wait for ``relief``."""
        await self.relief.wait()

    async def give_way(self) -> None:
        """Count that somebody could have gone first."""
        self.gave_way += 1

    def lines(self, channel: int, kind: str) -> list[Any]:
        """The lines of one channel, decoded."""
        return [msgspec.json.decode(line) for line in self.written.get((channel, kind), b"").splitlines()]

    def text(self, channel: int) -> str:
        """What a cast of ``channel`` shows."""
        return "".join(line[2] for line in self.lines(channel, "cast")[1:] if line[1] == "o")

    def markers(self, channel: int) -> list[str]:
        """The markers of a cast, but for what was read from the screen."""
        return [text for text in self._markers(channel) if not text.startswith(SEEN)]

    def seen(self, channel: int) -> list[str]:
        """The lines of a recorded shell, as they were read from the screen."""
        return [text.removeprefix(SEEN) for text in self._markers(channel) if text.startswith(SEEN)]

    def _markers(self, channel: int) -> list[str]:
        return [line[2] for line in self.lines(channel, "cast")[1:] if line[1] == "m"]


class FakeApprovals:
    """Other people, who answer what ``answer`` is set to: an end of the wait by ``release``, then a yes or the Fault."""

    def __init__(self, claims: TicketClaims) -> None:
        self._claims = claims
        self.asked: list[tuple[Operation, list[str]]] = []
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()
        self.withdrawn = 0
        self.used: list[tuple[str, str]] = []
        self.no: Fault | None = None
        self.no_use: Fault | None = None
        self.changed: dict[str, Any] = {}
        """Claims of the yes that differ from what was asked."""

    async def agreed(self, operation: Operation, risks: list[str], told: Told) -> Yes:
        """Wait for ``release``."""
        self.asked.append((operation, risks))
        told(RequestStanding(request=make_request(operation), link="https://gw.example/approvals/req_1"))
        self.waiting.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        if self.no is not None:
            raise self.no
        return Yes(claims=make_approval(self._claims, operation, **self.changed), approvers=("carol@example.com",))

    async def use(self, rid: str, digest: str) -> None:
        """Count it."""
        if self.no_use is not None:
            raise self.no_use
        self.used.append((rid, digest))


def make_request(operation: Operation, **changed: Any) -> ApprovalRequest:
    """A request that waits."""
    facts: dict[str, Any] = {
        "rid": "req_1",
        "kind": "operation",
        "state": RequestState.PENDING,
        "principal": "ann",
        "target": "web",
        "protocol": "ssh",
        "agent": "edge",
        "operation": operation,
        "digest": operation.digest(),
        "rules": ["ask"],
        "message": "Ask the DBAs.",
        "asks": [Approval("dba")],
        "policy_version": 1,
        "asked_ms": NOW_MS,
        "deadline_ms": NOW_MS + 900_000,
    }
    return ApprovalRequest(**(facts | changed))


def make_approval(ticket: TicketClaims, operation: Operation, **changed: Any) -> ApprovalClaims:
    """The yes to ``operation`` in the session of ``ticket``."""
    facts: dict[str, Any] = {
        "iss": ticket.iss,
        "aud": ticket.aud,
        "rid": "req_1",
        "sid": ticket.sid,
        "sub": ticket.sub,
        "target": ticket.target,
        "login": ticket.login,
        "digest": operation.digest(),
        "asks": [Approval("dba")],
        "uses": 1,
        "policy_version": 1,
        "iat": NOW_MS // 1000,
        "exp": NOW_MS // 1000 + 900,
    }
    return ApprovalClaims(**(facts | changed))


class FakeServing:
    """One live session. Must be made inside a running loop."""

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        target: Target | None = None,
        claims: TicketClaims | None = None,
        credential: Credential | None = None,
        path: Literal["relay", "direct"] = "relay",
    ) -> None:
        self.happened: list[tuple[Any, ...]] = []
        self.claims = claims or make_claims()
        self.target = target or make_target()
        self.recorder = FakeRecorder(self.happened)
        self.path: Literal["relay", "direct"] = path
        self.approvals = FakeApprovals(self.claims)
        self.sealer: Sealer | None = None
        self.ended: asyncio.Future[Notice] = asyncio.get_running_loop().create_future()
        self.in_force = policy or make_policy(target=self.target)
        self.clock_ms = NOW_MS
        self.operations = 0
        self.denied = 0
        self.denials: list[tuple[Operation, Verdict]] = []
        self.target_notices: list[Notice] = []
        self.tell: list[Callable[[str], None]] = []
        self.watching: list[str] = []
        self.host_keys: HostKeys | None = None
        self._credential = credential

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self.in_force

    def now_ms(self) -> int:
        """The test's clock."""
        return self.clock_ms

    async def credential(self, login: str) -> Credential:
        """The one credential there is."""
        if self._credential is None:
            raise Fault("credential_missing", f"There is no credential for {login}.")
        return self._credential

    def count(self, *, operations: int = 0, denied: int = 0) -> None:
        """Add to the counters."""
        self.operations += operations
        self.denied += denied

    def report_denied(self, operation: Operation, verdict: Verdict, shown: str | None = None) -> None:
        """Keep the denial."""
        self.happened.append(("denied", operation.text if shown is None else shown))
        self.denials.append((operation, verdict))

    async def learned_host_key(self) -> str | None:
        """What ``host_keys`` holds of the target."""
        assert self.host_keys is not None, "nobody asks where the target does not say trust_first_host_key"
        found = self.host_keys.find(self.target.name, self.target.address)
        return found.key if found is not None else None

    async def learn_host_key(self, line: str) -> bool:
        """Keep it in ``host_keys``."""
        assert self.host_keys is not None
        of, claims = self.target, self.claims
        first = Learned(target=of.name, address=of.address, key=line, principal=claims.sub, sid=claims.sid, time_ms=self.clock_ms)
        new = self.host_keys.learn(first)[1]
        self.happened.append(("learned", line))
        return new

    def report_target(self, notice: Notice) -> None:
        """Keep the notice."""
        self.target_notices.append(notice)

    def warn(self, tell: Callable[[str], None]) -> None:
        """Remember who wants to be told; ``warned`` tells them."""
        self.tell.append(tell)

    def watchers(self) -> list[str]:
        """Whoever a test put there."""
        return self.watching

    def warned(self, words: str) -> None:
        """Its time is over soon."""
        for tell in self.tell:
            tell(words)


class FakeDoor:
    """Opens ``serving`` to whoever shows a certificate or a ticket, or raises ``fault``."""

    def __init__(self, serving: FakeServing | None, fault: Fault | None = None) -> None:
        self.serving = serving
        self.fault = fault
        self.asked: list[tuple[str, ...]] = []

    async def offered(self, sid: str, certificate: str) -> FakeServing:
        """Take an offered session."""
        self.asked.append(("offered", sid, certificate))
        return self._answer()

    async def open(self, certificate: str, target: str, login: str, source_ip: str) -> FakeServing:
        """Ask for a session."""
        self.asked.append(("open", certificate, target, login, source_ip))
        return self._answer()

    async def ticketed(self, ticket: str, user: str, target: str) -> FakeServing:
        """Take the session of a ticket."""
        self.asked.append(("ticketed", ticket, user, target))
        return self._answer()

    def _answer(self) -> FakeServing:
        if self.fault is not None:
            raise self.fault
        assert self.serving is not None
        return self.serving


class FakeIdentity:
    """The agent's host key, and a CA that signs people and hosts."""

    def __init__(self, name: str = "agent-1.sallyport") -> None:
        self.ca = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.operator: OperatorCertificate | None = None
        self.off_ms = 0
        self.host_certificate = self.ca.generate_host_certificate(self.key, name, principals=[name])

    @property
    def private_key(self) -> bytes:
        """OpenSSH private key."""
        return self.key.export_private_key()

    @property
    def certificate(self) -> str:
        """Host certificate line."""
        return self.host_certificate.export_certificate().decode().strip()

    @property
    def ssh_ca(self) -> str:
        """Public key line of the CA."""
        return self.ca.export_public_key().decode().strip()

    def now_ms(self) -> int:
        """This machine's clock, and ``off_ms``."""
        return time.time_ns() // 1_000_000 + self.off_ms
