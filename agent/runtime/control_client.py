"""The control plane's HTTP API, as an agent uses it (``chalicelib/contracts/api.py``).

One method per route; each call is one attempt with a deadline, and fails with a ``Fault``: the control plane's own, or
``control_plane_unreachable``. Who calls decides about trying again (``backoff.persist``), because claiming a session twice is
wrong and registering a chunk twice is not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from agent.runtime.clock import ServerClock
from chalicelib.contracts import api, api_requests
from chalicelib.contracts.faults import CODES, Fault

TIMEOUT_S: Final = 20.0
#: A reply longer than this is refused before it is read. The largest one holds every rule and target of an agent.
REPLY_LIMIT: Final = 8 * 1024 * 1024
_UPLOAD_TIMEOUT_S: Final = 60.0
#: What S3 calls a refusal; the rest of its answer repeats the key, which names people.
_ERROR_CODE: Final = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")

_T = TypeVar("_T")
Proof = Callable[[str, str, bytes], str]


class ControlClient:
    """Calls the control plane at ``url`` (without a trailing slash; a stage in it is not part of what is signed)."""

    def __init__(self, url: str, clock: ServerClock, proof: Proof | None = None) -> None:
        self._url = url
        self._clock = clock
        self._proof = proof
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ControlClient:
        # Many agents stand behind a proxy that is named in the environment; nothing here lives by cookies.
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, connect=10),
            trust_env=True,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        if self._http is not None:
            await self._http.close()

    async def trust(self) -> api.Trust:
        """What anybody may know about the gateway."""
        return await self._call("GET", "/trust", None, api.Trust, signed=False)

    async def enrol(self, request: api.AgentEnrol) -> api.AgentEnrolled:
        """Exchange a one-time token for an identity."""
        return await self._call("POST", "/agents/enrol", request, api.AgentEnrolled, signed=False)

    async def announce(self, request: api.AgentAnnounce) -> api.AgentConfig:
        """Say what this agent speaks; learn what it serves."""
        return await self._call("POST", "/agent/announce", request, api.AgentConfig)

    async def open_direct(self, request: api.DirectOpen) -> api.DirectOpened:
        """Ask for a session in the name of a person whose certificate was proved."""
        return await self._call("POST", "/agent/sessions", request, api.DirectOpened)

    async def claim(self, sid: str, request: api.SessionClaim) -> api.SessionClaimed:
        """Take an offered session. Raises Fault(ticket_used) if it was taken before."""
        return await self._call("POST", f"/agent/sessions/{sid}/claim", request, api.SessionClaimed)

    async def register_chunk(self, sid: str, upload: api.ChunkUpload) -> api.ChunkTicket:
        """Register a chunk; the same one again returns a fresh link."""
        return await self._call("POST", f"/agent/sessions/{sid}/chunks", upload, api.ChunkTicket)

    async def report(self, sid: str, report: api.SessionReport) -> api.Done:
        """Tell an auditor something before the session ends."""
        return await self._call("POST", f"/agent/sessions/{sid}/report", report, api.Done)

    async def ask(self, sid: str, request: api_requests.OperationAsk) -> api_requests.RequestStanding:
        """Ask others about an operation that policy holds."""
        path = f"/agent/sessions/{sid}/requests"
        return await self._call("POST", path, request, api_requests.RequestStanding)

    async def asked(self, sid: str, rid: str) -> api_requests.RequestStanding:
        """What became of a request; with the signed yes once there is one."""
        return await self._call("GET", f"/agent/sessions/{sid}/requests/{rid}", None, api_requests.RequestStanding)

    async def withdraw(self, sid: str, rid: str) -> api_requests.RequestStanding:
        """Nobody waits for a request any more."""
        # An empty body would travel with a type that API Gateway has no mapping for.
        path, body = f"/agent/sessions/{sid}/requests/{rid}/withdraw", api_requests.RequestEnd()
        return await self._call("POST", path, body, api_requests.RequestStanding)

    async def use(self, sid: str, rid: str, use: api_requests.ApprovalUse) -> api_requests.ApprovalUsed:
        """Count a use of a yes; the same key again counts nothing."""
        return await self._call("POST", f"/agent/sessions/{sid}/requests/{rid}/use", use, api_requests.ApprovalUsed)

    async def log(self, asked: api.LogAsk) -> api.LogNews:
        """The newest checkpoint of the transparency log, with proofs."""
        return await self._call("POST", "/agent/log", asked, api.LogNews)

    async def cosign(self, made: api.Cosign) -> api.Done:
        """Vouch for a checkpoint."""
        return await self._call("POST", "/agent/log/cosignatures", made, api.Done)

    async def alarm(self, alarm: api.WitnessAlarm) -> api.Done:
        """Tell what contradicts."""
        return await self._call("POST", "/agent/log/alarms", alarm, api.Done)

    async def close_session(self, sid: str, close: api.SessionClose) -> api.Done:
        """Say that a session is over and all of it is uploaded."""
        return await self._call("POST", f"/agent/sessions/{sid}/close", close, api.Done)

    async def put(self, ticket: api.ChunkTicket, body: bytes) -> None:
        """Upload a chunk with exactly the headers that its link binds. Finding it stored already (412) is success."""
        try:
            async with self._session().put(
                # The link is signed as it is written; normalising it (%40 to @) would break the signature.
                URL(ticket.url, encoded=True),
                data=body,
                headers=ticket.headers,
                skip_auto_headers=("Content-Type", "User-Agent", "Accept", "Accept-Encoding"),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=_UPLOAD_TIMEOUT_S, connect=10),
            ) as reply:
                if reply.status in {200, 412}:
                    return
                said = _ERROR_CODE.search(await reply.content.read(2000))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable("The recording's store cannot be reached.", error) from None
        raise Fault(
            "control_plane_unreachable",
            "The recording's store refused a chunk.",
            detail=f"{reply.status} {said[1].decode() if said else ''}",
        )

    async def _call(self, method: str, path: str, request: Any, reply_type: type[_T], *, signed: bool = True) -> _T:
        body = b"" if request is None else msgspec.json.encode(request)
        headers = {"Content-Type": "application/json"} if body else {}
        if signed:
            if self._proof is None:
                raise Fault("agent_unknown", "An agent that is not enrolled cannot ask this.")
            headers["Authorization"] = self._proof(method, path, body)
        sent_ms = self._clock.local_ms()
        try:
            # Redirects are not followed: a proof is for one path of one control plane.
            async with self._session().request(
                method, self._url + path, data=body or None, headers=headers, allow_redirects=False
            ) as reply:
                data = await _read(reply)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable("The control plane cannot be reached.", error) from None
        self._clock.correct(reply.headers.get("Date", ""), sent_ms)
        return _decode(reply.status, data, reply_type)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("the control client is used outside of its context")
        return self._http


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in reply.content.iter_any():
        data += part
        if len(data) > REPLY_LIMIT:
            raise Fault("control_plane_unreachable", "The control plane's reply is too long.")
    return bytes(data)


def _decode(status: int, data: bytes, reply_type: type[_T]) -> _T:
    if 200 <= status < 300:
        try:
            return msgspec.json.decode(data, type=reply_type)
        except msgspec.DecodeError as error:
            raise _unreachable("The control plane's reply cannot be read.", error) from None
    try:
        notice = msgspec.json.decode(data, type=api.Failure).error
    except msgspec.DecodeError:
        # A gateway in between answered: an error of its own, a redirect to a login page, a throttle.
        raise Fault("control_plane_unreachable", f"The control plane answered {status}.", detail=repr(data[:500])) from None
    if notice.code not in CODES:
        known = "bad_request" if 400 <= status < 500 else "internal"
        raise Fault(known, notice.message, hint=notice.hint, detail=notice.code)
    raise Fault(notice.code, notice.message, hint=notice.hint, detail=f"status {status}")


def _unreachable(message: str, error: Exception) -> Fault:
    return Fault("control_plane_unreachable", message, detail=f"{type(error).__name__}: {error}")
